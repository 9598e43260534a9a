//! Durable records in MongoDB. No other crate names `mongodb`; ids and times are the domain's
//! types.
//!
//! The collections `users` and `videocalls` have the fields of the old Node.js backend that
//! Switchboard replaces. Its documents are read unchanged: ids as ObjectId or text, numbers of any
//! width, missing fields as their defaults.
//!
//! | file | content |
//! |---|---|
//! | `apps` | apps and their API keys |
//! | `app_webhooks` | webhooks of apps |
//! | `usage` | usage of apps by day |
//! | `user`, `users` | a user's record; queries on `users` |
//! | `sessions` | sign-ins and their refresh tokens |
//! | `call`, `calls` | a call's record; queries on `videocalls` |
//! | `participants` | participants of a call; queries on `participants` |
//! | `call_position` | position of a call in a sorted list, as a cursor |
//! | `call_edits` | changes of a call by its host; deletion |
//! | `call_statistics`, `account_statistics` | statistics of a call; of a user's calls |
//! | `fact` | durable facts |
//! | `facts`, `fact_updates` | writes facts; how each fact changes a call's record |
//! | `line_budgets` | bounds on the lines in a call's log and chat |
//! | `participant_updates` | how each fact changes a participant's document |
//! | `chat` | recorded chat, and its erasure |
//! | `delivery`, `deliveries` | webhook event for an endpoint; queries on `webhooks` |
//! | `delivery_queues` | which webhook events are due |
//! | `requests` | idempotency keys of requests |
//! | `duplicates` | documents that have one value where each needs its own |
//! | `bson` | BSON forms of the domain's values |
//! | `schema`, `migrations` | version of the documents; the migrations from each to the next |
//! | `pool` | bounds on the operations in progress |
//! | `primaries` | whether the present primary has the indexes |
//! | `error`, `metric_catalog` | errors; metrics |

mod account_statistics;
mod app_webhooks;
mod apps;
mod bson;
mod call;
mod call_edits;
mod call_position;
mod call_statistics;
mod calls;
mod chat;
mod deliveries;
mod delivery;
mod delivery_queues;
mod duplicates;
mod error;
mod fact;
mod fact_updates;
mod facts;
mod line_budgets;
pub mod metric_catalog;
mod migrations;
mod participant_updates;
mod participants;
mod pool;
mod primaries;
mod requests;
mod schema;
mod sessions;
mod usage;
mod user;
mod users;

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, IndexOptions};
use mongodb::{Client, Collection, Database, IndexModel};

use pool::{Pool, Share};
use primaries::Primaries;

pub use account_statistics::AccountStatistics;
pub use app_webhooks::{APP_WEBHOOKS_MAX, AppWebhookEdit, AppWebhookRecord};
pub use apps::{APP_KEYS_MAX, APPS_MAX, AppEdit, AppKeyRecord, AppRecord};
pub use call::{CallRecord, PERIODS_MAX, Period};
pub use call_edits::HostedCall;
pub use call_position::{CallOrder, CallPosition};
pub use call_statistics::CallStatistics;
pub use calls::{CallFilter, CallPage, CallsOf, PageStart, SweepPosition};
pub use chat::{ChatPage, RecordedMessage};
pub use delivery::{
    Attempt, Delivery, DeliveryCounts, DeliveryFilter, DeliveryOutcome, DeliveryPosition, DeliveryRecord, DeliveryState,
};
pub use delivery_queues::{ClaimedQueue, DueQueues};
pub use duplicates::Duplicates;
pub use error::RecordsError;
pub use fact::{CallAccess, CallChange, CallEvent, CallFact, CallUpdate, ChatMessage, DeadFact, NewCall, Stay};
pub use line_budgets::{LineBudget, LineBudgets, RecordedLines};
pub use participants::{ParticipantCounts, ParticipantRecord, PresenceRecord, ProfileRecord};
pub use requests::RequestClaim;
pub use schema::Schema;
pub use sessions::{NewSession, Rotation, RotationTimes, SESSIONS_MAX, SessionRecord};
pub use usage::AppUsage;
pub use user::UserRecord;
pub use users::ProfileChange;

