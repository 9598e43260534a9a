//! Engine.IO v4 packets as text. `switchboard_socketio` encodes and decodes long-polling payloads.
//!
//! Specification: <https://github.com/socketio/engine.io-protocol>, revision 4. On WebSocket, a
//! text frame is one encoded packet, and a binary frame is one binary message. In a payload, 0x1e
//! separates packets, and a binary message is `b` followed by base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Separator of the packets in a payload: the ASCII record separator, which JSON text always
/// escapes.
pub const SEPARATOR: char = '\u{1e}';

/// One Engine.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake, as JSON.
    Open(Cow<'a, str>),
    /// `1`: the end of the session.
    Close,
    /// `2`: a heartbeat; with the text `probe`, the test of an upgrade.
    Ping(Cow<'a, str>),
    /// `3`: the answer to a ping, with the ping's text.
    Pong(Cow<'a, str>),
    /// `4`: a text message.
    Message(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// `5`: the end of an upgrade.
    Upgrade,
    /// `6`: no content; releases a hanging GET.
    Noop,
}

/// Reason why a text is not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The packet is empty.
    #[error("empty packet")]
    Empty,
    /// The packet's type does not exist.
    #[error("unknown packet type")]
    UnknownType,
    /// A packet of a type without data has data.
    #[error("unexpected data in a packet")]
    UnexpectedData,
    /// A binary packet is not valid base64.
    #[error("invalid base64 in a binary packet")]
    Base64,
}

impl<'a> Packet<'a> {
    /// Decodes the text of one packet.
    ///
    /// # Errors
    /// [`DecodeError`]: the text is not a packet.
    pub fn decode(text: &'a str) -> Result<Self, DecodeError> {
        let kind = text.chars().next().ok_or(DecodeError::Empty)?;
        let data = &text[kind.len_utf8()..];
        let bare = |packet| if data.is_empty() { Ok(packet) } else { Err(DecodeError::UnexpectedData) };
        match kind {
            '0' => Ok(Self::Open(data.into())),
            '1' => bare(Self::Close),
            '2' => Ok(Self::Ping(data.into())),
            '3' => Ok(Self::Pong(data.into())),
            '4' => Ok(Self::Message(data.into())),
            '5' => bare(Self::Upgrade),
            '6' => bare(Self::Noop),
            'b' => STANDARD.decode(data).map(|bytes| Self::Binary(bytes.into())).map_err(|_| DecodeError::Base64),
            _ => Err(DecodeError::UnknownType),
        }
    }

    /// Appends the packet's text to `out`.
    pub fn encode_into(&self, out: &mut String) {
        let (kind, data) = match self {
            Self::Open(data) => ('0', &**data),
            Self::Close => ('1', ""),
            Self::Ping(data) => ('2', &**data),
            Self::Pong(data) => ('3', &**data),
            Self::Message(data) => ('4', &**data),
            Self::Upgrade => ('5', ""),
            Self::Noop => ('6', ""),
            Self::Binary(bytes) => {
                out.push('b');
                return STANDARD.encode_string(bytes, out);
            }
        };
        out.push(kind);
        out.push_str(data);
    }

    /// Returns the packet's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.encode_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use proptest::prelude::*;

    fn packet() -> impl Strategy<Value = Packet<'static>> {
        // A text cannot contain the separator: peers send JSON, which escapes it.
        let text = || "[^\u{1e}]{0,40}".prop_map(Cow::Owned);
        prop_oneof![
            text().prop_map(Packet::Open),
            Just(Packet::Close),
            text().prop_map(Packet::Ping),
            text().prop_map(Packet::Pong),
            text().prop_map(Packet::Message),
            proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Packet::Binary(bytes.into())),
            Just(Packet::Upgrade),
            Just(Packet::Noop),
        ]
    }

    proptest! {
        #[test]
        fn a_packet_survives_encoding_and_decoding(packet in packet()) {
            let encoded = packet.encode();
            prop_assert_eq!(Packet::decode(&encoded).unwrap(), packet);
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in any::<String>()) {
            if let Ok(packet) = Packet::decode(&text) {
                let encoded = packet.encode();
                prop_assert_eq!(Packet::decode(&encoded).unwrap(), packet);
            }
        }
    }

    #[test]
    fn packets_are_encoded_as_the_specification_shows() {
        assert_eq!(Packet::Message("hello".into()).encode(), "4hello");
        assert_eq!(Packet::Ping("".into()).encode(), "2");
        assert_eq!(Packet::Binary(vec![1, 2, 3, 4].into()).encode(), "bAQIDBA==");
    }

    #[test]
    fn each_malformed_packet_has_its_own_error() {
        assert_eq!(Packet::decode(""), Err(DecodeError::Empty));
        assert_eq!(Packet::decode("abc"), Err(DecodeError::UnknownType));
        assert_eq!(Packet::decode("é"), Err(DecodeError::UnknownType));
        assert_eq!(Packet::decode("1x"), Err(DecodeError::UnexpectedData));
        assert_eq!(Packet::decode("b!"), Err(DecodeError::Base64));
    }
}
