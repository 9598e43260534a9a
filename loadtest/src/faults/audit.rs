//! Audit of the delivery of every event from a client to its partner. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// One event, as its sender recorded it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Time of the first attempt to send.
    pub(crate) first_sent_at: Instant,
    /// Number of the first attempt, counted over all attempts of the sender.
    pub(crate) first: u64,
    /// Number of the last attempt.
    pub(crate) last: u64,
    /// Attempts with which the event may be delivered once each: it has no id. `None` for an event
    /// with an id, which is delivered once however often it is sent.
    pub(crate) attempts: Option<usize>,
    /// Time of the acknowledgement.
    pub(crate) acknowledged: Option<Instant>,
}

/// Audit of one direction of a pair, or the sum of several audits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) acknowledged: usize,
    /// Events that were acknowledged but never received.
    pub(crate) lost: usize,
    /// Events that were received more often than once, or than they were sent without an id.
    pub(crate) duplicated: usize,
    /// Events that arrived after a later event whose first attempt came after the last attempt of
    /// this one.
    pub(crate) reordered: usize,
}

impl Audit {
    /// Compares sent events, indexed by number, with received numbers in order of arrival.
    pub(crate) fn of(sent: &[Sent], received: &[usize]) -> Self {
        let mut deliveries = vec![0_usize; sent.len()];
        let (mut newest, mut reordered) = (0, 0);
        for number in received {
            let Some(event) = sent.get(*number) else { continue };
            deliveries[*number] += 1;
            // A repeated delivery counts as a duplicate, not as reordered.
            if deliveries[*number] == 1 {
                reordered += usize::from(event.last < newest);
                newest = newest.max(event.first);
            }
        }
        let acknowledged = sent.iter().filter(|event| event.acknowledged.is_some()).count();
        let lost = sent
            .iter()
            .zip(&deliveries)
            .filter(|(event, deliveries)| event.acknowledged.is_some() && **deliveries == 0)
            .count();
        let is_duplicated = |(event, deliveries): &(&Sent, &usize)| **deliveries > event.attempts.unwrap_or(1);
        let duplicated = sent.iter().zip(&deliveries).filter(is_duplicated).count();
        Self { acknowledged, lost, duplicated, reordered }
    }
}

impl std::ops::AddAssign for Audit {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

/// Returns the 99th percentile of the time from the first attempt to the acknowledgement; `None`
/// without acknowledged events.
pub(crate) fn p99<'a>(events: impl Iterator<Item = &'a Sent>) -> Option<Duration> {
    let mut waited: Vec<_> = events.filter_map(|event| Some(event.acknowledged? - event.first_sent_at)).collect();
    waited.sort_unstable();
    waited.get((waited.len() * 99 / 100).min(waited.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(first: u64, last: u64, acknowledged: bool) -> Sent {
        let first_sent_at = Instant::now();
        let acknowledged = acknowledged.then_some(first_sent_at);
        Sent { first_sent_at, first, last, attempts: None, acknowledged }
    }

    #[test]
    fn lost_duplicated_and_reordered_events_are_counted() {
        let events = [sent(1, 1, true), sent(2, 2, true), sent(3, 3, true), sent(4, 4, false)];
        assert_eq!(Audit::of(&events, &[0, 1, 2]), Audit { acknowledged: 3, ..Audit::default() });
        let found = Audit::of(&events, &[2, 0, 0]);
        assert_eq!(found, Audit { acknowledged: 3, lost: 1, duplicated: 1, reordered: 1 });
    }

    #[test]
    fn an_event_without_an_id_is_delivered_at_most_as_often_as_it_was_sent() {
        let events = [Sent { attempts: Some(2), ..sent(1, 3, true) }, Sent { attempts: Some(1), ..sent(2, 2, true) }];
        assert_eq!(Audit::of(&events, &[0, 1, 0]).duplicated, 0);
        assert_eq!(Audit::of(&events, &[0, 1, 0, 1, 0]).duplicated, 2);
    }

    #[test]
    fn the_99th_percentile_covers_only_acknowledged_events() {
        let events = |count: u64| {
            let waited = |n| {
                let event = sent(n, n, false);
                Sent { acknowledged: Some(event.first_sent_at + Duration::from_millis(n)), ..event }
            };
            (1..=count).map(waited).chain([sent(0, 0, false)]).collect::<Vec<_>>()
        };
        assert_eq!(p99(events(200).iter()), Some(Duration::from_millis(199)));
        assert_eq!(p99(events(1).iter()), Some(Duration::from_millis(1)));
        assert_eq!(p99(events(0).iter()), None);
    }

    #[test]
    fn a_resent_event_may_arrive_after_a_later_one() {
        let events = [sent(1, 3, true), sent(2, 2, true)];
        assert_eq!(Audit::of(&events, &[1, 0]).reordered, 0);
        assert_eq!(Audit::of(&events, &[0, 1]).reordered, 0);
    }
}
