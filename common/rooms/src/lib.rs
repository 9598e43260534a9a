//! Room state in Redis. This crate alone knows the keys, the scripts and the connections.
//!
//! | module | content |
//! |---|---|
//! | `model` | values that go into the store and come out of it |
//! | `store` | [`Rooms`]: the interface of this crate; each method is one script or plain reads |
//! | `scripts` | one struct for the arguments of each script, and its reply |
//! | `lua/` | the scripts: `shared` has functions of several scripts, `scripts` one file for each |
//! | `seat` | the codec of a seat's text |
//! | `values` | reads replies of Redis, and the hash of a room |
//! | `keys` | names of all keys and channels; partitions |
//! | `context`, `options` | data that every request is written with |
//! | `executor` | the way of requests to Redis: by `lanes` for nodes, by `fred` for api pods |
//! | `lanes` | pipelines in order, retries, the slot map, Sentinels |
//! | `conn` | `REDIS_URL`, connections, the RESP2 codec |
//! | `bus` | subscriptions: receives the messages that scripts publish to this node |
//! | `failure_detector` | pure: which nodes are dead |
//! | `check_turns` | pure: the partitions that a node checks each second |
//! | `rate_limit` | rate limits that all pods share |
//! | `revocations` | this process's copy of the revoked sign-ins |
//! | `metric_catalog` | catalogue of this crate's metrics |
//!
//! docs/ROOM_STATE.md describes the keys, the scripts and the rules, each rule with its race.

pub mod bus;
pub mod check_turns;
pub mod conn;
mod context;
mod executor;
pub mod failure_detector;
pub mod keys;
mod lanes;
pub mod metric_catalog;
mod model;
mod options;
pub mod rate_limit;
mod revocations;
pub mod scripts;
pub mod seat;
pub mod store;
mod values;

pub use bus::{Bus, BusEvent, BusEventHandler, Cause};
pub use lanes::LaneOptions;
pub use model::*;
pub use options::RoomOptions;
pub use revocations::Revocations;
pub use store::{OnReply, RoomLog, Rooms};
pub use switchboard_core::domain::{Rate, RateOutcome, RoomMeta};
pub use switchboard_core::wire::LogId;
