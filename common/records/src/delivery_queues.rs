//! Which webhook deliveries are due: the collection `webhookqueues` has one document, a **queue**,
//! for each endpoint and call with deliveries that wait.
//!
//! | field | content |
//! |---|---|
//! | `_id` | `<endpoint>/<call>` |
//! | `endpoint`, `callId` | endpoint; call |
//! | `group` | `<endpoint>/new`; `<endpoint>/retry` after a failure, so that failures delay no others |
//! | `dueAt` | earliest time of the next attempt, by the clocks of pods |
//! | `since` | time of the oldest event that may wait |
//! | `version` | raised by each writer that adds a delivery |
//! | `owner`, `leaseUntil` | the claim of the pod that delivers, by MongoDB's clock |
//!
//! A pod claims a queue, delivers its events one after the other, and deletes it, so one call's
//! events have one sender at a time. A claim that a dead pod leaves expires. Events of a queue are
//! found when they are sent: a poll reads no delivery, and one key for each endpoint however many
//! wait.
//!
//! A writer inserts a delivery first and raises `version` then. Who finds no delivery deletes the
//! queue only if `version` has not changed since the claim. So no delivery is left without a queue.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, deserialize_from_document, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Collection, IndexModel};
use serde::Deserialize;

use super::bson::{date, date_to_bson};
use super::deliveries::RETENTION;
use super::delivery::Delivery;
use super::facts::{DUPLICATE_KEY, majority, write_errors};
use super::{Records, RecordsError};
use switchboard_core::domain::Timestamp;

/// Queues of one endpoint that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueQueues {
    /// Endpoint.
    pub endpoint: String,
    /// Whether the last attempt of these queues failed.
    pub is_retry: bool,
    /// Time since which the first of them is due.
    pub due_at: Timestamp,
}

/// Claimed queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedQueue {
    /// Endpoint.
    pub endpoint: String,
    /// Call.
    pub call_id: String,
    id: String,
    version: i64,
    owner: String,
}

/// Queue of a delivery that was added.
pub(super) struct NewQueue<'a> {
    endpoint: &'a str,
    call_id: &'a str,
    since: Timestamp,
}

impl<'a> NewQueue<'a> {
    pub(super) fn of(delivery: &'a Delivery) -> Self {
        let since = delivery.queued_at.unwrap_or(delivery.created_at);
        Self { endpoint: &delivery.endpoint, call_id: &delivery.call_id, since }
    }
}

#[derive(Deserialize)]
struct DueGroup {
    #[serde(rename = "_id")]
    group: String,
    #[serde(rename = "dueAt", with = "date")]
    due_at: Timestamp,
}

#[derive(Deserialize)]
struct Oldest {
    #[serde(rename = "_id")]
    endpoint: String,
    #[serde(with = "date")]
    since: Timestamp,
}

const QUEUES: &str = "webhookqueues";

impl Records {
    /// Adds queues, or raises the version of those that exist.
    pub(super) async fn add_queues(&self, queues: impl Iterator<Item = NewQueue<'_>>) -> Result<(), RecordsError> {
        let mut oldest: BTreeMap<(&str, &str), Timestamp> = BTreeMap::new();
        for NewQueue { endpoint, call_id, since } in queues {
            let known = oldest.entry((endpoint, call_id)).or_insert(since);
            known.0 = known.0.min(since.0);
        }
        let updates = oldest.into_iter().map(|((endpoint, call_id), since)| {
            let new = doc! {
                "endpoint": endpoint, "callId": call_id, "group": group(endpoint, false), "dueAt": date_to_bson(since),
            };
            let change =
                doc! { "$setOnInsert": new, "$min": { "since": date_to_bson(since) }, "$inc": { "version": 1_i64 } };
            doc! { "q": { "_id": queue_id(endpoint, call_id) }, "u": change, "upsert": true }
        });
        let updates: Vec<_> = updates.collect();
        if updates.is_empty() {
            return Ok(());
        }
        let update = doc! { "update": QUEUES, "updates": updates, "ordered": false, "writeConcern": majority() };
        let answer = self.run("add_queues", |db| async move { db.database.run_command(update).await }).await?;
        match write_errors(&answer)?.into_iter().next() {
            None => Ok(()),
            // Another writer added the same queue at this moment, perhaps before the delivery.
            Some((_, error)) if error.code == DUPLICATE_KEY => Err(RecordsError::Unavailable(error.problem)),
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
        }
    }

