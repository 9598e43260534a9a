//! Events that clients send, parsed once into types. What only passes through (SDP, candidates) stays the client's own text.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{Code, MediaChange, PeerId, Refusal, RoomId};

mod command;

pub use command::{Command, RoomChange};

/// The sizes that `parse` holds events to, in bytes of JSON text. 0 is off.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An offer or answer.
    pub sdp: usize,
    /// A candidate.
    pub candidate: usize,
    /// A chat message, in characters.
    pub chat: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sdp: 32 * 1024, candidate: 4 * 1024, chat: 4000 }
    }
}

/// An event of a client's, checked in form; whether it may is for the rules.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    /// `room:create`
    Create(Create),
    /// `room:join`
    Join(Join),
    /// `room:leave`; the room, when the client names one.
    Leave(Option<RoomId>),
    /// `room:end-call`; the room, when the client names one.
    EndCall(Option<RoomId>),
    /// One of the `webrtc:` events that pass from peer to peer.
    Signal(Signal<'a>),
    /// `webrtc:get-ice-servers`
    GetIceServers,
    /// `participant:update-media-state`
    UpdateMedia {
        /// The state; what the client left out stays as it is.
        media: MediaChange,
        /// The client's own id.
        id: Option<Box<str>>,
    },
    /// `webrtc:screen-share`, `participant:screen-share-changed`
    ScreenShare {
        /// Shared from now on, or not.
        enabled: bool,
        /// The client's own id.
        id: Option<Box<str>>,
    },
    /// What host and moderators do to others, to the lobby or to the call.
    Command(Command),
    /// `chat:message`
    Chat(Chat),
    /// `chat:history`
    ChatHistory(ChatHistory),
    /// `webrtc:get-stats`
    GetStats,
    /// `chat:typing`
    Typing {
        /// Typing from now on, or not.
        is_typing: bool,
    },
}

/// `room:create`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// The room's id, when the client chooses it.
    #[serde(default)]
    pub id: Option<RoomId>,
    /// The call's title.
    #[serde(alias = "title", default)]
    pub name: Option<String>,
    /// Signed-in users only.
    #[serde(default)]
    pub is_private: bool,
    /// Number of participants, within `call_fields::PARTICIPANTS`.
    #[serde(default)]
    pub max_participants: Option<u32>,
}

/// `room:join`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// The room.
    pub room_id: RoomId,
    /// Its passcode, when it has one.
    #[serde(default)]
    pub passcode: Option<String>,
    /// The name of somebody who has no token.
    #[serde(default)]
    pub guest_name: Option<String>,
    /// A join token of the REST API.
    #[serde(default)]
    pub token: Option<String>,
}

/// An event from peer to peer.
#[derive(Debug)]
pub struct Signal<'a> {
    /// Which one.
    pub kind: SignalKind,
    /// The receiver; a bare user id is that user's first device. `None`: everybody else (data-channel only).
    pub to: Option<PeerId>,
    /// What the event carries besides, as `"name":value` pairs of the client's own text.
    pub body: Vec<(&'static str, &'a RawValue)>,
    /// The client's own id.
    pub id: Option<Box<str>>,
}

/// The events from peer to peer.
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
    /// The event's name.
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
}

/// `chat:message`
#[derive(Debug)]
pub struct Chat {
    /// The text: 1..4000 characters, no control characters but line feed and tab.
    pub message: String,
    /// The one it is for, or everybody.
    pub to: Option<PeerId>,
    /// The client's own id.
    pub id: Option<Box<str>>,
}

/// `chat:history`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistory {
    /// The id of a message: those before it are asked for, else the last ones.
    #[serde(default)]
    pub before: Option<Box<str>>,
    /// How many: 1 to 100.
    #[serde(default = "page")]
    pub limit: usize,
}

/// Messages of a page when the client names no number.
const fn page() -> usize {
    50
}

