//! The error of an operation on the records.
use mongodb::error::{ErrorKind, WriteFailure};

use switchboard_core::domain::{Code, Refusal};

/// MongoDB's error code for a violated unique index.
const DUPLICATE_KEY: i32 = 11_000;
/// Beginning of MongoDB's message when the documents violate an index that is to be created. An
/// update with a taken value is refused with the same code.
const INDEX_BUILD: &str = "Index build failed";
/// MongoDB's error codes for transient failures: a server that steps down, recovers or shuts down,
/// a write conflict, or an operation over its time limit.
const TRANSIENT: [i32; 11] = [
    50,     // MaxTimeMSExpired
    91,     // ShutdownInProgress
    112,    // WriteConflict
    189,    // PrimarySteppedDown
    262,    // ExceededTimeLimit
    10_058, // LegacyNotPrimary
    10_107, // NotWritablePrimary
    11_600, // InterruptedAtShutdown
    11_602, // InterruptedDueToReplStateChange
    13_435, // NotPrimaryNoSecondaryOk
    13_436, // NotPrimaryOrSecondary
];

/// Error of an operation on the records.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecordsError {
    /// MongoDB is unreachable or has no primary. The caller may retry.
    #[error("MongoDB is unavailable: {0}")]
    Unavailable(String),
    /// A unique value is taken.
    #[error("a unique value is taken")]
    Duplicate,
    /// Stored documents violate a unique index, which therefore cannot be created. Has the
    /// collection, the index, and one of the values.
    #[error("stored documents violate a unique index: {0}")]
    NotUnique(String),
    /// Another pod migrates the documents to this schema version. The caller may retry.
    #[error("another pod migrates the documents to schema version {0}")]
    Migrating(u32),
    /// This program cannot read the documents.
    #[error(
        "the documents have schema version {found}, and this program reads at most version {newest_readable}: \
         run the program that wrote them, or restore a backup from before it"
    )]
    SchemaTooNew {
        /// Version of the documents.
        found: u32,
        /// Latest version that this program reads.
        newest_readable: u32,
    },
    /// A stored document or an id is invalid.
    #[error("invalid record: {0}")]
    Corrupt(String),
    /// MongoDB refused the operation, because of a bug or a missing permission.
    #[error("MongoDB refused the operation: {0}")]
    Failed(String),
}

impl RecordsError {
    /// Returns whether a failure with this MongoDB error code is transient.
    pub(super) fn is_transient(code: i32) -> bool {
        TRANSIENT.contains(&code)
    }

    /// Returns the error's metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Duplicate => "duplicate",
            Self::NotUnique(_) => "not_unique",
            Self::Migrating(_) => "migrating",
            Self::SchemaTooNew { .. } => "schema_too_new",
            Self::Corrupt(_) => "corrupt",
            Self::Failed(_) => "failed",
        }
    }

    /// Returns the code of the refusal of a client's request.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) => Code::ServiceUnavailable,
            _ => Code::DatabaseError,
        }
    }
}

impl From<mongodb::error::Error> for RecordsError {
    fn from(error: mongodb::error::Error) -> Self {
        let code = match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(write)) => write.code,
            ErrorKind::Write(WriteFailure::WriteConcernError(write)) => write.code,
            ErrorKind::Command(command)
                if command.code == DUPLICATE_KEY && command.message.starts_with(INDEX_BUILD) =>
            {
                // "... :: caused by :: E11000 duplicate key error collection: ..."
                let cause = command.message.rsplit(" :: caused by :: ").next().unwrap_or_default();
                return Self::NotUnique(cause.to_owned());
            }
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
            code if Self::is_transient(code) => Self::Unavailable(error.to_string()),
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
    /// Logs the error, and returns a refusal without its details.
    fn from(error: RecordsError) -> Self {
        if let RecordsError::Unavailable(_) = error {
            tracing::warn!(%error, "MongoDB is unavailable");
        } else {
            tracing::error!(%error, "MongoDB operation failed");
        }
        error.code().into()
    }
}
