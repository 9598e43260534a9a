//! A command as it goes over the wire, written in place: what every event needs is not first put together elsewhere.

/// One command at the end of a pipeline.
pub(super) struct Packed<'a>(&'a mut Vec<u8>);

impl<'a> Packed<'a> {
    /// Begins a command of so many words, its name included.
    pub(super) fn begin(out: &'a mut Vec<u8>, words: usize) -> Self {
        let mut packed = Self(out);
        packed.header(b'*', words as u64);
        packed
    }

    /// The next word, of these parts.
    pub(super) fn word(&mut self, parts: &[&str]) {
        self.header(b'$', parts.iter().map(|part| part.len() as u64).sum());
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.extend_from_slice(b"\r\n");
    }

    /// The next word, of bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    /// The next word, a number.
    pub(super) fn number(&mut self, number: u64) {
        let (digits, start) = decimal(number);
        self.bytes(&digits[start..]);
    }

    fn header(&mut self, kind: u8, number: u64) {
        let (digits, start) = decimal(number);
        self.0.push(kind);
        self.0.extend_from_slice(&digits[start..]);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// A number's digits, and where they start. The formatting of the standard library costs several times as much, a dozen times an event.
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
        fn a_command_is_packed_as_the_library_packs_it(words in proptest::collection::vec(".{0,30}", 1..6), number: u64) {
            let mut library = redis::cmd(&words[0]);
            library.arg(&words[1..]).arg(number).arg("ab");
            let mut out = Vec::new();
            let mut packed = Packed::begin(&mut out, words.len() + 2);
            words.iter().for_each(|word| packed.bytes(word.as_bytes()));
            packed.number(number);
            packed.word(&["a", "", "b"]);
            prop_assert_eq!(out, library.get_packed_command());
        }
    }
}
