//! Writes a script's command in place, as it goes over the wire: `EVALSHA`, keys, arguments.
//!
//! Every event of a room needs such a command. Building it from allocated parts first costs more
//! CPU than the rest of its way through the node.

use switchboard_core::wire::EventKind;
use switchboard_core::wire::event_batch::SEPARATOR;

/// Placeholder for the number of words of a command, which is known only at its end.
const WORDS: &[u8] = b"00";
/// Placeholder for the number of keys, with its length before it.
const KEYS: &[u8] = b"$1\r\n0";
/// Position of the number in [`KEYS`].
const KEYS_DIGIT: usize = KEYS.len() - 1;

/// Command of one script. Keys come before arguments, each in the order of the table at the head of
/// the script's file.
#[derive(Debug)]
pub struct ScriptWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Position of [`WORDS`].
    words_at: usize,
    /// Position of [`KEYS`].
    keys_at: usize,
    words: usize,
    keys: usize,
    has_arguments: bool,
}

impl<'a> ScriptWriter<'a> {
    /// Begins a command at the end of `out`. `hash` is the SHA-1 of the script's source.
    pub(super) fn begin(out: &'a mut Vec<u8>, hash: &str) -> Self {
        out.push(b'*');
        let words_at = out.len();
        out.extend_from_slice(WORDS);
        out.extend_from_slice(b"\r\n$7\r\nEVALSHA\r\n");
        let mut writer = Self { out, words_at, keys_at: 0, words: 2, keys: 0, has_arguments: false };
        writer.word(&[hash]);
        writer.keys_at = writer.out.len();
        writer.out.extend_from_slice(KEYS);
        writer.out.extend_from_slice(b"\r\n");
        writer
    }

    /// Fills in the numbers of words and keys. Those of most commands have the length of their
    /// placeholders.
    pub(super) fn finish(self) {
        let keys_end = self.keys_at + KEYS.len();
        match u8::try_from(self.keys) {
            Ok(keys @ 0..=9) => self.out[self.keys_at + KEYS_DIGIT] = b'0' + keys,
            _ => {
                let (digits, start) = decimal(self.keys as u64);
                let digits = &digits[start..];
                let (length, at) = decimal(digits.len() as u64);
                let words = [b"$", &length[at..], b"\r\n", digits].concat();
                self.out.splice(self.keys_at..keys_end, words);
            }
        }
        let words_end = self.words_at + WORDS.len();
        let (digits, start) = decimal(self.words as u64);
        let digits = &digits[start..];
        if digits.len() == WORDS.len() {
            self.out[self.words_at..words_end].copy_from_slice(digits);
        } else {
            self.out.splice(self.words_at..words_end, digits.iter().copied());
        }
    }

    /// Writes the next key from its parts.
    pub fn key(&mut self, parts: &[&str]) {
        debug_assert!(!self.has_arguments, "keys come first");
        self.keys += 1;
        self.word(parts);
    }

    /// Writes the next argument.
    pub fn text(&mut self, text: &str) {
        self.parts(&[text]);
    }

    /// Writes the next argument from its parts.
    pub fn parts(&mut self, parts: &[&str]) {
        self.has_arguments = true;
        self.word(parts);
    }

    /// Writes an event as the next argument, with its kind before it: `<kind> <event>`.
    pub fn event(&mut self, kind: EventKind, event: &[u8]) {
        self.events(kind, std::iter::once(event));
    }

    /// Writes events that share a log entry as the next argument.
    pub fn events<'e>(&mut self, kind: EventKind, events: impl Iterator<Item = &'e [u8]> + Clone) {
        self.has_arguments = true;
        let code = kind.code().as_bytes();
        // Each event has one byte before it.
        self.header(code.len() + events.clone().map(|event| 1 + event.len()).sum::<usize>());
        self.out.extend_from_slice(code);
        for (index, event) in events.enumerate() {
            self.out.push(if index == 0 { b' ' } else { SEPARATOR });
            self.out.extend_from_slice(event);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes the next argument, or `-` for none.
    pub fn optional(&mut self, text: Option<&str>) {
        self.text(text.unwrap_or("-"));
    }

    /// Writes the next argument from bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.has_arguments = true;
        self.raw(bytes);
    }

    /// Writes a number as the next argument.
    pub fn number(&mut self, number: u64) {
        let (digits, start) = decimal(number);
        self.bytes(&digits[start..]);
    }

    /// Writes 1 or 0 as the next argument.
    pub fn flag(&mut self, flag: bool) {
        self.text(if flag { "1" } else { "0" });
    }

    fn word(&mut self, parts: &[&str]) {
        self.header(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.header(bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, length: usize) {
        let (digits, start) = decimal(length as u64);
        self.words += 1;
        self.out.push(b'$');
        self.out.extend_from_slice(&digits[start..]);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Returns a number's digits and the index of the first one. The standard library's formatting
/// takes several times as long, a dozen times for each event.
fn decimal(mut number: u64) -> ([u8; 20], usize) {
    let (mut digits, mut start) = ([b'0'; 20], 20);
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return (digits, start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_command_is_written_as_the_redis_library_writes_it(
            keys in proptest::collection::vec(".{0,30}", 0..40),
            arguments in proptest::collection::vec(".{0,30}", 0..120),
            number: u64,
        ) {
            let mut library = redis::cmd("EVALSHA");
            library.arg("hash").arg(keys.len()).arg(&keys).arg(&arguments).arg(number).arg("ab").arg("-").arg(1);
            let mut out = b"before".to_vec();
            let mut writer = ScriptWriter::begin(&mut out, "hash");
            keys.iter().for_each(|key| writer.key(&[key]));
            arguments.iter().for_each(|argument| writer.bytes(argument.as_bytes()));
            writer.number(number);
            writer.parts(&["a", "", "b"]);
            writer.optional(None);
            writer.flag(true);
            writer.finish();
            prop_assert_eq!(&out[b"before".len()..], library.get_packed_command());
        }
    }
}
