//! Changes of a call by its host: one update each, which compares what it rests on and touches only the fields that it names. Two hosts
//! who edit at once each get all of their fields written; of a field that both name, the later one stays.

use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use mongodb::options::ReturnDocument;

use super::stored::{date_to_bson, id_forms, id_to_bson};
use super::{CallRecord, Records, RecordsError};
use crate::domain::{CallId, CallStatus, CallType, SettingsChange, Timestamp, UserId};

/// What to change of a call; `None` leaves a field as it is. Over eight fields: each is one that a host can change.
#[derive(Clone, Debug, Default)]
pub struct CallEdit {
    /// A new title.
    pub title: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// A new date; `Some(None)` takes it away. Only before somebody has come.
    pub scheduled_at: Option<Option<Timestamp>>,
    /// Who may join from now on.
    pub call_type: Option<CallType>,
    /// Some of the settings.
    pub settings: SettingsChange,
    /// Seats.
    pub max_participants: Option<u32>,
    /// A new passcode's hash; `Some(None)` takes it away.
    pub passcode: Option<Option<String>>,
    /// Users invited by name, instead of those before.
    pub invited: Option<Vec<UserId>>,
}

impl CallEdit {
    /// The statuses in which it may be made.
    pub fn allowed_in(&self) -> impl Iterator<Item = CallStatus> {
        let dated = self.scheduled_at.is_some();
        CallStatus::ALL.into_iter().filter(move |status| {
            if dated { CallStatus::Live.predecessors().any(|early| early == *status) } else { !status.is_over() }
        })
    }

    fn fields(&self, now: Timestamp) -> Document {
        let literal = |value: Bson| doc! { "$literal": value };
        let mut set = doc! {
            "updatedAt": date_to_bson(now),
            "revision": { "$add": [{ "$ifNull": ["$revision", 0_i64] }, 1_i64] },
        };
        let mut put = |field: &str, value: Option<Bson>| {
            if let Some(value) = value {
                set.insert(field, literal(value));
            }
        };
        put("title", self.title.as_deref().map(Bson::from));
        put("description", self.description.as_deref().map(Bson::from));
        put("type", self.call_type.map(stored_type));
        put("maxParticipants", self.max_participants.map(|seats| Bson::from(i64::from(seats))));
        put("passcode", self.passcode.as_ref().map(|hash| hash.as_deref().map_or(Bson::Null, Bson::from)));
        put("invitedUserIds", self.invited.as_ref().map(|ids| ids.iter().map(|id| id_to_bson(id.as_str())).collect()));
        for (name, value) in self.settings.iter() {
            put(&format!("settings.{name}"), Some(Bson::Boolean(value)));
        }
        put("scheduledAt", self.scheduled_at.map(|at| at.map_or(Bson::Null, date_to_bson)));
        if let Some(at) = self.scheduled_at {
            let status = if at.is_some() { CallStatus::Scheduled } else { CallStatus::Waiting };
            put("status", Some(status.as_str().into()));
        }
        set
    }
}

fn stored_type(call_type: CallType) -> Bson {
    mongodb::bson::serialize_to_bson(&call_type).unwrap_or(Bson::Null)
}

impl Records {
    /// Changes a call of `host`; the call as it is then, without its people. `None`: there is no such call of this host, or its status
    /// allows no such change.
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
        let mut filter = owned(id, host);
        filter.insert("status", doc! { "$nin": excluding(edit.allowed_in()) });
        let update = self.calls.find_one_and_update(filter, vec![doc! { "$set": edit.fields(now) }]);
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

fn owned(id: &CallId, host: &UserId) -> Document {
    doc! {
        "_id": { "$in": id_forms(id.as_str()) },
        "hostId": { "$in": id_forms(host.as_str()) },
        "deletedAt": Bson::Null,
    }
}

/// All but these: a document of the Node service may lack its status, which then reads as `waiting`.
fn excluding(allowed: impl Iterator<Item = CallStatus>) -> Vec<&'static str> {
    let allowed: Vec<_> = allowed.collect();
    CallStatus::ALL.into_iter().filter(|status| !allowed.contains(status)).map(CallStatus::as_str).collect()
}
