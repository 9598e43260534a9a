//! The REST service on a real MongoDB and a real Redis, over HTTP. All tests share the two servers;
//! each test has its own database and its own prefix.

#![allow(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

mod accounts;
mod admin;
mod app_usage;
mod apps;
mod bodies;
mod bounds;
mod calls;
mod connections;
mod edits;
mod identity_sources;
mod isolation;
mod join;
mod limits;
mod nulls;
mod old_backend;
mod openapi;
mod outage;
mod participants;
mod protocol;
mod rotation;
mod server_calls;
mod server_room_ids;
mod server_rooms;
mod sessions;
mod stats;
mod support;
mod webhooks;
