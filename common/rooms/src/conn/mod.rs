//! Connections to Redis, and the parser of `REDIS_URL`.
//!
//! | file | content |
//! |---|---|
//! | `connection` | a connection to one server, for lanes and subscriptions |
//! | `failures` | failures of connections, each cause logged once |
//! | `resp` | the RESP2 codec |
//! | `tls` | trusted certificates, the client's certificate, TLS errors in plain words |
//! | `url` | the parser of `REDIS_URL` |
//!
//! The `redis` library writes commands and defines the values of answers.

pub mod connection;
mod failures;
pub mod resp;
pub(crate) mod tls;
mod url;

pub(crate) use failures::{OptionalCommand, Purpose};
pub use tls::{ClientCertificate, ClientCertificateError};
pub(crate) use url::{Credentials, Deployment, Sentinels};
pub use url::{RedisUrl, RedisUrlError};
