//! How many pods, shards and cores an expected load needs, and values for the chart.
//!
//! | file | content |
//! |---|---|
//! | `costs` | what was measured last |
//! | `plan` | what a load needs; pure |
//! | `values` | the values for the chart; pure |

pub(crate) mod costs;
mod plan;
mod values;

use std::path::PathBuf;

use clap::Args;

use self::costs::Costs;
use self::plan::{Load, Plan};

/// Command-line arguments of `size`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Participants at the same time.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    sockets: u64,
    /// Calls that begin in a second, at the busiest time.
    #[arg(long, value_parser = rate)]
    calls_per_second: f64,
    /// Participants of a call.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=500))]
    room: u32,
    /// ICE candidates that each participant sends to each other.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=100))]
    candidates: u32,
    /// Events to all of a room in a second, in all rooms together: chat, mutes, raised hands.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    broadcasts_per_second: f64,
    /// CPU request of a node, in thousandths of a core.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=128_000))]
    node_cpu_millis: u32,
    /// Memory limit of a node, in MiB.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(256..=1_048_576))]
    node_memory_mib: u32,
    /// Percent of a core that may be in use.
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u32).range(10..=100))]
    utilization: u32,
    /// Write the values for the chart to this file instead of printing them.
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1e6).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is not a number from 0 to 1,000,000"))
}

/// Returns the text to print.
///
/// # Errors
/// If the file of values cannot be written.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<String> {
    let load = settings.load();
    let plan = Plan::new(&load, &Costs::measured()?);
    let values = values::values(&load, &plan);
    let table = table(&load, &plan);
    Ok(match &settings.values {
        Some(file) => {
            std::fs::write(file, values)?;
            table
        }
        None => format!("{table}\n{values}"),
    })
}

impl Settings {
    fn load(&self) -> Load {
        Load {
            sockets: self.sockets,
            calls_per_second: self.calls_per_second,
            room: self.room,
            candidates: self.candidates,
            broadcasts_per_second: self.broadcasts_per_second,
            node_cores: f64::from(self.node_cpu_millis) / 1e3,
            node_memory_mib: self.node_memory_mib,
            utilization: f64::from(self.utilization) / 1e2,
        }
    }
}

fn table(load: &Load, plan: &Plan) -> String {
    let Plan { nodes, apis, shards, node_sockets, .. } = plan;
    let rows = [
        format!(
            "| signal-node | {nodes} | {:.2} cores; memory of each for {node_sockets} sockets | {} cores, {} MiB |",
            plan.node_load, load.node_cores, load.node_memory_mib
        ),
        format!("| api | {apis} | {:.2} cores | 1 core |", plan.api_load),
        format!(
            "| Redis | {shards} | {:.2} cores; {:.0} relays a second | 1 core, maxmemory {} MiB |",
            plan.redis_load, plan.relays_per_second, plan.shard_memory_mib
        ),
        format!("| MongoDB | | {:.2} cores | |", plan.mongodb_load),
    ];
    format!("| what | number | all together use | each has |\n|---|---|---|---|\n{}\n", rows.join("\n"))
}
