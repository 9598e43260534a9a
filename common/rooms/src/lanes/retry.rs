//! The meaning of error replies: which requests are sent again, and why.

use redis::{ServerErrorKind, Value};

use crate::StoreError;
use crate::conn::connection::{ConnectionError, server_words};

/// Codes of a server that refuses writes, or everything while a script runs for too long.
const REFUSED_NOW: [&str; 4] = ["NOREPLICAS", "MISCONF", "OOM", "BUSY"];

/// Why a request is sent again, the worst reason last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RetryReason {
    /// The scripts were flushed.
    NoScript,
    /// The slot is moving between two servers.
    SlotMoving,
    /// Another server has the slot.
    SlotMoved,
    /// The server refuses the request at present, so it had no effect: the server has too few
    /// replicas, cannot write to its disk, its memory is full, or a script runs for too long. A
    /// script may have read before that.
    RefusedNow,
    /// The connection is lost, or the server does not serve at present: it is loading, demoted or
    /// unreachable, or did not answer in time.
    NotServing,
}

/// Returns the error of a request that failed for good, if the reply says so.
pub(crate) fn refusal(value: &Value) -> Option<StoreError> {
    match value {
        Value::ServerError(error) => {
            Some(StoreError::Unexpected(format!("{} {}", error.code(), error.details().unwrap_or(""))))
        }
        _ => None,
    }
}

/// Returns the error of a server that does not serve, or not writes, at present, if the reply is
/// one.
pub(crate) fn not_serving(value: &Value) -> Option<ConnectionError> {
    match value {
        Value::ServerError(error) if retry_reason(value) >= Some(RetryReason::RefusedNow) => {
            Some(ConnectionError::Refused(server_words(error)))
        }
        Value::Array(values) => values.iter().find_map(not_serving),
        _ => None,
    }
}

/// Returns why a request has to be sent again, if the reply says that it was not executed. Looks
/// into the reply of EXEC too.
pub(crate) fn retry_reason(value: &Value) -> Option<RetryReason> {
    match value {
        Value::ServerError(error) => match error.kind() {
            Some(ServerErrorKind::NoScript) => Some(RetryReason::NoScript),
            Some(ServerErrorKind::TryAgain | ServerErrorKind::Ask) => Some(RetryReason::SlotMoving),
            Some(ServerErrorKind::Moved) => Some(RetryReason::SlotMoved),
            Some(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly,
            ) => Some(RetryReason::NotServing),
            // A script is refused at its first write. After one write it may do all others.
            _ => REFUSED_NOW.contains(&error.code()).then_some(RetryReason::RefusedNow),
        },
        Value::Array(values) => {
            values.iter().filter(|value| matches!(value, Value::ServerError(_))).find_map(retry_reason)
        }
        _ => None,
    }
}
