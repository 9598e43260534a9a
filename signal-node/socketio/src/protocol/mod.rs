//! Values that every other module shares. Nothing in this folder does I/O or knows a transport.
//!
//! | file | content |
//! |---|---|
//! | `close` | [`CloseReason`], [`DisconnectReason`]: why a socket ended |
//! | `event` | [`Event`]: one event of a client |
//! | `frame` | [`Frame`]: the unit that a transport sends; `Received`: the unit that it receives |
//! | `handshake` | [`Handshake`], [`RequestExtras`]: facts from the opening request |
//! | `handshake_error` | `HandshakeError`: HTTP requests that are refused, with Engine.IO's codes |
//! | `message` | [`Message`]: one encoded Socket.IO packet to a client |
//! | `namespace` | [`Namespace`]: the name of a namespace |
//! | `skipped` | [`SkippedMessage`]: a message that was received and not kept |

mod close;
mod event;
mod frame;
mod handshake;
mod handshake_error;
mod message;
mod namespace;
mod skipped;

pub use close::{CloseReason, DisconnectReason};
pub use event::Event;
pub use frame::Frame;
pub(crate) use frame::Received;
pub use handshake::{Handshake, RequestExtras, TransportKind};
pub(crate) use handshake_error::HandshakeError;
pub use message::Message;
pub use namespace::Namespace;
pub use skipped::{SkipReason, SkippedMessage};
