//! Messages that are not kept.

/// Reason why a message was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It is larger than one message may be.
    TooLarge,
    /// Too many large messages are being received. The client may send it again.
    Busy,
}

/// Message that was received and not kept, so that it costs no memory. The session continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedMessage {
    /// Beginning of a text message, so that it can be refused by name; `None` for a binary one.
    pub head: Option<String>,
    /// Number of bytes of the whole message.
    pub length: usize,
    /// Reason why it was skipped.
    pub reason: SkipReason,
}

impl SkippedMessage {
    /// Maximum number of bytes in `head`: packet type, namespace, acknowledgement id and name.
    pub const HEAD_MAX: usize = 512;

    /// Creates a skipped text message from its first bytes. A character that they cut is left out.
    #[must_use]
    pub fn text(beginning: &[u8], length: usize, reason: SkipReason) -> Self {
        let beginning = &beginning[..beginning.len().min(Self::HEAD_MAX)];
        let valid = beginning.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Self { head: Some(valid.to_owned()), length, reason }
    }

    /// Creates a skipped binary message.
    #[must_use]
    pub const fn binary(length: usize, reason: SkipReason) -> Self {
        Self { head: None, length, reason }
    }
}
