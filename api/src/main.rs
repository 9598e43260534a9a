//! The process: reads the configuration, runs the service, returns the exit code.

use std::process::ExitCode;

use api::cli::{self, Arguments, Command};
use api::config::ApiConfig;
use api::{Listeners, run};
use clap::Parser as _;
use switchboard_runtime::config::{EXIT_CONFIG, Env};
use switchboard_runtime::{shutdown, telemetry};
use tokio::net::TcpListener;

/// Allocator. The libc's allocator keeps the 19 MiB of a password check once for each thread that
/// ever ran one; mimalloc returns them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match ApiConfig::from_env(Env::new(std::env::vars())) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if let Some(command) = arguments.command {
        return administer(&config, command).await;
    }
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "service failed");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
async fn administer(config: &ApiConfig, command: Command) -> ExitCode {
    match cli::run(config, command).await {
        Ok(output) => {
            print!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: ApiConfig) -> anyhow::Result<()> {
    let traces = telemetry::init(&config.telemetry, "api")?;
    let metrics = telemetry::Metrics::install("api", env!("CARGO_PKG_VERSION"), &api::catalog::ALL)?;
    let stop = shutdown::on_signals()?;
    let listeners = Listeners {
        clients: switchboard_net::listen((config.bind, config.port).into())?,
        admin: TcpListener::bind((config.bind, config.metrics_port)).await?,
    };
    let ended = run(config, metrics, listeners, stop).await;
    traces.finish().await;
    ended
}
