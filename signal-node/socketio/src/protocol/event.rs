//! One event of a client.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::namespace::Namespace;

/// One EVENT of a client. It keeps the received text and points into it, so that nothing is parsed
/// twice.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) text: Utf8Bytes,
    /// Position in `text` of the arguments after the name.
    pub(crate) args: Range<usize>,
    pub(crate) attachments: Vec<Bytes>,
    pub(crate) ack: Option<u64>,
}

impl Event {
    /// Returns the namespace in which the client sent the event.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns the event's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the JSON text of the arguments after the name, comma-separated and without brackets.
    /// The decoder has checked that it is valid JSON.
    #[must_use]
    pub fn args(&self) -> &str {
        &self.text[self.args.clone()]
    }

    /// Returns the arguments after the name, each as raw JSON.
    #[must_use]
    pub fn arguments(&self) -> Vec<&RawValue> {
        let mut arguments = Vec::new();
        let mut rest = self.args();
        // Read one value at a time: the text is a sequence of valid values, separated by commas.
        loop {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            let Some(Ok(value)) = values.next() else { return arguments };
            arguments.push(value);
            let end = values.byte_offset();
            rest = rest[end..].trim_start().strip_prefix(',').unwrap_or_default();
        }
    }

    /// Returns the binary attachments, in the order of their placeholders' numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Returns the id of the acknowledgement, if the client asked for one.
    #[must_use]
    pub fn ack(&self) -> Option<u64> {
        self.ack
    }
}
