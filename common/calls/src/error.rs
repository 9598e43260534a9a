//! Why a use case failed.

use switchboard_core::domain::{Code, Refusal};
use switchboard_records::RecordsError;
use switchboard_rooms::StoreError;
use switchboard_rooms::rate_limit::Exceeded;

/// Why a use case failed. The caller turns it into a response of its own protocol.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The rules refuse the request.
    #[error("refused: {}", .0.code)]
    Refused(Refusal),
    /// No call has this room. REST and sockets have different codes for it.
    #[error("no call has this room")]
    NotFound,
    /// Too many wrong passcodes for this call: try again after the rate's time.
    #[error("too many attempts at the passcode")]
    PasscodeRateExceeded(Exceeded),
    /// Redis failed.
    #[error(transparent)]
    Rooms(#[from] StoreError),
    /// MongoDB failed.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Code> for CallError {
    fn from(code: Code) -> Self {
        Self::Refused(code.into())
    }
}
