//! Clients that use little memory, so that one process can run tens of thousands.
//!
//! | file | content |
//! |---|---|
//! | `socket` | WebSocket frames on a plain TCP stream; an idle socket holds no buffer |
//! | `packet` | packets from the server, borrowed from their frame |
//! | `protocol` | Socket.IO, or the protocol of a compared server |
//! | `centrifugo` | messages of Centrifugo's protocol |
//! | `route` | destination and source address of a connection |
//! | `guest` | dialing, CONNECT and join |
//! | `behaviour` | event loop of a client |
//! | `engine_session` | Engine.IO session that detects silence, for clients that reconnect |
//! | `api` | REST client: accounts and calls |
//! | `app` | REST client: an app of a throw-away cluster |
//! | `http_client` | HTTP connection that repeats one request |

pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod behaviour;
mod centrifugo;
pub(crate) mod engine_session;
pub(crate) mod guest;
pub(crate) mod http_client;
pub(crate) mod packet;
pub(crate) mod protocol;
pub(crate) mod route;
pub(crate) mod socket;
