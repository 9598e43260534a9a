//! Calls that nobody is left to end: those that had a date and to which nobody came, cancelled a while after it; and live ones whose room
//! Redis does not have, ended: what it knew was lost and nobody came back, or another service left them so.
//!
//! Every pod looks for them. Redis' `end` ends a call once, whoever asks first, and puts that into the outbox; the recorder then writes
//! the record. So it happens by exactly one pod, and a pod that dies half-way leaves nothing half done.

use std::collections::HashSet;
use std::time::Duration;

use switchboard_core::domain::call::NEVER_OPENED;
use switchboard_core::domain::{CallId, CallStatus, Timestamp};
use switchboard_records::{Records, RecordsError};
use switchboard_rooms::{Door, Ended, Rooms, StoreError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::recorder::jittered;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Calls handled in one look; the rest wait for the next one.
const MOST: u32 = 200;
/// Of a call that is silent for less, facts may be on their way.
const SILENT: Duration = Duration::from_secs(600);

/// What looks, and what it remembers of its last look.
pub struct Lapses {
    rooms: Rooms,
    records: Records,
    /// How long after its date a call that nobody came to is cancelled.
    after: Duration,
    /// Live calls without a room, as of the last look. Only who is so twice is ended: nodes bring back the rooms that Redis loses.
    roomless: HashSet<CallId>,
}

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Rooms(#[from] StoreError),
}

impl Lapses {
    /// Looks at these rooms and records.
    #[must_use]
    pub fn new(rooms: Rooms, records: Records, after: Duration) -> Self {
        Self { rooms, records, after, roomless: HashSet::new() }
    }

    /// Looks once a minute, until `stop`.
    pub async fn run(mut self, now: fn() -> Timestamp, stop: CancellationToken) {
        loop {
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(jittered(LOOK)) => {} }
            tokio::select! { () = stop.cancelled() => return, _ = self.look(now()) => {} }
        }
    }

    /// One look at `now`; how many calls this one cancelled or ended. What fails is tried again at the next look.
    pub async fn look(&mut self, now: Timestamp) -> usize {
        let mut over = 0;
        let unopened = self.cancel_unopened(now, &mut over).await;
        let roomless = self.end_roomless(now, &mut over).await;
        for failure in [unopened, roomless].into_iter().filter_map(Result::err) {
            tracing::warn!(error = %failure, "calls that nobody is left to end are looked for later");
        }
        over
    }

    async fn cancel_unopened(&self, now: Timestamp, cancelled: &mut usize) -> Result<(), Failure> {
        let before = earlier(now, self.after);
        for (id, room) in self.records.unopened_calls(before, MOST).await? {
            // The record may lag behind: whoever is in the room has come, and the recorder is about to write it.
            if let Door::Open { participants: 1.., .. } = self.rooms.door(&room).await? {
                continue;
            }
            // It may have got another date meanwhile.
            let call = self.records.call(&id).await?;
            let waits = call.is_some_and(|call| {
                call.status == CallStatus::Scheduled && call.scheduled_at.is_some_and(|date| date < before)
            });
            if waits && self.rooms.end(&room, &id, NEVER_OPENED).await? == Ended::Done {
                *cancelled += 1;
                metrics::counter!("switchboard_calls_lapsed_total").increment(1);
                tracing::info!(call_id = %id, room_id = %room, "a call that nobody came to was cancelled");
            }
        }
        Ok(())
    }

    async fn end_roomless(&mut self, now: Timestamp, ended: &mut usize) -> Result<(), Failure> {
        let before = std::mem::take(&mut self.roomless);
        for (call, room) in self.records.silent_calls(earlier(now, SILENT), MOST).await? {
            if !matches!(self.rooms.door(&room).await?, Door::Absent) {
                continue;
            }
            if !before.contains(&call) {
                self.roomless.insert(call);
            } else if self.rooms.end(&room, &call, "empty").await? == Ended::Done {
                *ended += 1;
                metrics::counter!("switchboard_calls_lapsed_total").increment(1);
                tracing::info!(call_id = %call, room_id = %room, "a live call without a room was ended");
            }
        }
        Ok(())
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
