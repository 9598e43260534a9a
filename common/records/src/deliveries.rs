//! What is to be told to webhooks, in `webhooks`: one document for each event and endpoint, written before the fact leaves the outbox, so
//! that no death of a pod loses one. It stays after its delivery, for people to look at, and keeps a fact that is recorded again from
//! being told again.
//!
//! Of each call an endpoint is told one event at a time, the oldest that is pending.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, deserialize_from_document, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Collection, IndexModel};
use serde::{Deserialize, Serialize};

use super::facts::{DUPLICATE_KEY, majority, write_errors};
use super::stored::{date, date_to_bson, number};
use super::{Records, RecordsError};
use switchboard_core::domain::Timestamp;

/// One event for one endpoint. Over eight fields: it is a document of `webhooks`, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `<endpoint>/<event id>`: an endpoint has each event once.
    #[serde(rename = "_id")]
    pub id: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// The event's id, unique for good.
    pub event_id: String,
    /// The event's type.
    pub event: String,
    /// Events of one call are told in their order.
    pub call_id: String,
    /// Its place among them, as text that sorts.
    pub order: String,
    /// What is sent, byte for byte, whenever it is.
    pub body: String,
    /// How often it was tried.
    #[serde(deserialize_with = "number")]
    pub attempts: u32,
    /// When it happened.
    #[serde(with = "date")]
    pub created_at: Timestamp,
}

/// What waits for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDeliveries {
    /// To be sent now.
    pub due: Vec<Delivery>,
    /// When the oldest happened that the endpoint has not taken yet, due or not.
    pub oldest: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Facets {
    due: Vec<Delivery>,
    oldest: Vec<Delivery>,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// To be tried again.
    Postponed {
        /// Not before.
        until: Timestamp,
        /// Why it failed.
        problem: String,
    },
    /// Tried for too long.
    GivenUp {
        /// Why it failed last.
        problem: String,
    },
}

/// How many deliveries of an endpoint are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// To be told.
    pub pending: u64,
    /// Told.
    pub delivered: u64,
    /// Never told.
    pub given_up: u64,
}

const DELIVERIES: &str = "webhooks";
const LEASES: &str = "webhookleases";
/// How long a delivery can be looked at. Longer than any is tried.
const STAYS: Duration = Duration::from_secs(30 * 24 * 3600);

impl Records {
    /// Queues deliveries; one that is there already stays as it is.
    ///
    /// # Errors
    /// When MongoDB is away; some may be queued by then. Say all of them again.
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
        let answer = self.run("queue_deliveries", self.database.run_command(insert)).await?;
        match write_errors(&answer)?.into_iter().find(|(_, error)| error.code != DUPLICATE_KEY) {
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
            None => Ok(()),
        }
    }

    /// What is to be sent to `endpoint` at `now`: of each call the oldest pending delivery, when it is due; at most `most`, those that are
    /// due for longest.
    ///
    /// # Errors
    /// When MongoDB is away or a document makes no sense.
    pub async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        most: usize,
    ) -> Result<DueDeliveries, RecordsError> {
        let due = vec![
            doc! { "$match": { "dueAt": { "$lte": date_to_bson(now) } } },
            doc! { "$sort": { "dueAt": 1, "order": 1 } },
            doc! { "$limit": i64::try_from(most).unwrap_or(i64::MAX) },
        ];
        let oldest = vec![doc! { "$sort": { "createdAt": 1 } }, doc! { "$limit": 1 }];
        let stages = vec![
            doc! { "$match": { "endpoint": endpoint, "state": "pending" } },
            // Along the index, so that one document a call is looked at, however many are pending.
            doc! { "$sort": { "callId": 1, "order": 1 } },
            doc! { "$group": { "_id": "$callId", "head": { "$first": "$$ROOT" } } },
            doc! { "$replaceRoot": { "newRoot": "$head" } },
            doc! { "$facet": { "due": due, "oldest": oldest } },
        ];
        let deliveries = self.deliveries();
        let all = async { deliveries.aggregate(stages).await?.try_next().await };
        let found = self.run("due_deliveries", all).await?;
        let Facets { due, oldest } = deserialize_from_document(found.unwrap_or_default())?;
        Ok(DueDeliveries { due, oldest: oldest.first().map(|delivery| delivery.created_at) })
    }

    /// Writes what became of a try.
    ///
    /// # Errors
    /// When MongoDB is away: the delivery is tried again then.
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
        self.run("settle_delivery", self.deliveries().update_one(pending, update)).await.map(drop)
    }

    /// Takes or renews, for as long as `lease` by MongoDB's clock, the right to deliver to an endpoint; `false`: another has it.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn lease_endpoint(&self, endpoint: &str, token: &str, lease: Duration) -> Result<bool, RecordsError> {
        let leases = self.database.collection::<Document>(LEASES);
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
        let update = leases.find_one_and_update(doc! { "_id": endpoint }, take).upsert(true);
        match self.run("lease_endpoint", update.return_document(ReturnDocument::After)).await {
            Ok(lease) => Ok(lease.is_some_and(|lease| lease.get_str("owner").is_ok_and(|owner| owner == token))),
            // Two made it at the same moment.
            Err(RecordsError::Duplicate) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives up the right to deliver to an endpoint, if `token` has it.
    ///
    /// # Errors
    /// When MongoDB is away: it runs out by itself.
    pub async fn release_endpoint(&self, endpoint: &str, token: &str) -> Result<(), RecordsError> {
        let leases = self.database.collection::<Document>(LEASES);
        let mine = doc! { "_id": endpoint, "owner": token };
        self.run("release_endpoint", leases.delete_one(mine)).await.map(drop)
    }

    /// How the deliveries to an endpoint stand.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn delivery_counts(&self, endpoint: &str) -> Result<DeliveryCounts, RecordsError> {
        let deliveries = self.deliveries();
        let count = async |state: &str| {
            let filter = doc! { "endpoint": endpoint, "state": state };
            self.run("delivery_counts", deliveries.count_documents(filter)).await
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

    pub(super) async fn ensure_delivery_indexes(&self) -> Result<(), RecordsError> {
        let forgotten = IndexOptions::builder().expire_after(STAYS).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "endpoint": 1, "state": 1, "callId": 1, "order": 1 }).build(),
            IndexModel::builder().keys(doc! { "createdAt": 1 }).options(forgotten).build(),
        ];
        self.run("indexes", self.deliveries().create_indexes(indexes)).await.map(drop)
    }
}
