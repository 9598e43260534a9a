//! `devcluster up` runs the whole system on this machine until Ctrl-C. `devcluster api` administers
//! it. `devcluster run` runs a command beside a temporary cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod administer;
mod control;
mod run;
mod up;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts everything on the default ports, prints all logs, and stops everything on Ctrl-C.
    Up {
        /// Number of signal-nodes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=50))]
        nodes: u8,
        /// Directory of data, secrets and logs.
        #[arg(long, default_value = ".data")]
        data: PathBuf,
    },
    /// Runs the command line of the api on the cluster of `devcluster up`: `devcluster api admin
    /// app list`.
    Api {
        /// Directory of data, secrets and logs.
        #[arg(long, default_value = ".data")]
        data: PathBuf,
        /// Arguments of the api.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Starts a cluster on free ports, runs a command with the addresses in its environment, stops
    /// the cluster, and exits with the command's status.
    Run {
        /// Number of signal-nodes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=50))]
        nodes: u8,
        /// Number of masters of a Redis Cluster; 0 for one standalone server.
        #[arg(long, default_value_t = 0)]
        redis_masters: u8,
        /// Folder of the programs of another version, which every second node runs.
        #[arg(long)]
        other_programs: Option<PathBuf>,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up { nodes, data } => up::up(nodes.into(), data).await,
        Command::Api { data, arguments } => administer::administer(&data, &arguments),
        Command::Run { nodes, redis_masters, other_programs, command } => {
            run::run(nodes.into(), redis_masters.into(), other_programs, &command).await
        }
    };
    outcome.unwrap_or_else(|error| {
        for line in format!("{error:#}").lines() {
            report(line);
        }
        ExitCode::FAILURE
    })
}

/// Prints a message of this program on standard error.
#[allow(clippy::print_stderr, reason = "a command-line tool writes to its terminal")]
fn report(line: &str) {
    eprintln!("devcluster: {line}");
}

/// Prints a line on standard output.
#[allow(clippy::print_stdout, reason = "a command-line tool writes to its terminal")]
fn say(line: &str) {
    println!("{line}");
}

/// Signals that end this program: Ctrl-C, SIGTERM, or a closed terminal. A signal that arrives
/// before [`Interrupts::received`] is kept for it.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
