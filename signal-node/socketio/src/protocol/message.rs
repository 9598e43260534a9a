//! Encoded Socket.IO packets to a client.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::frame::Frame;
use super::namespace::Namespace;

/// One encoded Socket.IO packet. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Message {
    text: Utf8Bytes,
    attachments: Option<Arc<[Bytes]>>,
    /// Key that this message shares with the messages that it replaces.
    key: Option<Arc<str>>,
    /// See [`Message::owed`].
    owed: bool,
}

impl Message {
    /// Wraps a whole packet as it goes over the wire, with Engine.IO's `4` first: `42["name",..]`.
    #[must_use]
    pub fn packet(text: impl Into<Utf8Bytes>) -> Self {
        Self { text: text.into(), attachments: None, key: None, owed: false }
    }

    /// Encodes an EVENT. `args` is the JSON text of its arguments, comma-separated; it may be
    /// empty.
    #[must_use]
    pub fn event(namespace: &Namespace, name: &str, args: &str) -> Self {
        Self::packet(encode("42", namespace, None, Some(name), args))
    }

    /// Encodes a BINARY_EVENT whose `args` hold one placeholder for each attachment. Without
    /// attachments it encodes a plain EVENT.
    #[must_use]
    pub fn binary_event(namespace: &Namespace, name: &str, args: &str, attachments: &[Bytes]) -> Self {
        if attachments.is_empty() {
            return Self::event(namespace, name, args);
        }
        let kind = format!("45{}-", attachments.len());
        let text = encode(&kind, namespace, None, Some(name), args).into();
        Self { text, attachments: Some(attachments.into()), key: None, owed: false }
    }

    /// Encodes the acknowledgement of an event.
    #[must_use]
    pub fn ack(namespace: &Namespace, id: u64, args: &str) -> Self {
        Self::packet(encode("43", namespace, Some(id), None, args))
    }

    /// Encodes the acknowledgement of an event, with attachments.
    #[must_use]
    pub fn binary_ack(namespace: &Namespace, id: u64, args: &str, attachments: &[Bytes]) -> Self {
        if attachments.is_empty() {
            return Self::ack(namespace, id, args);
        }
        let kind = format!("46{}-", attachments.len());
        let text = encode(&kind, namespace, Some(id), None, args).into();
        Self { text, attachments: Some(attachments.into()), key: None, owed: false }
    }

    /// Lets this message replace an unsent message with the same key. The queue removes the old
    /// message and puts this one last, so that offsets keep their order. A message with attachments
    /// gets no key, because an attachment must follow its packet.
    #[must_use]
    pub fn superseding(self, key: Option<impl Into<Arc<str>>>) -> Self {
        let key = key.filter(|_| self.attachments.is_none()).map(Into::into);
        Self { key, ..self }
    }

    /// Marks a message that the client asked for and that may be large. It is no debt of a client
    /// that reads too slowly: until it is written, it does not count against the bound of its
    /// socket, unless another such message is unwritten. It counts against the bound of all
    /// sockets.
    #[must_use]
    pub fn owed(self) -> Self {
        Self { owed: true, ..self }
    }

    /// Returns whether the message is marked as [`owed`](Message::owed).
    pub(crate) fn is_owed(&self) -> bool {
        self.owed
    }

    /// Returns the packet's text, with Engine.IO's `4` first.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Removes and returns the key of [`superseding`](Message::superseding).
    pub(crate) fn take_key(&mut self) -> Option<Arc<str>> {
        self.key.take()
    }

    /// Returns the packet's frame, followed by one frame for each attachment.
    pub(crate) fn frames(self) -> impl Iterator<Item = Frame> {
        let attachments = self.attachments;
        let count = attachments.as_ref().map_or(0, |list| list.len());
        let binary = (0..count).filter_map(move |i| attachments.as_ref()?.get(i).cloned().map(Frame::Binary));
        std::iter::once(Frame::Text(self.text)).chain(binary)
    }

    /// Returns the number of bytes in all frames.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.attachments.iter().flat_map(|list| list.iter()).map(Bytes::len).sum::<usize>()
    }
}

/// Encodes `kind namespace, id ["name",args]`; leaves out the parts that are absent.
fn encode(kind: &str, namespace: &Namespace, id: Option<u64>, name: Option<&str>, args: &str) -> String {
    let name = name.map(|name| serde_json::Value::from(name).to_string());
    let mut text = String::with_capacity(kind.len() + args.len() + 32 + name.as_ref().map_or(0, String::len));
    text.push_str(kind);
    if namespace.as_str() != "/" {
        text.push_str(namespace.as_str());
        text.push(',');
    }
    if let Some(id) = id {
        let _infallible = write!(text, "{id}");
    }
    text.push('[');
    if let Some(name) = &name {
        text.push_str(name);
        if !args.is_empty() {
            text.push(',');
        }
    }
    text.push_str(args);
    text.push(']');
    text
}
