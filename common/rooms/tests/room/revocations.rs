//! The list of revoked sign-ins.

use std::time::Duration;

use switchboard_rooms::RevocationReason::{Replayed, SignedOut};
use switchboard_rooms::*;

use super::testbed::*;

/// Reads the new entries, and returns their sign-ins.
async fn new(known: &Revocations, rooms: &Rooms) -> Vec<String> {
    known.refresh(rooms).await.unwrap().into_iter().map(|revoked| revoked.sign_in).collect()
}

pub(crate) async fn a_revoked_sign_in_is_known_to_every_process_until_its_time_is_over(mut bed: TestBed) {
    let (one, two) = (bed.guest("api").await, bed.guest("n1").await);
    let (here, there, late) = (Revocations::default(), Revocations::default(), Revocations::default());
    one.revoke("first", SignedOut, Duration::from_secs(600)).await.unwrap();
    assert_eq!(new(&here, &one).await, ["first"]);
    assert_eq!(new(&there, &two).await, ["first"]);
    two.revoke("second", SignedOut, Duration::from_secs(600)).await.unwrap();
    assert_eq!(new(&here, &one).await, ["second"], "only new entries");
    assert!(here.has("first") && here.has("second") && !here.has("third"));
    assert!(there.has("first") && !there.has("second"), "not refreshed yet");
    assert_eq!(new(&late, &two).await, ["first", "second"], "a new process reads the whole list");
    let list = bed.keys().revoked(Partition(0));
    let mut add = redis::cmd("XADD");
    add.arg(&list).arg("*").arg("from").arg("a later version");
    bed.at_its_keys::<String>(&add).await;
    assert!(new(&here, &one).await.is_empty(), "an entry that cannot be read");
    one.revoke("third", SignedOut, Duration::from_secs(600)).await.unwrap();
    assert_eq!(new(&here, &one).await, ["third"], "it does not stand in the way of the next");
    assert_eq!(new(&late, &two).await, ["third"]);
    one.revoke("brief", SignedOut, Duration::from_millis(1)).await.unwrap();
    until("expired entries are dropped", async || {
        here.refresh(&one).await.unwrap();
        !here.has("brief")
    })
    .await;
    assert!(here.has("first") && here.has("second"), "each entry has its own time");
}

pub(crate) async fn a_sign_out_is_stronger_than_a_replay_in_either_order(bed: TestBed) {
    let rooms = bed.guest("api").await;
    let known = Revocations::default();
    for (sign_in, reasons) in [("a", [Replayed, SignedOut]), ("b", [SignedOut, Replayed]), ("c", [Replayed, Replayed])]
    {
        for reason in reasons {
            rooms.revoke(sign_in, reason, Duration::from_secs(600)).await.unwrap();
        }
    }
    known.refresh(&rooms).await.unwrap();
    assert_eq!(["a", "b", "c"].map(|id| known.reason(id)), [Some(SignedOut), Some(SignedOut), Some(Replayed)]);
    assert_eq!(known.reason("d"), None);
}

pub(crate) async fn revoked_sign_ins_stay_revoked_while_redis_is_away(mut bed: TestBed) {
    let rooms = bed.guest("n1").await;
    let known = Revocations::default();
    rooms.revoke("first", SignedOut, Duration::from_secs(600)).await.unwrap();
    known.refresh(&rooms).await.unwrap();
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    assert!(matches!(known.refresh(&rooms).await, Err(StoreError::Unavailable)));
    assert!(matches!(rooms.revoke("second", SignedOut, Duration::from_secs(600)).await, Err(StoreError::Unavailable)));
    assert!(known.has("first"));
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    until("redis is back", async || known.refresh(&rooms).await.is_ok()).await;
    assert!(known.has("first"));
}
