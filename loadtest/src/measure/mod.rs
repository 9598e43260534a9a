//! Load generation and measurement.
//!
//! | file | content |
//! |---|---|
//! | `schedule` | start times of the operations |
//! | `pacer` | thread that starts each operation at its time |
//! | `meter` | counters and latency histograms, in shards |
//! | `timestamp` | intended start of a message, carried in its body |
//! | `machine` | CPU time and memory of local server processes |
//! | `summary` | all results of a run, as one value |
//! | `threshold` | checks of a summary for the exit status |

pub(crate) mod machine;
pub(crate) mod meter;
pub(crate) mod pacer;
pub(crate) mod schedule;
pub(crate) mod summary;
pub(crate) mod threshold;
pub(crate) mod timestamp;
