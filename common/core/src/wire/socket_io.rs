//! Socket.IO v5 packets: what an Engine.IO message says.
//!
//! Spec: <https://github.com/socketio/socket.io-protocol>, revision 5. JSON that only passes through stays text: a
//! decoded packet borrows it from the input, checked to be valid.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

/// Event names that a client library raises itself, so that neither side may send them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// JavaScript's largest exact integer has 16 digits, so no honest counter is longer than 15.
const MAX_ID_DIGITS: usize = 15;

/// One packet. Namespaces are by name, `/` for the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: connect to a namespace; the payload is a JSON object.
    Connect {
        /// Where to.
        namespace: &'a str,
        /// From a client its `auth`; from a server the `sid`.
        payload: Option<&'a str>,
    },
    /// `1`: leave a namespace.
    Disconnect {
        /// Which one.
        namespace: &'a str,
    },
    /// `2`, or `5` with attachments.
    Event(Event<'a>),
    /// `3`, or `6` with attachments: the answer to an event.
    Ack {
        /// Of the event.
        namespace: &'a str,
        /// Of the event.
        id: u64,
        /// JSON, comma-separated.
        args: &'a str,
        /// How many binary messages follow.
        attachments: usize,
    },
    /// `4`: the connection was refused; the payload is JSON.
    ConnectError {
        /// Which one.
        namespace: &'a str,
        /// The refusal.
        payload: &'a str,
    },
}

/// An event and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where it is sent.
    pub namespace: &'a str,
    /// To acknowledge with.
    pub id: Option<u64>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// JSON of the arguments after the name, comma-separated.
    pub args: &'a str,
    /// How many binary messages follow.
    pub attachments: usize,
}

/// What is not a packet, or one that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Nothing there, or a type that does not exist.
    #[error("unknown Socket.IO packet type")]
    UnknownType,
    /// The number of attachments is missing, malformed or zero.
    #[error("malformed number of attachments")]
    Attachments,
    /// More attachments than allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// Placeholders and attachments do not agree.
    #[error("illegal attachment placeholder")]
    Placeholder,
    /// An acknowledgement id that is missing or too long.
    #[error("malformed acknowledgement id")]
    Id,
    /// The payload is not the JSON that this type carries.
    #[error("malformed Socket.IO payload")]
    Payload,
    /// An event whose name is no string.
    #[error("an event's name must be a string")]
    EventName,
    /// An event with a name that nobody may send.
    #[error("reserved event name")]
    ReservedName,
}

impl<'a> Packet<'a> {
    /// Decodes an Engine.IO message.
    ///
    /// # Errors
    /// [`DecodeError`] says why it is no packet.
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

    /// The packet's text.
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

/// Everything before the payload.
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

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

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

/// The namespace ends at a comma or with the packet: peers send both `1/custom` and `1/custom,`.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

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

/// `text` as valid JSON that starts as wanted.
fn json(text: &str, start: char) -> Result<&str, DecodeError> {
    if !text.starts_with(start) {
        return Err(DecodeError::Payload);
    }
    serde_json::from_str::<&RawValue>(text).map(|_| text).map_err(|_| DecodeError::Payload)
}

/// A valid array's text without its brackets.
fn inside(array: &str) -> &str {
    let array = array.trim_end();
    array.get(1..array.len().saturating_sub(1)).unwrap_or_default().trim()
}

/// The first element of an array, which is checked as a whole in the same pass.
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
    // The array is valid and starts with `raw`, so what follows is nothing, or a comma and the arguments.
    let after = inside(text).strip_prefix(raw).ok_or(DecodeError::Payload)?.trim_start();
    Ok((name, after.strip_prefix(',').unwrap_or_default().trim_start()))
}

/// Each placeholder of a packet with attachments must point at one of them.
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
