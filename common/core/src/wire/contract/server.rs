//! Events that clients get.
//!
//! The file has more than 400 lines, so that the fields of all events can be read in one place.

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{SchemaOf, payloads};
use crate::domain::{
    CallId, CallPermissions, CallSettings, ConnectionState, MediaKind, MediaState, Participant, PeerId, PublicUser,
    Role, RoomName, UserId,
};
use crate::wire::EventKind;

/// Description of an event that clients get.
#[derive(Clone, Copy, Debug)]
pub struct ServerContract {
    /// Name of the event.
    pub name: &'static str,
    /// Name of the operation, for generated code.
    pub operation: &'static str,
    /// One sentence about the event.
    pub summary: &'static str,
    /// Schema of the payload; `None` if there is none.
    pub payload: Option<SchemaOf>,
    /// Whether the event carries an offset as its last argument.
    pub has_offset: bool,
    /// Reads a payload, for tests.
    pub(super) check: fn(&Value) -> Result<(), serde_json::Error>,
}

payloads! {
    /// An ICE server, as `RTCPeerConnection` takes it.
    IceServer {
        /// Addresses: `stun:`, `turn:` or `turns:`.
        urls: Vec<String>,
        /// User name, for TURN.
        username: Option<String>,
        /// Password, for TURN.
        credential: Option<String>,
    }
    /// The room, for a participant who has taken a seat.
    JoinedRoom {
        /// Room.
        room_id: RoomName,
        /// The same as `roomId`.
        id: RoomName,
        /// Call.
        call_id: CallId,
        /// Title of the call.
        name: String,
        /// Peer id of the receiver.
        peer_id: PeerId,
        /// User or guest that receives it.
        user: PublicUser,
        /// Participants with a seat, the receiver included, in the order of their joins.
        participants: Vec<Participant>,
        /// Settings of the call.
        settings: CallSettings,
        /// Whether the receiver is host.
        is_host: bool,
        /// User who is host now.
        host_id: UserId,
        /// Role of the receiver.
        role: Role,
        /// Whether the call is not public.
        is_private: bool,
        /// Number of seats.
        max_participants: u32,
        /// Whether the room is locked.
        locked: bool,
        /// Time of the call's creation, RFC 3339.
        created_at: String,
        /// Signaling node of the receiver, for diagnosis only.
        node: String,
        /// ICE servers, with TURN credentials.
        ice_servers: Vec<IceServer>,
        /// Seconds until the TURN credentials expire.
        ice_ttl: Option<u64>,
        /// Participants in the lobby, for host and moderators.
        waiting: Option<Vec<Participant>>,
    }
    /// A place in the lobby.
    Waiting {
        /// Room.
        room_id: RoomName,
        /// True.
        waiting: bool,
    }
    /// A participant has joined.
    UserJoined {
        /// User or guest.
        user: PublicUser,
        /// The participant.
        participant: Participant,
    }
    /// A participant has left.
    UserLeft {
        /// User or guest.
        user_id: UserId,
        /// Participant.
        peer_id: PeerId,
        /// The participant, as at the time of the join.
        participant: Participant,
        /// `left`, `timeout` or `kicked`.
        reason: String,
    }
    /// The call has ended.
    CallEnded {
        /// Room.
        room_id: RoomName,
        /// `ended_by_host`, `ended_by_app`, `ended_by_operator`, `deleted`, `empty` or
        /// `never_opened`.
        reason: String,
    }
    /// The call after a change.
    RoomUpdated {
        /// Room.
        room_id: RoomName,
        /// Title.
        name: String,
        /// Settings.
        settings: CallSettings,
        /// Number of seats.
        max_participants: u32,
        /// Whether the room is locked.
        locked: bool,
        /// Whether the call is not public.
        is_private: bool,
        /// User who is host now.
        host_id: UserId,
        /// User who owns the call.
        owner_id: UserId,
        /// Version of the call; a higher one is newer.
        version: u64,
    }
    /// A participant waits in the lobby.
    JoinRequest {
        /// The participant, whose `connectionState` is `waiting`.
        participant: Participant,
    }
    /// A participant does not wait any more.
    JoinRequestCancelled {
        /// Participant.
        peer_id: PeerId,
        /// User or guest.
        user_id: UserId,
        /// `left`, `timeout`, `denied`, `kicked` or `replaced`.
        reason: String,
    }
    /// The receiver was denied in the lobby.
    Denied {
        /// Room.
        room_id: RoomName,
        /// Text of the host, or `DOOR_CHANGED`: the call has other rules for joining now.
        reason: Option<String>,
    }
    /// The receiver was removed.
    Kicked {
        /// Room.
        room_id: RoomName,
        /// Peer id of the receiver.
        peer_id: PeerId,
        /// Whether the receiver is banned.
        banned: bool,
        /// Text of the host or moderator.
        reason: Option<String>,
    }
    /// A participant's role changed.
    RoleChanged {
        /// Participant.
        peer_id: PeerId,
        /// User or guest.
        user_id: UserId,
        /// New role.
        role: Role,
        /// User who is host now.
        host_id: UserId,
    }
    /// A participant's permissions changed.
    PermissionsChanged {
        /// Participant.
        peer_id: PeerId,
        /// User.
        user_id: UserId,
        /// All permissions from now on.
        permissions: CallPermissions,
    }
    /// A participant's name or picture changed.
    ProfileChanged {
        /// Participant.
        peer_id: PeerId,
        /// User.
        user_id: UserId,
        /// The user from now on.
        user: PublicUser,
    }
    /// A participant lost the socket or is back.
    ConnectionChanged {
        /// Participant.
        peer_id: PeerId,
        /// User or guest.
        user_id: UserId,
        /// `reconnecting` or `connected`.
        state: ConnectionState,
        /// Signaling node from now on, for diagnosis only.
        node: Option<String>,
        /// Socket.IO id; another one than before means a new page.
        socket_id: Option<String>,
    }
    /// A participant's media changed.
    MediaStateChanged {
        /// User or guest.
        user_id: UserId,
        /// Participant.
        peer_id: PeerId,
        /// Media that are on.
        media_state: MediaState,
    }
    /// A participant's screen share changed.
    ScreenShareChanged {
        /// User or guest.
        user_id: UserId,
        /// Participant.
        peer_id: PeerId,
        /// Whether the screen is shared.
        enabled: bool,
        /// The user or guest.
        user: PublicUser,
    }
    /// A participant's hand was raised or lowered.
    HandChanged {
        /// User or guest.
        user_id: UserId,
        /// Participant.
        peer_id: PeerId,
        /// Whether the hand is up.
        raised: bool,
        /// Time at which it was raised, RFC 3339; absent while it is down.
        hand_raised_at: Option<String>,
        /// Moderator who lowered it.
        by: Option<PeerId>,
    }
    /// A participant shows an emoji.
    Reaction {
        /// User or guest.
        user_id: UserId,
        /// Participant.
        peer_id: PeerId,
        /// One emoji.
        emoji: String,
    }
    /// A medium of the receiver was switched off.
    Muted {
        /// Peer id of the receiver.
        peer_id: PeerId,
        /// User or guest.
        user_id: UserId,
        /// Medium.
        kind: MediaKind,
        /// Moderator who did it; absent for an operator and for a change of permissions.
        by: Option<PeerId>,
        /// Media that are on now.
        media_state: MediaState,
    }
    /// An offer.
    ReceivedOffer {
        /// Sender.
        from: PeerId,
        /// Receiver.
        to: PeerId,
        /// The description, as the sender made it.
        #[schemars(with = "super::client::SessionDescription")]
        offer: Value,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// An answer.
    ReceivedAnswer {
        /// Sender.
        from: PeerId,
        /// Receiver.
        to: PeerId,
        /// The description, as the sender made it.
        #[schemars(with = "super::client::SessionDescription")]
        answer: Value,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// An ICE candidate.
    ReceivedIceCandidate {
        /// Sender.
        from: PeerId,
        /// Receiver.
        to: PeerId,
        /// The candidate, as the sender made it; null is the end of candidates.
        candidate: Value,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// The state of a connection.
    ReceivedConnectionState {
        /// Sender.
        from: PeerId,
        /// Receiver.
        to: PeerId,
        /// State.
        state: String,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// A request for a new offer.
    ReceivedRenegotiationNeeded {
        /// Sender.
        from: PeerId,
        /// Receiver.
        to: PeerId,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// A message about a data channel.
    ReceivedDataChannel {
        /// Sender.
        from: PeerId,
        /// Receiver, if it was sent to one participant.
        to: Option<PeerId>,
        /// Any JSON.
        message: Value,
        /// Kind of the message.
        r#type: String,
        /// User or guest that sent it.
        user: PublicUser,
        /// Room.
        room_id: RoomName,
    }
    /// An event that the backend of an app sends.
    ServerEvent {
        /// Id of the event.
        id: String,
        /// Name that the backend chose.
        name: String,
        /// Any JSON, if the backend sent some.
        data: Option<Value>,
        /// Time of the event, RFC 3339.
        timestamp: String,
    }
    /// ICE servers.
    IceServers {
        /// ICE servers, with TURN credentials for a session with a seat.
        ice_servers: Vec<IceServer>,
        /// Seconds until the TURN credentials expire.
        ice_ttl: Option<u64>,
        /// Signaling node of the receiver, for diagnosis only.
        node: String,
    }
    /// A chat message.
    ChatMessage {
        /// Id of the message.
        id: String,
        /// Sender.
        from: PeerId,
        /// Receiver of a private message.
        to: Option<PeerId>,
        /// User or guest that sent it.
        from_user: PublicUser,
        /// Plain text: do not display it as markup.
        message: String,
        /// Time, RFC 3339, UTC, with milliseconds.
        timestamp: String,
        /// `text`.
        r#type: String,
    }
    /// A participant types.
    ChatTyping {
        /// Sender.
        from: PeerId,
        /// User or guest that types.
        from_user: PublicUser,
        /// Whether the participant is typing from now on.
        is_typing: bool,
    }
    /// The node stops.
    Draining {
        /// Time in which clients are moved, in milliseconds.
        deadline_ms: u64,
    }
    /// Redis does not answer, or answers again.
    ClusterState {
        /// Cause.
        reason: String,
    }
    /// A refusal without an acknowledgement.
    ErrorEvent {
        /// For people; it may change.
        message: String,
        /// Stable code.
        code: String,
        /// Event that was refused.
        event: String,
        /// Seconds after which the event may be sent again.
        retry_after: Option<u64>,
    }
}

const fn contract<T: JsonSchema + DeserializeOwned>(
    name: &'static str,
    operation: &'static str,
    summary: &'static str,
) -> ServerContract {
    ServerContract {
        name,
        operation,
        summary,
        payload: Some(SchemaGenerator::subschema_for::<T>),
        has_offset: true,
        check: |payload| T::deserialize(payload).map(drop),
    }
}

impl ServerContract {
    const fn without_offset(mut self) -> Self {
        self.has_offset = false;
        self
    }
}

/// Returns the description of a kind of event; `None` for an unknown kind.
const fn of_kind(kind: EventKind) -> Option<ServerContract> {
    let name = kind.name();
    Some(match kind {
        EventKind::Offer => contract::<ReceivedOffer>(name, "offerReceived", "An offer"),
        EventKind::Answer => contract::<ReceivedAnswer>(name, "answerReceived", "An answer"),
        EventKind::IceCandidate => contract::<ReceivedIceCandidate>(name, "iceCandidateReceived", "An ICE candidate"),
        EventKind::ConnectionState => contract::<ReceivedConnectionState>(
            name,
            "connectionStateReceived",
            "State of a connection, as its peer tells it",
        ),
        EventKind::RenegotiationNeeded => {
            contract::<ReceivedRenegotiationNeeded>(name, "offerRequested", "A participant asks for a new offer")
        }
        EventKind::DataChannel => {
            contract::<ReceivedDataChannel>(name, "dataChannelMessageReceived", "A message of a participant")
        }
        EventKind::ChatMessage => contract::<ChatMessage>(name, "chatMessageReceived", "A chat message"),
        EventKind::ChatTyping => contract::<ChatTyping>(name, "typingReceived", "A participant types").without_offset(),
        EventKind::UserJoined => contract::<UserJoined>(name, "userJoined", "A participant joined the call"),
        EventKind::UserLeft => contract::<UserLeft>(name, "userLeft", "A participant left the call"),
        EventKind::ConnectionChanged => {
            contract::<ConnectionChanged>(name, "connectionChanged", "A participant lost the socket, or is back")
        }
        EventKind::MediaChanged => {
            contract::<MediaStateChanged>(name, "mediaStateChanged", "A participant's media changed")
        }
        EventKind::ScreenShareChanged => {
            contract::<ScreenShareChanged>(name, "screenShareChanged", "A participant's screen share changed")
        }
        EventKind::HandChanged => {
            contract::<HandChanged>(name, "handChanged", "A hand was raised or lowered; all participants get it")
        }
        EventKind::Reaction => {
            contract::<Reaction>(name, "reactionReceived", "A participant shows an emoji").without_offset()
        }
        EventKind::RoleChanged => contract::<RoleChanged>(name, "roleChanged", "A participant's role changed"),
        EventKind::PermissionsChanged => contract::<PermissionsChanged>(
            name,
            "permissionsChanged",
            "The backend of the app changed what a participant may do",
        ),
        EventKind::ProfileChanged => {
            contract::<ProfileChanged>(name, "profileChanged", "A participant has another name or picture")
        }
        EventKind::Muted => {
            contract::<Muted>(name, "muted", "A moderator, or a change of permissions, switched off a medium")
        }
        EventKind::RoomUpdated => contract::<RoomUpdated>(name, "roomUpdated", "The call changed"),
        EventKind::JoinRequest => {
            contract::<JoinRequest>(name, "joinRequested", "A participant waits in the lobby; for host and moderators")
        }
        EventKind::JoinRequestCancelled => {
            contract::<JoinRequestCancelled>(name, "joinRequestCancelled", "A participant does not wait any more")
        }
        EventKind::Denied => contract::<Denied>(name, "denied", "The receiver was denied in the lobby"),
        EventKind::Kicked => contract::<Kicked>(name, "removed", "The receiver was removed and is in no room"),
        EventKind::CallEnded => contract::<CallEnded>(name, "callEnded", "The call ended"),
        EventKind::ServerEvent => contract::<ServerEvent>(name, "serverEvent", "An event of the app's backend"),
        EventKind::Unknown => return None,
    })
}

/// Events of a node itself, which come from no script.
const OF_NODES: &[ServerContract] = &[
    contract::<JoinedRoom>("room:joined", "roomJoined", "The receiver has a seat"),
    contract::<JoinedRoom>("room:created", "roomCreated", "The receiver created the room and has a seat"),
    contract::<Waiting>("room:waiting", "roomWaiting", "The receiver waits in the lobby"),
    contract::<IceServers>("webrtc:ice-servers", "iceServers", "ICE servers, at each connect and on request")
        .without_offset(),
    ServerContract {
        payload: None,
        ..contract::<()>(
            "server:tick",
            "tick",
            "Keeps the offset of a quiet client fresh; its only argument is the offset",
        )
    },
    contract::<Draining>("server:draining", "draining", "The node stops, and the client will be moved")
        .without_offset(),
    contract::<ClusterState>("cluster:degraded", "clusterDegraded", "Redis does not answer the node").without_offset(),
    contract::<ClusterState>("cluster:restored", "clusterRestored", "Redis answers the node again").without_offset(),
    contract::<ErrorEvent>("error", "eventRefused", "A refusal of an event without an acknowledgement")
        .without_offset(),
];

/// Returns the descriptions of all events that clients get.
pub fn server_events() -> impl Iterator<Item = ServerContract> {
    OF_NODES.iter().copied().chain(EventKind::ALL.iter().filter_map(|kind| of_kind(*kind)))
}

/// Returns the description of the event with this name.
#[must_use]
pub fn server_event(name: &str) -> Option<ServerContract> {
    server_events().find(|contract| contract.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::collections::HashSet;

    use serde_json::json;

    use super::super::check_server_event;
    use super::*;
    use crate::domain::{CallType, RoomId, RoomMeta};
    use crate::wire::participant_event as about;
    use crate::wire::server_event::{self as events, Joiner};

    /// Fills the placeholders of a template, as the scripts do.
    fn fill(event: &str, media: &Value) -> String {
        let user =
            PublicUser::new(UserId::parse("u").unwrap(), "Ann".to_owned(), Some("https://a.example/a.png".to_owned()));
        let joiner = Joiner {
            user: &user,
            role: Role::Guest,
            permissions: Some(CallPermissions::default()),
            media: MediaState::default(),
            state: ConnectionState::Waiting,
            joined_at: "2026-01-01T00:00:00.000Z",
            node: "n1",
            socket_id: "0123",
        };
        // In events about a mute, the mark of the participant is the media state; in those about
        // permissions or a profile it is the permissions or the user.
        let marks = |field: &str| event.contains(&format!("{field}\":\"\\u0003"));
        let participant = if marks("mediaState") {
            media.to_string()
        } else if marks("permissions") {
            CallPermissions::default().to_json()
        } else if marks("user") {
            json!(user).to_string()
        } else {
            events::participant_template(&joiner)
        };
        let marks = [
            (0, json!(user).to_string()),
            (3, participant),
            (4, media.to_string()),
            (1, "\"u#2\"".to_owned()),
            (2, "\"u\"".to_owned()),
            (5, "\"moderator\"".to_owned()),
            (6, "\"h\"".to_owned()),
            (7, "\"2026-01-01T00:00:00.000Z\"".to_owned()),
        ];
        marks.iter().fold(event.to_owned(), |text, (mark, value)| text.replace(&format!("\"\\u000{mark}\""), value))
    }

    #[test]
    fn every_event_that_a_script_or_a_rule_sends_is_as_the_contract_says() {
        let (user, peer, room) =
            (UserId::parse("u").unwrap(), PeerId::parse("u#2").unwrap(), RoomId::parse("R").unwrap());
        let public = PublicUser::new(user.clone(), "Ann".to_owned(), None);
        let meta = RoomMeta {
            call_id: CallId::parse("0123456789abcdef01234567").unwrap(),
            name: "Call".to_owned(),
            host: user.clone(),
            call_type: CallType::Public,
            settings: CallSettings::default(),
            max_participants: 10,
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: String::new(),
            version: 1,
        };
        let sent = [
            events::user_joined_template(&public),
            events::changed_user_joined_template(),
            events::user_left_template("left"),
            events::reconnecting_template(),
            events::connected_template("n1", "0123"),
            events::media_changed_template(&user, &peer),
            events::screen_share_changed(&public, &peer, true),
            events::hand_raised_template(&user, &peer),
            events::hand_lowered(&user, &peer),
            events::reaction(&user, &peer, "👍"),
            events::typing(&peer, &public, true),
            events::call_ended(&room, "ended"),
            events::of_server("e1", "quiz", Some(&json!({ "round": [1] })), "2026-01-01T00:00:00.000Z"),
            events::of_server("e2", "tick", None, "2026-01-01T00:00:00.000Z"),
            about::join_request_template(),
            about::join_request_cancelled_template("left"),
            about::denied(&room, None),
            about::denied(&room, Some("later")),
            about::role_changed_template(),
            about::permissions_changed_template(),
            about::profile_changed_template(),
            about::hand_lowered_template(Some(&peer)),
            about::muted_template(MediaKind::Audio, Some(&peer)),
            about::muted_template(MediaKind::ScreenShare, None),
            about::media_changed_template(),
            about::kicked_template(&room, true, Some("why")),
            about::updated_template(&room, &meta),
        ];
        for event in sent {
            let filled: Value =
                serde_json::from_str(&format!("[{}]", fill(&event, &json!(MediaState::default())))).unwrap();
            check_server_event(filled[0].as_str().unwrap(), &filled[1]).unwrap();
        }
        check_server_event("participant:reaction", &json!({ "peerId": "u" })).unwrap_err();
        check_server_event("server:draining", &json!({ "deadlineMs": 1, "more": 1 })).unwrap_err();
        check_server_event("no:such-event", &json!({})).unwrap_err();
    }

    #[test]
    fn each_event_is_described_once() {
        let all: Vec<_> = server_events().collect();
        assert_eq!(all.len(), EventKind::ALL.len() - 1 + OF_NODES.len());
        for unique in [|each: &ServerContract| each.name, |each: &ServerContract| each.operation] {
            assert_eq!(all.iter().map(unique).collect::<HashSet<_>>().len(), all.len());
        }
    }
}
