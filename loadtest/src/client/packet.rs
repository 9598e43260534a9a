//! What a server says: Engine.IO and Socket.IO packets, borrowed from the frame they came in.

use anyhow::Context;
use serde_json::Value;

/// The answer to a [`Packet::Ping`].
pub(crate) const PONG: &str = "3";
/// Goodbye: the client leaves for good.
pub(crate) const GOODBYE: &str = "41";

/// A packet.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    /// Engine.IO's first packet, with its JSON.
    Open(&'a str),
    /// A heartbeat, to be answered with [`PONG`].
    Ping,
    /// CONNECT was accepted, with its JSON.
    Connected(&'a str),
    /// CONNECT was refused, with its JSON.
    Refused(&'a str),
    Event(Event<'a>),
    /// The answer to the event that asked with this id.
    Ack {
        id: u64,
        answer: Answer<'a>,
    },
    /// The server said goodbye: a stock client does not come back by itself.
    Disconnected,
    /// Nothing that matters here.
    Other,
}

impl<'a> Packet<'a> {
    /// Reads the text of a frame.
    ///
    /// # Errors
    /// An acknowledgement without a number.
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
                Self::Ack { id: text[2..start].parse()?, answer: Answer(&text[start..]) }
            }
            _ => Self::Other,
        })
    }
}

/// An event: the text of the array of its name and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a>(&'a str);

impl<'a> Event<'a> {
    /// The event of such a text.
    pub(crate) fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// Its name. Those that a server here sends need no escapes.
    pub(crate) fn name(&self) -> &'a str {
        self.0.strip_prefix("[\"").and_then(|rest| rest.split('"').next()).unwrap_or_default()
    }

    /// The text, for who looks for a mark in it without reading all of it.
    pub(crate) fn text(&self) -> &'a str {
        self.0
    }

    /// Its offset: the last argument when that is a string.
    pub(crate) fn offset(&self) -> Option<&'a str> {
        let (rest, last) = self.0.strip_suffix("\"]")?.rsplit_once('"')?;
        // After the name alone there is no comma: it is no argument.
        rest.ends_with(',').then_some(last)
    }

    /// Its first argument, `null` without one.
    ///
    /// # Errors
    /// It is no JSON.
    pub(crate) fn payload(&self) -> anyhow::Result<Value> {
        let mut arguments: Vec<Value> = serde_json::from_str(self.0)?;
        Ok(if arguments.len() > 1 { arguments.swap_remove(1) } else { Value::Null })
    }
}

/// An acknowledgement: the text of the array of its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a>(&'a str);

impl Answer<'_> {
    /// Whether it says success, judged by its beginning alone: servers here write that field first.
    pub(crate) fn is_success(&self) -> bool {
        self.0.starts_with(r#"[{"success":true"#)
    }

    /// The one argument.
    ///
    /// # Errors
    /// It is no JSON, or not one argument.
    pub(crate) fn value(&self) -> anyhow::Result<Value> {
        let [answer]: [Value; 1] = serde_json::from_str(self.0)?;
        Ok(answer)
    }

    /// The code of a refusal.
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
    fn the_last_string_of_an_event_is_its_offset() {
        let found = event(r#"42["a",{"b":1},"5-0.R"]"#);
        assert_eq!((found.name(), found.offset()), ("a", Some("5-0.R")));
        assert_eq!(found.payload().unwrap()["b"], 1);
        assert_eq!(event(r#"42["server:tick","6-0.R"]"#).offset(), Some("6-0.R"));
        assert_eq!(event(r#"42["a",{"b":1}]"#).offset(), None);
        assert_eq!(event(r#"42["a",{"b":"c"}]"#).offset(), None);
        assert_eq!((event(r#"42["a"]"#).offset(), event(r#"42["a"]"#).payload().unwrap()), (None, Value::Null));
    }

    #[test]
    fn an_acknowledgement_has_its_id() {
        let Packet::Ack { id, answer } = Packet::parse(r#"4317[{"success":true,"a":2}]"#).unwrap() else { panic!() };
        assert!(id == 17 && answer.is_success() && answer.value().unwrap()["a"] == 2);
        let refusal = r#"430[{"success":false,"code":"ROOM_FULL"}]"#;
        let Packet::Ack { answer, .. } = Packet::parse(refusal).unwrap() else { panic!() };
        assert!(!answer.is_success() && answer.code() == "ROOM_FULL");
    }
}
