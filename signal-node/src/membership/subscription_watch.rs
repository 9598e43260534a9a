//! Decides from canaries whether the subscription of a partition works.

use switchboard_rooms::NodeCheck;
use tokio::time::Instant;

/// Rounds after a canary was published, after which the subscription counts as lost if the canary
/// has not come.
const SILENT_ROUNDS_MAX: u32 = 2;

/// Canaries of one partition, from round to round.
#[derive(Debug, Default)]
pub(super) struct SubscriptionWatch {
    /// The canary that has not come yet.
    expected: Option<ExpectedCanary>,
    /// The subscription was declared lost, and no canary has come since.
    pub(super) silent: bool,
}

#[derive(Debug)]
struct ExpectedCanary {
    /// Redis TIME (ms) that it carries.
    ms: u64,
    published: Instant,
    /// Rounds since it was published.
    rounds: u32,
}

/// Result of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// Nothing new.
    Nothing,
    /// The canary came that was published at this time.
    Came(Instant),
    /// The subscription must be made again.
    Lost,
}

impl SubscriptionWatch {
    /// Begins a round. `canary_ms` is Redis TIME of the last canary that came.
    pub(super) fn observe(&mut self, canary_ms: u64) -> Observed {
        let Some(expected) = &mut self.expected else { return Observed::Nothing };
        if canary_ms >= expected.ms {
            let published = expected.published;
            (self.expected, self.silent) = (None, false);
            return Observed::Came(published);
        }
        expected.rounds += 1;
        if expected.rounds <= SILENT_ROUNDS_MAX {
            return Observed::Nothing;
        }
        (self.expected, self.silent) = (None, true);
        Observed::Lost
    }

    /// Records that a check sent at this time published a canary. Returns whether the subscription
    /// must be made again, because the canary had no receiver.
    pub(super) fn published(&mut self, check: &NodeCheck, sent: Instant) -> bool {
        if check.receivers == 0 {
            (self.expected, self.silent) = (None, true);
            return true;
        }
        let canary = ExpectedCanary { ms: check.time_ms, published: sent, rounds: 0 };
        // An earlier one that has not come counts on.
        self.expected.get_or_insert(canary);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(receivers: u64, time_ms: u64) -> NodeCheck {
        NodeCheck { receivers, time_ms, epoch: "e".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_does_not_come_in_two_rounds_means_that_the_subscription_is_lost() {
        let (mut watch, now) = (SubscriptionWatch::default(), Instant::now());
        assert_eq!(watch.observe(0), Observed::Nothing, "none was published");
        assert!(!watch.published(&check(1, 5), now));
        assert_eq!(watch.observe(5), Observed::Came(now));
        assert!(!watch.published(&check(1, 7), now));
        // Later canaries do not give it more time.
        assert_eq!([watch.observe(5), watch.observe(5)], [Observed::Nothing; 2]);
        assert!(!watch.published(&check(1, 9), now));
        assert_eq!(watch.observe(5), Observed::Lost);
        assert!(watch.published(&check(0, 11), now), "the canary had no receiver");
        assert_eq!(watch.observe(5), Observed::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_is_acknowledged_and_delivers_nothing_stays_silent_until_a_canary_comes() {
        let (mut watch, now) = (SubscriptionWatch::default(), Instant::now());
        for round in 1..20 {
            let _made_again = watch.observe(0);
            assert_eq!(watch.silent, round > 3, "round {round}");
            watch.published(&check(1, round), now);
        }
        watch.observe(30);
        assert!(!watch.silent);
    }
}
