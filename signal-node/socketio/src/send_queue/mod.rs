//! The way to a client: a bounded queue that costs nothing while it is empty.
//!
//! Any thread may queue; the socket's own task takes everything at once and writes it with few system calls.
//! The bound counts what is queued and what is being written. Past it the socket is closed as a slow consumer:
//! a client that recovers reads what it missed from the room's log.

mod delayed;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use thiserror::Error;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{CloseReason, DisconnectReason, Namespace};
pub use delayed::Delayed;

/// One Socket.IO packet, encoded; clones share the bytes.
#[derive(Debug, Clone)]
pub struct Message {
    text: Utf8Bytes,
    attachments: Option<Arc<[Bytes]>>,
    /// What it has in common with a message that it makes pointless.
    key: Option<Arc<str>>,
}

impl Message {
    /// A whole packet as it goes over the wire, Engine.IO's `4` first: `42["name",..]`.
    #[must_use]
    pub fn packet(text: impl Into<Utf8Bytes>) -> Self {
        Self { text: text.into(), attachments: None, key: None }
    }

    /// An EVENT: `args` is the JSON text of its arguments, comma-separated, or empty.
    #[must_use]
    pub fn event(namespace: &Namespace, name: &str, args: &str) -> Self {
        Self::packet(encode("42", namespace, None, Some(name), args))
    }

    /// A BINARY_EVENT whose `args` hold a placeholder for each attachment; a plain EVENT if there is none.
    #[must_use]
    pub fn binary_event(namespace: &Namespace, name: &str, args: &str, attachments: &[Bytes]) -> Self {
        if attachments.is_empty() {
            return Self::event(namespace, name, args);
        }
        let kind = format!("45{}-", attachments.len());
        let text = encode(&kind, namespace, None, Some(name), args).into();
        Self { text, attachments: Some(attachments.into()), key: None }
    }

    /// The answer to an event that asked for one.
    #[must_use]
    pub fn ack(namespace: &Namespace, id: u64, args: &str) -> Self {
        Self::packet(encode("43", namespace, Some(id), None, args))
    }

    /// As [`ack`](Message::ack), with attachments.
    #[must_use]
    pub fn binary_ack(namespace: &Namespace, id: u64, args: &str, attachments: &[Bytes]) -> Self {
        if attachments.is_empty() {
            return Self::ack(namespace, id, args);
        }
        let kind = format!("46{}-", attachments.len());
        let text = encode(&kind, namespace, Some(id), None, args).into();
        Self { text, attachments: Some(attachments.into()), key: None }
    }

    /// Makes an unsent message of the same key pointless: that one is taken out of the queue. This one goes last, so that offsets
    /// keep their order. An attachment cannot be separated from its packet, so only a packet without any has a key.
    #[must_use]
    pub fn superseding(self, key: Option<impl Into<Arc<str>>>) -> Self {
        let key = key.filter(|_| self.attachments.is_none()).map(Into::into);
        Self { key, ..self }
    }

    /// The packet's text, Engine.IO's `4` included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn frames(self) -> impl Iterator<Item = Frame> {
        let attachments = self.attachments;
        let count = attachments.as_ref().map_or(0, |list| list.len());
        let binary = (0..count).filter_map(move |i| attachments.as_ref()?.get(i).cloned().map(Frame::Binary));
        std::iter::once(Frame::Text(self.text)).chain(binary)
    }

    fn len(&self) -> usize {
        self.text.len() + self.attachments.iter().flat_map(|list| list.iter()).map(Bytes::len).sum::<usize>()
    }
}

/// `kind namespace, id ["name",args]`, each part where the protocol wants it.
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

/// What a carrier sends as one unit: an Engine.IO packet in text, or a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An encoded Engine.IO packet.
    Text(Utf8Bytes),
    /// The payload of a binary message.
    Binary(Bytes),
}

impl Frame {
    /// Its payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A message that was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// It would not fit; the socket is being closed as a slow consumer.
    #[error("the socket's outbox is full")]
    Overflow,
    /// The socket is closed or being closed.
    #[error("the socket is closed")]
    Closed,
}

/// Bounds of an outbox.
#[derive(Debug, Clone, Copy)]
pub struct SendQueueLimits {
    /// Bytes queued or being written.
    pub bytes: usize,
    /// Messages queued.
    pub messages: usize,
}

