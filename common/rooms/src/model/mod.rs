//! Values that go into the store and come out of it.
//!
//! | file | content |
//! |---|---|
//! | `app` | participants of an app on all nodes |
//! | `error` | reasons for which a request to the store fails |
//! | `fact` | durable facts of the outbox |
//! | `inspection` | nodes and rooms as operators see them |
//! | `join` | taking a seat |
//! | `moderation` | commands of hosts, moderators and operators |
//! | `node` | partitions, heartbeats, sweeps |
//! | `operation` | events of a seated session |
//! | `resume` | resuming a seat, reading the log, putting a lost seat back |
//! | `room` | a room seen from outside; opening, creating and ending it |
//! | `seat` | a seat that this process holds |
//! | `stats` | figures of a room |

mod app;
mod error;
mod fact;
mod inspection;
mod join;
mod moderation;
mod node;
mod operation;
mod resume;
mod room;
mod seat;
mod stats;

pub use app::{AppCount, AppEntry, AppReport, AppStep};
pub use error::StoreError;
pub use fact::{Fact, OutboxEntry, Presence};
pub use inspection::{EvictionPolicy, NodeSummary, RoomSummary};
pub use join::{Join, Joined, ProfileUpdate, Proof, Snapshot, TokenGrant};
pub use moderation::{Caller, ModerationCommand, ModerationOutcome, RoomUpdate, UpdateOutcome};
pub use node::{
    Beat, BeatOutcome, CheckOutcome, Group, LastBeat, Loads, NodeCheck, NodeLoad, Partition, RevocationReason, Revoked,
    StrayNode, Sweep,
};
pub use operation::{Chat, EphemeralOutcome, History, Op, OpKind, OpReply, ServerEvent, ServerEventOutcome};
pub use resume::{Attach, Attached, CaughtUp, LeaveOutcome, LogContent, LogEntry, ReseatOutcome, Resumed, SeatCopy};
pub use room::{Created, Ended, JoinStanding, Opened, Reopened, Reserved, RoomPeek};
pub(crate) use seat::OperationNumber;
pub use seat::{Seat, socket_id};
pub use stats::{RoomStats, SeatStats};
