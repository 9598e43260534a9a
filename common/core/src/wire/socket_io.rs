//! Socket.IO v5 packets, which Engine.IO messages carry.
//!
//! Specification: <https://github.com/socketio/socket.io-protocol>, revision 5. The decoder checks
//! that arguments are valid JSON but does not parse them: a decoded packet borrows their text from
//! the input.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

/// Event names that client libraries emit themselves. Neither side may send them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Maximum number of digits of an acknowledgement id. JavaScript's largest exact integer has 16
/// digits, so that no valid counter has more than 15.
const MAX_ID_DIGITS: usize = 15;

/// One Socket.IO packet. The name of the main namespace is `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: connects to a namespace. The payload is a JSON object.
    Connect {
        /// Namespace to connect to.
        namespace: &'a str,
        /// The client's `auth`, or the server's `sid`.
        payload: Option<&'a str>,
    },
    /// `1`: leaves a namespace.
    Disconnect {
        /// Namespace to leave.
        namespace: &'a str,
    },
    /// `2`, or `5` with attachments: an event.
    Event(Event<'a>),
    /// `3`, or `6` with attachments: the acknowledgement of an event.
    Ack {
        /// Namespace of the event.
        namespace: &'a str,
        /// Id of the event.
        id: u64,
        /// JSON text of the arguments, comma-separated.
        args: &'a str,
        /// Number of binary messages that follow.
        attachments: usize,
    },
    /// `4`: refuses a connection to a namespace. The payload is JSON.
    ConnectError {
        /// Namespace whose connection is refused.
        namespace: &'a str,
        /// Refusal as JSON text.
        payload: &'a str,
    },
}

/// An event and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Namespace of the event.
    pub namespace: &'a str,
    /// Id for the acknowledgement, if the sender asked for one.
    pub id: Option<u64>,
    /// Name of the event.
    pub name: Cow<'a, str>,
    /// JSON text of the arguments after the name, comma-separated.
    pub args: &'a str,
    /// Number of binary messages that follow.
    pub attachments: usize,
}

/// The beginning of an event whose rest was not kept: what a refusal needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead<'a> {
    /// Namespace of the event.
    pub namespace: &'a str,
    /// Id for the acknowledgement, if the sender asked for one.
    pub id: Option<u64>,
    /// Name of the event.
    pub name: String,
    /// Number of binary messages that follow.
    pub attachments: usize,
}

impl<'a> EventHead<'a> {
    /// Decodes the beginning of an Engine.IO message's text. Returns `None` if it is not an event,
    /// or if the name is not complete.
    #[must_use]
    pub fn decode(text: &'a str, max_attachments: usize) -> Option<Self> {
        let kind = *text.as_bytes().first()?;
        let rest = text.get(1..)?;
        let (attachments, rest) = match kind {
            b'2' => (0, rest),
            b'5' => attachments(rest, max_attachments).ok()?,
            _ => return None,
        };
        let (namespace, rest) = namespace(rest);
        let (id, rest) = id(rest).ok()?;
        let name = serde_json::Deserializer::from_str(rest.strip_prefix('[')?).into_iter().next()?.ok()?;
        Some(Self { namespace, id, name, attachments })
    }
}

/// Reason why a text is not a valid packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The text is empty, or its type does not exist.
    #[error("unknown Socket.IO packet type")]
    UnknownType,
    /// The number of attachments is missing, malformed or zero.
    #[error("malformed number of attachments")]
    Attachments,
    /// The packet has more attachments than allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// A placeholder refers to no attachment.
    #[error("illegal attachment placeholder")]
    Placeholder,
    /// The acknowledgement id is missing or too long.
    #[error("malformed acknowledgement id")]
    Id,
    /// The payload is not the JSON that the packet's type requires.
    #[error("malformed Socket.IO payload")]
    Payload,
    /// The event's name is not a string.
    #[error("an event's name must be a string")]
    EventName,
    /// The event's name is reserved for client libraries.
    #[error("reserved event name")]
    ReservedName,
}

impl<'a> Packet<'a> {
    /// Decodes the text of an Engine.IO message.
    ///
    /// # Errors
    /// [`DecodeError`]: the text is not a valid packet.
    pub fn decode(text: &'a str, max_attachments: usize) -> Result<Self, DecodeError> {
        let kind = *text.as_bytes().first().ok_or(DecodeError::UnknownType)?;
        if !(b'0'..=b'6').contains(&kind) {
            return Err(DecodeError::UnknownType);
        }
        let rest = &text[1..];
        let (attachments, rest) =
            if matches!(kind, b'5' | b'6') { attachments(rest, max_attachments)? } else { (0, rest) };
        let (namespace, rest) = namespace(rest);
        match kind {
            b'0' => {
                let payload = if rest.is_empty() { None } else { Some(json(rest, '{')?) };
                Ok(Self::Connect { namespace, payload })
            }
            b'1' if rest.is_empty() => Ok(Self::Disconnect { namespace }),
            b'1' => Err(DecodeError::Payload),
            b'4' => {
                serde_json::from_str::<&RawValue>(rest).map_err(|_| DecodeError::Payload)?;
                Ok(Self::ConnectError { namespace, payload: rest })
            }
            b'2' | b'5' => {
                let (id, rest) = id(rest)?;
                let (name, args) = event(rest)?;
                check_placeholders(rest, attachments)?;
                Ok(Self::Event(Event { namespace, id, name, args, attachments }))
            }
            _ => {
                let (id, rest) = id(rest)?;
                let id = id.ok_or(DecodeError::Id)?;
                json(rest, '[')?;
                check_placeholders(rest, attachments)?;
                Ok(Self::Ack { namespace, id, args: inside(rest), attachments })
            }
        }
    }

