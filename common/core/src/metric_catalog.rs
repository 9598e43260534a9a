//! Declares the metrics of a service.
//!
//! A service registers its whole catalog at startup, so that `/metrics` shows every series from the
//! first scrape. Without this, a rate or an alert has no data until the first event occurs.

/// Prometheus metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Counter: only increases.
    Counter,
    /// Gauge: increases and decreases.
    Gauge,
    /// Histogram: distribution of observed values.
    Histogram,
}

/// Label sets that a metric has.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    /// One series, without labels.
    One,
    /// One series for each listed value of one label. All exist from startup.
    Each(&'static str, &'static [&'static str]),
    /// Series appear when they are first recorded. The set of label values must be bounded.
    Dynamic,
}

/// Declaration of one metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Metric name in Prometheus.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Series that exist.
    pub series: Series,
    /// Help text: one line.
    pub help: &'static str,
}

/// Declares a counter.
#[must_use]
pub const fn counter(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: MetricType::Counter, series, help }
}

/// Declares a gauge.
#[must_use]
pub const fn gauge(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: MetricType::Gauge, series, help }
}

/// Declares a histogram.
#[must_use]
pub const fn histogram(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: MetricType::Histogram, series, help }
}
