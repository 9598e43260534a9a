//! Encodes and decodes the bodies of long-polling requests and responses.

use std::collections::VecDeque;

use bytes::Bytes;
use switchboard_core::wire::engine_io::{Packet, SEPARATOR};

use crate::protocol::{CloseReason, Frame, Received, SkipReason, SkippedMessage};

/// Maximum number of packets in one POST.
const MAX_PACKETS: usize = 4096;

/// Returns a payload with a single noop packet.
pub(super) fn noop() -> Bytes {
    Packet::Noop.encode().into()
}

/// Decodes the packets of a body. Messages over `max` bytes are skipped.
///
/// # Errors
/// The body is malformed, or has more than [`MAX_PACKETS`] packets.
pub(super) fn decode(body: &str, max: usize) -> Result<VecDeque<Received>, CloseReason> {
    let malformed = CloseReason::ProtocolError("malformed Engine.IO payload");
    let mut frames = VecDeque::new();
    for text in body.split(SEPARATOR) {
        if frames.len() == MAX_PACKETS {
            return Err(CloseReason::ProtocolError("too many packets in a payload"));
        }
        frames.push_back(match Packet::decode(text).map_err(|_| malformed)? {
            Packet::Binary(bytes) if bytes.len() > max => {
                Received::Skipped(SkippedMessage::binary(bytes.len(), SkipReason::TooLarge))
            }
            Packet::Binary(bytes) => Received::Frame(Frame::Binary(bytes.into_owned().into())),
            _ if text.len() > max => {
                Received::Skipped(SkippedMessage::text(text.as_bytes(), text.len(), SkipReason::TooLarge))
            }
            _ => Received::Frame(Frame::Text(text.into())),
        });
    }
    Ok(frames)
}

/// Encodes packets as one body.
pub(super) fn encode(frames: &[Frame]) -> Bytes {
    let mut out = String::with_capacity(frames.iter().map(|frame| frame.bytes().len() + 1).sum());
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 {
            out.push(SEPARATOR);
        }
        match frame {
            Frame::Text(text) => out.push_str(text),
            Frame::Binary(bytes) => Packet::Binary((&**bytes).into()).encode_into(&mut out),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Messages, as an application sends them: JSON escapes the separator.
    fn frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            "[^\u{1e}]{0,40}".prop_map(|text| Frame::Text(format!("4{text}").into())),
            vec(any::<u8>(), 0..60).prop_map(|bytes| Frame::Binary(bytes.into())),
        ]
    }

    fn texts(body: &Bytes) -> &str {
        std::str::from_utf8(body).unwrap()
    }

    proptest! {
        #[test]
        fn a_payload_survives_encoding_and_decoding(frames in vec(frame(), 1..8)) {
            let body = encode(&frames);
            let decoded = decode(texts(&body), usize::MAX).unwrap();
            let expected: VecDeque<_> = frames.into_iter().map(Received::Frame).collect();
            prop_assert_eq!(decoded, expected);
        }

        #[test]
        fn no_body_makes_the_decoder_panic_and_no_message_over_the_maximum_passes(
            body in "[0-6b\u{1e}A-Za-z0-9+/=\"{}]{0,200}", max in 0_usize..40,
        ) {
            for received in decode(&body, max).into_iter().flatten() {
                if let Received::Frame(frame) = received {
                    prop_assert!(frame.bytes().len() <= max);
                }
            }
        }
    }

    #[test]
    fn a_payload_is_as_the_specification_shows() {
        let frames = [Frame::Text("4hello".into()), Frame::Text("2".into()), Frame::Binary(vec![1, 2, 3, 4].into())];
        assert_eq!(texts(&encode(&frames)), "4hello\u{1e}2\u{1e}bAQIDBA==");
    }

    #[test]
    fn a_body_with_an_empty_packet_or_with_too_many_is_malformed() {
        for body in ["", "4a\u{1e}", &"2\u{1e}".repeat(MAX_PACKETS)] {
            assert!(matches!(decode(body, 100), Err(CloseReason::ProtocolError(_))), "{body}");
        }
        assert_eq!(decode(&vec!["2"; MAX_PACKETS].join("\u{1e}"), 100).unwrap().len(), MAX_PACKETS);
    }
}
