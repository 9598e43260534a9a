//! WebSocket frames (RFC 6455) of a server, without I/O.
//!
//! tungstenite parses and writes the frame headers. Messages are assembled here, because
//! tungstenite's own reader keeps a buffer per connection that is as large as the largest message
//! so far. Memory per idle connection limits the number of clients on a node. [`Decoder`] holds
//! bytes only while a frame or a message is incomplete.

use std::io::Cursor;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::protocol::CloseReason;

/// Size of the longest header: 2 bytes, 8 bytes of length, 4 bytes of mask.
pub(crate) const MAX_HEADER: usize = 14;

/// Effect of a frame: a complete message, a part of one, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// The message is not complete yet.
    Fragment,
    Ping(Bytes),
    Pong,
    /// Close frame, with its code if it has one.
    Close(Option<u16>),
}

/// Decodes received bytes into frames and messages.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Received bytes. Those from `start` on are not consumed yet.
    rest: Vec<u8>,
    start: usize,
    /// Type and payload so far of a fragmented message.
    fragments: Option<Box<(Data, Vec<u8>)>>,
}

impl Decoder {
    /// Creates a decoder with bytes that were received before.
    pub(crate) fn with_rest(bytes: &[u8]) -> Self {
        Self { rest: bytes.to_vec(), ..Self::default() }
    }

    /// Adds bytes and returns the first complete frame, with the size of its payload. The caller
    /// calls again without bytes until it returns `None`.
    ///
    /// # Errors
    /// Reason with which the connection must be closed.
    pub(crate) fn decode(&mut self, input: &[u8], max: usize) -> Result<Option<(Incoming, usize)>, CloseReason> {
        if self.start == self.rest.len() {
            let (consumed, message) = self.advance_over(input, max)?;
            self.start = 0;
            self.rest = input[consumed..].to_vec();
            return Ok(message);
        }
        self.rest.extend_from_slice(input);
        let mut rest = std::mem::take(&mut self.rest);
        let (consumed, message) = self.advance_over(&rest[self.start..], max)?;
        self.start += consumed;
        if self.start == rest.len() {
            self.start = 0;
            rest = Vec::new();
        } else if self.start > rest.len() / 2 {
            rest.drain(..self.start);
            self.start = 0;
        }
        self.rest = rest;
        Ok(message)
    }

    /// Returns whether unread bytes may contain another frame.
    pub(crate) fn has_rest(&self) -> bool {
        self.start < self.rest.len()
    }

    /// Consumes the frame at the start of `input`, if it is complete.
    fn advance_over(&mut self, input: &[u8], max: usize) -> Result<(usize, Option<(Incoming, usize)>), CloseReason> {
        let mut cursor = Cursor::new(input);
        let header = FrameHeader::parse(&mut cursor).map_err(|_| protocol("malformed WebSocket frame"))?;
        let Some((header, length)) = header else { return Ok((0, None)) };
        let so_far = match header.opcode {
            OpCode::Data(_) => self.fragments.as_ref().map_or(0, |fragments| fragments.1.len()),
            OpCode::Control(_) => 0,
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= max.saturating_sub(so_far)) else {
            return Err(CloseReason::PayloadTooLarge);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("reserved WebSocket bits"));
        }
        let Some(mask) = header.mask else { return Err(protocol("unmasked WebSocket frame")) };
        let start = usize::try_from(cursor.position()).map_err(|_| protocol("malformed WebSocket frame"))?;
        let Some(payload) = input.get(start..start + length) else { return Ok((0, None)) };
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask);
        let message = self.frame(header.opcode, header.is_final, payload)?;
        Ok((start + length, Some((message, length))))
    }

    /// Processes a whole frame.
    fn frame(&mut self, opcode: OpCode, last: bool, payload: Vec<u8>) -> Result<Incoming, CloseReason> {
        let data = match opcode {
            OpCode::Control(_) if !last || payload.len() > 125 => {
                return Err(protocol("illegal WebSocket control frame"));
            }
            OpCode::Control(Control::Ping) => return Ok(Incoming::Ping(payload.into())),
            OpCode::Control(Control::Pong) => return Ok(Incoming::Pong),
            OpCode::Control(Control::Close) => return close(&payload),
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(protocol("unknown WebSocket opcode"));
            }
            OpCode::Data(data) => data,
        };
        let (kind, payload) = match (data, self.fragments.take()) {
            (Data::Continue, Some(mut fragments)) => {
                fragments.1.extend_from_slice(&payload);
                if !last {
                    self.fragments = Some(fragments);
                    return Ok(Incoming::Fragment);
                }
                *fragments
            }
            (Data::Continue, None) | (_, Some(_)) => return Err(protocol("WebSocket fragments out of order")),
            (kind, None) if last => (kind, payload),
            (kind, None) => {
                self.fragments = Some(Box::new((kind, payload)));
                return Ok(Incoming::Fragment);
            }
        };
        let payload = Bytes::from(payload);
        Ok(match kind {
            Data::Text => {
                Incoming::Text(Utf8Bytes::try_from(payload).map_err(|_| protocol("WebSocket text is not UTF-8"))?)
            }
            _ => Incoming::Binary(payload),
        })
    }
}