/// Parses an event by its name and its first argument's JSON text (`None`: it came without).
///
/// # Errors
/// `UNKNOWN_EVENT`, `VALIDATION_ERROR` (a field is missing or of the wrong type), `INVALID_INPUT` (an id of the wrong form),
/// `PAYLOAD_TOO_LARGE`.
pub fn parse<'a>(name: &str, argument: Option<&'a RawValue>, limits: &Limits) -> Result<ClientEvent<'a>, Refusal> {
    let text = argument.map_or("{}", RawValue::get);
    match name {
        "room:create" => fields(text).map(ClientEvent::Create),
        "room:join" => fields(text).map(ClientEvent::Join),
        "room:leave" => room_argument(text).map(ClientEvent::Leave),
        "room:end-call" => room_argument(text).map(ClientEvent::EndCall),
        "webrtc:offer" => signal(SignalKind::Offer, &["offer"], text, limits.sdp),
        "webrtc:answer" => signal(SignalKind::Answer, &["answer"], text, limits.sdp),
        "webrtc:ice-candidate" => signal(SignalKind::Candidate, &["candidate"], text, limits.candidate),
        "webrtc:connection-state" => signal(SignalKind::ConnectionState, &["state"], text, limits.candidate),
        "webrtc:renegotiation-needed" => signal(SignalKind::RenegotiationNeeded, &[], text, limits.candidate),
        "webrtc:data-channel" => signal(SignalKind::DataChannel, &["message", "type"], text, limits.sdp),
        "webrtc:get-ice-servers" => Ok(ClientEvent::GetIceServers),
        "webrtc:get-stats" => Ok(ClientEvent::GetStats),
        "participant:update-media-state" => {
            let id = fields::<OwnId>(text)?.checked()?;
            Ok(ClientEvent::UpdateMedia { media: fields(text)?, id })
        }
        "webrtc:screen-share" | "participant:screen-share-changed" => {
            let id = fields::<OwnId>(text)?.checked()?;
            fields::<Enabled>(text).map(|share| ClientEvent::ScreenShare { enabled: share.enabled, id })
        }
        "chat:message" => chat(text, limits.chat).map(ClientEvent::Chat),
        "chat:history" => history(text).map(ClientEvent::ChatHistory),
        "chat:typing" => fields::<TypingFields>(text).map(|typing| ClientEvent::Typing { is_typing: typing.is_typing }),
        _ => command::parse(name, text),
    }
}

/// The client's own id of an event, which any may carry.
#[derive(Deserialize)]
struct OwnId {
    #[serde(default)]
    id: Option<Box<str>>,
}

impl OwnId {
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
#[serde(rename_all = "camelCase")]
struct TypingFields {
    is_typing: bool,
}

/// Reads an object's fields. Unknown ones are ignored.
fn fields<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    // serde would read a struct from an array too; the contract knows objects only.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::new(Code::ValidationError, "The event's argument must be an object"));
    }
    serde_json::from_str(text)
        .map_err(|error| Refusal::new(Code::ValidationError, without_position(&error.to_string())))
}

/// serde's sentence without "at line 1 column 7", which means nothing to who sent an object.
fn without_position(sentence: &str) -> String {
    sentence.split(" at line ").next().unwrap_or(sentence).to_owned()
}

/// `{roomId}`, the id as a string, or nothing.
fn room_argument(text: &str) -> Result<Option<RoomId>, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields {
        #[serde(default)]
        room_id: Option<RoomId>,
    }
    match text.trim_start().as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(Some).map_err(|_| invalid_room()),
        Some(b'n') => Ok(None),
        _ => fields::<Fields>(text).map(|fields| fields.room_id),
    }
}

fn invalid_room() -> Refusal {
    Refusal::field(Code::ValidationError, "roomId", "must be 1 to 64 letters, digits, _ or -")
}

/// A peer-to-peer event: `to`, and the named values as the client wrote them.
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
    let fields: Fields<'a> = fields(text)?;
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
            return Err(Refusal::field(Code::PayloadTooLarge, name, format!("is over {limit} bytes")));
        }
        check_form(name, value.get())?;
        body.push((name, value));
    }
    Ok(ClientEvent::Signal(Signal { kind, to: fields.to, body, id: OwnId { id: fields.id }.checked()? }))
}

/// `null` is a value that passes through too: the end of candidates. serde would take it for a missing field.
fn present<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

/// The outer form of what passes through: a description is an object with `type` and `sdp`, a candidate an object or null
/// (the end of candidates), a state a short string.
fn check_form(name: &'static str, text: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Description<'a> {
        #[serde(borrow)]
        #[expect(dead_code, reason = "read for its presence and type")]
        sdp: std::borrow::Cow<'a, str>,
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
    if fields.message.trim().is_empty() {
        return Err(Refusal::field(Code::ValidationError, "message", "must not be empty"));
    }
    if limit > 0 && fields.message.chars().count() > limit {
        return Err(Refusal::field(Code::ValidationError, "message", format!("must be at most {limit} characters")));
    }
    if fields.message.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Refusal::field(Code::ValidationError, "message", "must not hold control characters"));
    }
    Ok(Chat { message: fields.message, to: fields.to, id: OwnId { id: fields.id }.checked()? })
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
