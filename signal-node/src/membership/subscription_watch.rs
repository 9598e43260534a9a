//! Decides from heartbeats and canaries whether the subscription of a partition works.

use switchboard_rooms::Beat;

/// Heartbeats without a canary after which the subscription counts as lost.
const SILENT_BEATS_MAX: u32 = 2;

/// Canaries of one partition, from heartbeat to heartbeat.
#[derive(Debug, Default)]
pub(super) struct SubscriptionWatch {
    /// Redis TIME (ms) of the last canary.
    pub(super) canary_ms: u64,
    /// Heartbeats since the last canary.
    silent_beats: u32,
    /// The subscription was declared lost, and no canary has come since.
    pub(super) silent: bool,
}

impl SubscriptionWatch {
    /// Returns whether the subscription must be made again: the canary of this heartbeat had no
    /// receiver, or no canary came for [`SILENT_BEATS_MAX`] heartbeats. `first`: this node was
    /// registered with this heartbeat, so that its first canary is still in transit.
    pub(super) fn observe(&mut self, canary_ms: u64, beat: &Beat, first: bool) -> bool {
        let came = std::mem::replace(&mut self.canary_ms, canary_ms) != canary_ms;
        self.silent_beats = if came || first { 0 } else { self.silent_beats + 1 };
        let lost = beat.receivers == 0 || self.silent_beats >= SILENT_BEATS_MAX;
        if lost {
            self.silent_beats = 0;
        }
        self.silent = lost || (self.silent && !came);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(receivers: u64) -> Beat {
        Beat { receivers, time_ms: 0, epoch: "e".to_owned(), nodes: Vec::new() }
    }

    #[test]
    fn no_canary_for_two_heartbeats_means_that_the_subscription_is_lost() {
        let mut watch = SubscriptionWatch::default();
        assert!(!watch.observe(0, &beat(1), true), "the first canary is in transit");
        assert!(!watch.observe(5, &beat(1), false));
        assert!(!watch.observe(5, &beat(1), false));
        assert!(watch.observe(5, &beat(1), false));
        assert!(watch.observe(9, &beat(0), false), "the canary had no receiver");
    }

    #[test]
    fn a_subscription_that_is_acknowledged_and_delivers_nothing_stays_silent_until_a_canary_comes() {
        let mut watch = SubscriptionWatch::default();
        // Returns the value of the gauge after each heartbeat. The subscription is made again each
        // time that it is declared lost.
        let mut silent = |canary_ms| {
            let first = canary_ms == 0;
            let _made_again = watch.observe(canary_ms, &beat(1), first);
            watch.silent
        };
        assert_eq!([0, 5, 5].map(&mut silent), [false; 3]);
        assert_eq!([5; 10].map(&mut silent), [true; 10]);
        assert_eq!([8, 9].map(&mut silent), [false; 2]);
    }
}
