//! The scenarios: actions of the clients and their expected results.
//!
//! | file | content |
//! |---|---|
//! | `target` | the servers under load: given addresses or a throw-away cluster |
//! | `run` | warm-up, measurement window, sampling and summary of a run |
//! | `fleet` | many clients: seating, running, arrivals |
//! | `background_rooms` | idle rooms beside the measured ones |
//! | `idle`, `relay`, `join`, `rooms`, `broadcast`, `storm`, `rest` | one scenario each |
//! | `beats` | heartbeats of many idle nodes |
//! | `baseline` | lowest possible cost of a relay on this machine |

pub(crate) mod background_rooms;
pub(crate) mod baseline;
pub(crate) mod beats;
pub(crate) mod broadcast;
pub(crate) mod fleet;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod relay;
pub(crate) mod rest;
pub(crate) mod rooms;
pub(crate) mod run;
pub(crate) mod storm;
pub(crate) mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::measure::threshold::Thresholds;
use target::TargetArgs;

/// Arguments that all scenarios share.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Duration of the measurement.
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) duration: Duration,
    /// Duration of the warm-up before the measurement.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) warm_up: Duration,
    /// Threads of loadtest. On the machine of the servers they take CPU time from the servers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    #[command(flatten)]
    pub(crate) thresholds: Thresholds,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a self-contained HTML page with charts to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Parses a count of at least 1.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a whole number above 0".to_owned())
}

/// Parses seconds; fractions are allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
