//! What is left of deleted calls: removed once more, a day after.
//!
//! `DELETE video-calls/:id` removes a call's chat and log at once; facts that were on their way then are written after it, so that none is
//! ever stuck in an outbox. A day later nothing is on its way. Every pod looks; to remove a thing twice is to remove it.

use std::time::Duration;

use switchboard_core::domain::Timestamp;
use switchboard_records::Records;
use tokio_util::sync::CancellationToken;

use crate::recorder::jittered;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(600);
/// Longer than a fact of a call can be on its way; shorter than the record of a deleted call stays.
const SETTLED_MS: i64 = 24 * 3600 * 1000;
/// Calls handled in one look; the rest wait for the next one.
const MOST: u32 = 200;

/// Looks every ten minutes, until `stop`.
pub async fn run(records: Records, now: fn() -> Timestamp, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(LOOK)) => {} }
        tokio::select! { () = stop.cancelled() => return, () = look(&records, now()) => {} }
    }
}

/// One look at `now`. What fails is tried again at the next look.
pub async fn look(records: &Records, now: Timestamp) {
    let erased = async {
        for call in records.deleted_calls(Timestamp(now.0 - SETTLED_MS), MOST).await? {
            records.erase_call(&call, now).await?;
        }
        Ok::<_, switchboard_records::RecordsError>(())
    };
    if let Err(error) = erased.await {
        tracing::warn!(%error, "what is left of deleted calls is removed later");
    }
}
