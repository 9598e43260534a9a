//! Parses events that clients send.
//!
//! An event is parsed once, where it enters the process. Values that the server only forwards (SDP,
//! ICE candidates) keep the client's own JSON text. The file has more than 400 lines, so that the
//! bounds of all events can be read in one place.
//!
//! | module | content |
//! |---|---|
//! | `command` | moderation commands of host and moderators |
//! | `name` | names of the events |

use std::borrow::Cow;

use super::event_kind::EventKind;
use super::nesting::is_shallow;
use super::well_formed::to_well_formed;
use super::whole_number;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::{Code, MediaChange, PeerId, Refusal, RoomName, names, reaction};

mod command;
mod name;

pub use command::{Command, RoomChange};
pub use name::EventName;

/// Size limits of client events. A larger value is refused. 0 means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Offer, answer or data-channel message, in bytes of JSON text. Default: 128 KiB.
    pub sdp: usize,
    /// ICE candidate or connection state, in bytes of JSON text. Default: 4 KiB.
    pub candidate: usize,
    /// Chat message, in characters. Default: 4000.
    pub chat: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sdp: 128 * 1024, candidate: 4 * 1024, chat: 4000 }
    }
}

/// Valid event of a client. The rules decide whether the client may send it.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    /// `room:create`
    Create(Create),
    /// `room:join`
    Join(Join),
    /// `room:leave`, with the room id if the client sent one.
    Leave(Option<RoomName>),
    /// `room:end-call`, with the room id if the client sent one.
    EndCall(Option<RoomName>),
    /// WebRTC signaling event that the server forwards to another participant.
    Signal(Signal<'a>),
    /// `webrtc:get-ice-servers`
    GetIceServers,
    /// `participant:update-media-state`
    UpdateMedia {
        /// Media to switch on or off. Omitted media stay as they are.
        media: MediaChange,
        /// Event id that the client chose, for deduplication.
        id: Option<Box<str>>,
    },
    /// `webrtc:screen-share`, `participant:screen-share-changed`
    ScreenShare {
        /// Whether the screen is shared from now on.
        enabled: bool,
        /// Event id that the client chose, for deduplication.
        id: Option<Box<str>>,
    },
    /// `participant:set-hand`
    SetHand {
        /// Whether the sender's hand is up from now on.
        raised: bool,
        /// Event id that the client chose, for deduplication.
        id: Option<Box<str>>,
    },
    /// `participant:reaction`
    Reaction {
        /// One emoji, as `domain::reaction` checks it.
        emoji: Box<str>,
    },
    /// Moderation command: changes another participant, the lobby or the call.
    Command(Command),
    /// `chat:message`
    Chat(Chat),
    /// `chat:history`
    ChatHistory(ChatHistory),
    /// `webrtc:get-stats`
    GetStats,
    /// `chat:typing`
    Typing {
        /// Whether the participant is typing from now on.
        is_typing: bool,
    },
}

/// `room:create`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Room id, if the client chooses it.
    #[serde(default)]
    pub id: Option<RoomName>,
    /// Title of the call.
    #[serde(alias = "title", default)]
    pub name: Option<String>,
    /// Whether only signed-in users may join.
    #[serde(default, deserialize_with = "or_default")]
    pub is_private: bool,
    /// Number of participants, within `call_fields::PARTICIPANTS`.
    #[serde(default, deserialize_with = "whole_number::optional")]
    pub max_participants: Option<u32>,
}

/// `room:join`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// Room to join, as a person may have typed it.
    #[serde(deserialize_with = "typed_room")]
    pub room_id: RoomName,
    /// Passcode, if the room has one.
    #[serde(default)]
    pub passcode: Option<String>,
    /// Display name of a guest.
    #[serde(default)]
    pub guest_name: Option<String>,
    /// Join token from the REST API.
    #[serde(default)]
    pub token: Option<String>,
}

/// WebRTC signaling event from one participant to another.
#[derive(Debug)]
pub struct Signal<'a> {
    /// Kind of the event.
    pub kind: SignalKind,
    /// Receiver. A plain user id means the first device of that user. `None`: all other
    /// participants (`webrtc:data-channel` only).
    pub to: Option<PeerId>,
    /// Forwarded fields: name, and value as the client's own JSON text.
    pub body: Vec<(&'static str, &'a RawValue)>,
    /// Event id that the client chose, for deduplication.
    pub id: Option<Box<str>>,
}

