//! Events that clients send.
//!
//! The file has more than 400 lines, so that the fields of all events can be read in one place.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::server::{JoinedRoom, Waiting};
use super::{SchemaOf, payloads};
use crate::domain::call_fields::{GUEST_NAME, PARTICIPANTS, TITLE};
use crate::domain::{
    CallId, CallSettings, Code, ConnectionState, MediaKind, MediaState, PeerId, Role, RoomName, UserId,
};
use crate::wire::client_event::EventName;

/// Description of an event that clients send.
#[derive(Clone, Debug)]
pub struct ClientContract {
    /// Name of the operation, for generated code.
    pub operation: &'static str,
    /// One sentence about the event.
    pub summary: &'static str,
    /// Schema of the argument.
    pub payload: SchemaOf,
    /// A valid argument.
    pub example: Value,
    /// Schema of the acknowledgement's fields besides `success`, if it has any.
    pub reply: Option<SchemaOf>,
    /// Refusals besides those of every event.
    pub refusals: &'static [Code],
    /// Whether the event may carry an `id`, by which a repetition is relayed once.
    pub has_id: bool,
}

payloads! {
    /// A new call and its room.
    CreateRoom {
        /// Room id, if the client chooses it. Without one, the room gets a random code.
        id: Option<RoomName>,
        /// Title of the call. `title` is another name of this field.
        #[schemars(length(min = *TITLE.start(), max = *TITLE.end()))]
        name: Option<String>,
        /// Whether only signed-in users may join. Default: false.
        is_private: Option<bool>,
        /// Number of seats. Default: 100.
        #[schemars(range(min = *PARTICIPANTS.start(), max = *PARTICIPANTS.end()))]
        max_participants: Option<u32>,
    }
    /// A room to join.
    JoinRoom {
        /// Room, as a person may have typed it.
        room_id: RoomName,
        /// Passcode, if the call has one and there is no join token.
        passcode: Option<String>,
        /// Name of a guest, 2 to 100 characters.
        #[schemars(length(min = *GUEST_NAME.start(), max = *GUEST_NAME.end()))]
        guest_name: Option<String>,
        /// Join token from `POST /api/video-calls/join`.
        token: Option<String>,
    }
    /// Room of the session.
    RoomOfAnswer {
        /// Room.
        room_id: RoomName,
    }
    /// The room that the session is in.
    OwnRoom {
        /// Room of the session; another one is `NOT_IN_ROOM`.
        room_id: Option<RoomName>,
    }
    /// A session description, as WebRTC makes it.
    SessionDescription {
        /// `offer` or `answer`.
        r#type: Option<String>,
        /// SDP; with its JSON 128 KiB at most.
        sdp: String,
    }
    /// An offer to one participant.
    SendOffer {
        /// Receiver. A user id means the first device of that user.
        to: PeerId,
        /// The description.
        #[schemars(with = "SessionDescription")]
        offer: Value,
    }
    /// An answer to one participant.
    SendAnswer {
        /// Receiver.
        to: PeerId,
        /// The description.
        #[schemars(with = "SessionDescription")]
        answer: Value,
    }
    /// An ICE candidate for one participant.
    SendIceCandidate {
        /// Receiver.
        to: PeerId,
        /// The candidate, 4 KiB of JSON at most; null is the end of candidates.
        #[schemars(schema_with = "candidate")]
        candidate: Value,
    }
    /// The state of the connection to one participant.
    SendConnectionState {
        /// Receiver.
        to: PeerId,
        /// State, 64 bytes at most.
        #[schemars(length(max = 64))]
        state: String,
    }
    /// A request for a new offer.
    SendRenegotiationNeeded {
        /// Receiver.
        to: PeerId,
    }
    /// A message about a data channel.
    SendDataChannel {
        /// Receiver; all others without one.
        to: Option<PeerId>,
        /// Any JSON, 128 KiB at most.
        message: Value,
        /// Kind of the message, 64 bytes at most.
        #[schemars(length(max = 64))]
        r#type: String,
    }
    /// No fields.
    Nothing {}
    /// Media to switch on or off. Fields that are missing stay as they are.
    ChangeMedia {
        /// Camera on or off.
        video_enabled: Option<bool>,
        /// Microphone on or off.
        audio_enabled: Option<bool>,
        /// Screen share on or off.
        screen_share_enabled: Option<bool>,
    }
    /// The sender's screen share.
    ShareScreen {
        /// Whether the screen is shared from now on.
        enabled: bool,
    }
    /// The sender's hand.
    SetHand {
        /// Whether the hand is up from now on. A hand that is up keeps its time.
        raised: bool,
    }
    /// A reaction.
    React {
        /// One emoji: one grapheme cluster of at most 64 bytes.
        #[schemars(length(min = 1), extend("examples" = ["👍"]))]
        emoji: String,
    }
    /// A chat message.
    SendChatMessage {
        /// Plain text without control characters, except line feed and tab; not blank.
        #[schemars(length(min = 1, max = 4000))]
        message: String,
        /// Receiver of a private message; all participants without one.
        to: Option<PeerId>,
    }
    /// A page of the chat history.
    GetChatHistory {
        /// Message before which the page ends; the latest messages without it.
        before: Option<String>,
        /// Most messages on the page. Default: 50.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
    }
    /// A typing notice.
    Typing {
        /// Whether the participant is typing from now on.
        is_typing: bool,
    }
    /// Participants to admit: `peerId` or `all`.
    Admit {
        /// Participant in the lobby.
        peer_id: Option<PeerId>,
        /// Whether all who wait are admitted.
        all: Option<bool>,
    }
    /// A participant to deny.
    Deny {
        /// Participant in the lobby.
        peer_id: PeerId,
        /// Text for the participant.
        #[schemars(length(max = 200))]
        reason: Option<String>,
    }
    /// A medium to switch off.
    Mute {
        /// Participant of a lower role.
        peer_id: PeerId,
        /// Medium.
        kind: MediaKind,
    }
    /// A participant.
    OneParticipant {
        /// Participant.
        peer_id: PeerId,
    }
    /// A participant to remove.
    Kick {
        /// Participant of a lower role, removed on all devices.
        peer_id: PeerId,
        /// Whether the participant cannot come back while the room lives. Default: false.
        ban: Option<bool>,
        /// Text for the participant.
        #[schemars(length(max = 200))]
        reason: Option<String>,
    }
    /// A role to give.
    GiveRole {
        /// Participant of a lower role.
        peer_id: PeerId,
        /// New role. The host role is transferred with `room:transfer-host`.
        #[schemars(schema_with = "given_role")]
        role: Role,
    }
    /// The lock of the room.
    LockRoom {
        /// Whether the room is locked from now on.
        locked: bool,
    }
    /// Changes of the call. Fields that are missing stay as they are.
    UpdateRoom {
        /// New title. `title` is another name of this field.
        #[schemars(length(min = *TITLE.start(), max = *TITLE.end()))]
        name: Option<String>,
        /// Settings to change.
        settings: Option<CallSettings>,
        /// New number of seats.
        #[schemars(range(min = *PARTICIPANTS.start(), max = *PARTICIPANTS.end()))]
        max_participants: Option<u32>,
    }
    /// Participants who were admitted.
    Admitted {
        /// Their peer ids.
        admitted: Vec<PeerId>,
    }
    /// Stamp of a chat message. A message that is sent again has the stamp of the first.
    ChatStamp {
        /// Id of the message.
        id: String,
        /// Time of the message, RFC 3339, UTC, with milliseconds.
        timestamp: String,
    }
    /// A page of the chat history.
    ChatPage {
        /// Messages, oldest first.
        messages: Vec<super::server::ChatMessage>,
        /// Whether there are older messages.
        has_more: bool,
        /// Value of `before` for the next page, if there are older messages.
        next: Option<String>,
    }
    /// Figures of the room.
    RoomFigures {
        /// Room.
        room_id: RoomName,
        /// Time of the figures, RFC 3339.
        taken_at: String,
        /// Participants with a socket.
        connected: u32,
        /// Participants whose socket is lost.
        reconnecting: u32,
        /// Participants with a seat.
        participants: Vec<ParticipantFigures>,
        /// Figures of the call, for host and moderators.
        call: Option<CallFigures>,
    }
    /// Figures of a participant.
    ParticipantFigures {
        /// Participant.
        peer_id: PeerId,
        /// User or guest.
        user_id: UserId,
        /// Role.
        role: Role,
        /// Connected or reconnecting.
        connection_state: ConnectionState,
        /// Media that are on.
        media_state: MediaState,
        /// Time of the join, RFC 3339.
        joined_at: String,
        /// Seconds since the join.
        duration: u64,
    }
    /// Figures of the call since the room was opened.
    CallFigures {
        /// Call.
        call_id: CallId,
        /// Time at which the room was opened, RFC 3339.
        opened_at: String,
        /// Seconds since then.
        duration: u64,
        /// Seats that are taken.
        current_participants: u32,
        /// Most seats that were taken at the same time.
        max_concurrent_participants: u32,
        /// Participants in the lobby.
        waiting: u32,
        /// Chat messages so far.
        chat_messages: u64,
    }
}

