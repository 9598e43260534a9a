//! The list of revoked sign-ins.

use std::time::Duration;

use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn a_revoked_sign_in_is_known_to_every_process_until_its_time_is_over(bed: TestBed) {
    let (one, two) = (bed.guest("api").await, bed.guest("n1").await);
    let (here, there, late) = (Revocations::default(), Revocations::default(), Revocations::default());
    one.revoke("first", Duration::from_secs(600)).await.unwrap();
    assert_eq!(here.refresh(&one).await.unwrap(), ["first"]);
    assert_eq!(there.refresh(&two).await.unwrap(), ["first"]);
    two.revoke("second", Duration::from_secs(600)).await.unwrap();
    assert_eq!(here.refresh(&one).await.unwrap(), ["second"], "only new entries");
    assert!(here.has("first") && here.has("second") && !here.has("third"));
    assert!(there.has("first") && !there.has("second"), "not refreshed yet");
    assert_eq!(late.refresh(&two).await.unwrap(), ["first", "second"], "a new process reads the whole list");
    one.revoke("brief", Duration::from_millis(1)).await.unwrap();
    until("expired entries are dropped", async || {
        here.refresh(&one).await.unwrap();
        !here.has("brief")
    })
    .await;
    assert!(here.has("first") && here.has("second"), "each entry has its own time");
}

pub(crate) async fn revoked_sign_ins_stay_revoked_while_redis_is_away(mut bed: TestBed) {
    let rooms = bed.guest("n1").await;
    let known = Revocations::default();
    rooms.revoke("first", Duration::from_secs(600)).await.unwrap();
    known.refresh(&rooms).await.unwrap();
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    assert!(matches!(known.refresh(&rooms).await, Err(StoreError::Unavailable)));
    assert!(matches!(rooms.revoke("second", Duration::from_secs(600)).await, Err(StoreError::Unavailable)));
    assert!(known.has("first"));
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    until("redis is back", async || known.refresh(&rooms).await.is_ok()).await;
    assert!(known.has("first"));
}
