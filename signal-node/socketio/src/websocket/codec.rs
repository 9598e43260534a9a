//! WebSocket frames (RFC 6455) of a server, without I/O.
//!
//! tungstenite parses and writes the frame headers. Messages are assembled here, because
//! tungstenite's own reader keeps a buffer per connection that is as large as the largest message
//! so far. Memory per idle connection limits the number of clients on a node. [`Decoder`] holds
//! bytes only while a frame or a message is incomplete. The file has more than 400 lines, because
//! its tests read the private state of the decoder.

use std::io::Cursor;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::bounds::{LargeMessagePermit, MessageBounds};
use crate::protocol::{CloseReason, SkipReason, SkippedMessage};

/// Size of the longest header: 2 bytes, 8 bytes of length, 4 bytes of mask.
pub(crate) const MAX_HEADER: usize = 14;

/// Effect of a frame: a complete message, a part of one, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A complete message that was not kept.
    Skipped(SkippedMessage),
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
    /// Message of which not all frames are received.
    partial: Option<Box<PartialMessage>>,
    /// Frame whose payload is dropped as it comes.
    dropped: Option<Box<DroppedFrame>>,
    /// Slot of the message that is being received, if it is large.
    slot: Option<Box<LargeMessagePermit>>,
}

/// Message of which not all frames are received.
#[derive(Debug)]
struct PartialMessage {
    kind: Data,
    /// Payload so far; of a skipped message only its beginning.
    payload: Vec<u8>,
    /// Number of bytes so far.
    length: usize,
    skipped: Option<SkipReason>,
}

/// Rest of a frame whose payload is dropped as it comes.
#[derive(Debug)]
struct DroppedFrame {
    left: usize,
    length: usize,
    mask: [u8; 4],
    is_final: bool,
}

impl PartialMessage {
    fn new(kind: Data) -> Self {
        Self { kind, payload: Vec::new(), length: 0, skipped: None }
    }

    /// Keeps only the beginning of the message from now on.
    fn skip(&mut self, reason: SkipReason) {
        self.skipped.get_or_insert(reason);
        self.payload.truncate(SkippedMessage::HEAD_MAX);
        self.payload.shrink_to_fit();
    }

