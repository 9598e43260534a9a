//! Real servers on this machine, for `make up`, the tests and the fault harness.
//!
//! Everything listens on 127.0.0.1 only. A server lives as long as the value that started it; when the program that
//! started it is itself killed, a guard process ends the server, so nothing is ever left running.

pub mod cluster;
pub mod haproxy;
pub mod kubernetes;
pub mod mongo;
pub mod ports;
pub mod process;
pub mod redis;
pub mod rollout;
pub mod service;
pub mod settings;
