//! Serves the public Engine.IO v4 and Socket.IO v5 protocol test suites, on the very transport of the signaling node.
//!
//! By environment: `PORT` (3000), `PING_INTERVAL_MS` (300), `PING_TIMEOUT_MS` (200), `MAX_PAYLOAD` (1000000), `RECOVERY`
//! (false; with true, `message-back` ends in an offset, and a client that comes back gets what it missed).

use std::env;
use std::str::FromStr;
use std::time::Duration;

use switchboard_socketio::workers::Workers;
use switchboard_socketio::{Server, TransportConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[path = "../tests/support/echo.rs"]
mod echo;

fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match env::var(name) {
        Ok(value) => value.parse().map_err(|_| anyhow::anyhow!("{name} is not what it must be")),
        Err(_) => Ok(default),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let mut config = TransportConfig::default();
    config.timeouts.ping_interval = Duration::from_millis(setting("PING_INTERVAL_MS", 300)?);
    config.timeouts.ping_timeout = Duration::from_millis(setting("PING_TIMEOUT_MS", 200)?);
    config.timeouts.connect = Duration::from_secs(1);
    config.limits.events_per_second = 0;
    config.limits.max_payload = setting("MAX_PAYLOAD", 1_000_000)?;
    let routes = echo::routes(setting("RECOVERY", false)?);
    let listener = TcpListener::bind(("127.0.0.1", setting("PORT", 3000)?)).await?;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        // Without a signal handler the default action ends the process, which is as good here.
        let _interrupted = tokio::signal::ctrl_c().await;
        interrupted.cancel();
    });
    Server::new(config, routes, Workers::start(1)?).run(listener, stop).await;
    Ok(())
}