/// A handle to one namespace of one socket. Cheap to clone; callable from any thread; never waits.
#[derive(Debug, Clone)]
pub struct SendQueue {
    queue: Arc<Queue>,
    namespace: Namespace,
}

impl SendQueue {
    /// Queues a message.
    ///
    /// # Errors
    /// [`SendError`]: it will not be sent.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        self.queue.push(message)
    }

    /// Acknowledges an event: `args` is the JSON text of the arguments, comma-separated.
    ///
    /// # Errors
    /// [`SendError`]: it will not be sent.
    pub fn ack(&self, id: u64, args: &str) -> Result<(), SendError> {
        self.send(Message::ack(&self.namespace, id, args))
    }

    /// As [`ack`](SendQueue::ack), when nobody waits for it to go on: it leaves with the next message, or after 2 to 3 ms.
    ///
    /// # Errors
    /// [`SendError`]: it will not be sent.
    pub fn ack_delayed(&self, id: u64, args: &str) -> Result<(), SendError> {
        let waits = self.queue.push_delayed(Message::ack(&self.namespace, id, args))?;
        if waits {
            self.queue.delayed.add(Arc::clone(&self.queue));
        }
        Ok(())
    }

    /// Closes the transport without a Socket.IO DISCONNECT: the stock client reconnects and recovers.
    /// What is queued is sent first, within the farewell time.
    pub fn close(&self, reason: DisconnectReason) {
        self.queue.close(CloseReason::ServerClosed(reason));
    }

    /// Ends this namespace with a Socket.IO DISCONNECT (`41`): the stock client does not come back by itself.
    /// The transport closes when no other namespace is connected on it.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.queue.disconnect(&self.namespace, reason);
    }

    /// Bytes that wait for the socket.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// The namespace that [`ack`](SendQueue::ack) and [`disconnect`](SendQueue::disconnect) speak for.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether both handles reach the same socket.
    #[must_use]
    pub fn same_socket(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.queue, &other.queue)
    }

    pub(crate) fn new(queue: Arc<Queue>, namespace: Namespace) -> Self {
        Self { queue, namespace }
    }

    /// An outbox that no socket reads, and the queue to look into: for tests of what an application sends.
    #[must_use]
    pub fn detached(limits: SendQueueLimits) -> (Self, Arc<Queue>) {
        let queue = Arc::new(Queue::new(limits, Arc::default()));
        (Self::new(Arc::clone(&queue), Namespace::default()), queue)
    }
}

/// The queue behind the handles, with the socket's end of it.
#[derive(Debug)]
pub struct Queue {
    limits: SendQueueLimits,
    state: Mutex<State>,
    reader: AtomicWaker,
    delayed: Arc<Delayed>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// The reader was woken for them; else they wait for company.
    due: bool,
    /// Of the entries, and of what was taken and is not yet written.
    bytes: usize,
    closing: Option<CloseReason>,
    disconnects: Vec<(Namespace, DisconnectReason)>,
}

impl State {
    fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.entries).into_iter().map(|entry| entry.frame).collect()
    }
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    key: Option<Arc<str>>,
}

/// What the application asks of a socket besides sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// End a namespace whose `41` was queued.
    Disconnect(Namespace, DisconnectReason),
    /// Close the socket.
    Close(CloseReason),
}

impl Queue {
    /// An empty queue; allocates nothing.
    #[must_use]
    pub fn new(limits: SendQueueLimits, delayed: Arc<Delayed>) -> Self {
        Self { limits, state: Mutex::default(), reader: AtomicWaker::new(), delayed }
    }

