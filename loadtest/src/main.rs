//! Load tests and fault tests for a Switchboard cluster.
//!
//! - `relay`, `join` and the other scenarios load a given cluster or a throw-away cluster, and
//!   report latencies, costs and losses.
//! - `faults` injects faults and audits the delivery of every acknowledged event.
//! - `abuse` attacks a cluster as strangers do, and checks that honest clients are not hurt.
//! - `usage` and `noisy` check that the usage of an app is exact, and that an app at its limits
//!   does not hurt another one.
//! - `bench` compares Switchboard with Socket.IO and Express on Node.js, and with Centrifugo.
//! - `size` prints how many pods, shards and cores an expected load needs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod abuse;
mod apps;
mod bench;
mod client;
mod faults;
mod measure;
mod report;
mod scenario;
mod size;

use measure::summary::RunSummary;
use scenario::target::Target;
use scenario::{LoadArgs, baseline, beats, broadcast, idle, join, relay, rest, rooms, storm};

/// Exit status when a threshold is violated.
const THRESHOLD_VIOLATED: u8 = 1;
/// Exit status when the run fails to start or to finish; also the exit status for wrong arguments.
const RUN_FAILED: u8 = 2;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Clients that join a room and then stay idle.
    Idle(idle::Settings),
    /// Pairs of clients on different nodes that exchange offers and answers.
    Relay(relay::Settings),
    /// Clients that join a room, stay for a while and leave.
    Join(join::Settings),
    /// Complete calls of several sizes, from the first join to the last leave.
    Rooms(rooms::Settings),
    /// One room in which every message goes to all participants.
    Broadcast(broadcast::Settings),
    /// Kills a node; its clients reconnect to the other nodes.
    Storm(storm::Settings),
    /// Authenticated reads of the REST api.
    Rest(rest::Settings),
    /// Cost of the heartbeats, reads and canaries of many idle nodes for one Redis, and the time in
    /// which a dead node is noticed. Fails when a living node is declared dead.
    Beats(beats::Settings),
    /// Lowest possible cost of a relay on this machine: the relay script, a subscription and a
    /// WebSocket echo.
    Baseline(baseline::Settings),
    /// Compares Switchboard with Socket.IO and Express on Node.js, with Centrifugo and with the
    /// baseline, in turn, on the same Redis and MongoDB.
    Bench(bench::Settings),
    /// Injects one fault per round and audits every acknowledged event. Fails when a guarantee is
    /// violated.
    Faults(faults::Settings),
    /// Attacks a throw-away cluster with the limits of production, beside honest clients. Fails
    /// when an honest client is refused or loses anything.
    Abuse(abuse::Settings),
    /// Prints the pods, shards and cores that an expected load needs, and values for the chart.
    /// Starts nothing.
    Size(size::Settings),
    /// Plays calls of an app while pods are killed. Fails when the usage of the app is not what the
    /// clients did.
    Usage(apps::usage::Settings),
    /// An app that asks for five times its limits, beside a quiet app. Fails when the quiet app is
    /// refused or loses anything.
    Noisy(apps::noisy::Settings),
}

impl Command {
    /// Arguments that all scenarios share; `None` for the other commands.
    fn load(&self) -> Option<&LoadArgs> {
        match self {
            Self::Idle(settings) => Some(&settings.load),
            Self::Relay(settings) => Some(&settings.load),
            Self::Join(settings) => Some(&settings.load),
            Self::Rooms(settings) => Some(&settings.load),
            Self::Broadcast(settings) => Some(&settings.load),
            Self::Storm(settings) => Some(&settings.load),
            Self::Rest(settings) => Some(&settings.load),
            Self::Baseline(settings) => Some(&settings.load),
            Self::Beats(_)
            | Self::Bench(_)
            | Self::Faults(_)
            | Self::Abuse(_)
            | Self::Usage(_)
            | Self::Noisy(_)
            | Self::Size(_) => None,
        }
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // Each client needs a file descriptor.
    raise_descriptors();
    let threads = match &command {
        Command::Beats(_) | Command::Faults(_) | Command::Abuse(_) | Command::Usage(_) | Command::Noisy(_) => 2,
        _ => command.load().map_or(1, |load| load.threads.into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(command)));
    outcome.unwrap_or_else(|error| {
        print_progress(&format!("{error:#}"));
        ExitCode::from(RUN_FAILED)
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match &command {
        Command::Idle(settings) => run_scenario(&settings.load, async |target| idle::run(settings, target).await).await,
        Command::Relay(settings) => {
            run_scenario(&settings.load, async |target| relay::run(settings, target).await).await
        }
        Command::Join(settings) => run_scenario(&settings.load, async |target| join::run(settings, target).await).await,
        Command::Rooms(settings) => {
            run_scenario(&settings.load, async |target| rooms::run(settings, target).await).await
        }
        Command::Broadcast(settings) => {
            run_scenario(&settings.load, async |target| broadcast::run(settings, target).await).await
        }
        Command::Storm(settings) => {
            run_scenario(&settings.load, async |target| storm::run(settings, target).await).await
        }
        Command::Rest(settings) => run_scenario(&settings.load, async |target| rest::run(settings, target).await).await,
        Command::Baseline(settings) => {
            run_scenario(&settings.load, async |target| baseline::run(settings, target).await).await
        }
        Command::Beats(settings) => {
            let (text, held) = beats::run(settings).await?;
            print_result(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Bench(settings) => {
            print_result(&bench::run(settings).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Faults(settings) => {
            let (text, held) = faults::run(settings).await?;
            print_result(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Abuse(settings) => {
            let (text, held) = abuse::run(settings).await?;
            print_result(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Size(settings) => {
            print_result(&size::run(settings)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Usage(settings) => {
            let (text, held) = apps::usage::run(settings).await?;
            print_result(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Noisy(settings) => {
            let (text, held) = apps::noisy::run(settings).await?;
            print_result(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Runs a scenario, prints its report and checks its thresholds.
async fn run_scenario(
    load: &LoadArgs,
    scenario: impl AsyncFnOnce(&mut Target) -> anyhow::Result<RunSummary>,
) -> anyhow::Result<ExitCode> {
    let mut target = Target::open(&load.target).await?;
    let mut summary = scenario(&mut target).await?;
    target.close().await?;
    summary.violations = load.thresholds.violations(&summary);
    if let Some(file) = &load.html {
        std::fs::write(file, report::page::page(&summary))?;
    }
    print_result(&if load.json { serde_json::to_string_pretty(&summary)? } else { report::table::table(&summary) });
    Ok(if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(THRESHOLD_VIOLATED) })
}

/// Raises the soft limit of file descriptors to the hard limit.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If this fails, the run continues and reports each socket that it cannot open.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Prints the result to standard output.
#[allow(clippy::print_stdout, reason = "a command-line tool shows its result")]
fn print_result(text: &str) {
    println!("{text}");
}

/// Prints progress to standard error.
#[allow(clippy::print_stderr, reason = "a command-line tool tells its user")]
fn print_progress(line: &str) {
    eprintln!("{line}");
}
