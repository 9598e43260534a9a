//! Reasons for which a request to the store fails.

/// Why a request to the store fails.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis did not answer in time, or the queue is full. The client gets `SERVICE_UNAVAILABLE`.
    #[error("redis did not answer in time")]
    Unavailable,
    /// Redis answered with a value that this version cannot read: a bug, or another program's data.
    #[error("unexpected answer from redis: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// An answer that cannot be read, named by the value that was expected.
    pub(crate) fn expected(what: &str) -> Self {
        Self::Unexpected(format!("expected {what}"))
    }
}
