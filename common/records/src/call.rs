//! A call's record.

use mongodb::bson::{Document, deserialize_from_document};
use serde::{Deserialize, Serialize};

use super::bson::{date, epoch, id, ids, maybe_date, maybe_number, number, or_default};
use super::calls::RELEASED;
use super::participants::SHOWN;
use super::{ParticipantCounts, ParticipantRecord, ProfileRecord, RecordedLines, RecordsError};
use switchboard_core::domain::call_fields::PARTICIPANTS_DEFAULT;
use switchboard_core::domain::ids::full_room;
use switchboard_core::domain::{
    CallId, CallSettings, CallStatus, CallType, PublicUser, Role, RoomId, RoomMeta, Timestamp, UserId,
};

/// Document of `videocalls`. The struct has more than eight fields: it is the document, field by
/// field.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: CallId,
    /// Title.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// Longer text; may be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// User who hosts the call: its creator, unless the host was transferred.
    #[serde(rename = "hostId", with = "id")]
    pub host: UserId,
    /// The first participants, in the order of their first joins; read from `participants` by some
    /// queries. A record of the old Node.js backend, or of an earlier version, has all of them as a
    /// list.
    #[serde(default, deserialize_with = "or_default", skip_serializing)]
    pub participants: Vec<ParticipantRecord>,
    /// Numbers of participants. `None`: the record has a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ParticipantCounts>,
    /// Seats taken, as the last fact knows them.
    #[serde(default, deserialize_with = "number")]
    pub present: u32,
    /// Date for which the call is scheduled.
    #[serde(with = "maybe_date", default)]
    pub scheduled_at: Option<Timestamp>,
    /// Time of the first join, of the present or last period.
    #[serde(with = "maybe_date", default)]
    pub started_at: Option<Timestamp>,
    /// Time of the end.
    #[serde(with = "maybe_date", default)]
    pub ended_at: Option<Timestamp>,
    /// Minutes of all periods together.
    #[serde(default, deserialize_with = "maybe_number")]
    pub duration: Option<i64>,
    /// Periods in which the call took place, the earliest first; at most the last
    /// [`PERIODS_MAX`]. A call that its host reopens has several.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// Status.
    #[serde(default = "waiting")]
    pub status: CallStatus,
    /// Users who may join.
    #[serde(rename = "type", default = "public")]
    pub call_type: CallType,
    /// Settings.
    #[serde(default, deserialize_with = "or_default")]
    pub settings: CallSettings,
    /// Full name of the room; unique.
    #[serde(rename = "roomId", with = "full_room")]
    pub room: RoomId,
    /// Address for joining. Kept for other readers of the collection; the API makes the address
    /// from its configuration.
    #[serde(default, deserialize_with = "or_default")]
    pub join_link: String,
    /// Hash of the passcode: a PHC string, or a value of the old Node.js backend. Never sent to
    /// clients.
    #[serde(default)]
    pub passcode: Option<String>,
    /// Maximum number of participants at the same time.
    #[serde(default = "participants_default", deserialize_with = "number")]
    pub max_participants: u32,
    /// New participants are refused.
    #[serde(default, deserialize_with = "or_default")]
    pub locked: bool,
    /// Users invited by name.
    #[serde(rename = "invitedUserIds", with = "ids", default)]
    pub invited: Vec<UserId>,
    /// Highest number of participants at the same time so far.
    #[serde(default, deserialize_with = "number")]
    pub peak: u32,
    /// Lines in the log and the chat.
    #[serde(default, skip_serializing)]
    pub recorded: RecordedLines,
    /// Time of creation.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[serde(with = "date", default = "epoch")]
    pub updated_at: Timestamp,
    /// Version of the fields that the room has too. Raised by every change of them.
    #[serde(default, deserialize_with = "number")]
    pub revision: u64,
    /// Public profiles of host and participants. Only some queries read them; they are not stored
    /// in this document.
    #[serde(default, skip_serializing, rename = "people")]
    pub profiles: Vec<ProfileRecord>,
}

/// Periods that a record keeps.
pub const PERIODS_MAX: i32 = 100;

/// Period in which a call took place: from its first join to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// Time of the first join.
    #[serde(with = "date")]
    pub started_at: Timestamp,
    /// Time of the end.
    #[serde(with = "date")]
    pub ended_at: Timestamp,
}

