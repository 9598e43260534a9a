//! The REST service on real MongoDB and Redis, asked over HTTP. One pair of servers for all; each test has a database
//! and a prefix of its own.

#![allow(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

mod accounts;
mod admin;
mod calls;
mod edits;
mod join;
mod limits;
mod node_service;
mod openapi;
mod outage;
mod protocol;
mod sessions;
mod stats;
mod support;
