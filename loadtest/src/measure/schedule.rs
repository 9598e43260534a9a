//! When things are to be begun, however long the servers take: an open loop. Whoever waits for an answer before asking again asks a slow
//! server less, and never sees the delay of those who would have come meanwhile. Pure, but for the dice of `Poisson`.

use std::time::Duration;

use clap::ValueEnum;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Equal pauses.
    #[default]
    Even,
    /// Independent of each other, as people's are: exponential pauses.
    Poisson,
}

/// The moments of a run's beginnings, as offsets from its start; endless.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Seconds between two, on average.
    pause: f64,
    arrivals: Arrivals,
    made: u64,
    /// Seconds.
    at: f64,
}

impl Schedule {
    /// `rate` a second; more than 0.
    pub(crate) fn new(rate: f64, arrivals: Arrivals) -> Self {
        Self { pause: 1.0 / rate.max(1e-6), arrivals, made: 0, at: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    #[expect(clippy::cast_precision_loss, reason = "2^53 arrivals do not happen")]
    fn next(&mut self) -> Option<Duration> {
        let now = match self.arrivals {
            // Multiplied, not summed: no error builds up.
            Arrivals::Even => self.made as f64 * self.pause,
            Arrivals::Poisson => {
                let now = self.at;
                self.at -= (1.0 - rand::random::<f64>()).ln() * self.pause;
                now
            }
        };
        self.made += 1;
        Some(Duration::from_secs_f64(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_stay_on_the_beat_for_ever() {
        let mut schedule = Schedule::new(3.0, Arrivals::Even);
        assert_eq!(schedule.next(), Some(Duration::ZERO));
        assert_eq!(schedule.nth(2_999_999), Some(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn poisson_arrivals_come_in_order_at_the_rate_that_was_asked_for() {
        let moments: Vec<_> = Schedule::new(1000.0, Arrivals::Poisson).take(100_001).collect();
        assert!(moments.is_sorted());
        let seconds = moments.last().unwrap().as_secs_f64();
        // 100,000 exponential pauses: five standard deviations are 1.6 %.
        assert!((98.0..102.0).contains(&seconds), "{seconds}");
        let pauses: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let long = pauses.iter().filter(|pause| **pause > 0.002).count();
        // e^-2 of them.
        assert!((12_900..14_200).contains(&long), "{long}");
    }
}
