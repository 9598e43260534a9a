//! Packets from the server: Engine.IO and Socket.IO, borrowed from their frame.

use anyhow::Context;
use serde_json::Value;

/// Answer to [`Packet::Ping`].
pub(crate) const PONG: &str = "3";
/// Socket.IO DISCONNECT packet: the client leaves.
pub(crate) const DISCONNECT: &str = "41";

/// A packet from the server.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    /// Engine.IO open packet, with its JSON.
    Open(&'a str),
    /// Heartbeat; the client answers with [`PONG`].
    Ping,
    /// CONNECT was accepted, with its JSON.
    Connected(&'a str),
    /// CONNECT was refused, with its JSON.
    Refused(&'a str),
    Event(Event<'a>),
    /// Acknowledgement of the event with this id.
    Ack {
        id: u64,
        reply: Reply<'a>,
    },
    /// DISCONNECT from the server; the official client does not reconnect after it.
    Disconnected,
    /// Any other packet.
    Other,
}

impl<'a> Packet<'a> {
    /// Parses the text of a frame.
    ///
    /// # Errors
    /// When an acknowledgement has no id.
    pub(crate) fn parse(text: &'a str) -> anyhow::Result<Self> {
        Ok(match text.as_bytes() {
            [b'2'] => Self::Ping,
            [b'0', ..] => Self::Open(&text[1..]),
            [b'4', b'0', ..] => Self::Connected(&text[2..]),
            [b'4', b'4', ..] => Self::Refused(&text[2..]),
            [b'4', b'1', ..] => Self::Disconnected,
            [b'4', b'2', ..] => Self::Event(Event(&text[2..])),
            [b'4', b'3', ..] => {
                let start = text.find('[').context("an acknowledgement without arguments")?;
                Self::Ack { id: text[2..start].parse()?, reply: Reply(&text[start..]) }
            }
            _ => Self::Other,
        })
    }
}

/// An event: the JSON array of its name and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a>(&'a str);

impl<'a> Event<'a> {
    /// Wraps the JSON array of an event.
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Event name. Names from the server contain no escapes.
    pub(crate) fn name(&self) -> &'a str {
        self.0.strip_prefix("[\"").and_then(|rest| rest.split('"').next()).unwrap_or_default()
    }

    /// JSON text, for searches that need no full parse.
    pub(crate) fn text(&self) -> &'a str {
        self.0
    }

    /// Offset: the last argument, if it is a string.
    pub(crate) fn offset(&self) -> Option<&'a str> {
        let (rest, last) = self.0.strip_suffix("\"]")?.rsplit_once('"')?;
        // In an event without arguments no comma precedes the last string, which is the name.
        rest.ends_with(',').then_some(last)
    }

    /// Parses the first argument; `null` without arguments.
    ///
    /// # Errors
    /// When the text is not JSON.
    pub(crate) fn payload(&self) -> anyhow::Result<Value> {
        let mut arguments: Vec<Value> = serde_json::from_str(self.0)?;
        Ok(if arguments.len() > 1 { arguments.swap_remove(1) } else { Value::Null })
    }
}

/// An acknowledgement: the JSON array of its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a>(&'a str);

impl<'a> Reply<'a> {
    /// Acknowledgement that reports success and nothing else.
    pub(crate) const SUCCESS: Reply<'static> = Reply(r#"[{"success":true}]"#);

    /// Wraps the JSON array of an acknowledgement.
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Whether the acknowledgement reports success. Checks only the start of the text, because
    /// servers write this field first.
    pub(crate) fn is_success(&self) -> bool {
        self.0.starts_with(r#"[{"success":true"#)
    }

    /// Parses the only argument.
    ///
    /// # Errors
    /// When the text is not a JSON array of one element.
    pub(crate) fn value(&self) -> anyhow::Result<Value> {
        let [argument]: [Value; 1] = serde_json::from_str(self.0)?;
        Ok(argument)
    }

    /// Refusal code; `?` without one.
    pub(crate) fn code(&self) -> String {
        let value = self.value().unwrap_or_default();
        value["code"].as_str().unwrap_or("?").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event<'_> {
        let Packet::Event(event) = Packet::parse(text).unwrap() else { panic!("no event") };
        event
    }

    #[test]
    fn the_last_string_argument_of_an_event_is_its_offset() {
        let found = event(r#"42["a",{"b":1},"5-0.R"]"#);
        assert_eq!((found.name(), found.offset()), ("a", Some("5-0.R")));
        assert_eq!(found.payload().unwrap()["b"], 1);
        assert_eq!(event(r#"42["server:tick","6-0.R"]"#).offset(), Some("6-0.R"));
        assert_eq!(event(r#"42["a",{"b":1}]"#).offset(), None);
        assert_eq!(event(r#"42["a",{"b":"c"}]"#).offset(), None);
        assert_eq!((event(r#"42["a"]"#).offset(), event(r#"42["a"]"#).payload().unwrap()), (None, Value::Null));
    }

    #[test]
    fn an_acknowledgement_has_the_id_of_its_event() {
        let Packet::Ack { id, reply } = Packet::parse(r#"4317[{"success":true,"a":2}]"#).unwrap() else { panic!() };
        assert!(id == 17 && reply.is_success() && reply.value().unwrap()["a"] == 2);
        let refusal = r#"430[{"success":false,"code":"ROOM_FULL"}]"#;
        let Packet::Ack { reply, .. } = Packet::parse(refusal).unwrap() else { panic!() };
        assert!(!reply.is_success() && reply.code() == "ROOM_FULL");
    }
}
