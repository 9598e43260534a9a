//! What follows from a client's event: pure functions from values to effects. No async, no clock, no I/O.
//!
//! [`handle`](handle::handle) is the only way in; the dispatcher performs what comes out. Whatever a rule takes for granted
//! here is a hint: the script compares it with the truth before anything happens.

pub mod chat;
pub mod effect;
pub mod handle;
pub mod media;
pub mod membership;
pub mod moderation;
pub mod relay;
pub mod session;
pub mod stats;

pub use effect::Effect;
pub use handle::handle;
pub use session::{Place, SessionView, Stamp};

#[cfg(test)]
mod tests;
