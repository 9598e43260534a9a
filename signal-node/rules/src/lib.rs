//! Decides the effect of each client event: pure functions from values to effects. No async, no
//! clock, no I/O.
//!
//! | file | content |
//! |---|---|
//! | `handle` | entry point: chooses the rule of an event |
//! | `session` | input: the session as the rules see it |
//! | `effect` | output: effects that the dispatcher performs |
//! | `membership` | creating, joining, leaving and ending |
//! | `relay` | signaling between participants |
//! | `media` | cameras, microphones, screen sharing |
//! | `chat` | messages, history, typing |
//! | `reactions` | raised hands, reactions |
//! | `moderation` | commands of host and moderators |
//! | `stats` | statistics of a room |
//!
//! The values are this node's copies of the room. A copy may be older than the state in Redis, so
//! the script compares every assumption with that state before it changes anything.

pub mod chat;
pub mod effect;
pub mod handle;
pub mod media;
pub mod membership;
pub mod moderation;
pub mod reactions;
pub mod relay;
pub mod session;
pub mod stats;

pub use effect::Effect;
pub use handle::handle;
pub use session::{SeatView, SessionView, Stamp};

#[cfg(test)]
mod tests;
