//! Changes of a call by its host: one update each, which compares what it rests on and touches only the fields that it names. Two hosts
//! who edit at once each get all of their fields written; of a field that both name, the later one stays.
//!
//! While the call's room is open, the room says what the call is: versions come from there alone, and of two writers, a request and the
//! recorder, the one with the older version changes nothing. A version that the record made up besides would run ahead of the room's, and
//! later changes in the room would be taken for old ones.

use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use mongodb::options::ReturnDocument;

use super::fact_updates::updated;
use super::stored::{date_to_bson, id_forms, id_to_bson};
use super::{CallRecord, CallUpdate, Records, RecordsError};
use switchboard_core::domain::{CallEdit, CallId, CallStatus, CallType, RoomMeta, Timestamp, UserId};

/// The update of a call whose room is not open.
fn alone(edit: &CallEdit, now: Timestamp) -> Vec<Document> {
    let mut set = own_fields(edit, now);
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
    put("invitedUserIds", edit.invited.as_ref().map(|ids| ids.iter().map(|id| id_to_bson(id.as_str())).collect()));
    for (name, value) in edit.settings.iter() {
        put(&format!("settings.{name}"), Some(Bson::Boolean(value)));
    }
    vec![doc! { "$set": set }]
}

/// The update of a call whose room has the change already.
fn after_the_room(edit: &CallEdit, room: &RoomMeta, now: Timestamp) -> Vec<Document> {
    let mut stages = vec![own_fields(edit, now)];
    stages.extend(updated(&CallUpdate::from(room)));
    stages.into_iter().map(|stage| doc! { "$set": stage }).collect()
}

/// The fields that no room knows.
fn own_fields(edit: &CallEdit, now: Timestamp) -> Document {
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

/// A value that is no expression even when it begins with `$`.
fn literal(value: Bson) -> Document {
    doc! { "$literal": value }
}

fn stored_type(call_type: CallType) -> Bson {
    mongodb::bson::serialize_to_bson(&call_type).unwrap_or(Bson::Null)
}

impl Records {
    /// Changes a call of `host` whose room is not open; the call as it is then, without its people. `None`: there is no such call of this
    /// host, or its status allows no such change.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn edit_call(
        &self,
        id: &CallId,
        host: &UserId,
        edit: &CallEdit,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, RecordsError> {
        self.change_call(owned(id, host), edit, alone(edit, now)).await
    }

    /// As [`Records::edit_call`], of a call whose room became `room` by the change, and whose room knows the host: what the room knows is
    /// written as it has it, unless the record has a later version.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn edit_open_call(
        &self,
        id: &CallId,
        edit: &CallEdit,
        room: &RoomMeta,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, RecordsError> {
        self.change_call(existing(id), edit, after_the_room(edit, room, now)).await
    }

    async fn change_call(
        &self,
        mut filter: Document,
        edit: &CallEdit,
        stages: Vec<Document>,
    ) -> Result<Option<CallRecord>, RecordsError> {
        filter.insert("status", doc! { "$nin": excluding(edit.allowed_in()) });
        let update = self.calls.find_one_and_update(filter, stages);
        let changed = self.run("edit_call", update.return_document(ReturnDocument::After)).await?;
        Ok(changed.map(deserialize_from_document).transpose()?)
    }

    /// Marks a call of `host` as deleted: nobody finds it any more, its room's name is free, and MongoDB removes it after a week. Until
    /// then facts that are still on their way find their document, so that none of them makes it anew.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn delete_call(&self, id: &CallId, host: &UserId, now: Timestamp) -> Result<bool, RecordsError> {
        let called_off: Vec<_> = CallStatus::Cancelled.predecessors().map(CallStatus::as_str).collect();
        let over: Vec<_> = CallStatus::ALL.into_iter().filter(|s| s.is_over()).map(CallStatus::as_str).collect();
        let set = doc! {
            "deletedAt": date_to_bson(now),
            "updatedAt": date_to_bson(now),
            "endedAt": { "$ifNull": ["$endedAt", date_to_bson(now)] },
            "status": { "$switch": {
                "branches": [
                    { "case": { "$in": ["$status", called_off] }, "then": CallStatus::Cancelled.as_str() },
                    { "case": { "$in": ["$status", over] }, "then": "$status" },
                ],
                "default": CallStatus::Ended.as_str(),
            } },
            "roomId": format!("deleted-{id}"),
            "formerRoomId": "$roomId",
            "revision": { "$add": [{ "$ifNull": ["$revision", 0_i64] }, 1_i64] },
        };
        let update = self.calls.update_one(owned(id, host), vec![doc! { "$set": set }]);
        Ok(self.run("delete_call", update).await?.matched_count == 1)
    }
}

fn existing(id: &CallId) -> Document {
    doc! { "_id": { "$in": id_forms(id.as_str()) }, "deletedAt": Bson::Null }
}

fn owned(id: &CallId, host: &UserId) -> Document {
    let mut filter = existing(id);
    filter.insert("hostId", doc! { "$in": id_forms(host.as_str()) });
    filter
}

/// All but these: a document of the Node service may lack its status, which then reads as `waiting`.
fn excluding(allowed: impl Iterator<Item = CallStatus>) -> Vec<&'static str> {
    let allowed: Vec<_> = allowed.collect();
    CallStatus::ALL.into_iter().filter(|status| !allowed.contains(status)).map(CallStatus::as_str).collect()
}
