//! Refusals for failures of the stores and of the use cases in `switchboard_calls`.

use switchboard_calls::CallError;
use switchboard_core::domain::{Code, Refusal};
use switchboard_rooms::StoreError;

/// Returns the refusal for a failure of Redis. Logs it only if the reply was unexpected, because
/// `redis_health` reports a Redis that is unavailable.
pub(super) fn store_refusal(error: StoreError) -> Refusal {
    if let StoreError::Unexpected(detail) = &error {
        tracing::error!(detail, "unexpected reply of the store");
    }
    Code::ServiceUnavailable.into()
}

/// Returns the refusal of a command that would outlast the absence of the host.
pub(super) fn stands_in() -> Refusal {
    Refusal::new(Code::Forbidden, "Only the host of the call may do this, and you stand in for the host")
}

/// Returns the refusal for a failed use case.
pub(super) fn call_refusal(error: CallError) -> Refusal {
    match error {
        CallError::Refused(refusal) => refusal,
        CallError::NotFound => Code::RoomNotFound.into(),
        CallError::PasscodeRateExceeded(exceeded) => exceeded.into(),
        CallError::Rooms(error) => store_refusal(error),
        CallError::Records(error) => {
            tracing::warn!(%error, "reading the record of a call failed");
            Code::ServiceUnavailable.into()
        }
    }
}
