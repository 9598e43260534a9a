//! Start times of operations, independent of the servers' responses (open loop). A closed loop
//! sends fewer requests to a slow server and so hides the delay of the requests that it does not
//! send (coordinated omission). Pure, except for the random numbers of `Poisson`.

use std::time::Duration;

use clap::ValueEnum;

/// Distribution of arrivals over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Equal intervals.
    #[default]
    Even,
    /// Exponential intervals, as those of independent users.
    Poisson,
}

/// Endless iterator over start times, as offsets from the start of the run.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Mean interval in seconds.
    interval: f64,
    arrivals: Arrivals,
    produced: u64,
    /// Offset of the next Poisson arrival in seconds.
    at: f64,
}

impl Schedule {
    /// Creates a schedule with `rate` arrivals per second; `rate` must be above 0.
    pub(crate) fn new(rate: f64, arrivals: Arrivals) -> Self {
        Self { interval: 1.0 / rate.max(1e-6), arrivals, produced: 0, at: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    #[expect(clippy::cast_precision_loss, reason = "2^53 arrivals do not happen")]
    fn next(&mut self) -> Option<Duration> {
        let now = match self.arrivals {
            // Multiplied instead of summed, so that no error accumulates.
            Arrivals::Even => self.produced as f64 * self.interval,
            Arrivals::Poisson => {
                let now = self.at;
                self.at -= (1.0 - rand::random::<f64>()).ln() * self.interval;
                now
            }
        };
        self.produced += 1;
        Some(Duration::from_secs_f64(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_accumulate_no_error() {
        let mut schedule = Schedule::new(3.0, Arrivals::Even);
        assert_eq!(schedule.next(), Some(Duration::ZERO));
        assert_eq!(schedule.nth(2_999_999), Some(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn poisson_arrivals_are_in_order_and_have_the_requested_rate() {
        let moments: Vec<_> = Schedule::new(1000.0, Arrivals::Poisson).take(100_001).collect();
        assert!(moments.is_sorted());
        let seconds = moments.last().unwrap().as_secs_f64();
        // 100,000 exponential intervals: five standard deviations are 1.6 %.
        assert!((98.0..102.0).contains(&seconds), "{seconds}");
        let intervals: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let long = intervals.iter().filter(|interval| **interval > 0.002).count();
        // The expected share is e^-2.
        assert!((12_900..14_200).contains(&long), "{long}");
    }
}
