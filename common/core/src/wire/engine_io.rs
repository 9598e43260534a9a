//! Engine.IO v4 packets, as text and as long-polling payloads.
//!
//! Spec: <https://github.com/socketio/engine.io-protocol>, revision 4. On WebSocket each text frame is one encoded
//! packet and each binary frame is a binary message as it is; in a payload packets are separated by 0x1e and binary
//! is `b` and base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Between the packets of a payload: the ASCII record separator, which no JSON text contains unescaped.
pub const SEPARATOR: char = '\u{1e}';

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake, JSON.
    Open(Cow<'a, str>),
    /// `1`: the session ends.
    Close,
    /// `2`: heartbeat, or with `probe` the test of an upgrade.
    Ping(Cow<'a, str>),
    /// `3`: the answer to a ping, with its text.
    Pong(Cow<'a, str>),
    /// `4`: a text message.
    Message(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// `5`: the upgrade is done.
    Upgrade,
    /// `6`: releases a hanging GET.
    Noop,
}

/// What is not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("empty packet")]
    Empty,
    /// A type that does not exist.
    #[error("unknown packet type")]
    UnknownType,
    /// A packet that carries nothing carries something.
    #[error("unexpected data in a packet")]
    UnexpectedData,
    /// `b` and not base64.
    #[error("invalid base64 in a binary packet")]
    Base64,
    /// More packets than allowed in one payload.
    #[error("too many packets in a payload")]
    TooMany,
}

impl<'a> Packet<'a> {
    /// Decodes the text of one packet.
    ///
    /// # Errors
    /// [`DecodeError`] says why it is none.
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

    /// Appends the packet's text.
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

    /// The packet's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.encode_into(&mut out);
        out
    }
}

/// Decodes a long-polling payload of at most `max_packets` packets.
///
/// # Errors
/// [`DecodeError`]: the first packet that is none, or too many of them.
pub fn decode_payload(text: &str, max_packets: usize) -> Result<Vec<Packet<'_>>, DecodeError> {
    let mut packets = Vec::new();
    for packet in text.split(SEPARATOR) {
        if packets.len() == max_packets {
            return Err(DecodeError::TooMany);
        }
        packets.push(Packet::decode(packet)?);
    }
    Ok(packets)
}

/// Encodes packets as one long-polling payload.
#[must_use]
pub fn encode_payload(packets: &[Packet<'_>]) -> String {
    let mut out = String::new();
    for (i, packet) in packets.iter().enumerate() {
        if i > 0 {
            out.push(SEPARATOR);
        }
        packet.encode_into(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn packet() -> impl Strategy<Value = Packet<'static>> {
        // The separator cannot be carried: peers send JSON, which escapes it.
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
        fn decoding_what_was_encoded_gives_the_packet(packet in packet()) {
            let encoded = packet.encode();
            prop_assert_eq!(Packet::decode(&encoded).unwrap(), packet);
        }

        #[test]
        fn decoding_an_encoded_payload_gives_its_packets(packets in proptest::collection::vec(packet(), 1..8)) {
            let encoded = encode_payload(&packets);
            prop_assert_eq!(decode_payload(&encoded, 8).unwrap(), packets);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Ok(packets) = decode_payload(&text, 16) {
                let encoded = encode_payload(&packets);
                prop_assert_eq!(decode_payload(&encoded, 16).unwrap(), packets);
            }
        }
    }

    #[test]
    fn packets_are_encoded_as_the_specification_shows() {
        let packets =
            [Packet::Message("hello".into()), Packet::Ping("".into()), Packet::Binary(vec![1, 2, 3, 4].into())];
        assert_eq!(encode_payload(&packets), "4hello\u{1e}2\u{1e}bAQIDBA==");
    }

    #[test]
    fn what_is_no_packet_is_named() {
        assert_eq!(Packet::decode(""), Err(DecodeError::Empty));
        assert_eq!(Packet::decode("abc"), Err(DecodeError::UnknownType));
        assert_eq!(Packet::decode("é"), Err(DecodeError::UnknownType));
        assert_eq!(Packet::decode("1x"), Err(DecodeError::UnexpectedData));
        assert_eq!(Packet::decode("b!"), Err(DecodeError::Base64));
        assert_eq!(decode_payload("4a\u{1e}4b\u{1e}4c", 2), Err(DecodeError::TooMany));
        assert_eq!(decode_payload("4a\u{1e}", 8), Err(DecodeError::Empty));
    }
}
