//! The name of a Socket.IO namespace.

use std::sync::Arc;

/// Name of a namespace. The main namespace, `/`, allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace(Option<Arc<str>>);

impl Namespace {
    /// Creates a namespace from its name, which starts with `/`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self((name != "/").then(|| name.into()))
    }

    /// Returns the name; `/` for the main namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }
}
