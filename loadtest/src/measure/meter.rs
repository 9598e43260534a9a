//! Counts and times of a run. Only what was meant to begin while the window is open counts: not the warm-up, nor the last answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;

/// The longest time that a histogram tells from longer ones: two minutes.
const LONGEST_US: u64 = 120_000_000;
/// Of three significant digits.
const DIGITS: u8 = 3;

/// Counts, and histograms of microseconds, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) times: BTreeMap<&'static str, Histogram<u64>>,
}

impl Tally {
    /// Adds to a count.
    pub(crate) fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    /// Notes a time; one beyond the longest is noted as that.
    pub(crate) fn time(&mut self, name: &'static str, us: u64) {
        self.times.entry(name).or_insert_with(histogram).saturating_record(us.max(1));
    }

    /// A count; 0 for one that never was.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// How many times were noted under a name.
    pub(crate) fn timed(&self, name: &str) -> u64 {
        self.times.get(name).map_or(0, Histogram::len)
    }

    /// Adds everything of another, which is empty afterwards and keeps its memory.
    pub(crate) fn take(&mut self, other: &mut Self) {
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
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are in order and there are 0 to 5 digits")
}

/// Everything that is noted of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    epoch: Instant,
    opens: AtomicU64,
    closes: AtomicU64,
    shards: Box<[Mutex<Tally>]>,
}

impl Meter {
    /// A meter whose window is closed.
    pub(crate) fn new(shards: usize) -> Arc<Self> {
        let shards = (0..shards.max(1)).map(|_| Mutex::default()).collect();
        Arc::new(Self {
            epoch: Instant::now(),
            opens: AtomicU64::new(u64::MAX),
            closes: AtomicU64::new(u64::MAX),
            shards,
        })
    }

    /// Microseconds since the meter was made: the clock of every stamp.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What is meant to begin from now on counts.
    pub(crate) fn open(&self) {
        self.closes.store(u64::MAX, Ordering::Relaxed);
        self.opens.store(self.now(), Ordering::Relaxed);
    }

    /// What is meant to begin from now on does not.
    pub(crate) fn close(&self) {
        self.closes.store(self.now(), Ordering::Relaxed);
    }

    fn is_open_at(&self, meant: u64) -> bool {
        meant >= self.opens.load(Ordering::Relaxed) && meant < self.closes.load(Ordering::Relaxed)
    }

    /// Takes everything that was noted since the last time.
    pub(crate) fn drain(&self) -> Tally {
        let mut sum = Tally::default();
        for shard in &self.shards {
            sum.take(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }

    /// Where the client of this number notes.
    pub(crate) fn pen(self: &Arc<Self>, client: usize) -> Pen {
        Pen { shard: client % self.shards.len(), meter: Arc::clone(self) }
    }
}

/// A client's hand on the meter.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    meter: Arc<Meter>,
    shard: usize,
}

impl Pen {
    /// The meter's clock.
    pub(crate) fn now(&self) -> u64 {
        self.meter.now()
    }

    /// Counts one of what was meant to begin then.
    pub(crate) fn count(&self, name: &'static str, meant: u64) {
        self.add(name, meant, 1);
    }

    /// Counts several.
    pub(crate) fn add(&self, name: &'static str, meant: u64, more: u64) {
        self.note(meant, |tally| tally.count(name, more));
    }

    /// Notes how long it took from the moment that was meant until now.
    pub(crate) fn time(&self, name: &'static str, meant: u64) {
        let took = self.now().saturating_sub(meant);
        self.note(meant, |tally| tally.time(name, took));
    }

    /// Notes a time of its own, of something that was meant to begin then.
    pub(crate) fn took(&self, name: &'static str, meant: u64, us: u64) {
        self.note(meant, |tally| tally.time(name, us));
    }

    fn note(&self, meant: u64, write: impl FnOnce(&mut Tally)) {
        if self.meter.is_open_at(meant) {
            write(&mut self.meter.shards[self.shard].lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_merge_into_what_one_histogram_would_have_held() {
        let (meter, mut one) = (Meter::new(3), Tally::default());
        meter.open();
        let meant = meter.now();
        for client in 0..9 {
            for us in (1..5_000).step_by(7) {
                meter.pen(client).took("a", meant, us * (client as u64 + 1));
                meter.pen(client).count("b", meant);
                one.time("a", us * (client as u64 + 1));
            }
        }
        let mut sum = meter.drain();
        let (got, expected) = (&sum.times["a"], &one.times["a"]);
        assert_eq!(got, expected);
        assert_eq!((sum.counted("b"), sum.timed("a")), (expected.len(), expected.len()));
        let mut rest = meter.drain();
        assert_eq!((rest.counted("b"), rest.timed("a")), (0, 0));
        sum.take(&mut rest);
        assert_eq!(sum.timed("a"), expected.len());
    }

    #[test]
    fn only_what_was_meant_to_begin_in_the_window_counts() {
        let meter = Meter::new(1);
        let pen = meter.pen(0);
        pen.count("a", pen.now());
        meter.open();
        let inside = pen.now();
        pen.count("a", inside);
        while pen.now() == inside {}
        meter.close();
        // The answer comes late: what counts is when it was meant to begin.
        pen.time("b", inside);
        pen.count("a", pen.now());
        let tally = meter.drain();
        assert_eq!((tally.counted("a"), tally.timed("b")), (1, 1));
    }

    #[test]
    fn a_time_beyond_the_longest_is_kept_as_the_longest() {
        let mut tally = Tally::default();
        tally.time("a", u64::MAX);
        tally.time("a", 0);
        assert_eq!(tally.timed("a"), 2);
        assert!(tally.times["a"].max() >= LONGEST_US);
    }
}