    fn complete(self) -> Result<Incoming, CloseReason> {
        let Self { kind, payload, length, skipped } = self;
        Ok(match (skipped, kind) {
            (Some(reason), Data::Text) => Incoming::Skipped(SkippedMessage::text(&payload, length, reason)),
            (Some(reason), _) => Incoming::Skipped(SkippedMessage::binary(length, reason)),
            (None, Data::Text) => {
                let text = Utf8Bytes::try_from(Bytes::from(payload));
                Incoming::Text(text.map_err(|_| protocol("WebSocket text is not UTF-8"))?)
            }
            (None, _) => Incoming::Binary(payload.into()),
        })
    }
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
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        bounds: &MessageBounds,
    ) -> Result<Option<(Incoming, usize)>, CloseReason> {
        if self.start == self.rest.len() {
            let (consumed, message) = self.advance_over(input, bounds)?;
            self.start = 0;
            self.rest = input[consumed..].to_vec();
            return Ok(message);
        }
        self.rest.extend_from_slice(input);
        let mut rest = std::mem::take(&mut self.rest);
        let (consumed, message) = self.advance_over(&rest[self.start..], bounds)?;
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

    /// Consumes the frame at the start of `input`, if it is complete, or a part of a dropped one.
    fn advance_over(
        &mut self,
        input: &[u8],
        bounds: &MessageBounds,
    ) -> Result<(usize, Option<(Incoming, usize)>), CloseReason> {
        if self.dropped.is_some() {
            return self.drop_payload(input);
        }
        let mut cursor = Cursor::new(input);
        let header = FrameHeader::parse(&mut cursor).map_err(|_| protocol("malformed WebSocket frame"))?;
        let Some((header, length)) = header else { return Ok((0, None)) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("reserved WebSocket bits"));
        }
        let Some(mask) = header.mask else { return Err(protocol("unmasked WebSocket frame")) };
        let start = usize::try_from(cursor.position()).map_err(|_| protocol("malformed WebSocket frame"))?;
        let length = usize::try_from(length).map_err(|_| CloseReason::PayloadTooLarge)?;
        let kept = match header.opcode {
            OpCode::Control(_) if !header.is_final || length > 125 => {
                return Err(protocol("illegal WebSocket control frame"));
            }
            OpCode::Control(_) => true,
            OpCode::Data(data) => self.admit(data, length, bounds)?,
        };
        if !kept {
            self.dropped = Some(Box::new(DroppedFrame { left: length, length, mask, is_final: header.is_final }));
            let (dropped, message) = self.drop_payload(&input[start..])?;
            return Ok((start + dropped, message));
        }
        let Some(payload) = input.get(start..start + length) else { return Ok((0, None)) };
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask);
        let message = match header.opcode {
            OpCode::Control(control) => control_frame(control, payload)?,
            OpCode::Data(data) => self.data_frame(data, header.is_final, payload)?,
        };
        Ok((start + length, Some((message, length))))
    }

    /// Checks the header of a data frame: its place in the message, and the size of the message.
    /// Returns whether the payload is kept. It is asked again until a kept frame is complete.
    fn admit(&mut self, data: Data, length: usize, bounds: &MessageBounds) -> Result<bool, CloseReason> {
        match (data, &self.partial) {
            (Data::Reserved(_), _) => return Err(protocol("unknown WebSocket opcode")),
            (Data::Continue, None) | (Data::Text | Data::Binary, Some(_)) => {
                return Err(protocol("WebSocket fragments out of order"));
            }
            (Data::Continue, Some(_)) | (Data::Text | Data::Binary, None) => {}
        }
        let whole = self.partial.as_ref().map_or(0, |partial| partial.length).saturating_add(length);
        if whole > bounds.max_body() {
            return Err(CloseReason::PayloadTooLarge);
        }
        let reason = match self.partial.as_ref().and_then(|partial| partial.skipped) {
            Some(reason) => reason,
            None => match bounds.admit(whole, &mut self.slot) {
                Ok(()) => return Ok(true),
                Err(reason) => reason,
            },
        };
        self.partial.get_or_insert_with(|| Box::new(PartialMessage::new(data))).skip(reason);
        self.slot = None;
        Ok(false)
    }

    /// Drops the payload of a frame, but for the beginning of its message.
    fn drop_payload(&mut self, input: &[u8]) -> Result<(usize, Option<(Incoming, usize)>), CloseReason> {
        let (Some(mut frame), Some(partial)) = (self.dropped.take(), &mut self.partial) else { return Ok((0, None)) };
        let consumed = frame.left.min(input.len());
        let position = frame.length - frame.left;
        let wanted = consumed.min(SkippedMessage::HEAD_MAX.saturating_sub(partial.payload.len()));
        let unmasked = input[..wanted].iter().enumerate().map(|(i, byte)| byte ^ frame.mask[(position + i) % 4]);
        partial.payload.extend(unmasked);
        frame.left -= consumed;
        if frame.left > 0 {
            self.dropped = Some(frame);
            return Ok((consumed, None));
        }
        partial.length += frame.length;
        let message = if frame.is_final { self.complete()? } else { Incoming::Fragment };
        Ok((consumed, Some((message, frame.length))))
    }

    /// Processes a whole data frame, whose place in the message is checked.
    fn data_frame(&mut self, data: Data, is_final: bool, payload: Vec<u8>) -> Result<Incoming, CloseReason> {
        let Some(partial) = &mut self.partial else {
            let message = PartialMessage { length: payload.len(), payload, ..PartialMessage::new(data) };
            if is_final {
                self.slot = None;
                return message.complete();
            }
            self.partial = Some(Box::new(message));
            return Ok(Incoming::Fragment);
        };
        partial.length += payload.len();
        partial.payload.extend_from_slice(&payload);
        if is_final { self.complete() } else { Ok(Incoming::Fragment) }
    }

    /// Ends the message. Its slot is free again.
    fn complete(&mut self) -> Result<Incoming, CloseReason> {
        self.slot = None;
        self.partial.take().map_or(Ok(Incoming::Fragment), |partial| partial.complete())
    }
}

