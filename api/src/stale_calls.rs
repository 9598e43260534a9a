//! Closes stale calls, which no participant is left to end:
//!
//! - A scheduled call that no participant joined is cancelled some time after its date.
//! - A live call whose room is missing in Redis is ended: Redis lost the room and no client came
//!   back, or another service left the record live.
//!
//! Every pod searches for stale calls. The script `end` in Redis ends a call once, for the first
//! pod that asks, and puts the fact into the outbox; the recorder then writes the record. So a pod
//! that dies in between leaves no call half closed.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use switchboard_core::domain::{CallId, CallStatus, EndReason, RoomId, Timestamp};
use switchboard_records::{Records, RecordsError, SweepPosition};
use switchboard_rooms::{Ended, RoomPeek, Rooms, StoreError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::jittered;

/// Pause between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of calls of each kind in one sweep. Further calls wait for the next sweep.
const CALLS_MAX: u32 = 200;
/// Maximum number of calls that are checked at the same time, so that the rooms on a server of
/// Redis that does not answer do not hold up the others one after the other.
const CHECKS_MAX: usize = 50;
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
    roomless: HashMap<CallId, RoomId>,
    /// Last live call that was read. The next sweep begins behind it, because calls whose rooms are
    /// there stay the longest unchanged. `None`: the next sweep begins with the first call.
    position: Option<SweepPosition>,
}

/// Outcome of a sweep.
#[derive(Default)]
struct Swept {
    /// Number of calls that this pod closed.
    closed: usize,
    /// Number of failed steps, and the error of the first.
    failures: usize,
    error: Option<SweepError>,
}

impl Swept {
    fn add_failure(&mut self, error: impl Into<SweepError>) {
        self.failures += 1;
        self.error.get_or_insert_with(|| error.into());
    }
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
        Self { rooms, records, after, roomless: HashMap::new(), position: None }
    }

    /// Sweeps once a minute, until `stop` is cancelled.
    pub async fn run(mut self, now: fn() -> Timestamp, stop: CancellationToken) {
        loop {
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(SWEEP_INTERVAL)) => {} }
            tokio::select! { () = stop.cancelled() => return, _ = self.sweep(now()) => {} }
        }
    }

    /// Sweeps once. Returns the number of calls that this pod closed. A call whose closing failed
    /// is tried again in a later sweep, and delays no other call.
    pub async fn sweep(&mut self, now: Timestamp) -> usize {
        let mut swept = Swept::default();
        self.cancel_unopened(now, &mut swept).await;
        self.end_roomless(now, &mut swept).await;
        self.find_roomless(now, &mut swept).await;
        let Swept { closed, failures, error } = swept;
        if let Some(error) = error {
            tracing::warn!(%error, failures, "sweep of stale calls failed; retrying");
        }
        closed
    }

    async fn cancel_unopened(&self, now: Timestamp, swept: &mut Swept) {
        let before = earlier(now, self.after);
        let calls = match self.records.unopened_calls(before, CALLS_MAX).await {
            Ok(calls) => calls,
            Err(error) => return swept.add_failure(error),
        };
        let closings =
            stream::iter(calls).map(async |(call, room)| self.cancel_if_unopened(&call, &room, before).await);
        let mut closings = closings.buffer_unordered(CHECKS_MAX);
        while let Some(closing) = closings.next().await {
            match closing {
                Ok(closed) => swept.closed += usize::from(closed),
                Err(error) => swept.add_failure(error),
            }
        }
    }

    /// Returns whether this pod cancelled the call.
    async fn cancel_if_unopened(&self, call: &CallId, room: &RoomId, before: Timestamp) -> Result<bool, SweepError> {
        // The record can lag behind the room: skip a call with participants.
        if let RoomPeek::Open { participants: 1.., .. } = self.rooms.peek(room).await? {
            return Ok(false);
        }
        // Read the record again, because the host may have changed the date.
        let record = self.records.call(&room.app(), call).await?;
        let waits = record.is_some_and(|record| {
            record.status == CallStatus::Scheduled && record.scheduled_at.is_some_and(|date| date < before)
        });
        if !waits || self.rooms.end(room, call, EndReason::NeverOpened.as_str()).await? != Ended::Done {
            return Ok(false);
        }
        metrics::counter!("switchboard_stale_calls_total").increment(1);
        tracing::info!(call_id = %call, room_id = %room, "unopened call cancelled");
        Ok(true)
    }

    /// Ends the calls that had no room in the last sweep, if they still have none.
    async fn end_roomless(&mut self, now: Timestamp, swept: &mut Swept) {
        let roomless = std::mem::take(&mut self.roomless);
        let this = &*self;
        let closings = stream::iter(roomless).map(async |(call, room)| {
            let closing = this.end_if_roomless(&call, &room, now).await;
            (call, room, closing)
        });
        let closings: Vec<_> = closings.buffer_unordered(CHECKS_MAX).collect().await;
        for (call, room, closing) in closings {
            match closing {
                Ok(closed) => swept.closed += usize::from(closed),
                Err(error) => {
                    swept.add_failure(error);
                    self.roomless.insert(call, room);
                }
            }
        }
    }

    /// Returns whether this pod ended the call.
    async fn end_if_roomless(&self, call: &CallId, room: &RoomId, now: Timestamp) -> Result<bool, SweepError> {
        if !matches!(self.rooms.peek(room).await?, RoomPeek::Absent) {
            return Ok(false);
        }
        // Read the record again, because it may have changed since the last sweep.
        let record = self.records.call(&room.app(), call).await?;
        let before = earlier(now, UNCHANGED_FOR);
        let live = record.filter(|record| record.status == CallStatus::Live && record.updated_at < before);
        let Some(record) = live else { return Ok(false) };
        // Emptiness is final only after the call has taken place, as in the room's script.
        if !record.may_have_taken_place() {
            self.records.empty_call(call, now).await?;
            tracing::info!(call_id = %call, room_id = %room, "live call without a room is waiting again");
            return Ok(false);
        }
        if self.rooms.end(room, call, EndReason::Empty.as_str()).await? != Ended::Done {
            return Ok(false);
        }
        metrics::counter!("switchboard_stale_calls_total").increment(1);
        tracing::info!(call_id = %call, room_id = %room, "live call without a room ended");
        Ok(true)
    }

    /// Finds live calls without a room, for the next sweep. When no call is left, the next sweep
    /// begins with the first call.
    async fn find_roomless(&mut self, now: Timestamp, swept: &mut Swept) {
        let before = earlier(now, UNCHANGED_FOR);
        let page = self.records.unchanged_live_calls(before, self.position.as_ref(), CALLS_MAX).await;
        let calls = match page {
            Ok((calls, position)) => {
                self.position = position;
                calls
            }
            Err(error) => return swept.add_failure(error),
        };
        let rooms = &self.rooms;
        let peeks = stream::iter(calls).map(async |(call, room)| {
            let peek = rooms.peek(&room).await;
            (call, room, peek)
        });
        let mut peeks = peeks.buffer_unordered(CHECKS_MAX);
        while let Some((call, room, peek)) = peeks.next().await {
            match peek {
                Ok(RoomPeek::Absent) => {
                    self.roomless.insert(call, room);
                }
                Ok(_) => {}
                Err(error) => swept.add_failure(error),
            }
        }
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
