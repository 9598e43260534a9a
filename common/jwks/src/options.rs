//! Times of the cache.

use std::time::Duration;

/// Times of the cache.
#[derive(Clone, Copy, Debug)]
pub struct JwksOptions {
    /// Time for which a set is used if its answer has no `Cache-Control: max-age`.
    pub lifetime: Duration,
    /// Shortest such time, whatever the answer says.
    pub lifetime_min: Duration,
    /// Longest such time. A removed key is accepted for no longer while the provider answers.
    pub lifetime_max: Duration,
    /// Time after it for which the set is still used while it cannot be read.
    pub stale: Duration,
    /// Time for which a token waits for a read.
    pub wait: Duration,
    /// Time limit of a read.
    pub timeout: Duration,
    /// Time after a failed read in which no other begins.
    pub retry_pause: Duration,
    /// Time after the begin of a read in which no token with an unknown key causes another.
    pub unknown_key_pause: Duration,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(300),
            lifetime_min: Duration::from_secs(60),
            lifetime_max: Duration::from_secs(900),
            stale: Duration::from_secs(3600),
            wait: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            retry_pause: Duration::from_secs(5),
            unknown_key_pause: Duration::from_secs(30),
        }
    }
}