/// Processes a whole control frame.
fn control_frame(control: Control, payload: Vec<u8>) -> Result<Incoming, CloseReason> {
    match control {
        Control::Ping => Ok(Incoming::Ping(payload.into())),
        Control::Pong => Ok(Incoming::Pong),
        Control::Close => close(&payload),
        Control::Reserved(_) => Err(protocol("unknown WebSocket opcode")),
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
    const MAX_SKIPPED: usize = 5000;

    fn bounds() -> MessageBounds {
        MessageBounds::for_test(MAX, MAX_SKIPPED)
    }

    fn masked(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final: last, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
        let mut out = Vec::new();
        header.format(payload.len() as u64, &mut out).unwrap();
        out.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn all(decoder: &mut Decoder, input: &[u8]) -> Result<Vec<Incoming>, CloseReason> {
        let mut messages = Vec::new();
        let bounds = bounds();
        let mut next = decoder.decode(input, &bounds)?;
        while let Some((message, _)) = next {
            messages.push(message);
            next = decoder.decode(&[], &bounds)?;
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
            assert!(
                matches!(Decoder::default().decode(&bytes, &bounds()), Err(CloseReason::ProtocolError(_))),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_message_over_the_further_limit_is_refused_by_its_header_and_in_fragments() {
        let whole = masked(OpCode::Data(Data::Text), true, &[b'a'; MAX_SKIPPED + 1]);
        assert_eq!(Decoder::default().decode(&whole[..MAX_HEADER], &bounds()), Err(CloseReason::PayloadTooLarge));
        let mut parts = masked(OpCode::Data(Data::Text), false, &[b'a'; MAX_SKIPPED]);
        parts.extend(masked(OpCode::Data(Data::Continue), true, b"a"));
        assert_eq!(all(&mut Decoder::default(), &parts), Err(CloseReason::PayloadTooLarge));
    }

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_skipped_wherever_it_is_split_and_the_next_one_is_read(
            sizes in proptest::collection::vec(1usize..1500, 1..4),
            cuts in proptest::collection::vec(1usize..400, 1..20),
            text in any::<bool>(),
        ) {
            let length: usize = sizes.iter().sum();
            let kind = if text { Data::Text } else { Data::Binary };
            let bytes: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            let (mut wire, mut rest) = (Vec::new(), &bytes[..]);
            for (i, size) in sizes.iter().enumerate() {
                let (part, after) = rest.split_at(*size);
                let opcode = OpCode::Data(if i == 0 { kind } else { Data::Continue });
                wire.extend(masked(opcode, after.is_empty(), part));
                wire.extend(masked(OpCode::Control(Control::Ping), true, b"!"));
                rest = after;
            }
            wire.extend(masked(OpCode::Data(Data::Text), true, b"next"));
            let (mut decoder, mut got, mut rest) = (Decoder::default(), Vec::new(), &wire[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                got.extend(all(&mut decoder, part).unwrap());
                rest = after;
                let most = decoder.partial.as_ref().map_or(0, |partial| partial.payload.capacity());
                prop_assert!(most <= 2 * MAX, "a skipped message is not kept");
            }
            got.retain(|message| !matches!(message, Incoming::Fragment | Incoming::Ping(_)));
            let first = match (length > MAX, text) {
                (false, true) => Incoming::Text(String::from_utf8(bytes.clone()).unwrap().into()),
                (false, false) => Incoming::Binary(bytes.into()),
                (true, true) => Incoming::Skipped(SkippedMessage::text(&bytes, length, SkipReason::TooLarge)),
                (true, false) => Incoming::Skipped(SkippedMessage::binary(length, SkipReason::TooLarge)),
            };
            prop_assert_eq!(got, [first, Incoming::Text("next".into())]);
            prop_assert!(decoder.partial.is_none() && decoder.dropped.is_none() && !decoder.has_rest());
        }
    }
}
