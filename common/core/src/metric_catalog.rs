//! What a service measures: the list that `/metrics` shows whole from the first scrape on, so that a rate or a ratio has data before
//! anything happened, and an alert never waits for a series to appear.

/// What sort of figure a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Which series a metric has.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    /// One, without labels.
    One,
    /// One for each of these values of a label; all there from the start.
    Each(&'static str, &'static [&'static str]),
    /// By labels whose values are bounded and become known as they occur.
    AsSeen,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What sort of figure.
    pub kind: Kind,
    /// Its series.
    pub series: Series,
    /// What it tells, in one line.
    pub help: &'static str,
}

/// A counter.
#[must_use]
pub const fn counts(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, series, help }
}

/// A gauge.
#[must_use]
pub const fn shows(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, series, help }
}

/// A histogram.
#[must_use]
pub const fn spreads(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, series, help }
}
