//! Options of the recorder.

use std::time::Duration;

/// Options of the recorder.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Time after which a partition becomes free when its owner does not renew the lease. The owner
    /// renews it four times in this time.
    pub lease: Duration,
    /// Pause before an empty outbox is read again.
    pub idle: Duration,
    /// Maximum number of facts that are read and written together.
    pub batch: usize,
    /// Maximum number of batches in memory at the same time. Together with `batch` it bounds the
    /// memory.
    pub writers: usize,
    /// Names of the webhook endpoints that receive events.
    pub webhooks: Vec<String>,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            idle: Duration::from_millis(250),
            batch: 500,
            writers: 4,
            webhooks: Vec::new(),
        }
    }
}
