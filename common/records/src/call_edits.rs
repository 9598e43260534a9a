//! Changes of a call by its host. Each change is one update that checks its preconditions and
//! writes only the fields that it names. If two requests edit a call at the same time, the fields
//! of both are written; of a field that both name, the later value stays.
//!
//! While the room is open, only the room assigns versions. Two writers, a request and the recorder,
//! copy the room's fields to the record; the one with the older version changes nothing. If the
//! record assigned versions of its own meanwhile, later changes of the room would look old and be
//! lost.

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

use super::bson::{date_to_bson, id_forms, user_forms, user_to_bson};
use super::calls::RELEASED;
use super::fact_updates::{reopened, updated};
use super::{CallRecord, CallUpdate, Records, RecordsError};
use switchboard_core::domain::{CallEdit, CallId, CallStatus, CallType, RoomId, RoomMeta, Timestamp, UserId};

/// Returns the update of a call whose room is not open.
fn update_without_room(edit: &CallEdit, room: &RoomId, now: Timestamp) -> Vec<Document> {
    let mut set = record_fields(edit, now);
    set.insert("revision", doc! { "$add": [{ "$ifNull": ["$revision", 0_i64] }, 1_i64] });
    let mut put = |field: &str, value: Option<Bson>| {
        if let Some(value) = value {
            set.insert(field, literal(value));
        }
    };
    put("title", edit.title.as_deref().map(Bson::from));
    put("type", edit.call_type.map(stored_type));
    put("maxParticipants", edit.max_participants.map(|seats| Bson::from(i64::from(seats))));
    put("locked", edit.locked.map(Bson::Boolean));
    put("passcode", edit.passcode.as_ref().map(|hash| hash.as_deref().map_or(Bson::Null, Bson::from)));
    put("invitedUserIds", edit.invited.as_ref().map(|ids| ids.iter().map(|id| user_to_bson(room, id)).collect()));
    for (name, value) in edit.settings.iter() {
        put(&format!("settings.{name}"), Some(Bson::Boolean(value)));
    }
    vec![doc! { "$set": set }]
}

/// Returns the update of a call whose room has the change already.
fn update_from_room(edit: &CallEdit, (room, meta): (&RoomId, &RoomMeta), now: Timestamp) -> Vec<Document> {
    let mut stages = vec![record_fields(edit, now)];
    stages.extend(updated(room, &CallUpdate::from(meta)));
    stages.into_iter().map(|stage| doc! { "$set": stage }).collect()
}

/// Returns the changes of fields that rooms do not have.
fn record_fields(edit: &CallEdit, now: Timestamp) -> Document {
    let mut set = doc! { "updatedAt": date_to_bson(now) };
    if let Some(description) = &edit.description {
        set.insert("description", literal(description.as_str().into()));
    }
    if let Some(at) = edit.scheduled_at {
        let status = if at.is_some() { CallStatus::Scheduled } else { CallStatus::Waiting };
        set.insert("scheduledAt", literal(at.map_or(Bson::Null, date_to_bson)));
        set.insert("status", literal(status.as_str().into()));
    }
    set
}

/// Wraps a value so that MongoDB does not read text that begins with `$` as an expression.
fn literal(value: Bson) -> Document {
    doc! { "$literal": value }
}

fn stored_type(call_type: CallType) -> Bson {
    mongodb::bson::serialize_to_bson(&call_type).unwrap_or(Bson::Null)
}

/// A call and its host, who must host it still when it is changed.
#[derive(Clone, Copy, Debug)]
pub struct HostedCall<'a> {
    /// Id of the call.
    pub id: &'a CallId,
    /// Room of the call.
    pub room: &'a RoomId,
    /// Host of the call.
    pub host: &'a UserId,
}

impl CallRecord {
    /// Returns the call with its host, for a change.
    #[must_use]
    pub const fn hosted(&self) -> HostedCall<'_> {
        HostedCall { id: &self.id, room: &self.room, host: &self.host }
    }
}

impl Records {
    /// Changes a call whose room is not open. Returns the changed call, without profiles. `None`:
    /// `call.host` does not host it, or its status does not allow the change.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn edit_call(
        &self,
        call: HostedCall<'_>,
        edit: &CallEdit,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, RecordsError> {
        self.change_call(owned(call), edit, update_without_room(edit, call.room, now)).await
    }

