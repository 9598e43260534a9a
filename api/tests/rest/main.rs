//! The REST service on real MongoDB and Redis, asked over HTTP. One pair of servers for all; each test has a database
//! and a prefix of its own.

mod accounts;
mod calls;
mod join;
mod outage;
mod protocol;
mod support;
