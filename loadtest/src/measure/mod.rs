//! How a load is given and what is noted of it.
//!
//! | file | what it does |
//! |---|---|
//! | `schedule`, `pacer` | when each thing is to be begun, and a thread that says so at that moment, whatever the servers do |
//! | `meter` | counts and histograms, sharded |
//! | `stamp` | the moment that a message carries with it |
//! | `machine` | processor time and memory of the processes behind local addresses |
//! | `report` | everything that a run came to, as one value; `threshold` judges it |

pub(crate) mod machine;
pub(crate) mod meter;
pub(crate) mod pacer;
pub(crate) mod report;
pub(crate) mod schedule;
pub(crate) mod stamp;
pub(crate) mod threshold;
