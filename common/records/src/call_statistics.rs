//! Statistics of a call, from its record.

use super::CallRecord;
use switchboard_core::domain::{CallStatus, Timestamp};

/// Statistics of a call, final or so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallStatistics {
    /// Time from the start to the end, or until now, of all periods together, in milliseconds.
    pub duration_ms: i64,
    /// Number of users who joined. A guest who is not listed counts at each join.
    pub participants: u64,
    /// Highest number of seats taken at the same time.
    pub peak: u32,
}

impl CallRecord {
    /// Returns the time at which the call ended, or `now` if it has not ended or its record has no
    /// end.
    #[must_use]
    pub fn end_or(&self, now: Timestamp) -> Timestamp {
        self.ended_at.filter(|_| self.status.is_over()).unwrap_or(now)
    }

    /// Returns the statistics at `now`.
    #[must_use]
    pub fn statistics(&self, now: Timestamp) -> CallStatistics {
        // A cancelled call ended before a participant joined. It has no duration, even if its
        // record has a start.
        let started = self.started_at.filter(|_| self.status != CallStatus::Cancelled);
        let duration = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0).max(0);
        // The last period may be in the list already.
        let earlier = self.periods.iter().filter(|period| Some(period.started_at) != started);
        let earlier_ms: i64 = earlier.map(|period| duration(period.started_at, period.ended_at)).sum();
        CallStatistics {
            duration_ms: earlier_ms + started.map_or(0, |from| duration(from, self.end_or(now))),
            participants: self.joined(),
            peak: self.peak.max(self.estimated_peak(now)),
        }
    }

    /// Returns whether the call may have taken place, as far as the record tells: its host or more
    /// than one participant joined.
    #[must_use]
    pub fn may_have_taken_place(&self) -> bool {
        let host_joined = || self.participants.iter().any(|entry| entry.user == self.host && entry.joined_at.is_some());
        self.peak > 1 || self.joined() > 1 || host_joined()
    }

    fn joined(&self) -> u64 {
        let entries = || self.participants.iter().filter(|entry| entry.joined_at.is_some()).count();
        self.counts.map_or_else(
            || u64::try_from(entries()).unwrap_or(u64::MAX),
            |counts| counts.users + counts.guests + counts.unlisted,
        )
    }

    /// Estimates the highest number of users at the same time, from the first join and the last
    /// leave of each user. Only records of the old Node.js backend need it, because they have no
    /// `peak`. Returns 0 for a record with a `peak`.
    fn estimated_peak(&self, now: Timestamp) -> u32 {
        if self.peak > 0 {
            return 0;
        }
        // Time of each join (1) and each leave (-1).
        let mut changes: Vec<(Timestamp, i32)> = Vec::new();
        for entry in &self.participants {
            let Some(joined) = entry.joined_at else { continue };
            changes.push((joined, 1));
            changes.push((entry.left_at.unwrap_or(self.end_or(now)).max(joined), -1));
        }
        // At equal times a leave (-1) sorts before a join (1), so the two users do not overlap.
        changes.sort_unstable();
        let (mut present, mut max) = (0, 0);
        for (_, change) in changes {
            present += change;
            max = max.max(present);
        }
        u32::try_from(max).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::Period;
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, Document, deserialize_from_document, doc};

    const MINUTE: i64 = 60_000;

    fn at(minute: i64) -> DateTime {
        DateTime::from_millis(minute * MINUTE)
    }

    fn call(more: Document) -> CallRecord {
        let mut document = doc! { "_id": ObjectId::new(), "hostId": ObjectId::new(), "roomId": "r" };
        document.extend(more);
        deserialize_from_document(document).unwrap()
    }

    #[test]
    fn the_duration_of_a_live_call_ends_now_and_that_of_an_ended_call_at_its_end() {
        let live = call(doc! { "status": "live", "startedAt": at(10), "peak": 3, "participants": [
            { "userId": ObjectId::new(), "role": "host" },
            { "userId": ObjectId::new(), "joinedAt": at(10),
              "presence": { "open": ["1-0"], "since": at(20), "connectedMs": 4 * MINUTE } },
        ] });
        let now = Timestamp(25 * MINUTE);
        assert_eq!(live.statistics(now), CallStatistics { duration_ms: 15 * MINUTE, participants: 1, peak: 3 });
        assert_eq!(live.participants[1].connected_ms(live.end_or(now)), 9 * MINUTE);
        assert_eq!(live.participants[0].connected_ms(live.end_or(now)), 0);

        let mut over = live;
        (over.status, over.ended_at) = (CallStatus::Ended, Some(Timestamp(22 * MINUTE)));
        assert_eq!(over.statistics(now).duration_ms, 12 * MINUTE);
        assert_eq!(over.participants[1].connected_ms(over.end_or(now)), 6 * MINUTE, "the end closes every stay");
    }

    #[test]
    fn the_duration_of_a_reopened_call_is_that_of_all_its_periods() {
        let period = |from: i64, to: i64| doc! { "startedAt": at(from), "endedAt": at(to) };
        let mut call = call(doc! { "status": "live", "startedAt": at(20), "periods": [period(0, 3), period(10, 14)] });
        let now = Timestamp(25 * MINUTE);
        assert_eq!(call.statistics(now).duration_ms, 12 * MINUTE);
        (call.status, call.ended_at) = (CallStatus::Ended, Some(Timestamp(22 * MINUTE)));
        assert_eq!(call.statistics(now).duration_ms, 9 * MINUTE);
        call.periods.push(Period { started_at: Timestamp(20 * MINUTE), ended_at: Timestamp(22 * MINUTE) });
        assert_eq!(call.statistics(now).duration_ms, 9 * MINUTE, "each period counts once");
        (call.status, call.started_at, call.ended_at) = (CallStatus::Waiting, None, None);
        assert_eq!(call.statistics(now).duration_ms, 9 * MINUTE);
    }

    #[test]
    fn the_peak_of_a_call_of_the_old_backend_is_estimated_from_joins_and_leaves() {
        let participant =
            |joined: i64, left: i64| doc! { "userId": ObjectId::new(), "joinedAt": at(joined), "leftAt": at(left) };
        let call = call(doc! { "status": "ended", "startedAt": at(0), "endedAt": at(9), "participants": [
            participant(0, 5), participant(5, 9), participant(1, 2), participant(1, 4), { "userId": ObjectId::new() },
        ] });
        let statistics = call.statistics(Timestamp(99 * MINUTE));
        assert_eq!(statistics, CallStatistics { duration_ms: 9 * MINUTE, participants: 4, peak: 3 });
        assert_eq!(call.participants[0].connected_ms(call.end_or(Timestamp(99 * MINUTE))), 5 * MINUTE);
    }
}