fn protocol(rule: &'static str) -> CloseReason {
    CloseReason::ProtocolError(rule)
}

fn close(payload: &[u8]) -> Result<Incoming, CloseReason> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() || std::str::from_utf8(reason).is_err() {
                return Err(protocol("illegal WebSocket close frame"));
            }
            Ok(Incoming::Close(Some(code)))
        }
        [_] => Err(protocol("illegal WebSocket close frame")),
    }
}

/// Removes the mask, 8 bytes at a time, because every received byte passes through here.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Header of a final, unmasked frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Header {
    /// Creates a header for a payload of this length.
    pub(crate) fn new(opcode: OpCode, length: usize) -> Self {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        let mut bytes = [0; MAX_HEADER];
        let mut cursor = Cursor::new(&mut bytes[..]);
        // 14 bytes hold any header, and a write to memory cannot fail otherwise.
        let len = match header.format(length as u64, &mut cursor) {
            Ok(()) => usize::try_from(cursor.position()).unwrap_or(MAX_HEADER),
            Err(_) => 0,
        };
        Self { bytes, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1000;

    fn masked(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final: last, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
        let mut out = Vec::new();
        header.format(payload.len() as u64, &mut out).unwrap();
        out.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn all(decoder: &mut Decoder, input: &[u8]) -> Result<Vec<Incoming>, CloseReason> {
        let mut messages = Vec::new();
        let mut next = decoder.decode(input, MAX)?;
        while let Some((message, _)) = next {
            messages.push(message);
            next = decoder.decode(&[], MAX)?;
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn messages_are_complete_wherever_the_bytes_are_split(
            texts in proptest::collection::vec(".{0,60}", 1..5),
            cuts in proptest::collection::vec(1usize..40, 1..20),
            split in any::<bool>(),
        ) {
            let mut wire = Vec::new();
            for text in &texts {
                let bytes = text.as_bytes();
                if split {
                    let (a, b) = bytes.split_at(bytes.len() / 2);
                    wire.extend(masked(OpCode::Data(Data::Text), false, a));
                    wire.extend(masked(OpCode::Control(Control::Ping), true, b"!"));
                    wire.extend(masked(OpCode::Data(Data::Continue), true, b));
                } else {
                    wire.extend(masked(OpCode::Data(Data::Text), true, bytes));
                }
            }
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                got.extend(all(&mut decoder, part).unwrap());
                rest = after;
            }
            let got: Vec<String> = got.into_iter().filter_map(|message| match message {
                Incoming::Text(text) => Some(text.to_string()),
                _ => None,
            }).collect();
            prop_assert_eq!(got, texts);
            prop_assert!(!decoder.has_rest());
            prop_assert_eq!(decoder.rest.capacity(), 0);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6)) {
            let mut decoder = Decoder::default();
            for part in parts {
                if all(&mut decoder, &part).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        let unmasked = [0x81, 1, b'a'];
        let reserved = [0xc1, 0x80, 0, 0, 0, 0];
        for bytes in [
            unmasked.to_vec(),
            reserved.to_vec(),
            masked(OpCode::Data(Data::Continue), true, b"a"),
            masked(OpCode::Control(Control::Ping), false, b""),
            masked(OpCode::Control(Control::Close), true, b"\x03"),
            masked(OpCode::Control(Control::Close), true, &[0x03, 0xed]),
            masked(OpCode::Data(Data::Text), true, &[0xff]),
            masked(OpCode::Data(Data::Reserved(3)), true, b""),
        ] {
            assert!(matches!(Decoder::default().decode(&bytes, MAX), Err(CloseReason::ProtocolError(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_header_and_in_fragments() {
        let whole = masked(OpCode::Data(Data::Text), true, &[b'a'; MAX + 1]);
        assert_eq!(Decoder::default().decode(&whole[..MAX_HEADER], MAX), Err(CloseReason::PayloadTooLarge));
        let mut parts = masked(OpCode::Data(Data::Text), false, &[b'a'; MAX]);
        parts.extend(masked(OpCode::Data(Data::Continue), true, b"a"));
        assert_eq!(all(&mut Decoder::default(), &parts), Err(CloseReason::PayloadTooLarge));
    }
}
