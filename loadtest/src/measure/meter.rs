//! Counters and latencies of a run. Only operations with an intended start inside the measurement
//! window count: neither the warm-up nor the time after the window.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;

/// Longest latency that a histogram can store: two minutes. Longer ones are stored as this.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Precision of the histograms.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Counters and histograms of microseconds, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricSet {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) times: BTreeMap<&'static str, Histogram<u64>>,
}

impl MetricSet {
    /// Adds to a counter.
    pub(crate) fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    /// Records a latency; one above [`LATENCY_MAX_US`] is stored as that.
    pub(crate) fn record(&mut self, name: &'static str, us: u64) {
        self.times.entry(name).or_insert_with(histogram).saturating_record(us.max(1));
    }

    /// Value of a counter; 0 when it does not exist.
    pub(crate) fn count_of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// Number of latencies under a name.
    pub(crate) fn recorded(&self, name: &str) -> u64 {
        self.times.get(name).map_or(0, Histogram::len)
    }

    /// Adds all values of `other` and resets them; `other` keeps its memory.
    pub(crate) fn merge(&mut self, other: &mut Self) {
        for (name, count) in &mut other.counts {
            *self.counts.entry(name).or_default() += std::mem::take(count);
        }
        for (name, times) in &mut other.times {
            self.times.entry(name).or_insert_with(histogram).add(&*times).expect("all histograms have the same bounds");
            times.reset();
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, SIGNIFICANT_DIGITS)
        .expect("the bounds are in order and there are 0 to 5 digits")
}

/// All metrics of a run, and its measurement window.
#[derive(Debug)]
pub(crate) struct Meter {
    epoch: Instant,
    shards: Box<[Mutex<Shard>]>,
}

/// Metrics of some clients. The bounds of the window are under the same lock, so that no operation
/// is judged by one bound at its start and by another at its end.
#[derive(Debug)]
struct Shard {
    window: Range<u64>,
    metrics: MetricSet,
}

impl Meter {
    /// Creates a meter with a closed window.
    pub(crate) fn new(shards: usize) -> Arc<Self> {
        let shard = || Mutex::new(Shard { window: u64::MAX..u64::MAX, metrics: MetricSet::default() });
        Arc::new(Self { epoch: Instant::now(), shards: (0..shards.max(1)).map(|_| shard()).collect() })
    }

    /// Microseconds since the meter was created: the clock of all timestamps.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Opens the window: operations with an intended start from the return on count.
    pub(crate) fn open_window(&self) {
        self.for_all_shards(|shard, now| shard.window = now..u64::MAX);
    }

    /// Opens the window, and drops what was counted since the last [`Meter::drain`]: operations of
    /// the last window that began after it. Their ends would not count in the new one.
    pub(crate) fn restart_window(&self) {
        self.for_all_shards(|shard, now| *shard = Shard { window: now..u64::MAX, metrics: MetricSet::default() });
    }

    /// Closes the window: operations with an intended start from the return on do not count.
    pub(crate) fn close_window(&self) {
        self.for_all_shards(|shard, now| shard.window.end = now);
    }

    /// Changes all shards at one moment, which is after every operation that has begun.
    fn for_all_shards(&self, change: impl Fn(&mut Shard, u64)) {
        let mut shards: Vec<_> = self.shards.iter().map(lock).collect();
        let now = self.now() + 1;
        shards.iter_mut().for_each(|shard| change(shard, now));
        drop(shards);
        while self.now() < now {
            std::hint::spin_loop();
        }
    }

    /// Returns and removes all metrics since the last call.
    pub(crate) fn drain(&self) -> MetricSet {
        let mut sum = MetricSet::default();
        for shard in &self.shards {
            sum.merge(&mut lock(shard).metrics);
        }
        sum
    }