    /// Returns the packet's text.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Connect { namespace, payload } => head('0', 0, namespace, None) + payload.unwrap_or_default(),
            Self::Disconnect { namespace } => head('1', 0, namespace, None),
            Self::ConnectError { namespace, payload } => head('4', 0, namespace, None) + payload,
            Self::Event(event) => {
                let kind = if event.attachments > 0 { '5' } else { '2' };
                let mut out = head(kind, event.attachments, event.namespace, event.id);
                let comma = if event.args.is_empty() { "" } else { "," };
                let _infallible = write!(out, "[{}{comma}{}]", Value::from(&*event.name), event.args);
                out
            }
            Self::Ack { namespace, id, args, attachments } => {
                let kind = if *attachments > 0 { '6' } else { '3' };
                head(kind, *attachments, namespace, Some(*id)) + "[" + args + "]"
            }
        }
    }
}

/// Encodes everything before the payload.
fn head(kind: char, attachments: usize, namespace: &str, id: Option<u64>) -> String {
    let mut out = String::from(kind);
    if attachments > 0 {
        let _infallible = write!(out, "{attachments}-");
    }
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(id) = id {
        let _infallible = write!(out, "{id}");
    }
    out
}

/// Splits the leading digits from the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads the number of attachments, `2-`. Returns it with the rest.
fn attachments(text: &str, max: usize) -> Result<(usize, &str), DecodeError> {
    let (count, rest) = digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::Attachments)?;
    if count.is_empty() || count.bytes().all(|byte| byte == b'0') {
        return Err(DecodeError::Attachments);
    }
    match count.parse() {
        Ok(count) if count <= max => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// Reads the namespace. It ends at a comma or with the packet, because peers send both `1/custom`
/// and `1/custom,`.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

/// Reads the acknowledgement id, if there is one.
fn id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let (number, rest) = digits(text);
    if number.is_empty() {
        return Ok((None, rest));
    }
    if number.len() > MAX_ID_DIGITS {
        return Err(DecodeError::Id);
    }
    number.parse().map(|id| (Some(id), rest)).map_err(|_| DecodeError::Id)
}

/// Checks that `text` is valid JSON and starts with `start`.
fn json(text: &str, start: char) -> Result<&str, DecodeError> {
    if !text.starts_with(start) {
        return Err(DecodeError::Payload);
    }
    serde_json::from_str::<&RawValue>(text).map(|_| text).map_err(|_| DecodeError::Payload)
}

/// Returns the text of a valid array without its brackets.
fn inside(array: &str) -> &str {
    let array = array.trim_end();
    array.get(1..array.len().saturating_sub(1)).unwrap_or_default().trim()
}

/// First element of an array. Deserialization checks the whole array in the same pass.
struct EventName<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for EventName<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> serde::de::Visitor<'de> for First {
            type Value = EventName<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array that starts with an event's name")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let name = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                while seq.next_element::<&RawValue>()?.is_some() {}
                Ok(EventName(name))
            }
        }
        deserializer.deserialize_seq(First)
    }
}

/// Reads an event's name and the text of its arguments.
fn event(text: &str) -> Result<(Cow<'_, str>, &str), DecodeError> {
    if !text.starts_with('[') {
        return Err(DecodeError::Payload);
    }
    let EventName(raw) = serde_json::from_str(text).map_err(|_| DecodeError::Payload)?;
    let raw = raw.get();
    let unquoted = raw.strip_prefix('"').and_then(|name| name.strip_suffix('"')).ok_or(DecodeError::EventName)?;
    let name = if unquoted.contains('\\') {
        Cow::Owned(serde_json::from_str(raw).map_err(|_| DecodeError::EventName)?)
    } else {
        Cow::Borrowed(unquoted)
    };
    if RESERVED.contains(&&*name) {
        return Err(DecodeError::ReservedName);
    }
    // The array is valid and starts with `raw`. After it comes nothing, or a comma and the
    // arguments.
    let after = inside(text).strip_prefix(raw).ok_or(DecodeError::Payload)?.trim_start();
    Ok((name, after.strip_prefix(',').unwrap_or_default().trim_start()))
}

/// Checks that each placeholder refers to an attachment.
fn check_placeholders(text: &str, attachments: usize) -> Result<(), DecodeError> {
    fn check(value: &Value, attachments: usize) -> bool {
        match value {
            Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => map
                .get("num")
                .and_then(Value::as_u64)
                .is_some_and(|num| usize::try_from(num).is_ok_and(|num| num < attachments)),
            Value::Object(map) => map.values().all(|value| check(value, attachments)),
            Value::Array(list) => list.iter().all(|value| check(value, attachments)),
            _ => true,
        }
    }
    if attachments == 0 {
        return Ok(());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| DecodeError::Payload)?;
    if check(&value, attachments) { Ok(()) } else { Err(DecodeError::Placeholder) }
}

#[cfg(test)]
mod tests;
