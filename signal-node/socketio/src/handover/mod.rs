//! Hand-over of a request to the node of its session. A request is handed over at most once.
//!
//! | file | content |
//! |---|---|
//! | `forward` | hands a client's request over to another node |
//! | `outcome` | the metric of hand-overs |
//! | `pool` | `Handovers`: pooled connections to other nodes, and slots for concurrent hand-overs |
//! | `receive` | serves requests that other nodes hand over, and their health checks |
//! | `tunnel` | joins two TCP streams after an upgrade |

mod forward;
mod outcome;
mod pool;
mod receive;
mod tunnel;

pub(crate) use forward::forward;
pub(crate) use outcome::HandoverOutcome;
pub(crate) use pool::Handovers;
pub(crate) use receive::receive;
