//! Decoder of RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! The parser of the `redis` library costs more CPU than the rest of a relay's way through a node,
//! and starts again from the beginning after each incomplete read. This decoder keeps its state.

use bytes::{Buf, BytesMut};
use redis::Value;

/// Maximum length of a header line. A longer one means that the stream is out of step.
const LINE_MAX: usize = 64 * 1024;
/// Maximum length of a string, as in Redis (`proto-max-bulk-len`).
const STRING_MAX: i64 = 512 * 1024 * 1024;
/// Maximum depth of nested arrays.
const DEPTH_MAX: usize = 16;

/// The server sent bytes that are not RESP2. The connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent bytes that are not RESP2")]
pub struct OutOfStep;

/// Decodes values from bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Incomplete arrays, the outermost first: number of missing items, and the items so far.
    open: Vec<(usize, Vec<Value>)>,
}

impl Decoder {
    /// Takes the next value from the front of `input`; `None` if more bytes are needed. Bytes that
    /// were taken are never read again.
    ///
    /// # Errors
    /// If the bytes are not RESP2.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Value>, OutOfStep> {
        loop {
            let Some(end) = line_end(input)? else { return Ok(None) };
            let (kind, rest) = (input[0], &input[1..end]);
            let value = match kind {
                b'+' if rest == b"OK" => Value::Okay,
                b'+' => Value::SimpleString(String::from_utf8_lossy(rest).into_owned()),
                b'-' => redis::parse_redis_value(&input[..end + 2]).map_err(|_| OutOfStep)?,
                b':' => Value::Int(number(rest)?),
                b'$' => match number(rest)? {
                    -1 => Value::Nil,
                    length if (0..=STRING_MAX).contains(&length) => {
                        let (start, length) = (end + 2, usize::try_from(length).map_err(|_| OutOfStep)?);
                        if input.len() < start + length + 2 {
                            input.reserve(start + length + 2 - input.len());
                            return Ok(None);
                        }
                        let text = input[start..start + length].to_vec();
                        input.advance(start + length);
                        if !input.starts_with(b"\r\n") {
                            return Err(OutOfStep);
                        }
                        input.advance(2);
                        match self.add(Value::BulkString(text)) {
                            Some(complete) => return Ok(Some(complete)),
                            None => continue,
                        }
                    }
                    _ => return Err(OutOfStep),
                },
                b'*' => match number(rest)? {
                    -1 => Value::Nil,
                    0 => Value::Array(Vec::new()),
                    count if count > 0 && self.open.len() < DEPTH_MAX => {
                        let count = usize::try_from(count).map_err(|_| OutOfStep)?;
                        // The count is not trusted with memory before the items arrive.
                        self.open.push((count, Vec::with_capacity(count.min(1024))));
                        input.advance(end + 2);
                        continue;
                    }
                    _ => return Err(OutOfStep),
                },
                _ => return Err(OutOfStep),
            };
            input.advance(end + 2);
            match self.add(value) {
                Some(complete) => return Ok(Some(complete)),
                None => continue,
            }
        }
    }

    /// Returns whether the last value is complete.
    #[must_use]
    pub fn is_between_values(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds a value to the innermost incomplete array. Returns the outermost value when it is
    /// complete.
    fn add(&mut self, mut value: Value) -> Option<Value> {
        while let Some((missing, items)) = self.open.last_mut() {
            items.push(value);
            *missing -= 1;
            if *missing > 0 {
                return None;
            }
            value = Value::Array(std::mem::take(items));
            self.open.pop();
        }
        Some(value)
    }
}

/// A message of a subscribed channel, as positions in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Name of the channel.
    pub channel: std::ops::Range<usize>,
    /// Message.
    pub message: std::ops::Range<usize>,
    /// Position after the message.
    pub end: usize,
}

/// Content at the front of a subscriber's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// A complete message of a sharded channel.
    Published(Published),
    /// An incomplete message. Holds the number of bytes that the input needs at least.
    Needs(usize),
    /// Any other value, for [`Decoder::next`].
    Other,
}

/// Reads the front of a subscriber's input without taking it. Nearly all input is messages, which
/// need not be copied.
#[must_use]
pub fn front(input: &[u8]) -> Front {
    const HEAD: &[u8] = b"*3\r\n$8\r\nsmessage\r\n$";
    if input.len() < HEAD.len() {
        return if HEAD.starts_with(input) { Front::Needs(HEAD.len()) } else { Front::Other };
    }
    if !input.starts_with(HEAD) {
        return Front::Other;
    }
    match string(input, HEAD.len()) {
        Ok(channel) => {
            let next = channel.end + 2;
            match input.get(next) {
                None => Front::Needs(next + 1),
                Some(b'$') => match string(input, next + 1) {
                    Ok(message) => Front::Published(Published { channel, end: message.end + 2, message }),
                    Err(front) => front,
                },
                Some(_) => Front::Other,
            }
        }
        Err(front) => front,
    }
}

/// Returns the range of a string whose length begins at `at`, if it is complete with its line end.
fn string(input: &[u8], at: usize) -> Result<std::ops::Range<usize>, Front> {
    let digits = &input[at..input.len().min(at + 12)];
    let Some(end) = digits.iter().position(|byte| *byte == b'\r') else {
        return Err(if digits.len() < 12 { Front::Needs(input.len() + 1) } else { Front::Other });
    };
    let length = number(&digits[..end]).ok().filter(|length| (0..=STRING_MAX).contains(length));
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else { return Err(Front::Other) };
    let start = at + end + 2;
    if input.len() < start + length + 2 { Err(Front::Needs(start + length + 2)) } else { Ok(start..start + length) }
}