/// Kind of a [`Signal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// `webrtc:offer`
    Offer,
    /// `webrtc:answer`
    Answer,
    /// `webrtc:ice-candidate`
    Candidate,
    /// `webrtc:connection-state`
    ConnectionState,
    /// `webrtc:renegotiation-needed`
    RenegotiationNeeded,
    /// `webrtc:data-channel`
    DataChannel,
}

impl SignalKind {
    /// Returns the event's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "webrtc:offer",
            Self::Answer => "webrtc:answer",
            Self::Candidate => "webrtc:ice-candidate",
            Self::ConnectionState => "webrtc:connection-state",
            Self::RenegotiationNeeded => "webrtc:renegotiation-needed",
            Self::DataChannel => "webrtc:data-channel",
        }
    }

    /// Returns the kind of the event that receivers get.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        match self {
            Self::Offer => EventKind::Offer,
            Self::Answer => EventKind::Answer,
            Self::Candidate => EventKind::IceCandidate,
            Self::ConnectionState => EventKind::ConnectionState,
            Self::RenegotiationNeeded => EventKind::RenegotiationNeeded,
            Self::DataChannel => EventKind::DataChannel,
        }
    }
}

/// `chat:message`
#[derive(Debug)]
pub struct Chat {
    /// Message text: not blank, at most [`Limits::chat`] characters, no control characters except
    /// line feed and tab.
    pub message: String,
    /// Receiver of a private message; `None`: all participants.
    pub to: Option<PeerId>,
    /// Event id that the client chose, for deduplication.
    pub id: Option<Box<str>>,
}

/// `chat:history`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistory {
    /// Message id: the page ends before this message. `None`: the latest messages.
    #[serde(default)]
    pub before: Option<Box<str>>,
    /// Maximum number of messages, 1 to 100. Default: 50.
    #[serde(default = "default_page_size", deserialize_with = "page_size")]
    pub limit: usize,
}

/// Default number of messages on a page of the chat history.
const fn default_page_size() -> usize {
    50
}

fn page_size<'de, D: Deserializer<'de>>(field: D) -> Result<usize, D::Error> {
    Ok(whole_number::optional(field)?.unwrap_or_else(default_page_size))
}

