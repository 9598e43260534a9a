//! Socket.IO clients that are cheap enough to have ten thousands of in one process.
//!
//! | file | what it does |
//! |---|---|
//! | `socket` | WebSocket frames on a bare TCP stream; an idle one holds no buffer |
//! | `packet` | what a server says, borrowed from the frame it came in |
//! | `guest` | from dialling to a seat in a room |
//! | `behaviour` | the loop of a client, around what it does: texts in, texts out |
//! | `wire` | a socket that notices silence, for clients that behave as the stock one |
//! | `api` | accounts and calls |
//! | `line` | a connection that asks the same thing again and again |

pub(crate) mod api;
pub(crate) mod behaviour;
pub(crate) mod guest;
pub(crate) mod line;
pub(crate) mod packet;
pub(crate) mod socket;
pub(crate) mod wire;
