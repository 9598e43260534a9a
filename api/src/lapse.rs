//! Calls that had a date and to which nobody came: cancelled a while after it.
//!
//! Every pod looks for them. Redis' `end` ends a call once, whoever asks first, and puts that into the outbox; the recorder then writes
//! the record. So it happens by exactly one pod, and a pod that dies half-way leaves nothing half done.

use std::time::Duration;

use switchboard_common::domain::call::NEVER_OPENED;
use switchboard_common::domain::{CallId, RoomId, Timestamp};
use switchboard_common::records::Records;
use switchboard_common::room::{Door, Ended, Rooms, StoreError};
use tokio_util::sync::CancellationToken;

use crate::recorder::jittered;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Calls handled in one look; the rest wait for the next one.
const MOST: u32 = 200;

/// Looks once a minute, until `stop`. `after`: how long after its date a call that nobody came to is cancelled.
pub async fn run(rooms: Rooms, records: Records, after: Duration, now: fn() -> Timestamp, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(LOOK)) => {} }
        tokio::select! { () = stop.cancelled() => return, _ = look(&rooms, &records, after, now()) => {} }
    }
}

/// One look at `now`; how many calls this one cancelled. What fails is tried again at the next look.
pub async fn look(rooms: &Rooms, records: &Records, after: Duration, now: Timestamp) -> usize {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let calls = match records.unopened_calls(Timestamp(now.0.saturating_sub(after)), MOST).await {
        Ok(calls) => calls,
        Err(error) => {
            tracing::warn!(%error, "calls that nobody came to are looked for later");
            return 0;
        }
    };
    let mut cancelled = 0;
    for (call, room) in calls {
        match cancel(rooms, &call, &room).await {
            Ok(true) => {
                cancelled += 1;
                metrics::counter!("switchboard_calls_lapsed_total").increment(1);
                tracing::info!(call_id = %call, room_id = %room, "a call that nobody came to was cancelled");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "calls that nobody came to are cancelled later");
                return cancelled;
            }
        }
    }
    cancelled
}

async fn cancel(rooms: &Rooms, call: &CallId, room: &RoomId) -> Result<bool, StoreError> {
    // The record may lag behind: whoever is in the room has come, and the recorder is about to write it.
    if let Door::Open { participants: 1.., .. } = rooms.door(room).await? {
        return Ok(false);
    }
    Ok(rooms.end(room, call, NEVER_OPENED).await? == Ended::Done)
}
