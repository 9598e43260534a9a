//! What became of every event that a client sent to its partner. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// One event, as its sender remembers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it was first sent.
    pub(crate) born: Instant,
    /// The number of its first attempt, among all attempts of its sender.
    pub(crate) first: u64,
    /// The number of its last attempt.
    pub(crate) last: u64,
    /// When it was acknowledged.
    pub(crate) acknowledged: Option<Instant>,
}

/// The audit of one direction of a pair, or the sum of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) acknowledged: usize,
    /// Acknowledged, and never received.
    pub(crate) lost: usize,
    /// Received more than once.
    pub(crate) doubled: usize,
    /// Received after an event that was first sent when this one had been sent for the last time.
    pub(crate) reordered: usize,
}

impl Audit {
    /// Compares what was sent, by number, with the numbers received, in their order.
    pub(crate) fn of(sent: &[Sent], received: &[usize]) -> Self {
        let mut times = vec![0_usize; sent.len()];
        let (mut newest, mut reordered) = (0, 0);
        for number in received {
            let Some(event) = sent.get(*number) else { continue };
            times[*number] += 1;
            // A repeated one is counted as such.
            if times[*number] == 1 {
                reordered += usize::from(event.last < newest);
                newest = newest.max(event.first);
            }
        }
        let acknowledged = sent.iter().filter(|event| event.acknowledged.is_some()).count();
        let lost =
            sent.iter().zip(&times).filter(|(event, times)| event.acknowledged.is_some() && **times == 0).count();
        let doubled = times.iter().filter(|times| **times > 1).count();
        Self { acknowledged, lost, doubled, reordered }
    }
}

impl std::ops::AddAssign for Audit {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}

/// The 99th percentile of how long these events waited for their acknowledgement; `None` when none was acknowledged.
pub(crate) fn p99<'a>(events: impl Iterator<Item = &'a Sent>) -> Option<Duration> {
    let mut waited: Vec<_> = events.filter_map(|event| Some(event.acknowledged? - event.born)).collect();
    waited.sort_unstable();
    waited.get((waited.len() * 99 / 100).min(waited.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(first: u64, last: u64, acknowledged: bool) -> Sent {
        let born = Instant::now();
        Sent { born, first, last, acknowledged: acknowledged.then_some(born) }
    }

    #[test]
    fn lost_doubled_and_reordered_events_are_counted() {
        let events = [sent(1, 1, true), sent(2, 2, true), sent(3, 3, true), sent(4, 4, false)];
        assert_eq!(Audit::of(&events, &[0, 1, 2]), Audit { acknowledged: 3, ..Audit::default() });
        let found = Audit::of(&events, &[2, 0, 0]);
        assert_eq!(found, Audit { acknowledged: 3, lost: 1, doubled: 1, reordered: 1 });
    }

    #[test]
    fn the_99th_percentile_is_of_the_acknowledged_events() {
        let events = |count: u64| {
            let waited = |n| {
                let event = sent(n, n, false);
                Sent { acknowledged: Some(event.born + Duration::from_millis(n)), ..event }
            };
            (1..=count).map(waited).chain([sent(0, 0, false)]).collect::<Vec<_>>()
        };
        assert_eq!(p99(events(200).iter()), Some(Duration::from_millis(199)));
        assert_eq!(p99(events(1).iter()), Some(Duration::from_millis(1)));
        assert_eq!(p99(events(0).iter()), None);
    }

    #[test]
    fn an_event_sent_again_after_a_later_one_may_come_after_it() {
        let events = [sent(1, 3, true), sent(2, 2, true)];
        assert_eq!(Audit::of(&events, &[1, 0]).reordered, 0);
        assert_eq!(Audit::of(&events, &[0, 1]).reordered, 0);
    }
}
