//! Clients and faults against a cluster of its own, with an audit of every acknowledged event.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api;
mod audit;
mod client;
mod faults;
mod look;
mod party;
mod record;
mod report;
mod wire;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Injects faults, one a round, and audits what became of every acknowledged event. Fails when something did not hold.
    Faults(faults::Settings),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Faults(settings) = Arguments::parse().command;
    match faults::run(&settings).await {
        Ok(lines) => {
            let text = if settings.json { serde_json::to_string_pretty(&lines) } else { Ok(report::table(&lines)) };
            say(&text.unwrap_or_default());
            if lines.iter().all(|line| line.violations.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
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