/// Parses the event `name`. `argument` is the JSON text of its first argument, if it has one. Null
/// is no argument: JavaScript sends it for `undefined`.
///
/// # Errors
/// - `UNKNOWN_EVENT`: there is no event with this name.
/// - `VALIDATION_ERROR`: a field is missing, mistyped or out of bounds, or the argument nests more
///   than 16 levels deep.
/// - `PAYLOAD_TOO_LARGE`: a field is larger than `limits` allows.
pub fn parse<'a>(name: &str, argument: Option<&'a RawValue>, limits: &Limits) -> Result<ClientEvent<'a>, Refusal> {
    let text = argument.map(RawValue::get).filter(|text| *text != "null").unwrap_or("{}");
    if !is_shallow(text.as_bytes()) {
        return Err(Refusal::new(Code::ValidationError, "The argument of the event nests more than 16 levels deep"));
    }
    let Some(event) = EventName::parse(name) else { return Err(Code::UnknownEvent.into()) };
    match event {
        EventName::RoomCreate => fields(text).map(ClientEvent::Create),
        EventName::RoomJoin => fields(text).map(ClientEvent::Join),
        EventName::RoomLeave => room_argument(text).map(ClientEvent::Leave),
        EventName::RoomEndCall => room_argument(text).map(ClientEvent::EndCall),
        EventName::Offer => signal(SignalKind::Offer, &["offer"], text, limits.sdp),
        EventName::Answer => signal(SignalKind::Answer, &["answer"], text, limits.sdp),
        EventName::IceCandidate => signal(SignalKind::Candidate, &["candidate"], text, limits.candidate),
        EventName::ConnectionState => signal(SignalKind::ConnectionState, &["state"], text, limits.candidate),
        EventName::RenegotiationNeeded => signal(SignalKind::RenegotiationNeeded, &[], text, limits.candidate),
        EventName::DataChannel => signal(SignalKind::DataChannel, &["message", "type"], text, limits.sdp),
        EventName::GetIceServers => Ok(ClientEvent::GetIceServers),
        EventName::GetStats => Ok(ClientEvent::GetStats),
        EventName::UpdateMediaState => {
            let id = fields::<EventId>(text)?.checked()?;
            Ok(ClientEvent::UpdateMedia { media: fields(text)?, id })
        }
        EventName::ScreenShare | EventName::ScreenShareChanged => {
            let id = fields::<EventId>(text)?.checked()?;
            fields::<Enabled>(text).map(|share| ClientEvent::ScreenShare { enabled: share.enabled, id })
        }
        EventName::SetHand => {
            let id = fields::<EventId>(text)?.checked()?;
            fields::<Raised>(text).map(|hand| ClientEvent::SetHand { raised: hand.raised, id })
        }
        EventName::Reaction => {
            let Emoji { emoji } = fields(text)?;
            reaction::check(&emoji).map(|()| ClientEvent::Reaction { emoji })
        }
        EventName::ChatMessage => chat(text, limits.chat).map(ClientEvent::Chat),
        EventName::ChatHistory => history(text).map(ClientEvent::ChatHistory),
        EventName::ChatTyping => {
            fields::<TypingFields>(text).map(|typing| ClientEvent::Typing { is_typing: typing.is_typing })
        }
        EventName::Update => command::update(text).map(ClientEvent::Command),
        EventName::Admit
        | EventName::Deny
        | EventName::Mute
        | EventName::LowerHand
        | EventName::Kick
        | EventName::SetRole
        | EventName::TransferHost
        | EventName::Lock => command::parse(event, text).map(ClientEvent::Command),
    }
}

/// Event id that a client may add to an event, for deduplication.
#[derive(Deserialize)]
struct EventId {
    #[serde(default)]
    id: Option<Box<str>>,
}

impl EventId {
    fn checked(self) -> Result<Option<Box<str>>, Refusal> {
        match self.id {
            Some(id) if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Refusal::field(Code::ValidationError, "id", "must be 1 to 64 printable characters without spaces"))
            }
            id => Ok(id),
        }
    }
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Deserialize)]
struct Raised {
    raised: bool,
}

#[derive(Deserialize)]
struct Emoji {
    emoji: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypingFields {
    is_typing: bool,
}

/// Deserialises an optional field whose type has no null. `null` means the same as a missing field,
/// because many clients send every field of an object.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

/// Parses a JSON object. Unknown fields are ignored, and lone surrogates are replaced.
fn fields<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    borrowed_fields(text).or_else(|refusal| match to_well_formed(text) {
        Cow::Owned(text) => borrowed_fields(&text),
        Cow::Borrowed(_) => Err(refusal),
    })
}

/// Parses a JSON object whose fields point into the text. Unknown fields are ignored.
fn borrowed_fields<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    // serde would accept an array for a struct, but the protocol allows objects only.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::new(Code::ValidationError, "The argument of the event must be an object"));
    }
    serde_json::from_str(text)
        .map_err(|error| Refusal::new(Code::ValidationError, without_position(&error.to_string())))
}

/// Removes "at line 1 column 7" from serde's message, because the client sent an object, not a
/// file.
fn without_position(sentence: &str) -> String {
    sentence.split(" at line ").next().unwrap_or(sentence).to_owned()
}

/// Parses the argument of `room:leave` and `room:end-call`: `{roomId}`, or the id as a string.
fn room_argument(text: &str) -> Result<Option<RoomName>, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields {
        #[serde(default)]
        room_id: Option<TypedRoom>,
    }
    /// An id as a person may have typed it.
    #[derive(Deserialize)]
    struct TypedRoom(#[serde(deserialize_with = "typed_room")] RoomName);
    match text.trim_start().as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(|TypedRoom(id)| Some(id)).map_err(|_| invalid_room()),
        _ => fields::<Fields>(text).map(|fields| fields.room_id.map(|TypedRoom(id)| id)),
    }
}