/// Answer to a join: the room, or a place in the lobby.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described only")]
enum JoinAnswer {
    /// The session has a seat. Above 64 KiB the answer is without `participants` and `waiting`.
    Joined(Box<JoinedRoom>),
    /// The session waits in the lobby.
    Waits(Waiting),
}

fn candidate(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "properties": {
            "candidate": { "type": "string" },
            "sdpMid": { "type": ["string", "null"] },
            "sdpMLineIndex": { "type": ["integer", "null"] },
            "usernameFragment": { "type": ["string", "null"] },
        },
    })
}

fn given_role(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["guest", "participant", "moderator"] })
}

fn contract<T: JsonSchema>(operation: &'static str, summary: &'static str, example: Value) -> ClientContract {
    ClientContract {
        operation,
        summary,
        payload: SchemaGenerator::subschema_for::<T>,
        example,
        reply: None,
        refusals: &[],
        has_id: false,
    }
}

/// Codes with which every event may be refused.
pub(super) const COMMON: &[Code] = &[
    Code::ValidationError,
    Code::NotInRoom,
    Code::RateLimitExceeded,
    Code::ServiceUnavailable,
    Code::BinaryNotSupported,
    Code::InternalError,
];

impl ClientContract {
    /// Returns whether the event may be refused with this code.
    #[must_use]
    pub fn may_refuse(&self, code: Code) -> bool {
        self.refusals.contains(&code) || COMMON.contains(&code)
    }

