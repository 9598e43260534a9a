//! The scenarios: what clients do, and what must come of it.
//!
//! | file | what it does |
//! |---|---|
//! | `target` | what is loaded: addresses that are given, or a cluster of its own |
//! | `stage` | warm-up, window, sampling, and the report |
//! | `ballast` | rooms that are there besides |
//! | `crowd` | many clients: seated, playing, gone |
//! | `floor` | the least that a relay can cost on this machine |
//! | the others | one scenario each |

pub(crate) mod ballast;
pub(crate) mod broadcast;
pub(crate) mod crowd;
pub(crate) mod floor;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod relay;
pub(crate) mod rest;
pub(crate) mod rooms;
pub(crate) mod stage;
pub(crate) mod storm;
pub(crate) mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::measure::threshold::Thresholds;
use target::TargetArgs;

/// What every scenario takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// How long to measure.
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) duration: Duration,
    /// How long to run before that.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) warm_up: Duration,
    /// Threads of this program; on the machine of the servers they take from them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    #[command(flatten)]
    pub(crate) thresholds: Thresholds,
    /// Shows JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes a page with charts here; it needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Reads how many there are to be: one at least.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a whole number above 0".to_owned())
}

/// Reads seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