/// Reads a room id as a person may have typed it.
fn typed_room<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomName, D::Error> {
    let text = String::deserialize(deserializer)?;
    RoomName::read(&text).map_err(D::Error::custom)
}

fn invalid_room() -> Refusal {
    Refusal::field(Code::ValidationError, "roomId", "must be 1 to 64 letters, digits, _ or -")
}

/// Parses a WebRTC signaling event: `to`, and the fields `names` as the client's own JSON text.
fn signal<'a>(
    kind: SignalKind,
    names: &[&'static str],
    text: &'a str,
    limit: usize,
) -> Result<ClientEvent<'a>, Refusal> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(default)]
        to: Option<PeerId>,
        #[serde(default)]
        id: Option<Box<str>>,
        #[serde(borrow, default, deserialize_with = "present")]
        offer: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        answer: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        candidate: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        state: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        message: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present", rename = "type")]
        kind: Option<&'a RawValue>,
    }
    let fields: Fields<'a> = borrowed_fields(text)?;
    if fields.to.is_none() && kind != SignalKind::DataChannel {
        return Err(Refusal::field(Code::ValidationError, "to", "is missing"));
    }
    let mut body = Vec::with_capacity(names.len());
    for &name in names {
        let value = match name {
            "offer" => fields.offer,
            "answer" => fields.answer,
            "candidate" => fields.candidate,
            "state" => fields.state,
            "message" => fields.message,
            _ => fields.kind,
        };
        let value = value.ok_or_else(|| Refusal::field(Code::ValidationError, name, "is missing"))?;
        if limit > 0 && value.get().len() > limit {
            return Err(Refusal::field(Code::PayloadTooLarge, name, format!("must be at most {limit} bytes")));
        }
        check_form(name, value.get())?;
        body.push((name, value));
    }
    Ok(ClientEvent::Signal(Signal { kind, to: fields.to, body, id: EventId { id: fields.id }.checked()? }))
}

/// Deserialises a field so that `null` counts as present. By default, serde treats `null` as a
/// missing field, but `"candidate": null` means end of candidates.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

/// Checks the outer form of a forwarded value: a session description is an object with a string
/// `sdp`, a candidate is an object or null (end of candidates), a state is a short string.
fn check_form(name: &'static str, text: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Description<'a> {
        #[serde(borrow)]
        #[expect(dead_code, reason = "read for its presence and type")]
        sdp: Cow<'a, str>,
    }
    let (fits, rule) = match name {
        "offer" | "answer" => (
            text.starts_with('{') && serde_json::from_str::<Description<'_>>(text).is_ok(),
            "must be an object with a string sdp",
        ),
        "candidate" => (text.starts_with('{') || text == "null", "must be an object or null"),
        "state" | "type" => (text.starts_with('"') && text.len() <= 66, "must be a string of at most 64 bytes"),
        _ => (true, ""),
    };
    if fits { Ok(()) } else { Err(Refusal::field(Code::ValidationError, name, rule)) }
}

fn chat(text: &str, limit: usize) -> Result<Chat, Refusal> {
    #[derive(Deserialize)]
    struct Fields {
        message: String,
        #[serde(default)]
        to: Option<PeerId>,
        #[serde(default)]
        id: Option<Box<str>>,
    }
    let fields: Fields = fields(text)?;
    let message = names::with_line_feeds(fields.message);
    if message.trim().is_empty() {
        return Err(Refusal::field(Code::ValidationError, "message", "must not be empty"));
    }
    if limit > 0 && message.chars().count() > limit {
        return Err(Refusal::field(Code::ValidationError, "message", format!("must be at most {limit} characters")));
    }
    if message.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Refusal::field(Code::ValidationError, "message", "must not contain control characters"));
    }
    Ok(Chat { message, to: fields.to, id: EventId { id: fields.id }.checked()? })
}

fn history(text: &str) -> Result<ChatHistory, Refusal> {
    let history: ChatHistory = fields(text)?;
    if !(1..=100).contains(&history.limit) {
        return Err(Refusal::field(Code::ValidationError, "limit", "must be 1 to 100"));
    }
    Ok(history)
}

#[cfg(test)]
mod tests;
