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