/// Returns the end of the first line; `None` if it is not complete.
fn line_end(input: &[u8]) -> Result<Option<usize>, OutOfStep> {
    let end = input.iter().take(LINE_MAX).position(|byte| *byte == b'\r');
    match end {
        // A single carriage return may be in the text of an error. Redis replaces it, but a proxy
        // may not.
        Some(end) if input.get(end + 1).is_some_and(|next| *next != b'\n') => Err(OutOfStep),
        Some(0) => Err(OutOfStep),
        Some(end) if end + 1 < input.len() => Ok(Some(end)),
        None if input.len() >= LINE_MAX => Err(OutOfStep),
        _ => Ok(None),
    }
}

fn number(digits: &[u8]) -> Result<i64, OutOfStep> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(OutOfStep)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            Just(Value::Okay),
            any::<i64>().prop_map(Value::Int),
            "[A-NP-Z]{1,9}".prop_map(Value::SimpleString),
            proptest::collection::vec(any::<u8>(), 0..90).prop_map(Value::BulkString),
        ];
        leaf.prop_recursive(3, 30, 6, |inner| proptest::collection::vec(inner, 0..6).prop_map(Value::Array))
    }

    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Nil => out.extend(b"$-1\r\n"),
            Value::Okay => out.extend(b"+OK\r\n"),
            Value::Int(number) => out.extend(format!(":{number}\r\n").bytes()),
            Value::SimpleString(text) => out.extend(format!("+{text}\r\n").bytes()),
            Value::BulkString(bytes) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Value::Array(items) => {
                out.extend(format!("*{}\r\n", items.len()).bytes());
                items.iter().for_each(|item| write(item, out));
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn values_are_decoded_however_their_bytes_are_cut(
            sent in proptest::collection::vec(values(), 1..5),
            cuts in proptest::collection::vec(1usize..30, 1..20),
        ) {
            let mut wire = Vec::new();
            sent.iter().for_each(|value| write(value, &mut wire));
            let (mut decoder, mut input, mut got) = (Decoder::default(), BytesMut::new(), Vec::new());
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                input.extend_from_slice(part);
                rest = after;
                while let Some(value) = decoder.next(&mut input).unwrap() {
                    got.push(value);
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(input.is_empty() && decoder.is_between_values());
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut input = BytesMut::from(&bytes[..]);
            let _ = front(&bytes);
            let mut decoder = Decoder::default();
            while let Ok(Some(_)) = decoder.next(&mut input) {}
        }

        #[test]
        fn a_message_is_found_when_its_last_byte_arrives_and_never_before(
            channel in "[a-z:{}0-9]{1,20}",
            message in proptest::collection::vec(any::<u8>(), 0..200),
            more in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut wire = Vec::new();
            let parts = ["smessage".into(), channel.clone().into_bytes(), message.clone()].map(Value::BulkString);
            write(&Value::Array(parts.to_vec()), &mut wire);
            for cut in 0..wire.len() {
                let Front::Needs(all) = front(&wire[..cut]) else { panic!("at {cut}") };
                prop_assert!(all > cut && all <= wire.len());
            }
            let whole = wire.len();
            wire.extend(more);
            let Front::Published(found) = front(&wire) else { panic!("not found") };
            prop_assert_eq!(&wire[found.channel], channel.as_bytes());
            prop_assert_eq!(&wire[found.message], &message[..]);
            prop_assert_eq!(found.end, whole);
        }
    }

    #[test]
    fn an_error_of_the_server_is_a_value_also_inside_an_array() {
        let mut input = BytesMut::from(&b"-MOVED 3 127.0.0.1:7\r\n*2\r\n-WRONGTYPE no\r\n:1\r\n"[..]);
        let mut decoder = Decoder::default();
        let Value::ServerError(moved) = decoder.next(&mut input).unwrap().unwrap() else { panic!("no error") };
        assert_eq!((moved.code(), moved.details()), ("MOVED", Some("3 127.0.0.1:7")));
        let Value::Array(items) = decoder.next(&mut input).unwrap().unwrap() else { panic!("no array") };
        assert!(matches!(&items[..], [Value::ServerError(_), Value::Int(1)]));
    }

    #[test]
    fn bytes_that_are_not_resp_are_refused() {
        for bad in
            ["x\r\n", "$x\r\n", "*-2\r\n", "$-2\r\n", "$3\r\nabcde", ":1.5\r\n", "\r\n", "+a\rb\r\n", "$1\r\na\n\n"]
        {
            let mut input = BytesMut::from(bad.as_bytes());
            assert_eq!(Decoder::default().next(&mut input), Err(OutOfStep), "{bad:?}");
        }
        let mut deep = BytesMut::from("*1\r\n".repeat(DEPTH_MAX + 1).as_bytes());
        assert_eq!(Decoder::default().next(&mut deep), Err(OutOfStep));
        for other in ["*3\r\n$9\r\nsubscribe", "*4\r\n", "-ERR\r\n", "*3\r\n$8\r\nsmessage\r\n$x\r\n"] {
            assert_eq!(front(other.as_bytes()), Front::Other, "{other:?}");
        }
    }
}
