//! HTTP parts that every route uses. No file here knows a route.
//!
//! | file | content |
//! |---|---|
//! | `status` | the HTTP status of each refusal code |
//! | `store_failures` | the log of failures of Redis and MongoDB that requests meet |
//! | `error` | the error type of handlers |
//! | `envelope` | the JSON object around every response |
//! | `layers` | middleware: request id, timeout, security headers, metrics, panics, CORS |
//! | `drain` | reads the rest of a body that a handler has not read |
//! | `fields` | reads and validates the fields of a body or a query |
//! | `describe` | what a handler's argument adds to the OpenAPI document |
//! | `accept` | the media type that a client prefers |
//! | `extract` | arguments of handlers: identity, body, query, path |
//! | `query_names` | refuses unknown parameters of backends and operators |
//! | `operators` | arguments of handlers that operators call |
//! | `app_key` | arguments of handlers that backends of apps call |
//! | `request_bounds` | bounds on the requests of one address, before routing |
//! | `rate_limit` | the rate limit of a route, and the client's address |
//! | `route` | a route: handler, rate class, description |
//! | `page` | files of the web page |
//! | `server` | accepts connections, within limits |

pub mod accept;
pub mod app_key;
pub mod describe;
pub mod drain;
pub mod envelope;
pub mod error;
pub mod extract;
pub mod fields;
pub mod layers;
pub mod operators;
pub(crate) mod page;
pub mod paging;
pub mod query_names;
pub mod rate_limit;
pub mod request_bounds;
pub mod route;
pub mod server;
pub mod status;
pub mod store_failures;
