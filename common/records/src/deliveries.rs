//! The queue of webhook events, in the collection `webhooks`: one document for each event and
//! endpoint.
//!
//! A delivery is written before its fact leaves the outbox, so that the death of a pod loses none.
//! It stays after delivery for inspection, and so that a fact that is recorded twice is not
//! delivered twice. An endpoint receives the events of one call one at a time, the oldest first.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, deserialize_from_document, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Collection, IndexModel};
use serde::{Deserialize, Serialize};

use super::bson::{date, date_to_bson, number};
use super::facts::{DUPLICATE_KEY, majority, write_errors};
use super::{Records, RecordsError};
use switchboard_core::domain::Timestamp;

/// Event for one endpoint: a document of `webhooks`. The struct has more than eight fields: it is
/// the document, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `<endpoint>/<event id>`, so that an endpoint has each event once.
    #[serde(rename = "_id")]
    pub id: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Permanent unique id of the event.
    pub event_id: String,
    /// Type of the event.
    pub event: String,
    /// Call of the event. Events of one call are delivered in order.
    pub call_id: String,
    /// Position among the events of the call, as text that sorts in order.
    pub order: String,
    /// Body of the request; the same bytes in every attempt.
    pub body: String,
    /// Number of attempts so far.
    #[serde(deserialize_with = "number")]
    pub attempts: u32,
    /// Time of the event.
    #[serde(with = "date")]
    pub created_at: Timestamp,
}

/// Pending deliveries of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDeliveries {
    /// Deliveries to send now.
    pub due: Vec<Delivery>,
    /// Time of the oldest pending event, due or not.
    pub oldest: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Facets {
    due: Vec<Delivery>,
    oldest: Vec<Delivery>,
}

/// Outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver accepted the event.
    Delivered,
    /// The attempt failed; another one follows.
    Postponed {
        /// Earliest time of the next attempt.
        until: Timestamp,
        /// Reason of the failure.
        problem: String,
    },
    /// Attempts failed for too long; no further one follows.
    GivenUp {
        /// Reason of the last failure.
        problem: String,
    },
}

/// Numbers of deliveries of an endpoint, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Not delivered yet.
    pub pending: u64,
    /// Delivered.
    pub delivered: u64,
    /// Given up.
    pub given_up: u64,
}

const DELIVERIES: &str = "webhooks";
const LEASES: &str = "webhookleases";
/// How long a delivery is kept for inspection. Longer than the longest time of attempts.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

