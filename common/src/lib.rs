//! What the `api` and the `signal-node` share.
//!
//! The modules are layered; `docs/ARCHITECTURE.md` draws the picture and the `layers` test holds it:
//! `wire -> domain`; `room`, `records -> domain, wire`; `auth -> domain`.

pub mod admin;
pub mod auth;
pub mod client_address;
pub mod config;
pub mod domain;
pub mod rate_limit;
pub mod records;
pub mod redis_client;
pub mod room;
pub mod shutdown;
pub mod telemetry;
pub mod wire;
