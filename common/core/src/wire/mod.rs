//! Wire formats: parsing and encoding, without I/O.
//!
//! | module | content |
//! |---|---|
//! | `client_event` | events that clients send, parsed and validated |
//! | `contract` | every event with its fields, bounds and refusals, as an AsyncAPI document |
//! | `engine_io` | Engine.IO v4 packets |
//! | `envelope` | messages that Redis scripts publish to nodes |
//! | `event_batch` | events that share an entry of a log and an envelope |
//! | `event_kind` | kinds of server events, with their codes |
//! | `log_id` | ids of entries in a room's log |
//! | `nesting` | bound on the nesting of JSON text |
//! | `offset` | position in a room's log, as clients carry it |
//! | `participant_event` | events about the lobby, roles and moderation |
//! | `replica_update` | changes that events make to a node's replicas |
//! | `server_event` | all other events that the server sends |
//! | `socket_io` | Socket.IO v5 packets |
//! | `well_formed` | lone surrogates in JSON text |
//! | `whole_number` | whole numbers in JSON, also as doubles |

pub mod client_event;
pub mod contract;
pub mod engine_io;
pub mod envelope;
pub mod event_batch;
pub mod event_kind;
pub mod log_id;
pub mod nesting;
pub mod offset;
pub mod participant_event;
pub mod replica_update;
pub mod server_event;
pub mod socket_io;
pub mod well_formed;
pub mod whole_number;

pub use event_kind::EventKind;
pub use log_id::LogId;
