//! Options of the recorder.

use std::time::Duration;

/// Options of the recorder.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Time after which a partition becomes free when its owner does not renew the lease. The owner
    /// renews it at least four times in this time, also while another server of Redis does not
    /// answer.
    pub lease: Duration,
    /// Time from one flush to the next, unless facts are left over: the longest time that a fact
    /// waits until it is written.
    pub flush_interval: Duration,
    /// Maximum number of facts in one command to MongoDB.
    pub batch: usize,
    /// Maximum number of batches that are written at the same time. A flush has `batch` facts for
    /// each of them at most, which bounds the memory.
    pub writers: usize,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(10), flush_interval: Duration::from_millis(100), batch: 500, writers: 4 }
    }
}
