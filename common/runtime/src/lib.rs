//! Parts of every service process.
//!
//! | module | content |
//! |---|---|
//! | `config` | settings from environment variables |
//! | `telemetry` | logs, metrics and traces |
//! | `admin` | the listener for probes and metrics |
//! | `shutdown` | the signals that end a process |

pub mod admin;
pub mod config;
pub mod shutdown;
pub mod telemetry;
