//! Erases the remains of deleted calls, one day after their deletion.
//!
//! `DELETE video-calls/:id` removes a call's chat and log immediately. Facts that were on their way
//! at that moment are still written afterwards, so that they do not block their outbox. One day
//! later no fact is on its way. Every pod sweeps, because erasing twice does no harm.

use std::time::Duration;

use switchboard_core::domain::Timestamp;
use switchboard_records::Records;
use tokio_util::sync::CancellationToken;

use crate::clock::jittered;

/// Pause between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// Time between deletion and erasure, in milliseconds: longer than a fact can be on its way, and
/// shorter than the time that the record of a deleted call is kept.
const ERASE_AFTER_MS: i64 = 24 * 3600 * 1000;
/// Maximum number of calls that are read at once.
const CALLS_MAX: u32 = 200;

/// Sweeps every 10 minutes, until `stop` is cancelled.
pub async fn run(records: Records, now: fn() -> Timestamp, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(SWEEP_INTERVAL)) => {} }
        tokio::select! { () = stop.cancelled() => return, () = sweep(&records, now()) => {} }
    }
}

/// Sweeps once. A call whose erasure failed is tried again in the next sweep, and delays no other.
pub async fn sweep(records: &Records, now: Timestamp) {
    let (mut failures, mut first) = (0_usize, None);
    // As many as there are, because the record of a deleted call is kept for some days only. Calls
    // that failed are among the next ones that are read, so a failure ends the sweep.
    loop {
        let calls = match records.deleted_calls(Timestamp(now.0 - ERASE_AFTER_MS), CALLS_MAX).await {
            Ok(calls) => calls,
            Err(error) => {
                first = Some(error);
                break;
            }
        };
        let is_last = calls.len() < CALLS_MAX as usize;
        for call in calls {
            if let Err(error) = records.erase_call(&call, now).await {
                failures += 1;
                first.get_or_insert(error);
            }
        }
        if is_last || failures > 0 {
            break;
        }
    }
    if let Some(error) = first {
        tracing::warn!(%error, failures, "erasing deleted calls failed; retrying");
    }
}
