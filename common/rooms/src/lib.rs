//! Room state on Redis: the one place that knows its keys, scripts and connections.
//!
//! | file | what it does |
//! |---|---|
//! | `types`, `door`, `ops`, `order`, `stats`, `fact`, `options` | what goes in and out, as values |
//! | `keys` | names every key and channel, and the partitions |
//! | `lua/`, `scripts` | decide: whatever reads and then writes is one script |
//! | `call`, `queues`, `lane`, `topology` | carry: a line of calls for each partition, a lane for each server |
//! | `store` | what everybody else calls; `context` writes the calls, `reply` reads the answers |
//! | `rate` | how often something may be done |
//! | `survey` | what operators see |
//! | `revocations` | this process's copy of the sign-ins that are over |
//! | `bus` | receives what scripts publish to this node |

pub mod bus;
mod call;
pub mod conn;
mod context;
mod door;
mod fact;
pub mod keys;
mod lane;
pub mod metric_catalog;
mod ops;
mod options;
mod order;
mod packed;
mod queues;
pub mod rate_limit;
mod reply;
mod revocations;
pub mod scripts;
mod stats;
pub mod store;
mod survey;
mod topology;
pub mod types;

pub use bus::{Bus, BusEvent, Cause, Sink};
pub use door::{Created, Door, Ended, Opened, Standing};
pub use fact::{Fact, OutboxEntry, Presence};
pub use ops::{Chat, Hinted, History, Op, OpKind, OpReply};
pub use options::{LaneOptions, RoomOptions};
pub use order::{Amended, Amendment, By, Order, Ordered};
pub use revocations::Revocations;
pub use stats::{RoomStats, Stay};
pub use store::{Done, Rooms};
pub use survey::{NodeSurvey, RoomSurvey};
pub use switchboard_core::domain::{Rate, RateOutcome};
pub use types::*;