    /// Returns a handle for a client; clients are spread over the shards.
    pub(crate) fn handle(self: &Arc<Self>, client: usize) -> MeterHandle {
        MeterHandle { shard: client % self.shards.len(), meter: Arc::clone(self) }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client's access to the meter.
#[derive(Clone, Debug)]
pub(crate) struct MeterHandle {
    meter: Arc<Meter>,
    shard: usize,
}

impl MeterHandle {
    /// Current time on the meter's clock.
    pub(crate) fn now(&self) -> u64 {
        self.meter.now()
    }

    /// Adds 1 to the counter of an operation with this intended start.
    pub(crate) fn count(&self, name: &'static str, intended: u64) {
        self.add(name, intended, 1);
    }

    /// Adds `more` to the counter of an operation with this intended start.
    pub(crate) fn add(&self, name: &'static str, intended: u64, more: u64) {
        self.if_in_window(intended, |metrics| metrics.count(name, more));
    }

    /// Records the latency from the intended start until now.
    pub(crate) fn record_since(&self, name: &'static str, intended: u64) {
        let took = self.now().saturating_sub(intended);
        self.if_in_window(intended, |metrics| metrics.record(name, took));
    }

    /// Records a latency of `us` microseconds for an operation with this intended start.
    pub(crate) fn record(&self, name: &'static str, intended: u64, us: u64) {
        self.if_in_window(intended, |metrics| metrics.record(name, us));
    }

    fn if_in_window(&self, intended: u64, write: impl FnOnce(&mut MetricSet)) {
        let mut shard = lock(&self.meter.shards[self.shard]);
        if shard.window.contains(&intended) {
            write(&mut shard.metrics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_shards_equal_one_histogram_of_all_values() {
        let (meter, mut one) = (Meter::new(3), MetricSet::default());
        meter.open_window();
        let intended = meter.now();
        for client in 0..9 {
            for us in (1..5_000).step_by(7) {
                meter.handle(client).record("a", intended, us * (client as u64 + 1));
                meter.handle(client).count("b", intended);
                one.record("a", us * (client as u64 + 1));
            }
        }
        let mut sum = meter.drain();
        let (got, expected) = (&sum.times["a"], &one.times["a"]);
        assert_eq!(got, expected);
        assert_eq!((sum.count_of("b"), sum.recorded("a")), (expected.len(), expected.len()));
        let mut rest = meter.drain();
        assert_eq!((rest.count_of("b"), rest.recorded("a")), (0, 0));
        sum.merge(&mut rest);
        assert_eq!(sum.recorded("a"), expected.len());
    }

    #[test]
    fn operations_that_are_scheduled_outside_the_window_do_not_count() {
        let meter = Meter::new(1);
        let handle = meter.handle(0);
        handle.count("a", handle.now());
        meter.open_window();
        let inside = handle.now();
        handle.count("a", inside);
        while handle.now() == inside {}
        meter.close_window();
        // The answer arrives after the window, but the intended start was inside it.
        handle.record_since("b", inside);
        handle.count("a", handle.now());
        let metrics = meter.drain();
        assert_eq!((metrics.count_of("a"), metrics.recorded("b")), (1, 1));
    }

    #[test]
    fn an_operation_that_begins_late_is_not_half_in_the_next_window() {
        let meter = Meter::new(2);
        let (one, other) = (meter.handle(0), meter.handle(1));
        meter.open_window();
        let intended = one.now();
        meter.close_window();
        assert_eq!(meter.drain().count_of("started"), 0);
        one.count("started", intended);
        other.count("started", intended);
        meter.restart_window();
        one.record_since("ended", intended);
        other.count("started", other.now());
        let metrics = meter.drain();
        assert_eq!((metrics.count_of("started"), metrics.recorded("ended")), (1, 0));
    }

    #[test]
    fn a_duration_above_the_maximum_is_recorded_as_the_maximum() {
        let mut metrics = MetricSet::default();
        metrics.record("a", u64::MAX);
        metrics.record("a", 0);
        assert_eq!(metrics.recorded("a"), 2);
        assert!(metrics.times["a"].max() >= LATENCY_MAX_US);
    }
}
