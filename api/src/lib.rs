//! The REST service of Switchboard: accounts, calls, admission to calls, and the web page. It also
//! records durable facts in MongoDB and delivers webhooks.
//!
//! Files form layers. A file imports files of lower layers, or files of its own layer that are
//! listed before it. No two files import each other, directly or through others.
//!
//! | layer | module | content |
//! |---|---|---|
//! | 7 | `run` | starts the service from a configuration, and stops it |
//! | 7 | `router` | the whole HTTP service |
//! | 7 | `cli`, `webhook_cli` | the command line of operators |
//! | 6 | `config`, `catalog` | settings; the list of metrics |
//! | 5 | `routes` | the list of routes, their handlers and views |
//! | 4 | `openapi` | the OpenAPI document, from a list of routes |
//! | 3 | `http` | errors, envelope, middleware, field validation, arguments of handlers, server |
//! | 2 | `recorder`, `webhooks`, `stale_calls`, `erasure` | background tasks; they know no HTTP |
//! | 2 | `app` | the parts of the service that routes use |
//! | 1 | `address_bounds`, `limits`, `audit`, `clock` | counts in memory; rate limits; security events; time and jitter |

pub mod address_bounds;
pub mod app;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod erasure;
pub mod http;
pub mod limits;
pub mod openapi;
pub mod recorder;
mod router;
mod routes;
mod run;
pub mod stale_calls;
pub mod webhook_cli;
pub mod webhooks;

pub use app::App;
pub use router::{BODY_LIMIT, HttpOptions, router};
pub use run::{Listeners, run};
