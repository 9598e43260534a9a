//! A call's record. Over eight fields: it is a document of `videocalls`, field by field.

use serde::{Deserialize, Serialize};

use super::stored::{date, epoch, id, ids, maybe_date, maybe_number, number, or_default};
use super::{ParticipantRecord, PersonRecord};
use switchboard_core::domain::{
    CallId, CallSettings, CallStatus, CallType, PublicUser, RoomId, RoomMeta, Timestamp, UserId,
};

/// A document of `videocalls`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: CallId,
    /// The title to show.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// A longer text; may be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// The user who made the call.
    #[serde(rename = "hostId", with = "id")]
    pub host: UserId,
    /// One entry per user, the host first.
    #[serde(default, deserialize_with = "or_default")]
    pub participants: Vec<ParticipantRecord>,
    /// When it is to take place.
    #[serde(with = "maybe_date", default)]
    pub scheduled_at: Option<Timestamp>,
    /// When somebody first connected.
    #[serde(with = "maybe_date", default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(with = "maybe_date", default)]
    pub ended_at: Option<Timestamp>,
    /// Minutes from start to end.
    #[serde(default, deserialize_with = "maybe_number")]
    pub duration: Option<i64>,
    /// Where it is in its life.
    #[serde(default = "waiting")]
    pub status: CallStatus,
    /// Who may join.
    #[serde(rename = "type", default = "public")]
    pub call_type: CallType,
    /// What is allowed.
    #[serde(default, deserialize_with = "or_default")]
    pub settings: CallSettings,
    /// The room; unique.
    #[serde(rename = "roomId")]
    pub room: RoomId,
    /// Where people join; kept for readers of the collection, clients get it made from the configuration.
    #[serde(default, deserialize_with = "or_default")]
    pub join_link: String,
    /// A PHC string, or what the Node service stored. Never leaves the backend.
    #[serde(default)]
    pub passcode: Option<String>,
    /// Seats.
    #[serde(default = "hundred", deserialize_with = "number")]
    pub max_participants: u32,
    /// Nobody new may join.
    #[serde(default, deserialize_with = "or_default")]
    pub locked: bool,
    /// Users invited by name.
    #[serde(rename = "invitedUserIds", with = "ids", default)]
    pub invited: Vec<UserId>,
    /// The most who were there at once.
    #[serde(default, deserialize_with = "number")]
    pub peak: u32,
    /// When it was made.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "date", default = "epoch")]
    pub updated_at: Timestamp,
    /// Raised by every change that the room must learn of.
    #[serde(default, deserialize_with = "number")]
    pub revision: u64,
    /// What others may know of host and participants: looked up by queries that say so, never stored.
    #[serde(default, skip_serializing)]
    pub people: Vec<PersonRecord>,
}

const fn waiting() -> CallStatus {
    CallStatus::Waiting
}

const fn public() -> CallType {
    CallType::Public
}

const fn hundred() -> u32 {
    100
}

impl CallRecord {
    /// What the call's room needs to know of it.
    #[must_use]
    pub fn room_meta(&self) -> RoomMeta {
        RoomMeta {
            call_id: self.id.clone(),
            name: self.title.clone(),
            host: self.host.clone(),
            call_type: self.call_type,
            settings: self.settings.clone(),
            max_participants: self.max_participants,
            locked: self.locked,
            passcode_hash: self.passcode.clone().filter(|stored| !stored.is_empty()),
            invited: self.invited.clone(),
            created_at: self.created_at.to_string(),
            version: self.revision,
        }
    }

    /// A call as its room knows it: for while MongoDB is away, or the record is still on its way there.
    #[must_use]
    pub fn from_room(room: &RoomId, meta: &RoomMeta) -> Self {
        let created = Timestamp::parse(&meta.created_at).unwrap_or(epoch());
        Self {
            id: meta.call_id.clone(),
            title: meta.name.clone(),
            description: String::new(),
            host: meta.host.clone(),
            participants: Vec::new(),
            scheduled_at: None,
            started_at: None,
            ended_at: None,
            duration: None,
            status: CallStatus::Live,
            call_type: meta.call_type,
            settings: meta.settings.clone(),
            room: room.clone(),
            join_link: String::new(),
            passcode: meta.passcode_hash.clone(),
            max_participants: meta.max_participants,
            locked: meta.locked,
            invited: meta.invited.clone(),
            peak: 0,
            created_at: created,
            updated_at: created,
            revision: meta.version,
            people: Vec::new(),
        }
    }

