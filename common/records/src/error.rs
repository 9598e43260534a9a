//! Why an operation on the records came to nothing.

use mongodb::error::{ErrorKind, WriteFailure};

use switchboard_core::domain::{Code, Refusal};

/// MongoDB's code for a broken unique index.
const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that is stepping down, recovering or shutting down, and of a write that met another: the operation is taken soon.
const PASSING: [i32; 9] = [91, 112, 189, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436];

/// Why an operation on the records came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecordsError {
    /// MongoDB is away or has no primary: try again soon.
    #[error("mongodb is not available: {0}")]
    Unavailable(String),
    /// Something unique is there already.
    #[error("a unique value is taken")]
    Duplicate,
    /// A stored document, or an id, makes no sense.
    #[error("a record could not be read: {0}")]
    Corrupt(String),
    /// MongoDB refused the operation: a bug, or a missing permission.
    #[error("mongodb refused: {0}")]
    Failed(String),
}

impl RecordsError {
    /// Whether a failure with this code of MongoDB's passes by itself.
    pub(super) fn passes(code: i32) -> bool {
        PASSING.contains(&code)
    }

    /// The metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Duplicate => "duplicate",
            Self::Corrupt(_) => "corrupt",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<mongodb::error::Error> for RecordsError {
    fn from(error: mongodb::error::Error) -> Self {
        let code = match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(write)) => write.code,
            ErrorKind::Write(WriteFailure::WriteConcernError(write)) => write.code,
            ErrorKind::Command(command) => command.code,
            ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) | ErrorKind::Bson(_) => {
                return Self::Corrupt(error.to_string());
            }
            ErrorKind::InvalidArgument { .. } | ErrorKind::Authentication { .. } => {
                return Self::Failed(error.to_string());
            }
            _ => return Self::Unavailable(error.to_string()),
        };
        match code {
            DUPLICATE_KEY => Self::Duplicate,
            code if Self::passes(code) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<mongodb::bson::error::Error> for RecordsError {
    fn from(error: mongodb::bson::error::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<RecordsError> for Refusal {
    /// Logs the failure, once and here, and keeps its details from the client.
    fn from(error: RecordsError) -> Self {
        if let RecordsError::Unavailable(_) = error {
            tracing::warn!(%error, "the records are away");
            return Code::ServiceUnavailable.into();
        }
        tracing::error!(%error, "an operation on the records failed");
        Code::DatabaseError.into()
    }
}
