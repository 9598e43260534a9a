//! The bounded queue of one socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use thiserror::Error;
use tokio::sync::oneshot;

use super::backlog::{Backlog, Largest};
use super::delayed::{Delayed, Flush};
use crate::protocol::{CloseReason, DisconnectReason, Frame, Message, Namespace};

/// Reason why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The message did not fit. The transport closes the socket as a slow consumer.
    #[error("the send queue of the socket is full")]
    Overflow,
    /// The socket is closed or closing.
    #[error("the socket is closed")]
    Closed,
}

/// Bounds of a send queue.
#[derive(Debug, Clone, Copy)]
pub struct SendQueueLimits {
    /// Maximum number of bytes that are queued or being written.
    pub bytes: usize,
    /// Maximum number of queued messages.
    pub messages: usize,
}

/// The queue behind all handles of one socket. The socket's task reads from it.
#[derive(Debug)]
pub struct Queue {
    limits: SendQueueLimits,
    state: Mutex<State>,
    reader: AtomicWaker,
    delayed: Arc<Delayed>,
    backlog: Arc<Backlog<Self>>,
    /// This queue, by which the backlog finds it.
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// The reader was woken for the entries. While false, they wait for a later message or the
    /// timer.
    due: bool,
    /// Bytes of the entries, and of frames that the reader took and has not written yet.
    bytes: usize,
    /// Those of them that do not count against the bound of the socket.
    owed: usize,
    /// Bytes of this queue in the [`Backlog`].
    counted: usize,
    closing: Option<CloseReason>,
    disconnects: Vec<(Namespace, DisconnectReason)>,
    probes: Probes,
}

/// Questions of the application whether the client is alive. Several may wait at the same time.
#[derive(Debug, Default)]
struct Probes {
    /// The socket's task must ping the client.
    due: Vec<oneshot::Sender<()>>,
    /// The client was pinged and has sent nothing since.
    asked: Vec<oneshot::Sender<()>>,
}

impl State {
    fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.entries).into_iter().map(|entry| entry.frame).collect()
    }

    fn remove_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.owed = self.owed.min(self.bytes);
    }
}

/// What the bounds need to know of a message.
struct Content {
    size: usize,
    owed: bool,
    key: Option<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    key: Option<Arc<str>>,
}

/// Result of appending frames.
struct Enqueued<'a> {
    state: MutexGuard<'a, State>,
    /// The queue was empty before.
    first: bool,
    /// Queue that makes room for all others. It is cut without a lock on this one.
    largest: Option<Arc<Queue>>,
}

/// Cuts the queue that makes room for all others.
fn cut(largest: Option<Arc<Queue>>) {
    if let Some(queue) = largest {
        queue.overflow(queue.state());
    }
}

/// A request of the application to the socket's task, other than to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// Ping the client now.
    Probe,
    /// End a namespace. Its `41` packet is already queued.
    Disconnect(Namespace, DisconnectReason),
    /// Close the socket.
    Close(CloseReason),
}

