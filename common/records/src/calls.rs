//! Queries on `videocalls`.

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, deserialize_from_document, doc, serialize_to_document};

use super::stored::{date_to_bson, id_forms};
use super::{CallRecord, Records, RecordsError};
use switchboard_core::domain::{CallId, CallStatus, CallType, RoomId, Timestamp, UserId};

/// What a list of calls is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrder {
    /// `createdAt`.
    Created,
    /// `scheduledAt`.
    Scheduled,
    /// `startedAt`.
    Started,
    /// `title`.
    Title,
}

/// Which calls to list: those that `user` hosts or is in, and of them those that match all else that is given.
#[derive(Clone, Debug)]
pub struct CallFilter {
    /// Whose.
    pub user: UserId,
    /// In this status.
    pub status: Option<CallStatus>,
    /// Of this type.
    pub call_type: Option<CallType>,
    /// Title or description has this text, in either case.
    pub search: Option<String>,
    /// Made at this time or later, and at this time or earlier.
    pub created: (Option<Timestamp>, Option<Timestamp>),
    /// Sorted by, and whether the greatest comes first.
    pub order: (CallOrder, bool),
    /// How many to leave out.
    pub skip: u64,
    /// How many at most.
    pub limit: u32,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct CallPage {
    /// The calls of the page.
    pub calls: Vec<CallRecord>,
    /// How many there are in all.
    pub total: u64,
}

impl Records {
    /// A fresh id for a call.
    #[must_use]
    pub fn new_call_id() -> CallId {
        CallId::parse(&ObjectId::new().to_hex()).expect("24 hexadecimal digits are a call id")
    }

    /// Stores a new call.
    ///
    /// # Errors
    /// `Duplicate` when the room's name is taken.
    pub async fn insert_call(&self, call: &CallRecord) -> Result<(), RecordsError> {
        let stored = serialize_to_document(call)?;
        self.run("insert_call", self.calls.insert_one(stored)).await.map(drop)
    }

    /// The call of a room, without its people.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn call_by_room(&self, room: &RoomId) -> Result<Option<CallRecord>, RecordsError> {
        let found = self
            .run("call_by_room", self.calls.find_one(doc! { "roomId": room.as_str(), "deletedAt": Bson::Null }))
            .await?;
        Ok(found.map(deserialize_from_document).transpose()?)
    }

    /// The call of a room, with what others may know of its people, in one round trip.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn call_of_room_with_people(&self, room: &RoomId) -> Result<Option<CallRecord>, RecordsError> {
        self.call_with_people(doc! { "roomId": room.as_str() }).await
    }

    /// A call by its id, with what others may know of its people, in one round trip.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn call(&self, id: &CallId) -> Result<Option<CallRecord>, RecordsError> {
        self.call_with_people(doc! { "_id": { "$in": id_forms(id.as_str()) } }).await
    }

    async fn call_with_people(&self, mut filter: Document) -> Result<Option<CallRecord>, RecordsError> {
        filter.insert("deletedAt", Bson::Null);
        let mut stages = vec![doc! { "$match": filter }, doc! { "$limit": 1 }];
        stages.extend(with_people());
        let found = self.documents("call", stages).await?.pop();
        Ok(found.map(deserialize_from_document).transpose()?)
    }

    /// A page of calls with their people and how many there are in all, in one round trip.
    ///
    /// # Errors
    /// When MongoDB is away. A document that makes no sense is logged and left out.
    pub async fn list_calls(&self, filter: &CallFilter) -> Result<CallPage, RecordsError> {
        let matching = matching(filter);
        let field = match filter.order.0 {
            CallOrder::Created => "createdAt",
            CallOrder::Scheduled => "scheduledAt",
            CallOrder::Started => "startedAt",
            CallOrder::Title => "title",
        };
        let direction = if filter.order.1 { -1 } else { 1 };
        let skip = i64::try_from(filter.skip).unwrap_or(i64::MAX);
        let mut stages = vec![
            doc! { "$match": matching.clone() },
            doc! { "$sort": { field: direction, "_id": direction } },
            doc! { "$skip": skip },
            doc! { "$limit": i64::from(filter.limit) },
        ];
        stages.extend(with_people());
        // The total comes as one more document, last: a second query would be a second round trip.
        let count = vec![Bson::from(doc! { "$match": matching }), Bson::from(doc! { "$count": "total" })];
        stages.push(doc! { "$unionWith": { "coll": self.calls.name(), "pipeline": count } });
        let mut page = CallPage { calls: Vec::new(), total: 0 };
        for document in self.documents("list_calls", stages).await? {
            if !document.contains_key("_id") {
                page.total = document.get_i32("total").map_or(0, |n| u64::from(n.unsigned_abs()));
                continue;
            }
            match deserialize_from_document(document) {
                Ok(call) => page.calls.push(call),
                Err(error) => tracing::error!(%error, "a call's record could not be read; the list goes on without it"),
            }
        }
        Ok(page)
    }

    /// Calls whose date lies before `before` and that nobody has come to, the oldest first; at most `most`.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn unopened_calls(&self, before: Timestamp, most: u32) -> Result<Vec<(CallId, RoomId)>, RecordsError> {
        self.oldest_calls("unopened_calls", CallStatus::Scheduled, "scheduledAt", before, most).await
    }

    /// Live calls of which nothing was written since `before`; those that are silent for longest first, at most `most`.
    ///
    /// # Errors
    /// When MongoDB is away. A document that makes no sense is left out.
    pub async fn silent_calls(&self, before: Timestamp, most: u32) -> Result<Vec<(CallId, RoomId)>, RecordsError> {
        self.oldest_calls("silent_calls", CallStatus::Live, "updatedAt", before, most).await
    }

    async fn oldest_calls(
        &self,
        what: &'static str,
        status: CallStatus,
        date: &str,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<(CallId, RoomId)>, RecordsError> {
        let stages = vec![
            doc! { "$match": {
                "status": status.as_str(), date: { "$lt": date_to_bson(before) }, "deletedAt": Bson::Null,
            } },
            doc! { "$sort": { date: 1 } },
            doc! { "$limit": i64::from(most) },
        ];
        let found = self.documents(what, stages).await?.into_iter();
        let read = found.filter_map(|document| deserialize_from_document::<CallRecord>(document).ok());
        Ok(read.map(|call| (call.id, call.room)).collect())
    }

    /// Writes that a call has ended at `at`: status, end, duration, and everybody gone. A call that is over stays as
    /// it is, so it may be told twice, by the request that ended it and by the recorder, in any order.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn end_call(&self, id: &CallId, at: Timestamp) -> Result<(), RecordsError> {
        let over = CallStatus::ALL.into_iter().filter(|status| !status.may_become(CallStatus::Ended));
        let over: Vec<_> = over.map(CallStatus::as_str).collect();
        let filter = doc! { "_id": { "$in": id_forms(id.as_str()) }, "status": { "$nin": over } };
        let minutes = doc! { "$round": [{ "$divide": [{ "$subtract": [date_to_bson(at), "$startedAt"] }, 60_000] }] };
        let gone = doc! { "$map": { "input": { "$ifNull": ["$participants", []] }, "as": "p", "in": {
            "$mergeObjects": ["$$p", {
                "isConnected": false,
                "leftAt": { "$cond": ["$$p.isConnected", date_to_bson(at), "$$p.leftAt"] },
            }],
        } } };
        let set = doc! {
            "status": "ended",
            "endedAt": date_to_bson(at),
            "updatedAt": date_to_bson(at),
            "duration": { "$max": [0, { "$ifNull": [minutes, 0] }] },
            "participants": gone,
            "revision": { "$add": [{ "$ifNull": ["$revision", 0] }, 1] },
        };
        self.run("end_call", self.calls.update_one(filter, vec![doc! { "$set": set }])).await.map(drop)
    }

    async fn documents(&self, what: &'static str, stages: Vec<Document>) -> Result<Vec<Document>, RecordsError> {
        let all = async { self.calls.aggregate(stages).await?.try_collect().await };
        self.run(what, all).await
    }
}

