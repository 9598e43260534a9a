//! Events for endpoints of webhooks, in the collection `webhooks`: one document, a **delivery**,
//! for each event and endpoint.
//!
//! | field | content |
//! |---|---|
//! | `_id` | `<endpoint>/<event id>`, so that an endpoint has each event once |
//! | `endpoint`, `callId`, `order` | endpoint; call; position among the events, as text that sorts |
//! | `eventId`, `event`, `body` | id and type of the event; body of the request |
//! | `state` | `waiting`, `delivered` or `given_up`; `pending`: waits, and has no queue yet |
//! | `createdAt`, `queuedAt` | time of the event; time of the last order to send it again |
//! | `attempts`, `triedAt`, `status`, `problem` | number of attempts; time and outcome of the last one |
//!
//! A delivery is written before its fact leaves the outbox, so that the death of a pod loses none.
//! It stays after delivery for inspection, and so that a fact that is recorded twice is not
//! delivered twice. `delivery_queues` says which deliveries are due.
//!
//! Deliveries of earlier versions wait in the state `pending`, and so do those that are to be sent
//! again. [`Records::adopt_deliveries`] gives them a queue.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, deserialize_from_document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

use super::bson::date_to_bson;
use super::delivery::{
    Attempt, Delivery, DeliveryCounts, DeliveryFilter, DeliveryOutcome, DeliveryPosition, DeliveryRecord,
    DeliveryState, PENDING,
};
use super::delivery_queues::NewQueue;
use super::facts::{DUPLICATE_KEY, majority, write_errors};
use super::{Records, RecordsError};
use switchboard_core::domain::{CallId, Timestamp, WebhookEvent};

const DELIVERIES: &str = "webhooks";
/// How long a delivery is kept for inspection. Longer than the longest time of attempts.
pub(super) const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes of deliveries that one command stores, about: half of what MongoDB accepts.
const INSERT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a delivery besides its body, at most.
const HEAD_BYTES_MAX: usize = 2 * 1024;
/// Deliveries that get a queue by one command.
const ADOPT_MAX: i64 = 500;

impl Records {
    /// Queues deliveries. One that exists already stays unchanged.
    ///
    /// # Errors
    /// MongoDB is unavailable. Some may be queued; repeat the call with all of them.
    pub async fn queue_deliveries(&self, deliveries: &[Delivery]) -> Result<(), RecordsError> {
        let (mut documents, mut bytes) = (Vec::new(), 0);
        for delivery in deliveries {
            let more = delivery.body.len() + HEAD_BYTES_MAX;
            if bytes + more > INSERT_BYTES_MAX && !documents.is_empty() {
                self.insert_deliveries(std::mem::take(&mut documents)).await?;
                bytes = 0;
            }
            let mut document = mongodb::bson::serialize_to_document(delivery)?;
            document.insert("state", DeliveryState::Waiting.stored()[0]);
            documents.push(document);
            bytes += more;
        }
        if !documents.is_empty() {
            self.insert_deliveries(documents).await?;
        }
        // After the deliveries: the pod that takes the queue finds them.
        self.add_queues(deliveries.iter().map(NewQueue::of)).await
    }

    async fn insert_deliveries(&self, documents: Vec<Document>) -> Result<(), RecordsError> {
        let insert =
            doc! { "insert": DELIVERIES, "documents": documents, "ordered": false, "writeConcern": majority() };
        let answer = self.run("queue_deliveries", |db| async move { db.database.run_command(insert).await }).await?;
        match write_errors(&answer)?.into_iter().find(|(_, error)| error.code != DUPLICATE_KEY) {
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
            None => Ok(()),
        }
    }

