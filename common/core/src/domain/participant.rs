//! Participants: user, role, media state and connection state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::CallPermissions;
use super::ids::{PeerId, UserId};

/// Role of a participant in a call. `permissions` has the actions of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has no account.
    Guest,
    /// Is a signed-in user without further permissions.
    Participant,
    /// May moderate: admit, mute, remove, lock.
    Moderator,
    /// May do every action.
    Host,
}

impl Role {
    /// All roles, lowest first.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Participant, Self::Moderator, Self::Host];

    /// Returns the text on the wire and in a seat.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Participant => "participant",
            Self::Moderator => "moderator",
            Self::Host => "host",
        }
    }

    /// Parses the output of `as_str`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// State of a participant's signaling connection, as other participants see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// The participant has a socket.
    Connected,
    /// The socket is lost; the seat is kept for the grace period.
    Reconnecting,
    /// The participant waits in the lobby.
    Waiting,
}

impl ConnectionState {
    /// Returns the text on the wire and in a seat.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Waiting => "waiting",
        }
    }

    /// Parses the output of `as_str`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Connected, Self::Reconnecting, Self::Waiting].into_iter().find(|state| state.as_str() == text)
    }
}

/// Media of a participant that are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaState {
    /// The camera is on.
    pub video_enabled: bool,
    /// The microphone is on.
    pub audio_enabled: bool,
    /// The screen is shared.
    pub screen_share_enabled: bool,
}

/// Kind of media of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// Camera.
    Video,
    /// Microphone.
    Audio,
    /// Shared screen.
    #[serde(alias = "screen")]
    ScreenShare,
}

impl MediaKind {
    /// Returns the name of the [`MediaState`] field on the wire.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Video => "videoEnabled",
            Self::Audio => "audioEnabled",
            Self::ScreenShare => "screenShareEnabled",
        }
    }
}

impl Default for MediaState {
    /// Media state of a client that has not reported one: camera and microphone on, no screen
    /// share.
    fn default() -> Self {
        Self { video_enabled: true, audio_enabled: true, screen_share_enabled: false }
    }
}

/// Public profile of a user or guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicUser {
    /// Same as `id`, under the name that clients of the old Node.js backend read.
    #[serde(rename = "_id")]
    pub object_id: UserId,
    /// Id of the user or guest.
    pub id: UserId,
    /// Display name.
    pub name: String,
    /// URL of the profile picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Whether this is a guest, who has no account.
    #[serde(default)]
    pub is_guest: bool,
    /// Data of the app about its user, from the user token: at most 1 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

impl PublicUser {
    /// Creates a profile. `is_guest` follows from the id.
    #[must_use]
    pub fn new(id: UserId, name: String, avatar: Option<String>) -> Self {
        Self { object_id: id.clone(), is_guest: id.is_guest(), id, name, avatar, metadata: None }
    }

    /// Returns the profile without the data of an app, for events that repeat often.
    #[must_use]
    pub fn without_metadata(&self) -> Self {
        Self::new(self.id.clone(), self.name.clone(), self.avatar.clone())
    }
}

/// Participant object that clients receive, for example in `room:joined` and `room:user-joined`.
///
/// The struct has more than eight fields, because it mirrors the wire object field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Address of the participant within the room.
    pub peer_id: PeerId,
    /// Id of the user or guest.
    pub user_id: UserId,
    /// Public profile of the user or guest.
    pub user: PublicUser,
    /// Role in the call.
    pub role: Role,
    /// Permissions of the user of an app, besides the rights of the role. Absent for accounts and
    /// guests, whose role alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<CallPermissions>,
    /// Media that are on.
    pub media_state: MediaState,
    /// Time at which the participant raised a hand, RFC 3339, UTC, with milliseconds. Absent while
    /// the hand is down. Hands are shown in the order of this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_raised_at: Option<String>,
    /// Whether the participant has a socket now; `connectionState` has more detail.
    pub is_connected: bool,
    /// Connected, reconnecting or waiting.
    pub connection_state: ConnectionState,
    /// Time of the join: RFC 3339, UTC, with milliseconds.
    pub joined_at: String,
    /// Signaling node that serves the participant; for diagnosis only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Socket.IO id of the participant's session. It stays the same when the session resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_id: Option<String>,
}