fn matching(filter: &CallFilter) -> Document {
    let ids = id_forms(filter.user.as_str());
    let mut all = vec![
        doc! { "$or": [{ "hostId": { "$in": ids.clone() } }, { "participants.userId": { "$in": ids } }] },
        doc! { "deletedAt": Bson::Null },
    ];
    if let Some(status) = filter.status {
        all.push(doc! { "status": status.as_str() });
    }
    if let Some(call_type) = filter.call_type {
        all.push(doc! { "type": text_of(call_type) });
    }
    if let Some(search) = &filter.search {
        let pattern = doc! { "$regex": escaped(search), "$options": "i" };
        all.push(doc! { "$or": [{ "title": pattern.clone() }, { "description": pattern }] });
    }
    if let Some(from) = filter.created.0 {
        all.push(doc! { "createdAt": { "$gte": date_to_bson(from) } });
    }
    if let Some(to) = filter.created.1 {
        all.push(doc! { "createdAt": { "$lte": date_to_bson(to) } });
    }
    doc! { "$and": all }
}

fn text_of(value: impl serde::Serialize) -> Bson {
    mongodb::bson::serialize_to_bson(&value).unwrap_or(Bson::Null)
}

/// Letters and digits of any alphabet stand for themselves; all else is escaped, so that no input is a pattern.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != ' ' {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// Joins the public part of host and participants as `people`.
fn with_people() -> [Document; 2] {
    let everybody = doc! { "$setUnion": [["$hostId"], { "$ifNull": ["$participants.userId", []] }] };
    // The Node service stored text or ObjectIds, of calls' people and of users: one may be the other here.
    let as_object = doc! { "$map": { "input": everybody.clone(), "as": "id", "in": { "$convert": {
        "input": "$$id", "to": "objectId", "onError": "$$id", "onNull": Bson::Null,
    } } } };
    let as_text = doc! { "$map": { "input": everybody.clone(), "as": "id", "in": { "$toString": "$$id" } } };
    let everybody = doc! { "$setUnion": [everybody, as_object, as_text] };
    let public = vec![Bson::from(doc! { "$project": { "name": 1, "avatar": 1 } })];
    [
        doc! { "$set": { "people": everybody } },
        doc! { "$lookup": {
            "from": "users", "localField": "people", "foreignField": "_id", "pipeline": public, "as": "people",
        } },
    ]
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_search_text_is_never_a_pattern() {
        assert_eq!(escaped("a.*(b"), "a\\.\\*\\(b");
        assert_eq!(escaped("größe 1"), "größe 1");
    }
}