impl Records {
    /// Queues deliveries. One that exists already stays unchanged.
    ///
    /// # Errors
    /// MongoDB is unavailable. Some may be queued; repeat the call with all of them.
    pub async fn queue_deliveries(&self, deliveries: &[Delivery]) -> Result<(), RecordsError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let mut documents = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let mut document = mongodb::bson::serialize_to_document(delivery)?;
            document.insert("state", "pending");
            document.insert("dueAt", date_to_bson(delivery.created_at));
            documents.push(document);
        }
        let insert =
            doc! { "insert": DELIVERIES, "documents": documents, "ordered": false, "writeConcern": majority() };
        let answer = self.run("queue_deliveries", |db| async move { db.database.run_command(insert).await }).await?;
        match write_errors(&answer)?.into_iter().find(|(_, error)| error.code != DUPLICATE_KEY) {
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
            None => Ok(()),
        }
    }

    /// Returns the deliveries to send to `endpoint` at `now`: the oldest pending one of each call
    /// if it is due. Returns at most `max`, the longest due first.
    ///
    /// # Errors
    /// MongoDB is unavailable, or a document is invalid.
    pub async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        max: usize,
    ) -> Result<DueDeliveries, RecordsError> {
        let due = vec![
            doc! { "$match": { "dueAt": { "$lte": date_to_bson(now) } } },
            doc! { "$sort": { "dueAt": 1, "order": 1 } },
            doc! { "$limit": i64::try_from(max).unwrap_or(i64::MAX) },
        ];
        let oldest = vec![doc! { "$sort": { "createdAt": 1 } }, doc! { "$limit": 1 }];
        let stages = vec![
            doc! { "$match": { "endpoint": endpoint, "state": "pending" } },
            // Sort along the index, so that MongoDB reads one document per call, not all pending
            // ones.
            doc! { "$sort": { "callId": 1, "order": 1 } },
            doc! { "$group": { "_id": "$callId", "head": { "$first": "$$ROOT" } } },
            doc! { "$replaceRoot": { "newRoot": "$head" } },
            doc! { "$facet": { "due": due, "oldest": oldest } },
        ];
        let all = self.run("due_deliveries", |db| async move {
            db.deliveries().aggregate(stages).max_time(db.timeouts.operation).await?.try_next().await
        });
        let found = all.await?;
        let Facets { due, oldest } = deserialize_from_document(found.unwrap_or_default())?;
        Ok(DueDeliveries { due, oldest: oldest.first().map(|delivery| delivery.created_at) })
    }

    /// Stores the outcome of an attempt.
    ///
    /// # Errors
    /// MongoDB is unavailable. The delivery stays due and is attempted again.
    pub async fn settle_delivery(
        &self,
        id: &str,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        let mut set = doc! { "triedAt": date_to_bson(now) };
        match outcome {
            DeliveryOutcome::Delivered => set.extend(doc! { "state": "delivered" }),
            DeliveryOutcome::Postponed { until, problem } => {
                set.extend(doc! { "dueAt": date_to_bson(*until), "problem": problem });
            }
            DeliveryOutcome::GivenUp { problem } => set.extend(doc! { "state": "given_up", "problem": problem }),
        }
        let update = doc! { "$set": set, "$inc": { "attempts": 1 } };
        let pending = doc! { "_id": id, "state": "pending" };
        self.run("settle_delivery", |db| async move { db.deliveries().update_one(pending, update).await })
            .await
            .map(drop)
    }

    /// Takes or renews the lease of an endpoint, for the duration `lease` by MongoDB's clock.
    /// Returns `false` if another token holds it.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn lease_endpoint(&self, endpoint: &str, token: &str, lease: Duration) -> Result<bool, RecordsError> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let free = doc! { "$or": [
            { "$eq": ["$owner", token] },
            { "$lte": [{ "$ifNull": ["$until", "$$NOW"] }, "$$NOW"] },
        ] };
        let take = vec![
            doc! { "$set": { "taken": free } },
            doc! { "$set": {
                "owner": { "$cond": ["$taken", token, "$owner"] },
                "until": { "$cond": ["$taken", { "$add": ["$$NOW", lease_ms] }, "$until"] },
            } },
            doc! { "$unset": "taken" },
        ];
        let this = doc! { "_id": endpoint };
        let taken = self.run("lease_endpoint", |db| async move {
            let leases = db.leases();
            leases.find_one_and_update(this, take).upsert(true).return_document(ReturnDocument::After).await
        });
        match taken.await {
            Ok(lease) => Ok(lease.is_some_and(|lease| lease.get_str("owner").is_ok_and(|owner| owner == token))),
            // Another pod inserted the lease at the same moment.
            Err(RecordsError::Duplicate) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Releases the lease of an endpoint if `token` holds it.
    ///
    /// # Errors
    /// MongoDB is unavailable. The lease expires.
    pub async fn release_endpoint(&self, endpoint: &str, token: &str) -> Result<(), RecordsError> {
        let mine = doc! { "_id": endpoint, "owner": token };
        self.run("release_endpoint", |db| async move { db.leases().delete_one(mine).await }).await.map(drop)
    }

    /// Counts the deliveries of an endpoint by state.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn delivery_counts(&self, endpoint: &str) -> Result<DeliveryCounts, RecordsError> {
        let count = async |state: &str| {
            let filter = doc! { "endpoint": endpoint, "state": state };
            self.run("delivery_counts", |db| async move { db.deliveries().count_documents(filter).await }).await
        };
        Ok(DeliveryCounts {
            pending: count("pending").await?,
            delivered: count("delivered").await?,
            given_up: count("given_up").await?,
        })
    }

    fn deliveries(&self) -> Collection<Document> {
        self.database.collection(DELIVERIES)
    }

    fn leases(&self) -> Collection<Document> {
        self.database.collection(LEASES)
    }

    pub(super) async fn ensure_delivery_indexes(&self) -> Result<(), RecordsError> {
        let expiring = IndexOptions::builder().expire_after(RETENTION).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "endpoint": 1, "state": 1, "callId": 1, "order": 1 }).build(),
            IndexModel::builder().keys(doc! { "createdAt": 1 }).options(expiring).build(),
        ];
        self.run("indexes", |db| async move { db.deliveries().create_indexes(indexes).await }).await.map(drop)
    }
}
