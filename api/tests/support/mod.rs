//! Helpers of the tests of recorder, webhooks and faults.

use std::time::Duration;

use switchboard_core::domain::{CallId, CallSettings, CallType, RoomMeta, UserId};

/// Time limit of a condition, for slow machines. Passing tests do not wait so long.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// Waits for a condition, for at most [`BOUND`].
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(BOUND, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}

/// Returns the user with this number.
pub(crate) fn user(person: u64) -> UserId {
    UserId::parse(&format!("{:024x}", 0xabc_0000 + person)).unwrap()
}

/// Returns the public call with this number, as its room knows it.
pub(crate) fn meta(number: u32, host: UserId) -> RoomMeta {
    RoomMeta {
        call_id: CallId::parse(&format!("{number:024x}")).unwrap(),
        name: format!("Call {number}"),
        host,
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 50,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        version: 0,
    }
}
