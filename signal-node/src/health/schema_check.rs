//! Whether this node can read the documents in MongoDB.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard_records::{RecordsError, Schema};
use tokio_util::sync::CancellationToken;

/// Pause between two reads of the schema version.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Outcome of reading the schema version at the start. Clones share it.
///
/// A node is ready without MongoDB, so it does not wait for the outcome. It is not ready if it is
/// too old for the documents.
#[derive(Clone, Debug, Default)]
pub struct SchemaCheck(Arc<Mutex<Option<String>>>);

impl SchemaCheck {
    /// Reads the schema version until this node can read the documents, or until `stop`.
    pub async fn run(self, schema: Schema, stop: CancellationToken) {
        loop {
            let checked = tokio::select! {
                checked = schema.check() => checked,
                () = stop.cancelled() => return,
            };
            match checked {
                Ok(_) => return self.set(None),
                Err(error @ RecordsError::SchemaTooNew { .. }) => {
                    if self.problem().is_none() {
                        tracing::error!(%error, "this node is too old for the documents");
                    }
                    self.set(Some(error.to_string()));
                }
                // MongoDB is away. What needs it says so.
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Returns why this node cannot read the documents.
    pub(super) fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
