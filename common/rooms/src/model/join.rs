//! Taking a seat, and changing the profile of its user.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use switchboard_core::domain::{
    CallPermissions, ConnectionState, MediaState, Participant, PublicUser, Role, RoomId, RoomMeta, SessionHandle,
    Timestamp, UserId,
};
use switchboard_core::wire::LogId;

use super::Seat;

/// Request for a seat. The struct has more than eight fields, because they are the arguments of one
/// script.
#[derive(Clone, Debug)]
pub struct Join {
    /// Room.
    pub room: RoomId,
    /// Version of the metadata that admission was decided on. With another version the script
    /// answers `Joined::Changed`.
    pub meta_version: u64,
    /// User who joins.
    pub user: UserId,
    /// SHA-256 of the session's private id, as the seat stores it.
    pub pid: String,
    /// SHA-256 of the private id that this client failed to resume. It names the seat to take over,
    /// if that belongs to the same user.
    pub old_pid: Option<String>,
    /// Handle of this session within its node.
    pub handle: SessionHandle,
    /// Role that the seat gets.
    pub role: Role,
    /// Grant of the user's newest token, for users of an app whose backend grants. A host by it is
    /// no stand-in. If the room knows a newer one, the script answers `Joined::Changed`.
    pub grant: Option<TokenGrant>,
    /// Whether the session waits in the lobby first.
    pub waits: bool,
    /// Public data of the user: part of field `i:<peer>` and of `room:user-joined`.
    pub public: PublicUser,
    /// Media at the time of the join.
    pub media: MediaState,
    /// Role that admission saw assigned in this room. With another one the script answers
    /// `Joined::Changed`.
    pub given: Option<Role>,
    /// Permissions of the user of an app: those that the backend gave in this room, else those of
    /// the token. `None` for accounts and guests.
    pub permissions: Option<CallPermissions>,
    /// Permissions that admission saw given in this room. With others the script answers
    /// `Joined::Changed`.
    pub given_permissions: Option<CallPermissions>,
    /// Proof of identity, for removals and bans.
    pub proof: Proof,
}

/// Role and permissions in a user token of an app. Of several tokens of a user in a room, the
/// newest one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// Time of issue, in ms since the Unix epoch; 0 if the token does not say it.
    pub issued_ms: u64,
    /// Role.
    pub role: Role,
    /// Permissions.
    pub permissions: CallPermissions,
}

impl TokenGrant {
    /// Reads the text of a grant; `None` if it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        Some(Self {
            issued_ms: words.next()?.parse().ok()?,
            role: Role::parse(words.next()?)?,
            permissions: serde_json::from_str(words.next()?).ok()?,
        })
    }
}

/// Writes the grant as the room keeps it.
impl fmt::Display for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.issued_ms, self.role.as_str(), self.permissions.to_json())
    }
}

/// Change of a user's profile in a room. Fields that are `None` stay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileUpdate {
    /// Name.
    pub name: Option<String>,
    /// Picture; `Some(None)` removes it.
    pub avatar: Option<Option<String>>,
    /// Data of the app; `Some(None)` removes them.
    pub metadata: Option<Option<Value>>,
    /// Time of a change that was stored elsewhere first: an older one changes nothing. `None`
    /// changes the profile as it is now.
    pub stored_at: Option<Timestamp>,
}

/// Proof of a user's identity. A removed user needs a newer one to come back. A ban remembers the
/// address too, and refuses every guest from there.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Time of issue of the oldest token that the client shows, in ms since the Unix epoch; 0
    /// without a token.
    pub issued_ms: u64,
    /// Hashes of the client's address, one by each key of the cluster, separated by commas; `None`
    /// when it is unknown.
    pub address: Option<Box<str>>,
}

/// Answer to `join`.
#[derive(Debug)]
pub enum Joined<R = Box<Snapshot>> {
    /// The session has a seat in the call.
    Seated {
        /// The seat: a new one, or the user's own seat, which had lost its socket.
        seat: Arc<Seat>,
        /// Log id after which delivery starts.
        id: LogId,
        /// Log id of the seat's `room:user-joined`: the same for a new seat, older for the user's
        /// own.
        join_id: LogId,
        /// The room at that moment or later, with this seat.
        snapshot: R,
    },
    /// The session waits in the lobby.
    Waiting {
        /// Seat in the lobby.
        seat: Arc<Seat>,
        /// Log id after which delivery starts.
        id: LogId,
    },
    /// The session would get a seat, or a place in the lobby: the answer to a question.
    Possible,
    /// Every seat, or every place in the lobby, is taken.
    Full,
    /// The user has as many seats as one user may have.
    TooManyDevices,
    /// The room is locked.
    Locked,
    /// The user, or the address of a guest, is banned.
    Banned,
    /// The proof is older than a removal.
    Removed,
    /// The call has ended.
    Ended,
    /// The room is not in Redis. Open it first.
    Absent,
    /// Metadata, the role or permissions given in the room, or the user's newest grant changed
    /// since admission was decided. Decide again.
    Changed,
    /// This node is not registered, or was swept. The client must try again or use another node.
    Fenced,
}

impl<R> Joined<R> {
    /// Changes the form of the room that was read.
    #[must_use]
    pub fn map<S>(self, change: impl FnOnce(R) -> S) -> Joined<S> {
        match self {
            Self::Seated { seat, id, join_id, snapshot } => {
                Joined::Seated { seat, id, join_id, snapshot: change(snapshot) }
            }
            Self::Waiting { seat, id } => Joined::Waiting { seat, id },
            Self::Possible => Joined::Possible,
            Self::Full => Joined::Full,
            Self::TooManyDevices => Joined::TooManyDevices,
            Self::Locked => Joined::Locked,
            Self::Banned => Joined::Banned,
            Self::Removed => Joined::Removed,
            Self::Ended => Joined::Ended,
            Self::Absent => Joined::Absent,
            Self::Changed => Joined::Changed,
            Self::Fenced => Joined::Fenced,
        }
    }
}

/// A room at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Metadata of the call.
    pub meta: RoomMeta,
    /// User who is host now.
    pub host: UserId,
    /// Whether the room is locked.
    pub locked: bool,
    /// Every seat, those of the lobby included, oldest first.
    pub seats: Vec<Participant>,
}

impl Snapshot {
    /// Returns the number of participants of the call, without the lobby.
    #[must_use]
    pub fn participants(&self) -> u32 {
        let seated = self.seats.iter().filter(|seat| seat.connection_state != ConnectionState::Waiting);
        u32::try_from(seated.count()).unwrap_or(u32::MAX)
    }
}