    /// Changes a call whose open room has the change already and has checked the host. `meta` is
    /// the room after the change. The room's fields are copied unless the record has a later
    /// version. Returns as [`Records::edit_call`] does.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn edit_open_call(
        &self,
        call: HostedCall<'_>,
        edit: &CallEdit,
        meta: &RoomMeta,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, RecordsError> {
        self.change_call(existing(call.id), edit, update_from_room(edit, (call.room, meta), now)).await
    }

    async fn change_call(
        &self,
        mut filter: Document,
        edit: &CallEdit,
        stages: Vec<Document>,
    ) -> Result<Option<CallRecord>, RecordsError> {
        filter.insert("status", doc! { "$nin": excluding(edit.allowed_in()) });
        self.update_call("edit_call", filter, stages).await
    }

    /// Reopens a call that has ended, at `now`. Returns the call, without profiles; `None` if the
    /// call has another host than in `call`, gave its room id to another call, or has not ended.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn reopen_call(&self, call: HostedCall<'_>, now: Timestamp) -> Result<Option<CallRecord>, RecordsError> {
        let mut filter = owned(call);
        let over: Vec<_> = CallStatus::ALL.into_iter().filter(|s| s.is_over()).map(CallStatus::as_str).collect();
        filter.insert("status", doc! { "$in": over });
        // A call that gave its room id to another one stays ended.
        filter.insert("roomId", doc! { "$not": { "$regex": RELEASED } });
        let mut stages = reopened(now);
        stages.push(doc! { "updatedAt": date_to_bson(now) });
        let stages: Vec<_> = stages.into_iter().map(|stage| doc! { "$set": stage }).collect();
        self.update_call("reopen_call", filter, stages).await
    }

    async fn update_call(
        &self,
        operation: &'static str,
        filter: Document,
        stages: Vec<Document>,
    ) -> Result<Option<CallRecord>, RecordsError> {
        let changed = self.run(operation, |db| async move {
            db.calls.find_one_and_update(filter, stages).return_document(ReturnDocument::After).await
        });
        changed.await?.map(CallRecord::read).transpose()
    }

    /// Marks a call as deleted. No query finds it any more, its room id is free, and
    /// MongoDB removes it after a week. The document stays that long so that facts that are still
    /// on their way do not create it again. Returns `false` if the
    /// call has another host than in `call`, or is deleted already.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn delete_call(&self, call: HostedCall<'_>, now: Timestamp) -> Result<bool, RecordsError> {
        let cancellable: Vec<_> = CallStatus::Cancelled.predecessors().map(CallStatus::as_str).collect();
        let over: Vec<_> = CallStatus::ALL.into_iter().filter(|s| s.is_over()).map(CallStatus::as_str).collect();
        let set = doc! {
            "deletedAt": date_to_bson(now),
            "updatedAt": date_to_bson(now),
            "endedAt": { "$ifNull": ["$endedAt", date_to_bson(now)] },
            "status": { "$switch": {
                "branches": [
                    { "case": { "$in": ["$status", cancellable] }, "then": CallStatus::Cancelled.as_str() },
                    { "case": { "$in": ["$status", over] }, "then": "$status" },
                ],
                "default": CallStatus::Ended.as_str(),
            } },
            // No room id has a colon, so that no client can take this name.
            "roomId": format!("deleted:{}", call.id),
            "formerRoomId": "$roomId",
            "revision": { "$add": [{ "$ifNull": ["$revision", 0_i64] }, 1_i64] },
        };
        let (this, set) = (owned(call), vec![doc! { "$set": set }]);
        let deleted = self.run("delete_call", |db| async move { db.calls.update_one(this, set).await });
        Ok(deleted.await?.matched_count == 1)
    }
}

fn existing(id: &CallId) -> Document {
    doc! { "_id": { "$in": id_forms(id.as_str()) }, "deletedAt": Bson::Null }
}

/// Selects a call while `call.host` hosts it.
fn owned(call: HostedCall<'_>) -> Document {
    let mut filter = existing(call.id);
    filter.insert("hostId", doc! { "$in": user_forms(call.room, call.host) });
    filter
}

/// Returns all statuses except `allowed`. The filter excludes statuses instead of listing the
/// allowed ones, because a document of the old Node.js backend may lack its status, which then
/// reads as `waiting`.
fn excluding(allowed: impl Iterator<Item = CallStatus>) -> Vec<&'static str> {
    let allowed: Vec<_> = allowed.collect();
    CallStatus::ALL.into_iter().filter(|status| !allowed.contains(status)).map(CallStatus::as_str).collect()
}