impl Queue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(limits: SendQueueLimits, delayed: Arc<Delayed>, backlog: Arc<Backlog<Self>>) -> Arc<Self> {
        Arc::new_cyclic(|this| {
            let (state, reader, this) = (Mutex::default(), AtomicWaker::new(), Weak::clone(this));
            Self { limits, state, reader, delayed, backlog, this }
        })
    }

    /// Locks the state. A panic while the lock is held leaves a valid queue, so poison is ignored.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message and wakes the reader.
    pub(super) fn push(&self, mut message: Message) -> Result<(), SendError> {
        let content = Content { size: message.len(), owed: message.is_owed(), key: message.take_key() };
        self.push_frames(message.frames(), content)
    }

    /// Queues a message that leaves with the next message, or after 2 to 3 ms.
    pub(super) fn push_delayed(self: &Arc<Self>, message: Message) -> Result<(), SendError> {
        let content = Content { size: message.len(), owed: message.is_owed(), key: None };
        let Enqueued { state, first, largest } = self.enqueue(message.frames(), content)?;
        let starts_delay = first && !state.due;
        drop(state);
        cut(largest);
        if starts_delay {
            self.delayed.add(Arc::clone(self) as Arc<dyn Flush>);
        }
        Ok(())
    }

    fn push_frames(&self, frames: impl IntoIterator<Item = Frame>, content: Content) -> Result<(), SendError> {
        let Enqueued { state, largest, .. } = self.enqueue(frames, content)?;
        self.wake(state);
        cut(largest);
        Ok(())
    }

    /// Makes the entries due and wakes the reader, unless they are due already.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.due, true) {
            drop(state);
            self.reader.wake();
        }
    }

    /// Appends frames.
    fn enqueue(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        Content { size, owed, key }: Content,
    ) -> Result<Enqueued<'_>, SendError> {
        let mut state = self.state();
        if state.closing.is_some() {
            return Err(SendError::Closed);
        }
        if let Some(key) = &key
            && let Some(at) = state.entries.iter().position(|entry| entry.key.as_ref() == Some(key))
        {
            let old = state.entries.remove(at);
            state.remove_bytes(old.frame.bytes().len());
        }
        let bytes = state.bytes + size;
        let owed = state.owed + if owed && state.owed == 0 { size } else { 0 };
        if bytes - owed > self.limits.bytes || state.entries.len() >= self.limits.messages {
            self.overflow(state);
            return Err(SendError::Overflow);
        }
        let largest = match self.backlog.update(&self.this, &mut state.counted, bytes) {
            Some(Largest::Own) => {
                self.overflow(state);
                return Err(SendError::Overflow);
            }
            Some(Largest::Other(queue)) => Some(queue),
            None => None,
        };
        let first = state.entries.is_empty();
        (state.bytes, state.owed) = (bytes, owed);
        state.entries.extend(frames.into_iter().map(|frame| Entry { frame, key: key.clone() }));
        Ok(Enqueued { state, first, largest })
    }

    /// Ends the socket as a slow consumer. The client will read none of the entries, so their
    /// memory is freed now. Frames that are being written count no more: the socket's task drops
    /// them within the close timeout.
    fn overflow(&self, mut state: MutexGuard<'_, State>) {
        if state.closing.is_none() {
            let unsent = state.entries.iter().map(|entry| entry.frame.bytes().len()).sum::<usize>();
            state.remove_bytes(unsent);
            state.entries = Vec::new();
            state.closing = Some(CloseReason::SlowConsumer);
            self.count(&mut state);
            drop(state);
            metrics::counter!("switchboard_send_queue_overflows_total").increment(1);
            self.reader.wake();
        }
    }

    /// Counts the bytes of this queue in the backlog of all queues.
    fn count(&self, state: &mut State) {
        let bytes = if state.closing == Some(CloseReason::SlowConsumer) { 0 } else { state.bytes };
        let _the_next_message_cuts = self.backlog.update(&self.this, &mut state.counted, bytes);
    }

    /// Queues one encoded frame, under the same bounds as a message.
    pub(crate) fn push_frame(&self, frame: Frame) -> Result<(), SendError> {
        let size = frame.bytes().len();
        self.push_frames([frame], Content { size, owed: false, key: None })
    }

    /// Puts messages before all queued ones: the missed events of an accepted CONNECT, and its
    /// reply. The limits do not apply, because the application has bounded these messages, and they
    /// do not count as [`owed`](Message::owed) ones do not.
    pub(crate) fn push_first(&self, messages: impl IntoIterator<Item = Message>) {
        let mut state = self.state();
        let first: Vec<Entry> =
            messages.into_iter().flat_map(Message::frames).map(|frame| Entry { frame, key: None }).collect();
        let size = first.iter().map(|entry| entry.frame.bytes().len()).sum::<usize>();
        state.bytes += size;
        state.owed += size;
        self.count(&mut state);
        state.entries.splice(0..0, first);
        self.wake(state);
    }

    /// Asks the socket's task to close. The first reason wins.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.state().closing.get_or_insert(reason);
        self.reader.wake();
    }

    /// Queues a Socket.IO DISCONNECT and asks the socket's task to end the namespace.
    pub(super) fn disconnect(&self, namespace: &Namespace, reason: DisconnectReason) {
        let packet = if namespace.as_str() == "/" { "41".to_owned() } else { format!("41{},", namespace.as_str()) };
        // A full or closed queue closes the transport anyway.
        let _sent_or_closing = self.push(Message::packet(packet));
        self.state().disconnects.push((namespace.clone(), reason));
        self.reader.wake();
    }

    /// Asks the socket's task to ping the client. The receiver gets a value with its next packet.
    pub(super) fn probe(&self) -> oneshot::Receiver<()> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        // The others ask no more.
        state.probes.asked.retain(|sender| !sender.is_closed());
        state.probes.due.push(sender);
        drop(state);
        self.reader.wake();
        answer
    }

    /// Answers a probe: the client has sent a packet after its ping.
    pub(crate) fn answer_probe(&self) {
        let asked = std::mem::take(&mut self.state().probes.asked);
        for sender in asked {
            // The application may not wait any more.
            let _gone = sender.send(());
        }
    }

    /// Takes all queued frames, in order, once some are due. The caller reports to
    /// [`written`](Queue::written) when it has written them.
    pub fn poll_frames(&self, cx: &mut Context<'_>) -> Poll<Vec<Frame>> {
        self.reader.register(cx.waker());
        let mut state = self.state();
        if !std::mem::take(&mut state.due) || state.entries.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(state.take())
    }

    /// Takes all queued frames, in order, due or not.
    pub fn take(&self) -> Vec<Frame> {
        self.state().take()
    }

    /// Registers the calling task, so that the next queued message wakes it.
    pub(crate) fn watch(&self, cx: &mut Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// Returns the next request of the application, other than to send.
    pub(crate) fn control(&self) -> Option<Control> {
        let mut state = self.state();
        if let Some(reason) = state.closing {
            return Some(Control::Close(reason));
        }
        let probes = &mut state.probes;
        if !probes.due.is_empty() {
            probes.asked.append(&mut probes.due);
            return Some(Control::Probe);
        }
        // Does not wait until the DISCONNECT packet is sent: a client that reads nothing must not
        // keep its session that way. Closing sends the rest.
        let (namespace, reason) = (!state.disconnects.is_empty()).then(|| state.disconnects.remove(0))?;
        Some(Control::Disconnect(namespace, reason))
    }

    /// Returns whether the application has ended the socket or a namespace of it.
    pub fn is_ending(&self) -> bool {
        let state = self.state();
        state.closing.is_some() || !state.disconnects.is_empty()
    }

    /// Returns the number of bytes that are queued or being written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Releases this number of bytes after the reader has written them.
    pub fn written(&self, bytes: usize) {
        let mut state = self.state();
        state.remove_bytes(bytes);
        self.count(&mut state);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _fewer_never_cut = self.backlog.update(&self.this, &mut state.counted, 0);
    }
}

impl Flush for Queue {
    fn flush(&self) {
        let state = self.state();
        if !state.entries.is_empty() {
            self.wake(state);
        }
    }
}
