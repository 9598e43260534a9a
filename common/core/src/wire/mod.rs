//! Bytes to types and back. Pure: nothing here waits or talks to anything.

pub mod client_event;
pub mod engine_io;
pub mod envelope;
pub mod log_id;
pub mod news;
pub mod offset;
pub mod people_event;
pub mod server_event;
pub mod socket_io;

pub use log_id::LogId;
