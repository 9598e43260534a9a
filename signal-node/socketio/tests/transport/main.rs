//! The server over real sockets, with small applications on it. One binary, so that linking happens
//! once.
//!
//! | file | content |
//! |---|---|
//! | `conformance` | the cases of the public Engine.IO v4 and Socket.IO v5 test suites |
//! | `websocket` | both protocols over WebSocket |
//! | `polling` | long-polling, and the upgrade to WebSocket |
//! | `repeats` | repeated requests after a broken connection |
//! | `handover` | requests that reach another node than the session's |
//! | `connections` | refused handshakes and requests, and bounds on TCP connections |
//! | `limits` | limits that close a socket or refuse its packets |
//! | `support` | servers, clients and applications for these tests |

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step fails the test")]

mod conformance;
mod connections;
mod handover;
mod limits;
mod polling;
mod repeats;
mod support;
mod websocket;
