//! Detection of repeated HTTP requests, so that each request is processed once.
//!
//! When a connection breaks, a browser, an HTTP library or a proxy may repeat a request by itself.
//! None of them can know whether the server has processed it. Clients send a parameter `t` against
//! caches: the stock client in each request, python-engineio in its GETs. A repeated request has
//! the same `t`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Hash that distinguishes a request of a session from its other requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Hashes the `t` and the body. Two requests with the same `t` and different bodies are not
    /// repetitions of each other.
    pub(super) fn new(t: &str, body: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        (t, body).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Hashes the `t` of an opening request, if it has one.
    pub(crate) fn of_opening(t: Option<&str>) -> Option<Self> {
        t.map(|t| Self::new(t, &[]))
    }
}
