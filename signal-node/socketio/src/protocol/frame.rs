//! The units that a transport sends and receives.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::skipped::SkippedMessage;

/// One Engine.IO packet in text, or one binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An encoded Engine.IO packet.
    Text(Utf8Bytes),
    /// Payload of a binary message.
    Binary(Bytes),
}

impl Frame {
    /// Returns the payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// One packet or message from a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Frame(Frame),
    Skipped(SkippedMessage),
}

impl Received {
    /// Returns the number of bytes that were received.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.bytes().len(),
            Self::Skipped(skipped) => skipped.length,
        }
    }
}
