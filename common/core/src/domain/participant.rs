//! Participants: who they are, their role, media and connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{PeerId, UserId};

/// What a participant is in the call; what it may do is `grant`'s table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Came without an account.
    Guest,
    /// A signed-in user.
    Participant,
    /// Helps the host.
    Moderator,
    /// Runs the call.
    Host,
}

impl Role {
    /// All of them, the lowest first.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Participant, Self::Moderator, Self::Host];

    /// As on the wire and in a seat.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Participant => "participant",
            Self::Moderator => "moderator",
            Self::Host => "host",
        }
    }

    /// Reads what `as_str` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// The signaling connection of a participant, as its peers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// Has a socket.
    Connected,
    /// Lost its socket; its seat is kept for the grace.
    Reconnecting,
    /// In the lobby.
    Waiting,
}

impl ConnectionState {
    /// As on the wire and in a seat.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Waiting => "waiting",
        }
    }

    /// Reads what `as_str` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Connected, Self::Reconnecting, Self::Waiting].into_iter().find(|state| state.as_str() == text)
    }
}

/// Which of a participant's media are on.
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

/// One of a participant's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// The camera.
    Video,
    /// The microphone.
    Audio,
    /// The shared screen.
    #[serde(alias = "screen")]
    ScreenShare,
}

impl MediaKind {
    /// The field of [`MediaState`] on the wire.
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
    /// What a client that has said nothing yet is shown as: camera and microphone on, no screen.
    fn default() -> Self {
        Self { video_enabled: true, audio_enabled: true, screen_share_enabled: false }
    }
}

/// What others may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicUser {
    /// The id, under the name that clients of the Node service read.
    #[serde(rename = "_id")]
    pub object_id: UserId,
    /// The id.
    pub id: UserId,
    /// The name to show.
    pub name: String,
    /// A picture's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Came without an account.
    #[serde(default)]
    pub is_guest: bool,
}

impl PublicUser {
    /// A user or guest by its id and name.
    #[must_use]
    pub fn new(id: UserId, name: String, avatar: Option<String>) -> Self {
        Self { object_id: id.clone(), is_guest: id.is_guest(), id, name, avatar }
    }
}

/// A participant as clients receive it, in `room:joined`, `room:user-joined` and the like. Over eight fields: it is the wire's object,
/// field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Its address within the room.
    pub peer_id: PeerId,
    /// Who it is.
    pub user_id: UserId,
    /// What others may know of it.
    pub user: PublicUser,
    /// Its role.
    pub role: Role,
    /// Its media.
    pub media_state: MediaState,
    /// Whether it has a socket now; `connectionState` says more.
    pub is_connected: bool,
    /// Connected, reconnecting or waiting.
    pub connection_state: ConnectionState,
    /// RFC 3339, UTC, milliseconds.
    pub joined_at: String,
    /// The node that serves it, for people who watch the cluster work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}
