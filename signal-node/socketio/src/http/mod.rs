//! HTTP requests and responses, and the requests of open sessions.
//!
//! | file | content |
//! |---|---|
//! | `query` | parameters of the query string |
//! | `response` | `Body`, and the responses of Engine.IO |
//! | `cors` | origins, and the CORS headers |
//! | `upgrade` | the HTTP upgrade to WebSocket |
//! | `session_request` | GET, POST and upgrade requests of an open long-polling session |

mod cors;
mod query;
mod response;
mod session_request;
mod upgrade;

use crate::bounds::ClientNetwork;

pub(crate) use cors::{add_cors_headers, foreign_origin_of, origin_may_pass, preflight_response};
pub(crate) use query::query_parameter;
pub(crate) use response::{Body, add_security_headers, error_response, status_response, text_response};
pub(crate) use session_request::{continue_session, read_body};
pub(crate) use upgrade::{accepted_protocol, switching_response, upgraded_stream, upgraded_websocket};

/// TCP stream with timeouts. It holds the slot of a client's connection; a connection of a node has
/// none.
pub(crate) type BoundedStream = switchboard_net::BoundedStream<ClientNetwork>;