    /// Becomes what its open room has of it, when that is newer: a change is in the room first. A room of another call changes nothing.
    pub fn follow(&mut self, meta: &RoomMeta) {
        if meta.call_id != self.id || meta.version <= self.revision {
            return;
        }
        self.title.clone_from(&meta.name);
        self.host.clone_from(&meta.host);
        self.call_type = meta.call_type;
        self.settings = meta.settings.clone();
        self.max_participants = meta.max_participants;
        self.locked = meta.locked;
        self.passcode.clone_from(&meta.passcode_hash);
        self.invited.clone_from(&meta.invited);
        self.revision = meta.version;
    }

    /// Whether a passcode is asked for.
    #[must_use]
    pub fn has_passcode(&self) -> bool {
        self.passcode.as_deref().is_some_and(|stored| !stored.is_empty())
    }

    /// Whether `user` made the call or has taken part.
    #[must_use]
    pub fn involves(&self, user: &UserId) -> bool {
        self.host == *user || self.participants.iter().any(|entry| entry.user == *user)
    }

    /// What others may know of `user`, as far as it was looked up; its id alone when its account is gone.
    #[must_use]
    pub fn person(&self, user: &UserId) -> PublicUser {
        if let Some(person) = self.people.iter().find(|person| person.id == *user) {
            return PublicUser::new(person.id.clone(), person.name.clone(), person.avatar.clone());
        }
        let guest = self.participants.iter().find(|entry| entry.user == *user).and_then(|entry| entry.name.clone());
        PublicUser::new(user.clone(), guest.unwrap_or_default(), None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, deserialize_from_document, doc, serialize_to_document};

    #[test]
    fn a_sparse_document_of_the_node_service_reads_with_defaults() {
        let (id, host) = (ObjectId::new(), ObjectId::new());
        let call: CallRecord = deserialize_from_document(doc! {
            "_id": id, "hostId": host.to_hex(), "title": "T", "description": null, "roomId": "ABCDEF123456", "__v": 3,
            "maxParticipants": 10.0, "duration": 12.0, "status": "ended", "type": "invited_only", "passcode": "",
            "startedAt": DateTime::from_millis(5), "settings": { "chatEnabled": false },
            "participants": [{ "userId": host, "role": "host", "_id": ObjectId::new() }],
        })
        .unwrap();
        assert_eq!((call.id.as_str(), call.host.as_str()), (id.to_hex().as_str(), host.to_hex().as_str()));
        assert_eq!((call.max_participants, call.duration, call.revision), (10, Some(12), 0));
        assert_eq!((call.started_at, call.ended_at), (Some(Timestamp(5)), None));
        assert!(!call.settings.chat_enabled && call.settings.video_enabled);
        assert!(!call.has_passcode() && call.room_meta().passcode_hash.is_none());
        assert!(call.involves(&call.host));
    }

    #[test]
    fn a_record_is_stored_with_object_ids_and_dates_and_reads_back() {
        let host = ObjectId::new();
        let call: CallRecord = deserialize_from_document(doc! {
            "_id": ObjectId::new(), "hostId": host, "roomId": "r", "createdAt": DateTime::from_millis(7),
            "participants": [{ "userId": "guest-0123456789abcdef", "name": "Gil", "role": "guest" }],
        })
        .unwrap();
        let stored = serialize_to_document(&call).unwrap();
        assert_eq!(stored.get_object_id("hostId").unwrap(), host);
        assert_eq!(stored.get_datetime("createdAt").unwrap().timestamp_millis(), 7);
        assert!(stored.get("people").is_none());
        let again: CallRecord = deserialize_from_document(stored).unwrap();
        assert_eq!(again.person(&again.participants[0].user).name, "Gil");
    }
}
