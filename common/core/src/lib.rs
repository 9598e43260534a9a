//! Domain types and wire formats that every other crate shares.
//!
//! Everything here is a plain value or a pure function. The crate depends on no async runtime, no
//! database client and no web framework, and it reads no clock.
//!
//! | module | content |
//! |---|---|
//! | `domain` | ids, roles, permissions, settings, admission, refusal codes, rates |
//! | `wire` | Engine.IO and Socket.IO codecs, client and server events, envelopes, log ids |
//! | `client_address` | client address behind proxies (`X-Forwarded-For`, `Forwarded`) |
//! | `cluster_key` | HMAC signatures between the nodes of one cluster |
//! | `failure_log` | which repeated failures are logged |
//! | `key_ring` | keys that can be rotated |
//! | `metric_catalog` | declaration of the metrics of a service |
//! | `origin` | web origins, and those that a setting allows |
//! | `percent` | percent-encoding of credentials in URLs |
//! | `secret` | text that `Debug` never prints |
//! | `socket_memory` | sockets that fit in the memory of a node |
//! | `web_url` | URLs of `http` and `https` that others give |

pub mod client_address;
pub mod cluster_key;
pub mod domain;
pub mod failure_log;
pub mod key_ring;
pub mod metric_catalog;
pub mod origin;
pub mod percent;
pub mod secret;
pub mod socket_memory;
pub mod web_url;
pub mod wire;

pub use cluster_key::ClusterKey;
pub use key_ring::{Key, KeyRing, RingKey};
pub use secret::Secret;
