//! Load and faults. `relay`, `join` and the other scenarios load a cluster, any or one of their own, and tell how it was; `faults`
//! injects faults and audits every acknowledged event; `bench` compares with Socket.IO and Express on Node, side by side.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod client;
mod faults;
mod measure;
mod scenario;
mod show;

use measure::report::Report;
use scenario::target::Target;
use scenario::{Load, broadcast, floor, idle, join, relay, rest, rooms, storm};

/// Thresholds were not kept.
const NOT_KEPT: u8 = 1;
/// It could not be run; as wrong arguments.
const FAILED: u8 = 2;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sockets that have joined and say nothing.
    Idle(idle::Settings),
    /// Pairs of clients on different nodes: offers and answers.
    Relay(relay::Settings),
    /// People who come, stay a while and leave.
    Join(join::Settings),
    /// Whole calls of several sizes, from the first join to the last goodbye.
    Rooms(rooms::Settings),
    /// One room in which everybody hears everything.
    Broadcast(broadcast::Settings),
    /// A node is killed, and its clients come back to the others.
    Storm(storm::Settings),
    /// Authenticated reads of the api.
    Rest(rest::Settings),
    /// The least that a relay can cost here: its script and a subscription, bare, and a WebSocket echo.
    Floor(floor::Settings),
    /// Compares Switchboard with Socket.IO and Express on Node.js and with the floor, in turn, on the same Redis and MongoDB.
    Bench(bench::Settings),
    /// Injects faults, one a round, and audits what became of every acknowledged event. Fails when something did not hold.
    Faults(faults::Settings),
}

impl Command {
    /// What a scenario has in common with the others.
    fn load(&self) -> Option<&Load> {
        match self {
            Self::Idle(settings) => Some(&settings.load),
            Self::Relay(settings) => Some(&settings.load),
            Self::Join(settings) => Some(&settings.load),
            Self::Rooms(settings) => Some(&settings.load),
            Self::Broadcast(settings) => Some(&settings.load),
            Self::Storm(settings) => Some(&settings.load),
            Self::Rest(settings) => Some(&settings.load),
            Self::Floor(settings) => Some(&settings.load),
            Self::Bench(_) | Self::Faults(_) => None,
        }
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // Each client is a descriptor.
    raise_descriptors();
    let threads = match &command {
        Command::Faults(_) => 2,
        _ => command.load().map_or(1, |load| load.threads.into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(command)));
    outcome.unwrap_or_else(|error| {
        tell(&format!("{error:#}"));
        ExitCode::from(FAILED)
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match &command {
        Command::Idle(settings) => loaded(&settings.load, async |target| idle::run(settings, target).await).await,
        Command::Relay(settings) => loaded(&settings.load, async |target| relay::run(settings, target).await).await,
        Command::Join(settings) => loaded(&settings.load, async |target| join::run(settings, target).await).await,
        Command::Rooms(settings) => loaded(&settings.load, async |target| rooms::run(settings, target).await).await,
        Command::Broadcast(settings) => {
            loaded(&settings.load, async |target| broadcast::run(settings, target).await).await
        }
        Command::Storm(settings) => loaded(&settings.load, async |target| storm::run(settings, target).await).await,
        Command::Rest(settings) => loaded(&settings.load, async |target| rest::run(settings, target).await).await,
        Command::Floor(settings) => loaded(&settings.load, async |target| floor::run(settings, target).await).await,
        Command::Bench(settings) => {
            say(&bench::run(settings).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Faults(settings) => {
            let (text, held) = faults::run(settings).await?;
            say(&text);
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Runs a scenario, and shows and judges its report.
async fn loaded(
    load: &Load,
    scenario: impl AsyncFnOnce(&mut Target) -> anyhow::Result<Report>,
) -> anyhow::Result<ExitCode> {
    let mut target = Target::open(&load.target).await?;
    let mut report = scenario(&mut target).await?;
    target.close().await?;
    report.violations = load.thresholds.broken_by(&report);
    if let Some(file) = &load.html {
        std::fs::write(file, show::page::page(&report))?;
    }
    say(&if load.json { serde_json::to_string_pretty(&report)? } else { show::table::table(&report) });
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_KEPT) })
}

/// As many descriptors as this user may have.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Without it the run goes on with fewer clients, and says which could not be opened.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The result, on standard output.
#[allow(clippy::print_stdout, reason = "a command-line tool shows its result")]
fn say(text: &str) {
    println!("{text}");
}

/// Progress, on standard error.
#[allow(clippy::print_stderr, reason = "a command-line tool tells its user")]
fn tell(line: &str) {
    eprintln!("{line}");
}