    /// Returns the deliveries of a call that wait, in order; at most `max`.
    ///
    /// # Errors
    /// MongoDB is unavailable, or a document is invalid.
    pub async fn waiting_deliveries(
        &self,
        endpoint: &str,
        call: &str,
        max: u32,
    ) -> Result<Vec<Delivery>, RecordsError> {
        let these = doc! { "endpoint": endpoint, "state": in_state(DeliveryState::Waiting), "callId": call };
        let found = self.run("waiting_deliveries", |db| async move {
            let deliveries = db.deliveries();
            let find = deliveries.find(these).sort(doc! { "order": 1 }).limit(i64::from(max));
            find.max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        Ok(found.await?.into_iter().map(deserialize_from_document).collect::<Result<_, _>>()?)
    }

    /// Stores the outcome of an attempt.
    ///
    /// # Errors
    /// MongoDB is unavailable. The delivery waits still, and is attempted again.
    pub async fn settle_delivery(
        &self,
        id: &str,
        outcome: DeliveryOutcome,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        let status = attempt.status.map(i32::from);
        let mut set = doc! { "triedAt": date_to_bson(now), "status": status, "problem": attempt.problem.as_deref() };
        match outcome {
            DeliveryOutcome::Postponed => {}
            DeliveryOutcome::Delivered => drop(set.insert("state", DeliveryState::Delivered.stored()[0])),
            DeliveryOutcome::Failed => drop(set.insert("state", DeliveryState::Failed.stored()[0])),
        }
        let update = doc! { "$set": set, "$inc": { "attempts": 1 } };
        let waiting = doc! { "_id": id, "state": in_state(DeliveryState::Waiting) };
        self.run("settle_delivery", |db| async move { db.deliveries().update_one(waiting, update).await })
            .await
            .map(drop)
    }

    /// Returns at most `limit` deliveries, the newest event first, from the one behind `after`.
    ///
    /// # Errors
    /// MongoDB is unavailable, or a document is invalid.
    pub async fn delivery_page(
        &self,
        filter: DeliveryFilter<'_>,
        after: Option<&DeliveryPosition>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, RecordsError> {
        let states: Vec<_> = match filter.state {
            Some(state) => state.stored().to_vec(),
            None => DeliveryState::ALL.iter().flat_map(|state| state.stored()).copied().collect(),
        };
        // With every field of an index before those of the sort, so that a page reads its own
        // documents only.
        let mut these = doc! { "endpoint": filter.endpoint, "state": { "$in": states } };
        these.extend(filter.call.map(|call| doc! { "callId": call.as_str() }).unwrap_or_default());
        if let Some(DeliveryPosition { order, event_id }) = after {
            let id = format!("{}/{event_id}", filter.endpoint);
            these.insert("order", doc! { "$lte": order });
            these
                .insert("$or", vec![doc! { "order": { "$lt": order } }, doc! { "order": order, "_id": { "$lt": id } }]);
        }
        let sort = doc! { "order": -1, "_id": -1 };
        let lists = self.for_lists();
        let found = lists.run("delivery_page", |db| async move {
            let deliveries = db.deliveries();
            let find = deliveries.find(these).sort(sort).limit(i64::from(limit)).projection(doc! { "body": 0 });
            find.max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        found.await?.into_iter().map(DeliveryRecord::read).collect()
    }

    /// Orders that an event that was delivered or failed is sent again to an endpoint. Returns
    /// false if the endpoint has no such event, or it waits.
    ///
    /// # Errors
    /// MongoDB is unavailable. Repeat the call.
    pub async fn resend_delivery(&self, endpoint: &str, event_id: &str, now: Timestamp) -> Result<bool, RecordsError> {
        let settled: Vec<_> = [DeliveryState::Delivered, DeliveryState::Failed]
            .iter()
            .flat_map(|state| state.stored())
            .copied()
            .collect();
        let this = doc! { "_id": format!("{endpoint}/{event_id}"), "state": { "$in": settled } };
        let changed =
            self.run("resend_delivery", |db| async move { db.deliveries().update_one(this, again(now)).await });
        let is_there = changed.await?.matched_count == 1;
        if is_there {
            self.adopt_deliveries().await?;
        }
        Ok(is_there)
    }

    /// Orders that the failed events of an endpoint are sent again, the oldest first; at most
    /// `max`. Returns their number.
    ///
    /// # Errors
    /// MongoDB is unavailable. Repeat the call.
    pub async fn resend_failed(&self, endpoint: &str, now: Timestamp, max: u32) -> Result<u64, RecordsError> {
        let failed = DeliveryState::Failed.stored()[0];
        let these = doc! { "endpoint": endpoint, "state": failed };
        let found = self.run("failed_deliveries", |db| async move {
            let deliveries = db.deliveries();
            let find = deliveries.find(these).sort(doc! { "order": 1, "_id": 1 }).limit(i64::from(max));
            find.projection(doc! { "_id": 1 }).await?.try_collect::<Vec<_>>().await
        });
        let ids: Vec<_> =
            found.await?.iter().filter_map(|found| found.get_str("_id").ok().map(str::to_owned)).collect();
        let these = doc! { "_id": { "$in": ids }, "state": failed };
        let changed =
            self.run("resend_failed", |db| async move { db.deliveries().update_many(these, again(now)).await });
        let count = changed.await?.modified_count;
        while self.adopt_deliveries().await? {}
        Ok(count)
    }

    /// Gives a queue to deliveries that wait and have none. Returns whether there may be more.
    ///
    /// # Errors
    /// MongoDB is unavailable. Repeat the call.
    pub async fn adopt_deliveries(&self) -> Result<bool, RecordsError> {
        let found = self.run("pending_deliveries", |db| async move {
            let deliveries = db.deliveries();
            let find = deliveries.find(doc! { "state": PENDING }).limit(ADOPT_MAX);
            find.max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        let found: Vec<Delivery> = found.await?.into_iter().map(deserialize_from_document).collect::<Result<_, _>>()?;
        if found.is_empty() {
            return Ok(false);
        }
        self.add_queues(found.iter().map(NewQueue::of)).await?;
        // After the queues: if this pod dies in between, they are made once more.
        let ids: Vec<_> = found.iter().map(|delivery| delivery.id.as_str()).collect();
        let these = doc! { "_id": { "$in": ids }, "state": PENDING };
        let change = doc! { "$set": { "state": DeliveryState::Waiting.stored()[0] } };
        self.run("adopt_deliveries", |db| async move { db.deliveries().update_many(these, change).await }).await?;
        Ok(true)
    }

    /// Counts the deliveries of an endpoint by state.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn delivery_counts(&self, endpoint: &str) -> Result<DeliveryCounts, RecordsError> {
        let count = async |state| {
            let filter = doc! { "endpoint": endpoint, "state": in_state(state) };
            self.run("delivery_counts", |db| async move { db.deliveries().count_documents(filter).await }).await
        };
        Ok(DeliveryCounts {
            waiting: count(DeliveryState::Waiting).await?,
            delivered: count(DeliveryState::Delivered).await?,
            failed: count(DeliveryState::Failed).await?,
        })
    }

    /// Deletes the deliveries of a call that have messages of its chat.
    pub(super) async fn erase_chat_deliveries(&self, call: &CallId) -> Result<(), RecordsError> {
        let these = doc! { "callId": call.as_str(), "event": WebhookEvent::ChatMessage.as_str() };
        self.run("erase_chat_deliveries", |db| async move { db.deliveries().delete_many(these).await }).await.map(drop)
    }

    pub(super) fn deliveries(&self) -> Collection<Document> {
        self.database.collection(DELIVERIES)
    }

    pub(super) async fn ensure_delivery_indexes(&self) -> Result<(), RecordsError> {
        let expiring = IndexOptions::builder().expire_after(RETENTION).build();
        let only = |filter| IndexOptions::builder().partial_filter_expression(filter).build();
        let index = |keys, options| IndexModel::builder().keys(keys).options(options).build();
        let indexes = [
            index(doc! { "endpoint": 1, "state": 1, "callId": 1, "order": 1 }, IndexOptions::default()),
            index(doc! { "endpoint": 1, "state": 1, "order": 1, "_id": 1 }, IndexOptions::default()),
            index(doc! { "createdAt": 1 }, expiring),
            index(doc! { "state": 1 }, only(doc! { "state": PENDING })),
            index(doc! { "callId": 1 }, only(doc! { "event": WebhookEvent::ChatMessage.as_str() })),
        ];
        self.run("indexes", |db| async move { db.deliveries().create_indexes(indexes).await }).await?;
        self.ensure_queue_indexes().await
    }
}

fn in_state(state: DeliveryState) -> Document {
    doc! { "$in": state.stored().to_vec() }
}

/// Returns the change that makes a delivery wait again, with the time of its attempts from `now`.
fn again(now: Timestamp) -> Document {
    doc! { "$set": { "state": PENDING, "attempts": 0, "queuedAt": date_to_bson(now) } }
}