const fn waiting() -> CallStatus {
    CallStatus::Waiting
}

const fn public() -> CallType {
    CallType::Public
}

const fn participants_default() -> u32 {
    PARTICIPANTS_DEFAULT
}

impl CallRecord {
    /// Reads a document, with the participants that a query has added.
    ///
    /// # Errors
    /// The document is invalid.
    pub(super) fn read(mut document: Document) -> Result<Self, RecordsError> {
        if let Some(shown) = document.remove(SHOWN)
            && document.get_array("participants").map_or(true, Vec::is_empty)
        {
            document.insert("participants", shown);
        }
        let released = document.get_str("roomId").ok().and_then(|room| Some(room.split_once(RELEASED)?.0.to_owned()));
        if let Some(room) = released {
            document.insert("roomId", room);
        }
        let mut call: Self = deserialize_from_document(document)?;
        if call.participants.is_empty() && call.started_at.is_none() && !call.host.is_nobody() {
            call.participants = vec![ParticipantRecord::expected(call.host.clone(), Role::Host)];
        }
        call.mark_ended();
        Ok(call)
    }

    /// Returns whether the record has its participants as a list.
    pub(super) const fn has_list(&self) -> bool {
        self.counts.is_none()
    }

    /// Returns the number of participants that can be listed.
    #[must_use]
    pub fn listed(&self) -> u64 {
        let list = || u64::try_from(self.participants.len()).unwrap_or(u64::MAX);
        self.counts.map_or_else(list, |counts| counts.users + counts.guests)
    }

    /// Shows the participants of a call that is over as gone: its end closes every stay.
    pub(super) fn mark_ended(&mut self) {
        if !self.status.is_over() {
            return;
        }
        for entry in &mut self.participants {
            entry.is_connected = false;
            if entry.joined_at.is_some() {
                entry.left_at = entry.left_at.or(self.ended_at);
            }
        }
    }

    /// Returns the part of the record that the call's room needs.
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

    /// Creates a record from an open room, for use while MongoDB is unavailable or has no record of
    /// the call yet.
    #[must_use]
    pub fn from_room(room: &RoomId, meta: &RoomMeta) -> Self {
        let created = Timestamp::parse(&meta.created_at).unwrap_or(epoch());
        Self {
            id: meta.call_id.clone(),
            title: meta.name.clone(),
            description: String::new(),
            host: meta.host.clone(),
            participants: Vec::new(),
            counts: Some(ParticipantCounts::default()),
            present: 0,
            scheduled_at: None,
            started_at: None,
            ended_at: None,
            duration: None,
            periods: Vec::new(),
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
            recorded: RecordedLines::default(),
            created_at: created,
            updated_at: created,
            revision: meta.version,
            profiles: Vec::new(),
        }
    }

    /// Copies the fields of the open room if the room has a newer version, because a change reaches
    /// the room before the record. A room of another call changes nothing.
    pub fn apply_room(&mut self, meta: &RoomMeta) {
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

    /// Returns whether joining needs a passcode.
    #[must_use]
    pub fn has_passcode(&self) -> bool {
        self.passcode.as_deref().is_some_and(|stored| !stored.is_empty())
    }

    /// Returns the public profile of `user`. It has only the id if the account is deleted or the
    /// query read no profiles.
    #[must_use]
    pub fn profile(&self, user: &UserId) -> PublicUser {
        if let Some(profile) = self.profiles.iter().find(|profile| profile.id == *user) {
            return PublicUser::new(profile.id.clone(), profile.name.clone(), profile.avatar.clone());
        }
        let guest = self.participants.iter().find(|entry| entry.user == *user).and_then(|entry| entry.name.clone());
        PublicUser::new(user.clone(), guest.unwrap_or_default(), None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, deserialize_from_document, doc, serialize_to_document};

    #[test]
    fn a_sparse_document_of_the_old_backend_reads_with_defaults() {
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
        assert_eq!((call.listed(), call.has_list()), (1, true));
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
        let again = CallRecord::read(stored).unwrap();
        assert_eq!((again.id, again.created_at), (call.id.clone(), call.created_at));
        assert_eq!(call.profile(&call.participants[0].user).name, "Gil");
    }
}
