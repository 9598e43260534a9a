//! The program: reads the configuration, opens the ports, runs the node, sets the exit code.

use std::process::ExitCode;

use signal_node::config::NodeConfig;
use signal_node::{Listeners, run};
use switchboard_runtime::config::{EXIT_CONFIG, Env};
use switchboard_runtime::{shutdown, telemetry};
use tokio::net::TcpListener;

/// The allocator of libc costs 1/8 more per relay, and keeps the memory of a burst.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// The workers add their own threads: see `switchboard_socketio::workers`.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = match NodeConfig::from_env(Env::new(std::env::vars())) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: NodeConfig) -> anyhow::Result<()> {
    let traces = telemetry::init(&config.telemetry, "signal-node")?;
    let metrics = telemetry::Metrics::install("signal-node", env!("CARGO_PKG_VERSION"), &signal_node::catalog::ALL)?;
    let stop = shutdown::on_signals()?;
    let listen = &config.listen;
    let listeners = Listeners {
        clients: switchboard_net::listen((listen.address, listen.port).into())?,
        peers: TcpListener::bind((listen.address, listen.handovers.port)).await?,
        admin: TcpListener::bind((listen.address, listen.admin_port)).await?,
    };
    let ended = run(config, metrics, listeners, stop).await;
    traces.finish().await;
    ended
}
