//! A signaling node: Socket.IO clients on one side, rooms in Redis on the other.
//!
//! | folder or file | content |
//! |---|---|
//! | `node` | start, serve, drain, stop: makes all parts and connects them |
//! | `dispatcher/` | takes a client's event, asks the rules, performs their effects |
//! | `delivery/` | delivers the events of rooms to the sessions of this node |
//! | `membership/` | heartbeats, dead nodes, deadlines, lost seats |
//! | `health/` | health of this node, of Redis and of the other nodes; readiness |
//! | `drain` | moves clients off at shutdown |
//! | `balance/` | moves clients to nodes with fewer |
//! | `app_limiters` | limits of apps on this node |
//! | `session_registry` | all connected sessions, in a room or not |
//! | `directory` | addresses at which other nodes take hand-overs |
//! | `catalog` | names, types and help texts of the node's metrics |
//! | `meters` | metrics that are written for every event |
//! | `capacity` | sockets that the process has memory and file descriptors for |
//! | `config` | environment variables |
//!
//! Two crates beside this one: `socketio` (the server) and `rules` (pure: who may do what).
//!
//! An event from a client: `socketio` reads a frame, `dispatcher` parses the event and asks
//! `rules::handle`, `dispatcher` performs the effect, `switchboard_rooms` runs a script, which
//! appends to the room's log in Redis and publishes.
//!
//! An event to a client: `switchboard_rooms::Bus` receives a message, `delivery::sink` parses the
//! envelope, `delivery::Hub` finds the sessions, `delivery::SessionLink` puts the packet on the
//! send queue, `socketio` writes it.

pub mod app_limiters;
pub mod balance;
pub mod capacity;
pub mod catalog;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod dispatcher;
pub mod drain;
pub mod health;
pub mod membership;
pub mod meters;
pub mod node;
pub mod session_registry;

pub use node::{Listeners, run};
