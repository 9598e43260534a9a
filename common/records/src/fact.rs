//! Durable facts about calls, and the forms in which records return them.

use switchboard_core::domain::{CallId, CallSettings, CallType, PeerId, Role, RoomId, RoomMeta, Timestamp, UserId};

/// Durable fact about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFact {
    /// Permanent unique id, `<partition>:<position>`. Facts of a partition come in their order.
    pub event_id: String,
    /// Position among the facts of the call, as text that sorts in order.
    pub order: String,
    /// Time of the fact.
    pub at: Timestamp,
    /// Call of the fact.
    pub call: CallId,
    /// Room of the call.
    pub room: RoomId,
    /// Change that the fact describes.
    pub change: CallChange,
}

/// Change that a fact describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// The call was created on a socket.
    Created(Box<NewCall>),
    /// A stay began.
    Joined {
        /// Stay that began.
        who: Stay,
        /// Display name.
        name: String,
        /// Role at the join.
        role: Role,
        /// Participants in the room after the join.
        count: u32,
        /// Whether this is the first join since the room was opened.
        first: bool,
    },
    /// A stay ended.
    Left {
        /// Stay that ended.
        who: Stay,
        /// Reason of the end.
        reason: String,
        /// Participants in the room after the leave.
        count: u32,
    },
    /// A chat message in a call whose chat is recorded. It has no line in the log and does not
    /// change the record of the call.
    Chat(Box<ChatMessage>),
    /// Host, moderator or backend refused a participant who waited in the lobby.
    Denied {
        /// Participant. There was no stay, so `join` is the log's position at the entry.
        who: Stay,
    },
    /// The role of a participant changed.
    Role {
        /// Stay of the participant.
        who: Stay,
        /// New role.
        role: Role,
    },
    /// The call was changed while its room was open.
    Updated(Box<CallUpdate>),
    /// The room closed empty before the call had taken place. The call can still take place.
    Emptied,
    /// The call ended.
    Ended {
        /// Reason of the end.
        reason: String,
    },
    /// The host reopened the call after its end.
    Reopened,
}

impl CallChange {
    /// Returns the kind, as in the log and in metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Chat(_) => "chat",
            Self::Denied { .. } => "denied",
            Self::Role { .. } => "role",
            Self::Updated(_) => "updated",
            Self::Emptied => "emptied",
            Self::Ended { .. } => "ended",
            Self::Reopened => "reopened",
        }
    }
}

/// Chat message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Message id, as clients know it.
    pub id: String,
    /// Sender.
    pub from: UserId,
    /// Display name of the sender at that time.
    pub name: String,
    /// Recipient; `None` means all participants.
    pub to: Option<UserId>,
    /// Text.
    pub message: String,
}

/// One stay of one device in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// User of the device.
    pub user: UserId,
    /// Participant id of the device in the room.
    pub peer: PeerId,
    /// Join id of the stay.
    pub join: String,
}

/// Fields of a call that was created on a socket. The other fields have their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// Title.
    pub title: String,
    /// Creator.
    pub host: UserId,
    /// Users who may join.
    pub call_type: CallType,
    /// Settings.
    pub settings: CallSettings,
    /// Maximum number of participants at the same time.
    pub max_participants: u32,
}

/// Fields of a call as its open room has them after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallUpdate {
    /// Title.
    pub title: String,
    /// Host; `None` when the fact does not name the host.
    pub host: Option<UserId>,
    /// Settings.
    pub settings: CallSettings,
    /// Maximum number of participants at the same time.
    pub max_participants: u32,
    /// New participants are refused.
    pub locked: bool,
    /// Version of the room. An update with an older version than the record's is ignored.
    pub revision: u64,
    /// Fields that only a REST request changes; `None` when the fact does not name them.
    pub access: Option<CallAccess>,
}

impl From<&RoomMeta> for CallUpdate {
    fn from(room: &RoomMeta) -> Self {
        let access = CallAccess {
            call_type: room.call_type,
            passcode: room.passcode_hash.clone(),
            invited: room.invited.clone(),
        };
        Self {
            title: room.name.clone(),
            host: Some(room.host.clone()),
            settings: room.settings.clone(),
            max_participants: room.max_participants,
            locked: room.locked,
            revision: room.version,
            access: Some(access),
        }
    }
}

/// Fields of a call that decide who may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAccess {
    /// Users who may join.
    pub call_type: CallType,
    /// Hash of the passcode.
    pub passcode: Option<String>,
    /// Users invited by name.
    pub invited: Vec<UserId>,
}

/// Fact that can never be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadFact {
    /// Permanent unique id.
    pub event_id: String,
    /// Content, as it was in the outbox.
    pub content: String,
    /// Reason why it cannot be written.
    pub problem: String,
}

/// Line in the log of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEvent {
    /// Id of the fact.
    pub event_id: String,
    /// Kind of the fact, as [`CallChange::kind`] returns it.
    pub kind: String,
    /// Time of the fact.
    pub at: Timestamp,
    /// User, if the fact is about one.
    pub user: Option<String>,
    /// Reason, if the fact has one.
    pub reason: Option<String>,
}