    /// Returns the endpoints that have queues due at `now`, each once for new queues and once for
    /// retries. Costs one key of an index for each.
    ///
    /// # Errors
    /// MongoDB is unavailable, or a document is invalid.
    pub async fn due_queues(&self, now: Timestamp) -> Result<Vec<DueQueues>, RecordsError> {
        let stages = vec![
            // Sort along the index, so that MongoDB skips from group to group.
            doc! { "$sort": { "group": 1, "dueAt": 1 } },
            doc! { "$group": { "_id": "$group", "dueAt": { "$first": "$dueAt" } } },
            doc! { "$match": { "dueAt": { "$lte": date_to_bson(now) } } },
        ];
        let found = self.run("due_queues", |db| async move {
            db.queues().aggregate(stages).max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        let read = |document| {
            let DueGroup { group, due_at } = deserialize_from_document(document)?;
            let (endpoint, kind) = group.rsplit_once('/').unwrap_or((&group, ""));
            Ok(DueQueues { endpoint: endpoint.to_owned(), is_retry: kind == RETRY, due_at })
        };
        found.await?.into_iter().map(read).collect()
    }

    /// Claims the longest due queue of an endpoint, for the duration `lease` by MongoDB's clock.
    /// `None` if none is due and free.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn claim_queue(
        &self,
        due: &DueQueues,
        owner: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<ClaimedQueue>, RecordsError> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let free = doc! { "$lte": [{ "$ifNull": ["$leaseUntil", "$$NOW"] }, "$$NOW"] };
        let this = doc! {
            "group": group(&due.endpoint, due.is_retry), "dueAt": { "$lte": date_to_bson(now) }, "$expr": free,
        };
        let take = vec![doc! { "$set": {
            "owner": owner,
            "leaseUntil": { "$add": ["$$NOW", lease_ms] },
            // Not due before the claim ends, so that polls do not find it.
            "dueAt": date_to_bson(Timestamp(now.0.saturating_add(lease_ms))),
        } }];
        let claimed = self.run("claim_queue", |db| async move {
            let queues = db.queues();
            let claim = queues.find_one_and_update(this, take).sort(doc! { "dueAt": 1 });
            claim.return_document(ReturnDocument::After).max_time(db.timeouts.operation).await
        });
        let Some(queue) = claimed.await? else { return Ok(None) };
        let text = |field: &str| queue.get_str(field).unwrap_or_default().to_owned();
        let version = queue.get_i64("version").unwrap_or_default();
        let (id, endpoint, call_id) = (text("_id"), text("endpoint"), text("callId"));
        Ok(Some(ClaimedQueue { endpoint, call_id, id, version, owner: owner.to_owned() }))
    }

    /// Ends a claim after which no delivery waits. The queue is deleted, unless a delivery was
    /// added since the claim.
    ///
    /// # Errors
    /// MongoDB is unavailable. The claim expires.
    pub async fn finish_queue(&self, claim: &ClaimedQueue, now: Timestamp) -> Result<(), RecordsError> {
        let this = doc! { "_id": &claim.id, "owner": &claim.owner, "version": claim.version };
        let deleted = self.run("finish_queue", |db| async move { db.queues().delete_one(this).await });
        if deleted.await?.deleted_count == 1 {
            return Ok(());
        }
        self.release_queue(claim, now, false, None).await
    }

    /// Ends a claim. The queue is due again at `due_at`. `is_retry`: the last attempt failed.
    /// `since`: time of the oldest event that waits, if it is known.
    ///
    /// # Errors
    /// MongoDB is unavailable. The claim expires.
    pub async fn release_queue(
        &self,
        claim: &ClaimedQueue,
        due_at: Timestamp,
        is_retry: bool,
        since: Option<Timestamp>,
    ) -> Result<(), RecordsError> {
        let mut set = doc! { "dueAt": date_to_bson(due_at), "group": group(&claim.endpoint, is_retry) };
        set.extend(since.map(|since| doc! { "since": date_to_bson(since) }).unwrap_or_default());
        let change = doc! { "$set": set, "$unset": { "owner": "", "leaseUntil": "" } };
        let this = doc! { "_id": &claim.id, "owner": &claim.owner };
        self.run("release_queue", |db| async move { db.queues().update_one(this, change).await }).await.map(drop)
    }

    /// Returns the time of the oldest event that waits for each endpoint that has any.
    ///
    /// # Errors
    /// MongoDB is unavailable, or a document is invalid.
    pub async fn oldest_waiting(&self) -> Result<Vec<(String, Timestamp)>, RecordsError> {
        let stages = vec![
            doc! { "$sort": { "endpoint": 1, "since": 1 } },
            doc! { "$group": { "_id": "$endpoint", "since": { "$first": "$since" } } },
        ];
        let found = self.run("oldest_waiting", |db| async move {
            db.queues().aggregate(stages).max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        let read = |document| {
            let Oldest { endpoint, since } = deserialize_from_document(document)?;
            Ok((endpoint, since))
        };
        found.await?.into_iter().map(read).collect()
    }

    /// Deletes the queues of an endpoint that is removed. Its deliveries expire.
    pub(super) async fn drop_queues(&self, endpoint: &str) {
        let these = doc! { "endpoint": endpoint };
        // If it fails, the queues expire as well. No pod knows their endpoint any more.
        let _ = self.run("drop_queues", |db| async move { db.queues().delete_many(these).await }).await;
    }

    fn queues(&self) -> Collection<Document> {
        self.database.collection(QUEUES)
    }

    pub(super) async fn ensure_queue_indexes(&self) -> Result<(), RecordsError> {
        // A queue of an endpoint that is gone ends with its deliveries.
        let expiring = IndexOptions::builder().expire_after(RETENTION).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "group": 1, "dueAt": 1 }).build(),
            IndexModel::builder().keys(doc! { "endpoint": 1, "since": 1 }).build(),
            IndexModel::builder().keys(doc! { "since": 1 }).options(expiring).build(),
        ];
        self.run("indexes", |db| async move { db.queues().create_indexes(indexes).await }).await.map(drop)
    }
}

/// Kind of the queues whose last attempt failed.
const RETRY: &str = "retry";

fn group(endpoint: &str, is_retry: bool) -> String {
    format!("{endpoint}/{}", if is_retry { RETRY } else { "new" })
}

fn queue_id(endpoint: &str, call_id: &str) -> String {
    format!("{endpoint}/{call_id}")
}
