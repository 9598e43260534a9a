//! The bounded queue of messages to one client. An empty queue holds no buffer.
//!
//! Any thread may queue a message. The socket's own task takes all messages together and writes
//! them with few system calls. The bound counts messages that are queued and bytes that are being
//! written. Above the bound, the socket is closed as a slow consumer: the client reconnects and
//! recovers. So is the socket with the largest queue above the bound of all queues, and a socket
//! whose client reads nothing from one ping to the next.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`SendQueue`]: the handle of an application |
//! | `queue` | [`Queue`]: the queue itself, and its end at the socket's task |
//! | `backlog` | [`Backlog`]: bytes queued for slow clients, over all queues |
//! | `delayed` | [`Delayed`]: messages that wait for the next message, at most 3 ms |

mod backlog;
mod delayed;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::protocol::{CloseReason, DisconnectReason, Namespace};
pub use crate::protocol::{Frame, Message};
pub use delayed::Delayed;
pub(crate) use queue::Control;
pub use queue::{Queue, SendError, SendQueueLimits};

/// Bytes in all send queues of a server.
pub type Backlog = backlog::Backlog<Queue>;

/// Handle to one namespace of one socket. It is cheap to clone, usable from any thread, and never
/// waits.
#[derive(Debug, Clone)]
pub struct SendQueue {
    queue: Arc<Queue>,
    namespace: Namespace,
}

impl SendQueue {
    /// Queues a message.
    ///
    /// # Errors
    /// [`SendError`]: the message is not sent.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        self.queue.push(message)
    }

    /// Acknowledges an event. `args` is the JSON text of the arguments, comma-separated.
    ///
    /// # Errors
    /// [`SendError`]: the acknowledgement is not sent.
    pub fn ack(&self, id: u64, args: &str) -> Result<(), SendError> {
        self.send(Message::ack(&self.namespace, id, args))
    }

    /// Acknowledges an event for which the client does not wait. The acknowledgement leaves with
    /// the next message, or after 2 to 3 ms.
    ///
    /// # Errors
    /// [`SendError`]: the acknowledgement is not sent.
    ///
    /// # Panics
    /// Must be called within a Tokio runtime.
    pub fn ack_delayed(&self, id: u64, args: &str) -> Result<(), SendError> {
        self.queue.push_delayed(Message::ack(&self.namespace, id, args))
    }

    /// Closes the transport without a Socket.IO DISCONNECT, so that the stock client reconnects and
    /// recovers. Queued messages are sent first, within the close timeout.
    pub fn close(&self, reason: DisconnectReason) {
        self.queue.close(CloseReason::ServerClosed(reason));
    }

    /// Ends this namespace with a Socket.IO DISCONNECT (`41`). The stock client does not reconnect
    /// by itself. The transport closes when no other namespace is connected on it.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.queue.disconnect(&self.namespace, reason);
    }

    /// Pings the client now. The receiver gets a value with the client's next packet, or an error
    /// if the socket ends before, or another probe takes the place of this one.
    #[must_use]
    pub fn probe(&self) -> oneshot::Receiver<()> {
        self.queue.probe()
    }

    /// Returns the number of bytes that are queued or being written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// Returns the namespace of [`ack`](SendQueue::ack) and [`disconnect`](SendQueue::disconnect).
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns whether both handles belong to the same socket.
    #[must_use]
    pub fn same_socket(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.queue, &other.queue)
    }

    /// Creates a handle to a socket's queue.
    pub(crate) fn new(queue: Arc<Queue>, namespace: Namespace) -> Self {
        Self { queue, namespace }
    }

    /// Creates a send queue without a socket, and returns the queue too. Tests of an application
    /// read from it the messages that the application sends.
    #[must_use]
    pub fn detached(limits: SendQueueLimits) -> (Self, Arc<Queue>) {
        let queue = Queue::new(limits, Arc::default(), Arc::new(Backlog::new(0)));
        (Self::new(Arc::clone(&queue), Namespace::default()), queue)
    }
}
