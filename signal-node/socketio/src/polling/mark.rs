//! Which request it is, so that one that comes twice is dealt with once.
//!
//! When a connection breaks, a browser, an HTTP library or a proxy may repeat a request by itself; none of them can know whether it was
//! dealt with. Clients give requests a `t` of their own, meant to get past caches: the stock client each of them, python-engineio its
//! GETs. A repeat has the same.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What tells a request of a session from its others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Mark(u64);

impl Mark {
    /// Of a request with this `t` and body: a client that uses the same `t` for another body has not repeated anything.
    pub(in super::super) fn new(t: &str, body: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        (t, body).hash(&mut hasher);
        Self(hasher.finish())
    }
}