    fn answers<T: JsonSchema>(mut self) -> Self {
        self.reply = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    const fn refuses(mut self, codes: &'static [Code]) -> Self {
        self.refusals = codes;
        self
    }

    const fn with_id(mut self) -> Self {
        self.has_id = true;
        self
    }
}

/// Returns the description of an event.
#[must_use]
pub fn client_event(event: EventName) -> ClientContract {
    use Code::*;
    const TO_PEER: &[Code] = &[PeerNotFound, PayloadTooLarge];
    const MODERATION: &[Code] = &[Forbidden, PeerNotFound];
    const HOST: &[Code] = &[HostRequired, Forbidden, PeerNotFound];
    const ENTRY: &[Code] = &[
        Unauthorized,
        TokenExpired,
        TokenInvalid,
        InvalidPasscode,
        Forbidden,
        RoomFull,
        CallEnded,
        RoomLocked,
        RoomNotAllowed,
        AppLimitReached,
        Banned,
        Removed,
        RoomNotFound,
    ];
    let to = || json!("65a1b2c3d4e5f60718293a4c#2");
    let peer = || json!({ "peerId": to() });
    match event {
        EventName::RoomCreate => contract::<CreateRoom>(
            "createRoom",
            "Creates a call and joins its room, for signed-in users",
            json!({ "name": "Weekly" }),
        )
        .answers::<JoinedRoom>()
        .refuses(&[Unauthorized, TokenInvalid, Forbidden, RoomExists, RoomNotFound, AppLimitReached]),
        EventName::RoomJoin => {
            let example = json!({ "roomId": "AB23CD45EF67", "guestName": "Ann" });
            contract::<JoinRoom>("joinRoom", "Takes a seat, or a place in the lobby", example)
                .answers::<JoinAnswer>()
                .refuses(ENTRY)
        }
        EventName::RoomLeave => {
            contract::<OwnRoom>("leaveRoom", "Gives up the seat", json!({ "roomId": "AB23CD45EF67" }))
                .answers::<RoomOfAnswer>()
        }
        EventName::RoomEndCall => {
            contract::<OwnRoom>("endCall", "Ends the call for all participants, by the host", json!({}))
                .answers::<RoomOfAnswer>()
                .refuses(&[HostRequired, Forbidden])
        }
        EventName::Offer => {
            let example = json!({ "to": to(), "offer": { "type": "offer", "sdp": "v=0\r\n" } });
            contract::<SendOffer>("sendOffer", "Sends an offer to one participant", example).refuses(TO_PEER).with_id()
        }
        EventName::Answer => {
            let example = json!({ "to": to(), "answer": { "type": "answer", "sdp": "v=0\r\n" } });
            contract::<SendAnswer>("sendAnswer", "Sends an answer to one participant", example)
                .refuses(TO_PEER)
                .with_id()
        }
        EventName::IceCandidate => {
            let example = json!({ "to": to(), "candidate": { "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0 } });
            contract::<SendIceCandidate>("sendIceCandidate", "Sends an ICE candidate to one participant", example)
                .refuses(TO_PEER)
                .with_id()
        }
        EventName::ConnectionState => {
            let example = json!({ "to": to(), "state": "connected" });
            contract::<SendConnectionState>(
                "sendConnectionState",
                "Tells one participant the state of the connection",
                example,
            )
            .refuses(TO_PEER)
            .with_id()
        }
        EventName::RenegotiationNeeded => contract::<SendRenegotiationNeeded>(
            "requestOffer",
            "Asks one participant for a new offer",
            json!({ "to": to() }),
        )
        .refuses(TO_PEER)
        .with_id(),
        EventName::DataChannel => {
            let example = json!({ "message": { "cursor": [1, 2] }, "type": "cursor" });
            contract::<SendDataChannel>(
                "sendDataChannelMessage",
                "Sends a message to one participant, or to all others",
                example,
            )
            .refuses(TO_PEER)
            .with_id()
        }
        EventName::GetIceServers => {
            contract::<Nothing>("getIceServers", "Asks for ICE servers, which come as `webrtc:ice-servers`", json!({}))
        }
        EventName::GetStats => {
            contract::<Nothing>("getFigures", "Reads figures of the room", json!({})).answers::<RoomFigures>()
        }
        EventName::UpdateMediaState => {
            let example = json!({ "videoEnabled": true, "audioEnabled": false });
            contract::<ChangeMedia>("updateMediaState", "Switches the sender's media", example)
                .refuses(&[Forbidden])
                .with_id()
        }
        EventName::ScreenShare => {
            contract::<ShareScreen>("shareScreen", "Switches the sender's screen share", json!({ "enabled": true }))
                .refuses(&[Forbidden])
                .with_id()
        }
        EventName::ScreenShareChanged => contract::<ShareScreen>(
            "changeScreenShare",
            "The same as `webrtc:screen-share`",
            json!({ "enabled": false }),
        )
        .refuses(&[Forbidden])
        .with_id(),
        EventName::SetHand => {
            contract::<SetHand>("setHand", "Raises or lowers the sender's hand", json!({ "raised": true })).with_id()
        }
        EventName::Reaction => {
            contract::<React>("react", "Shows an emoji to the others", json!({ "emoji": "👍" })).refuses(&[Forbidden])
        }
        EventName::ChatMessage => {
            contract::<SendChatMessage>("sendChatMessage", "Sends a chat message", json!({ "message": "Hello" }))
                .answers::<ChatStamp>()
                .refuses(&[Forbidden, PeerNotFound])
                .with_id()
        }
        EventName::ChatHistory => {
            contract::<GetChatHistory>("getChatHistory", "Reads a page of the chat history", json!({ "limit": 50 }))
                .answers::<ChatPage>()
        }
        EventName::ChatTyping => {
            contract::<Typing>("sendTyping", "Tells the others that the participant types", json!({ "isTyping": true }))
                .refuses(&[Forbidden])
        }
        EventName::Admit => {
            contract::<Admit>("admitParticipant", "Admits one or all of the lobby, by host and moderators", peer())
                .answers::<Admitted>()
                .refuses(&[Forbidden, PeerNotFound, CallFull])
        }
        EventName::Deny => {
            contract::<Deny>("denyParticipant", "Denies a participant in the lobby, by host and moderators", peer())
                .refuses(MODERATION)
        }
        EventName::Mute => {
            let example = json!({ "peerId": to(), "kind": "audio" });
            contract::<Mute>(
                "muteParticipant",
                "Switches off a medium of a participant, by host and moderators",
                example,
            )
            .refuses(MODERATION)
        }
        EventName::LowerHand => {
            contract::<OneParticipant>("lowerHand", "Lowers the hand of a participant, by host and moderators", peer())
                .refuses(MODERATION)
        }
        EventName::Kick => {
            contract::<Kick>("removeParticipant", "Removes a participant, by host and moderators", peer())
                .refuses(MODERATION)
        }
        EventName::SetRole => {
            let example = json!({ "peerId": to(), "role": "moderator" });
            contract::<GiveRole>("setRole", "Gives a participant a role, by the host", example).refuses(HOST)
        }
        EventName::TransferHost => {
            contract::<OneParticipant>("transferHost", "Transfers the host role, by the host; not to a guest", peer())
                .refuses(HOST)
        }
        EventName::Lock => contract::<LockRoom>(
            "lockRoom",
            "Locks or unlocks the room, by host and moderators",
            json!({ "locked": true }),
        )
        .refuses(&[Forbidden]),
        EventName::Update => {
            let example = json!({ "name": "Weekly", "settings": { "chatEnabled": false } });
            contract::<UpdateRoom>("updateRoom", "Changes the call, by the host", example).refuses(&[
                HostRequired,
                Forbidden,
                AppLimitReached,
            ])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::collections::HashSet;

    use schemars::generate::SchemaSettings;
    use serde_json::value::RawValue;

    use super::*;
    use crate::wire::client_event::{Limits, parse};

    fn code(event: EventName, argument: &Value) -> Option<Code> {
        let raw = RawValue::from_string(argument.to_string()).unwrap();
        parse(event.as_str(), Some(&raw), &Limits::default()).err().map(|refusal| refusal.code)
    }

    /// Returns the schema of an event's argument, without references.
    fn schema(contract: &ClientContract) -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        (contract.payload)(&mut settings.into_generator()).to_value()
    }

    /// Returns the kinds of values that a schema allows. Empty if it allows every kind.
    fn kinds(schema: &Value) -> Vec<&str> {
        let one = schema["type"].as_str();
        let several = schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let forms = schema["anyOf"].as_array().into_iter().flatten().flat_map(kinds);
        one.into_iter().chain(several).chain(forms).collect()
    }

    /// Returns values that a schema forbids.
    fn forbidden(schema: &Value) -> Vec<Value> {
        let kinds = kinds(schema);
        let mut values = Vec::new();
        if !kinds.is_empty() {
            let samples = [
                ("string", json!("x")),
                ("integer", json!(3)),
                ("boolean", json!(true)),
                ("object", json!({})),
                ("array", json!([])),
                ("null", Value::Null),
            ];
            values.extend(samples.into_iter().filter(|(kind, _)| !kinds.contains(kind)).map(|(_, value)| value));
        }
        if schema["enum"].is_array() {
            values.push(json!("no such word"));
        }
        for (bound, by) in [("minimum", -1), ("maximum", 1)] {
            values.extend(schema[bound].as_i64().map(|bound| json!(bound + by)));
        }
        values.extend(schema["maxLength"].as_u64().map(|max| json!("x".repeat(usize::try_from(max).unwrap() + 1))));
        if schema["minLength"] == 1 {
            values.push(json!(""));
        }
        values
    }

    #[test]
    fn every_event_has_its_own_operation_and_its_example_is_accepted() {
        let operations: HashSet<_> = EventName::ALL.iter().map(|event| client_event(*event).operation).collect();
        assert_eq!(operations.len(), EventName::ALL.len());
        for event in EventName::ALL {
            assert_eq!(code(*event, &client_event(*event).example), None, "{event:?}");
        }
    }

    #[test]
    fn the_parser_refuses_what_the_schemas_forbid_and_asks_for_what_they_require() {
        let mut tried = 0;
        for &event in EventName::ALL {
            let contract = client_event(event);
            let schema = schema(&contract);
            for (field, said) in schema["properties"].as_object().into_iter().flatten() {
                assert!(said["description"].is_string(), "{event:?} {field} has a description");
                for value in forbidden(said) {
                    // The rules check a guest's name and the bounds of a new room.
                    let checked_by_rules = matches!(event, EventName::RoomCreate | EventName::RoomJoin)
                        && field != "roomId"
                        && (value.is_string() || value.is_i64())
                        && said["type"] != json!(["boolean", "null"]);
                    let mut argument = contract.example.clone();
                    argument[field] = value.clone();
                    if !checked_by_rules {
                        let refused = code(event, &argument);
                        assert!(refused.is_some(), "{event:?} {field} = {value}");
                        tried += 1;
                    }
                }
            }
            let fields = schema["properties"].as_object().into_iter().flatten();
            for (field, _) in fields.filter(|(_, said)| kinds(said).contains(&"null")) {
                let mut argument = contract.example.clone();
                // An event may need one of several fields: that of its example stays.
                if argument.get(field).is_none() {
                    argument[field] = Value::Null;
                    assert_eq!(code(event, &argument), None, "{event:?} {field} = null");
                    tried += 1;
                }
            }
            for field in schema["required"].as_array().into_iter().flatten() {
                let mut argument = contract.example.clone();
                argument.as_object_mut().unwrap().remove(field.as_str().unwrap());
                assert_eq!(code(event, &argument), Some(Code::ValidationError), "{event:?} without {field}");
                tried += 1;
            }
        }
        assert!(tried > 100, "{tried}");
    }

    #[test]
    fn an_event_with_an_id_refuses_a_malformed_one_and_another_ignores_it() {
        for &event in EventName::ALL.iter().filter(|event| **event != EventName::RoomCreate) {
            let contract = client_event(event);
            let mut argument = contract.example;
            argument["id"] = json!("a b");
            assert_eq!(code(event, &argument).is_some(), contract.has_id, "{event:?}");
        }
    }
}
