//! Closes stale calls, which no participant is left to end:
//!
//! - A scheduled call that no participant joined is cancelled some time after its date.
//! - A live call whose room is missing in Redis is ended: Redis lost the room and no client came
//!   back, or another service left the record live.
//!
//! Every pod searches for stale calls. The script `end` in Redis ends a call once, for the first
//! pod that asks, and puts the fact into the outbox; the recorder then writes the record. So a pod
//! that dies in between leaves no call half closed.

use std::collections::HashSet;
use std::time::Duration;

use switchboard_core::domain::{CallId, CallStatus, EndReason, Timestamp};
use switchboard_records::{Records, RecordsError};
use switchboard_rooms::{Ended, RoomPeek, Rooms, StoreError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::jittered;

/// Pause between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of calls of each kind in one sweep. Further calls wait for the next sweep.
const CALLS_MAX: u32 = 200;
/// Shortest time since the last change of a record before a live call counts as stale, because
/// facts of a call that changed later can still be on their way to the record.
const UNCHANGED_FOR: Duration = Duration::from_secs(600);

/// Searches for stale calls and closes them.
pub struct StaleCalls {
    rooms: Rooms,
    records: Records,
    /// Time after its date at which a scheduled call without participants is cancelled.
    after: Duration,
    /// Live calls that had no room in the last sweep. A call is ended only if its room is missing
    /// in two sweeps, because nodes restore the rooms that Redis loses.
    roomless: HashSet<CallId>,
}

#[derive(Debug, Error)]
enum SweepError {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Rooms(#[from] StoreError),
}

impl StaleCalls {
    /// Creates a sweep of these rooms and records.
    #[must_use]
    pub fn new(rooms: Rooms, records: Records, after: Duration) -> Self {
        Self { rooms, records, after, roomless: HashSet::new() }
    }

    /// Sweeps once a minute, until `stop` is cancelled.
    pub async fn run(mut self, now: fn() -> Timestamp, stop: CancellationToken) {
        loop {
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(SWEEP_INTERVAL)) => {} }
            tokio::select! { () = stop.cancelled() => return, _ = self.sweep(now()) => {} }
        }
    }

    /// Sweeps once. Returns the number of calls that this pod closed. A call whose closing failed
    /// is tried again in the next sweep.
    pub async fn sweep(&mut self, now: Timestamp) -> usize {
        let mut closed = 0;
        let unopened = self.cancel_unopened(now, &mut closed).await;
        let roomless = self.end_roomless(now, &mut closed).await;
        for error in [unopened, roomless].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "sweep of stale calls failed; retrying");
        }
        closed
    }

    async fn cancel_unopened(&self, now: Timestamp, cancelled: &mut usize) -> Result<(), SweepError> {
        let before = earlier(now, self.after);
        for (id, room) in self.records.unopened_calls(before, CALLS_MAX).await? {
            // The record can lag behind the room: skip a call with participants.
            if let RoomPeek::Open { participants: 1.., .. } = self.rooms.peek(&room).await? {
                continue;
            }
            // Read the record again, because the host may have changed the date.
            let call = self.records.call(&room.app(), &id).await?;
            let waits = call.is_some_and(|call| {
                call.status == CallStatus::Scheduled && call.scheduled_at.is_some_and(|date| date < before)
            });
            if waits && self.rooms.end(&room, &id, EndReason::NeverOpened.as_str()).await? == Ended::Done {
                *cancelled += 1;
                metrics::counter!("switchboard_stale_calls_total").increment(1);
                tracing::info!(call_id = %id, room_id = %room, "unopened call cancelled");
            }
        }
        Ok(())
    }

    async fn end_roomless(&mut self, now: Timestamp, ended: &mut usize) -> Result<(), SweepError> {
        let before = std::mem::take(&mut self.roomless);
        for (call, room) in self.records.unchanged_live_calls(earlier(now, UNCHANGED_FOR), CALLS_MAX).await? {
            if !matches!(self.rooms.peek(&room).await?, RoomPeek::Absent) {
                continue;
            }
            if !before.contains(&call) {
                self.roomless.insert(call);
                continue;
            }
            // Emptiness is final only after the call has taken place, as in the room's script.
            let record = self.records.call(&room.app(), &call).await?;
            if record.is_some_and(|record| !record.may_have_taken_place()) {
                self.records.empty_call(&call, now).await?;
                tracing::info!(call_id = %call, room_id = %room, "live call without a room is waiting again");
            } else if self.rooms.end(&room, &call, EndReason::Empty.as_str()).await? == Ended::Done {
                *ended += 1;
                metrics::counter!("switchboard_stale_calls_total").increment(1);
                tracing::info!(call_id = %call, room_id = %room, "live call without a room ended");
            }
        }
        Ok(())
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
