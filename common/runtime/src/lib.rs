//! Parts of every service process.
//!
//! | module | content |
//! |---|---|
//! | `config` | settings from environment variables |
//! | `telemetry` | logs, metrics and traces |
//! | `admin` | the listener for probes and metrics |
//! | `background` | tasks that run as long as the process |
//! | `shutdown` | the signals that end a process |

pub mod admin;
pub mod background;
pub mod config;
pub mod shutdown;
pub mod telemetry;