    /// A panic while the lock is held leaves a queue that is still whole, so poison is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut message: Message) -> Result<(), SendError> {
        let (size, key) = (message.len(), message.key.take());
        self.push_frames(message.frames(), size, key)
    }

    /// Says whether it is the first that waits.
    fn push_delayed(&self, message: Message) -> Result<bool, SendError> {
        let size = message.len();
        let (state, first) = self.enqueue(message.frames(), size, None)?;
        Ok(first && !state.due)
    }

    fn push_frames(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        size: usize,
        key: Option<Arc<str>>,
    ) -> Result<(), SendError> {
        let (state, _) = self.enqueue(frames, size, key)?;
        self.wake(state);
        Ok(())
    }

    /// Has the reader take what is queued, unless it is about to.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.due, true) {
            drop(state);
            self.reader.wake();
        }
    }

    /// Sends what waits for company.
    fn send_now(&self) {
        let state = self.state();
        if !state.entries.is_empty() {
            self.wake(state);
        }
    }

    /// Puts frames last; and says whether nothing was before them.
    fn enqueue(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        size: usize,
        key: Option<Arc<str>>,
    ) -> Result<(MutexGuard<'_, State>, bool), SendError> {
        let mut state = self.state();
        if state.closing.is_some() {
            return Err(SendError::Closed);
        }
        if let Some(key) = &key
            && let Some(at) = state.entries.iter().position(|entry| entry.key.as_ref() == Some(key))
        {
            let old = state.entries.remove(at);
            state.bytes -= old.frame.bytes().len();
        }
        if state.bytes + size > self.limits.bytes || state.entries.len() >= self.limits.messages {
            // Nothing of it will be read any more: give the memory back now.
            state.bytes -= state.entries.iter().map(|entry| entry.frame.bytes().len()).sum::<usize>();
            state.entries = Vec::new();
            state.closing = Some(CloseReason::SlowConsumer);
            drop(state);
            metrics::counter!("switchboard_outbox_overflows_total").increment(1);
            self.reader.wake();
            return Err(SendError::Overflow);
        }
        let first = state.entries.is_empty();
        state.bytes += size;
        state.entries.extend(frames.into_iter().map(|frame| Entry { frame, key: key.clone() }));
        Ok((state, first))
    }

    /// Queues one frame past the message encoding, under the same bounds.
    pub(crate) fn push_frame(&self, frame: Frame) -> Result<(), SendError> {
        let size = frame.bytes().len();
        self.push_frames([frame], size, None)
    }

    /// Puts messages before everything queued: what an accepted CONNECT replays, and its reply. Not refused for size,
    /// as the application has bounded it.
    pub(crate) fn push_first(&self, messages: impl IntoIterator<Item = Message>) {
        let mut state = self.state();
        let first: Vec<Entry> =
            messages.into_iter().flat_map(Message::frames).map(|frame| Entry { frame, key: None }).collect();
        state.bytes += first.iter().map(|entry| entry.frame.bytes().len()).sum::<usize>();
        state.entries.splice(0..0, first);
        self.wake(state);
    }

    /// Asks the socket's task to close; the first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.state().closing.get_or_insert(reason);
        self.reader.wake();
    }

    fn disconnect(&self, namespace: &Namespace, reason: DisconnectReason) {
        let goodbye = if namespace.as_str() == "/" { "41".to_owned() } else { format!("41{},", namespace.as_str()) };
        // A full or closed queue closes the transport anyway.
        let _sent_or_closing = self.push(Message::packet(goodbye));
        self.state().disconnects.push((namespace.clone(), reason));
        self.reader.wake();
    }

    /// All queued frames, in order, once some are due; tell [`written`](Queue::written) when they have left.
    pub fn poll_frames(&self, cx: &mut Context<'_>) -> Poll<Vec<Frame>> {
        self.reader.register(cx.waker());
        let mut state = self.state();
        if !std::mem::take(&mut state.due) || state.entries.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(state.take())
    }

    /// All queued frames, in order, due or not.
    pub fn take(&self) -> Vec<Frame> {
        self.state().take()
    }

    /// Sees to it that the next thing queued wakes this task.
    pub(crate) fn watch(&self, cx: &mut Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// What the application asked of the socket besides sending.
    pub(crate) fn control(&self) -> Option<Control> {
        let mut state = self.state();
        if let Some(reason) = state.closing {
            return Some(Control::Close(reason));
        }
        // Whether or not its goodbye could be sent: who takes nothing any more must not stay for that. The farewell sends what is left.
        let (namespace, reason) = (!state.disconnects.is_empty()).then(|| state.disconnects.remove(0))?;
        Some(Control::Disconnect(namespace, reason))
    }

    /// Bytes queued or being written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Frames of this many bytes have left.
    pub fn written(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}
