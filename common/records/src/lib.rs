//! Durable records in MongoDB. Nothing outside this module names `mongodb`; ids and times go in and out as the domain's.
//!
//! Collections `users` and `videocalls` have the fields of the Node service that this system replaces, and what that
//! service wrote is read as it is: ids as ObjectId or text, numbers of any width, missing fields as their defaults.

mod account_figures;
mod call;
mod call_edits;
mod calls;
mod chat;
mod deliveries;
mod error;
mod fact_updates;
mod facts;
mod figures;
pub mod metric_catalog;
mod people;
mod sessions;
mod stored;
mod user;
mod users;

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, IndexOptions};
use mongodb::{Client, Collection, Database, IndexModel};

pub use account_figures::AccountFigures;
pub use call::CallRecord;
pub use calls::{CallFilter, CallOrder, CallPage};
pub use chat::{ChatPage, RecordedMessage};
pub use deliveries::{Delivery, DeliveryCounts, DeliveryOutcome, DueDeliveries};
pub use error::RecordsError;
pub use facts::{CallChange, CallDoor, CallEvent, CallFact, CallUpdate, ChatMessage, DeadFact, NewCall, Present};
pub use figures::CallFigures;
pub use people::{ParticipantRecord, PersonRecord, PresenceRecord};
pub use sessions::{NewSession, Rotation, SessionRecord};
pub use user::UserRecord;
pub use users::ProfileChange;

const DEFAULT_DATABASE: &str = "videocall-db";
/// How long a deleted call stays out of sight before it is gone: longer than its last facts can be on their way.
const DELETED_STAYS: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long to wait for MongoDB. Short, so that its absence is a quick 503 and not a pile of waiting requests.
#[derive(Clone, Copy, Debug)]
pub struct RecordsTimeouts {
    /// For a server that takes the operation to be found.
    pub select: Duration,
    /// For a whole operation, finding the server included.
    pub operation: Duration,
}

impl Default for RecordsTimeouts {
    fn default() -> Self {
        Self { select: Duration::from_millis(2_500), operation: Duration::from_secs(5) }
    }
}

/// The records. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Records {
    database: Database,
    users: Collection<UserRecord>,
    calls: Collection<Document>,
    deadline: Duration,
}

impl Records {
    /// Prepares the connections; they are made when first needed, so a process starts without MongoDB.
    /// The database is the one that `uri` names, else `videocall-db`.
    ///
    /// # Errors
    /// When `uri` is not a MongoDB address.
    pub async fn connect(uri: &str, timeouts: RecordsTimeouts) -> Result<Self, RecordsError> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name.get_or_insert_with(|| "switchboard".into());
        options.server_selection_timeout = Some(timeouts.select);
        options.connect_timeout = Some(timeouts.select);
        let client = Client::with_options(options)?;
        let database = client.default_database().unwrap_or_else(|| client.database(DEFAULT_DATABASE));
        let (users, calls) = (database.collection("users"), database.collection("videocalls"));
        Ok(Self { database, users, calls, deadline: timeouts.operation })
    }

    /// Makes the indexes that queries and uniqueness rest on. Idempotent; safe while other pods do the same.
    ///
    /// # Errors
    /// When MongoDB is away, or stored documents break uniqueness.
    pub async fn ensure_indexes(&self) -> Result<(), RecordsError> {
        let unique = || IndexOptions::builder().unique(true).build();
        let index = |keys, options| IndexModel::builder().keys(keys).options(options).build();
        let users = self.database.collection::<Document>("users");
        self.run("indexes", users.create_index(index(doc! { "email": 1 }, unique()))).await?;
        let only = |status: &str| IndexOptions::builder().partial_filter_expression(doc! { "status": status }).build();
        let calls = [
            index(doc! { "roomId": 1 }, unique()),
            index(doc! { "hostId": 1, "createdAt": -1 }, IndexOptions::default()),
            index(doc! { "participants.userId": 1, "createdAt": -1 }, IndexOptions::default()),
            index(doc! { "scheduledAt": 1 }, only("scheduled")),
            index(doc! { "updatedAt": 1 }, only("live")),
            index(doc! { "deletedAt": 1 }, IndexOptions::builder().expire_after(DELETED_STAYS).build()),
        ];
        self.run("indexes", self.calls.create_indexes(calls)).await?;
        self.ensure_session_indexes().await?;
        self.ensure_delivery_indexes().await?;
        self.ensure_fact_indexes().await
    }

    /// Whether MongoDB answers.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ping(&self) -> Result<(), RecordsError> {
        self.run("ping", self.database.run_command(doc! { "ping": 1 })).await.map(drop)
    }

    /// Every operation goes through here: the deadline, the metrics and the sorting of errors.
    async fn run<T>(
        &self,
        what: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RecordsError> {
        let started = Instant::now();
        let result = match tokio::time::timeout(self.deadline, operation.into_future()).await {
            Ok(result) => result.map_err(RecordsError::from),
            Err(_) => Err(RecordsError::Unavailable("no answer in time".into())),
        };
        let outcome = result.as_ref().map_or_else(RecordsError::label, |_| "ok");
        metrics::histogram!("switchboard_mongodb_seconds", "operation" => what, "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        result
    }
}