/// Name of the index of a host's calls.
const HOSTED: &str = "hosted";
/// Name of the index of an app's calls.
const OF_APP: &str = "of_app";
const DEFAULT_DATABASE: &str = "videocall-db";
/// How long the hidden record of a deleted call is kept: longer than its last facts can be on their
/// way.
const DELETED_CALL_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time limits for MongoDB. They are short, so that without MongoDB requests fail quickly with 503
/// instead of piling up.
#[derive(Clone, Copy, Debug)]
pub struct RecordsTimeouts {
    /// Time limit for finding a server that accepts the operation.
    pub select: Duration,
    /// Time limit for a free connection, and again for the operation, including finding a server.
    pub operation: Duration,
}

impl Default for RecordsTimeouts {
    fn default() -> Self {
        Self { select: Duration::from_millis(2_500), operation: Duration::from_secs(5) }
    }
}

/// Handle to the records. Clones share the connections.
#[derive(Clone)]
pub struct Records {
    database: Database,
    users: Collection<UserRecord>,
    calls: Collection<Document>,
    timeouts: RecordsTimeouts,
    pool: Pool,
    primaries: Primaries,
    share: Share,
    budgets: LineBudgets,
}

impl Records {
    /// Prepares the connection pool. Connections are opened when first needed, so that a process
    /// can start without MongoDB. If `uri` names no database, the database is `videocall-db`. Its
    /// `maxPoolSize` is the number of connections: 20 by default, at least 4.
    ///
    /// # Errors
    /// `uri` is not a valid MongoDB connection string.
    pub async fn connect(uri: &str, timeouts: RecordsTimeouts) -> Result<Self, RecordsError> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name.get_or_insert_with(|| "switchboard".into());
        options.server_selection_timeout = Some(timeouts.select);
        options.connect_timeout = Some(timeouts.select);
        let connections = pool::connections(options.max_pool_size);
        options.max_pool_size = Some(connections);
        let primaries = Primaries::default();
        options.sdam_event_handler = Some(primaries.handler());
        let client = Client::with_options(options)?;
        let database = client.default_database().unwrap_or_else(|| client.database(DEFAULT_DATABASE));
        let (users, calls) = (database.collection("users"), database.collection("videocalls"));
        let (pool, share, budgets) = (Pool::new(connections), Share::Requests, LineBudgets::default());
        Ok(Self { database, users, calls, timeouts, pool, primaries, share, budgets })
    }

    /// Returns a handle for work that no request waits for: recording, webhooks, sweeps. It has
    /// connections of its own, so that requests cannot take them all.
    #[must_use]
    pub fn for_recording(&self) -> Self {
        Self { share: Share::Recording, ..self.clone() }
    }

    /// Sets the most lines that one call has in its log and its chat.
    #[must_use]
    pub const fn with_line_budgets(mut self, budgets: LineBudgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Returns a handle for operations that read many documents.
    fn for_lists(&self) -> Self {
        Self { share: Share::Lists, ..self.clone() }
    }

    /// Creates the indexes that queries and unique values need. Idempotent; several pods may run it
    /// at the same time.
    ///
    /// # Errors
    /// MongoDB is unavailable, or stored documents violate a unique index (`NotUnique`).
    pub async fn ensure_indexes(&self) -> Result<(), RecordsError> {
        let _turn = self.primaries.turn().await;
        self.create_indexes().await
    }

    async fn create_indexes(&self) -> Result<(), RecordsError> {
        // Read first: a primary that appears meanwhile gets its indexes in the next run.
        let changes = self.primaries.changes();
        let unique = || IndexOptions::builder().unique(true).build();
        let index = |keys, options| IndexModel::builder().keys(keys).options(options).build();
        let email = index(doc! { "email": 1 }, unique());
        self.run("indexes", |db| async move { db.users.create_index(email).await }).await?;
        let only = |status: &str| IndexOptions::builder().partial_filter_expression(doc! { "status": status }).build();
        let has_app = doc! { "app": { "$exists": true } };
        let of_app = IndexOptions::builder().name(OF_APP.to_owned()).partial_filter_expression(has_app).build();
        let calls = [
            index(doc! { "roomId": 1 }, unique()),
            // Has every field that lists select and sort by, so that they read no record of a host.
            index(listed_by("hostId"), IndexOptions::builder().name(HOSTED.to_owned()).build()),
            index(listed_by("app"), of_app),
            // For calls whose participants are a list in the record.
            index(doc! { "participants.userId": 1, "createdAt": -1 }, IndexOptions::default()),
            index(doc! { "invitedUserIds": 1, "createdAt": -1 }, IndexOptions::default()),
            // For lists by title: with a collation, no other index finds ids that are text.
            index(doc! { "_id": 1, "title": 1 }, IndexOptions::builder().collation(calls::title_collation()).build()),
            index(doc! { "scheduledAt": 1 }, only("scheduled")),
            index(doc! { "updatedAt": 1 }, only("live")),
            index(doc! { "deletedAt": 1 }, IndexOptions::builder().expire_after(DELETED_CALL_RETENTION).build()),
        ];
        self.run("indexes", |db| async move { db.calls.create_indexes(calls).await }).await?;
        // Earlier versions made an index that `hosted` replaces. It may be gone.
        let old = self.run("indexes", |db| async move { db.calls.drop_index("hostId_1_createdAt_-1").await }).await;
        if let Err(error @ RecordsError::Unavailable(_)) = old {
            return Err(error);
        }
        self.ensure_participant_indexes().await?;
        self.ensure_session_indexes().await?;
        self.ensure_delivery_indexes().await?;
        self.ensure_app_indexes().await?;
        self.ensure_request_indexes().await?;
        self.ensure_usage_indexes().await?;
        self.ensure_fact_indexes().await?;
        self.primaries.indexed(changes);
        Ok(())
    }

    /// Returns the number of changes of the primary so far.
    #[must_use]
    pub fn primary_changes(&self) -> u64 {
        self.primaries.changes()
    }

    /// Waits for a change of the primary after this number of changes: the first connection, an
    /// election, and a server that has gone or come back, perhaps without its data.
    pub async fn primary_changed(&self, changes: u64) {
        self.primaries.changed(changes).await;
    }

    /// Creates the indexes if the primary has changed since they were created. Every write of a
    /// unique value begins with it. One caller creates them, and the others wait for it.
    ///
    /// # Errors
    /// MongoDB is unavailable, or stored documents violate a unique index (`NotUnique`).
    async fn ensure_unique(&self) -> Result<(), RecordsError> {
        if self.primaries.are_indexed() {
            return Ok(());
        }
        let turn = tokio::time::timeout(self.timeouts.operation, self.primaries.turn()).await;
        let _turn = turn.map_err(|_| RecordsError::Unavailable("the indexes are being created".to_owned()))?;
        if self.primaries.are_indexed() {
            return Ok(());
        }
        self.for_recording().create_indexes().await
    }

    /// Confirms a write of a unique value that has succeeded. If the primary changed meanwhile, the
    /// driver may have repeated the write on one without indexes; `undo` then removes the value,
    /// unless it proves to be unique.
    ///
    /// # Errors
    /// `Unavailable`: the value was removed, or MongoDB does not answer.
    async fn confirm_unique(&self, undo: impl AsyncFnOnce() -> Result<(), RecordsError>) -> Result<(), RecordsError> {
        if self.primaries.are_indexed() {
            return Ok(());
        }
        let Err(error) = self.ensure_unique().await else { return Ok(()) };
        undo().await?;
        Err(RecordsError::Unavailable(error.to_string()))
    }

    /// Checks that MongoDB answers.
    ///
    /// # Errors
    /// MongoDB does not answer in time.
    pub async fn ping(&self) -> Result<(), RecordsError> {
        self.run("ping", |db| async move { db.database.run_command(doc! { "ping": 1 }).await }).await.map(drop)
    }

    /// Runs one operation, with its bounds and its metrics. Every operation goes through here.
    ///
    /// The operation moves to the heap at once: callers' futures would otherwise hold all of it.
    fn run<T, F>(
        &self,
        name: &'static str,
        operation: impl FnOnce(Self) -> F,
    ) -> impl Future<Output = Result<T, RecordsError>> + Send
    where
        T: Send + 'static,
        F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    {
        let (operation, pool) = (Box::pin(operation(self.clone())), self.pool.clone());
        let (share, timeouts) = (self.share, self.timeouts);
        async move {
            let started = Instant::now();
            let result = pool.run(share, timeouts, operation).await;
            let outcome = result.as_ref().map_or_else(RecordsError::label, |_| "ok");
            metrics::histogram!("switchboard_mongodb_seconds", "operation" => name, "outcome" => outcome)
                .record(started.elapsed().as_secs_f64());
            result
        }
    }
}

/// Returns the keys of the index of the calls with one value of `field`.
fn listed_by(field: &str) -> Document {
    doc! {
        field: 1, "createdAt": -1, "_id": 1, "deletedAt": 1, "status": 1, "type": 1, "scheduledAt": 1,
        "startedAt": 1,
    }
}
