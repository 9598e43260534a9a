//! The recorded chat of a call, and the erasure of a deleted call's data.

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};

use super::bson::{date_to_bson, id_forms, id_to_bson};
use super::facts::{EVENTS, MESSAGES};
use super::participant_updates::document_id;
use super::participants::PARTICIPANTS;
use super::{ChatMessage, Records, RecordsError, fact_updates};
use switchboard_core::domain::{AppId, CallId, CallStatus, Timestamp, UserId};

/// Start of the year 9999, later than every date.
const FAR_MS: i64 = 253_370_764_800_000;

/// Recorded chat message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMessage {
    /// Time of the message.
    pub at: Timestamp,
    /// Message.
    pub message: ChatMessage,
}

/// Page of a call's recorded chat.
#[derive(Clone, Debug)]
pub struct ChatPage {
    /// Whether the reader hosts the call or took part. If not, the other fields are empty.
    pub involved: bool,
    /// Messages of the page, oldest first.
    pub messages: Vec<RecordedMessage>,
    /// Number of all messages that the reader may read.
    pub total: u64,
}

impl Records {
    /// Reads a page of the recorded chat of a call of `app`, in one round trip. `None`: there is no
    /// such call.
    ///
    /// `reader` gets public messages, and private messages from or to `reader`. The host gets
    /// messages of any time. Other participants get messages until their last leave; if the call's
    /// chat history is off, only messages since their first join.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn chat_page(
        &self,
        (app, call): (&AppId, &CallId),
        reader: &UserId,
        skip: u64,
        limit: u32,
    ) -> Result<Option<ChatPage>, RecordsError> {
        let reader = &*app.user(reader);
        let ids = id_forms(reader);
        let hosts = doc! { "$in": ["$hostId", ids.clone()] };
        let participants = doc! { "$ifNull": ["$participants", []] };
        let listed = doc! { "$filter": { "input": participants, "as": "p", "cond": { "$in": ["$$p.userId", ids] } } };
        let own = doc! { "$first": { "$concatArrays": ["$own", listed] } };
        let document = vec![Bson::from(doc! { "$match": { "_id": document_id(call, reader) } })];
        let always = (date_to_bson(Timestamp(0)), date_to_bson(Timestamp(FAR_MS)));
        let shown = doc! { "$or": ["$hosts", { "$ne": ["$settings.chatHistoryEnabled", false] }] };
        let over: Vec<_> = CallStatus::ALL.into_iter().filter(|s| s.is_over()).map(CallStatus::as_str).collect();
        let present =
            doc! { "$and": [{ "$eq": ["$own.isConnected", true] }, { "$not": [{ "$in": ["$status", over] }] }] };
        let there = doc! { "$or": ["$hosts", present] };
        let seen = doc! { "$expr": { "$and": [{ "$gte": ["$at", "$$since"] }, { "$lte": ["$at", "$$until"] }] } };
        let theirs = [doc! { "$match": readable(call, reader) }, doc! { "$match": seen }].map(Bson::from);
        let skip = i64::try_from(skip).unwrap_or(i64::MAX);
        let cut = [doc! { "$sort": { "order": 1 } }, doc! { "$skip": skip }, doc! { "$limit": i64::from(limit) }];
        let page: Vec<_> = theirs.iter().cloned().chain(cut.map(Bson::from)).collect();
        let count: Vec<_> = theirs.into_iter().chain([doc! { "$count": "total" }.into()]).collect();
        let time = doc! { "since": "$since", "until": "$until" };
        let stages = [
            doc! { "$match": {
                "_id": { "$in": id_forms(call.as_str()) }, "deletedAt": Bson::Null, "roomId": rooms_of(app),
            } },
            doc! { "$limit": 1 },
            doc! { "$lookup": { "from": PARTICIPANTS, "pipeline": document, "as": "own" } },
            doc! { "$set": { "hosts": hosts, "own": own } },
            doc! { "$project": {
                "involved": { "$or": ["$hosts", { "$ne": [{ "$ifNull": ["$own", Bson::Null] }, Bson::Null] }] },
                "since": { "$cond": [shown, always.0, { "$ifNull": ["$own.joinedAt", always.1.clone()] }] },
                "until": { "$cond": [there, always.1.clone(), { "$ifNull": ["$own.leftAt", "$endedAt", always.1] }] },
            } },
            doc! { "$lookup": { "from": MESSAGES, "let": time.clone(), "pipeline": page, "as": "messages" } },
            doc! { "$lookup": { "from": MESSAGES, "let": time, "pipeline": count, "as": "count" } },
        ];
        let lists = self.for_lists();
        let found = lists.run("chat_page", |db| async move {
            db.calls.aggregate(stages).max_time(db.timeouts.operation).await?.try_next().await
        });
        let Some(found) = found.await? else { return Ok(None) };
        if !found.get_bool("involved").unwrap_or_default() {
            return Ok(Some(ChatPage { involved: false, messages: Vec::new(), total: 0 }));
        }
        let lines = |field| found.get_array(field).into_iter().flatten().filter_map(Bson::as_document);
        let read = |line: &Document| {
            let at = Timestamp(line.get_datetime("at").ok()?.timestamp_millis());
            Some(RecordedMessage { at, message: fact_updates::read_message(line)? })
        };
        let total = lines("count").find_map(|count| count.get_i32("total").ok()).unwrap_or_default();
        Ok(Some(ChatPage {
            involved: true,
            messages: lines("messages").filter_map(read).collect(),
            total: u64::from(total.unsigned_abs()),
        }))
    }

    /// Deletes the log, the chat and the participants of a call, in any status, and its messages in
    /// webhooks.
    ///
    /// # Errors
    /// MongoDB is unavailable. Some documents may be deleted; repeat the call.
    pub async fn erase_call_data(&self, call: &CallId) -> Result<(), RecordsError> {
        for name in [MESSAGES, EVENTS, PARTICIPANTS] {
            let of_call = doc! { "callId": id_to_bson(call.as_str()) };
            let erased = self.run("erase_call_data", |db| async move {
                db.database.collection::<Document>(name).delete_many(of_call).await
            });
            erased.await?;
        }
        self.erase_chat_deliveries(call).await
    }

    /// Returns at most `max` calls that were deleted before `before` and not erased since.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn deleted_calls(&self, before: Timestamp, max: u32) -> Result<Vec<CallId>, RecordsError> {
        let filter = doc! { "deletedAt": { "$lt": date_to_bson(before) }, "erasedAt": Bson::Null };
        let found = self.run("deleted_calls", |db| async move {
            let find = db.calls.find(filter).projection(doc! { "_id": 1 }).limit(i64::from(max));
            find.await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        let id = |document: &Document| match document.get("_id")? {
            Bson::ObjectId(id) => CallId::parse(&id.to_hex()).ok(),
            Bson::String(id) => CallId::parse(id).ok(),
            _ => None,
        };
        Ok(found.iter().filter_map(id).collect())
    }

    /// Deletes the log, the chat and the participants of a deleted call and marks the call as
    /// erased. Call it only when no fact of the call can be on its way any more.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn erase_call(&self, call: &CallId, now: Timestamp) -> Result<(), RecordsError> {
        self.erase_call_data(call).await?;
        let erased = doc! { "$set": { "erasedAt": date_to_bson(now) } };
        let filter = doc! { "_id": { "$in": id_forms(call.as_str()) }, "deletedAt": { "$ne": Bson::Null } };
        self.run("erase_call", |db| async move { db.calls.update_one(filter, erased).await }).await.map(drop)
    }
}

/// Returns the condition on the full names of an app's rooms.
fn rooms_of(app: &AppId) -> Document {
    if app.is_default() {
        return doc! { "$not": { "$regex": "[.]" } };
    }
    doc! { "$regex": format!("^{app}[.]") }
}

/// Returns the filter for the messages of a call that `reader` may read.
fn readable(call: &CallId, reader: &str) -> Document {
    let reader = id_to_bson(reader);
    doc! {
        "callId": id_to_bson(call.as_str()),
        "$or": [{ "to": Bson::Null }, { "to": reader.clone() }, { "userId": reader }],
    }
}
