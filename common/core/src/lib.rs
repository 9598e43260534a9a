//! The words and formats that every other crate shares, as plain values: no runtime, no store, no web framework, no clock.
//!
//! | module | content |
//! |---|---|
//! | `domain` | ids, roles, settings, admission, refusal codes, rates |
//! | `wire` | codecs of Engine.IO and Socket.IO, events of clients and servers, envelopes, log ids |
//! | `client_address` | the address of a client behind proxies |
//! | `cluster_key` | signatures between nodes of one installation |
//! | `metric_catalog` | the shape of a list of metrics |
//! | `secret` | text that is never printed |

pub mod client_address;
pub mod cluster_key;
pub mod domain;
pub mod metric_catalog;
pub mod secret;
pub mod wire;

pub use cluster_key::ClusterKey;
pub use secret::Secret;
