//! Server for the public Engine.IO v4 and Socket.IO v5 protocol test suites.
//!
//! | environment variable | default | meaning |
//! |---|---|---|
//! | `PORT` | 3000 | port on 127.0.0.1 |
//! | `PING_INTERVAL_MS` | 300 | time between a pong and the next ping |
//! | `PING_TIMEOUT_MS` | 200 | time between a ping and its pong |
//! | `MAX_PAYLOAD` | 1000000 | bytes of one message |
//! | `RECOVERY` | false | with `true`, `message-back` ends in an offset, and clients can recover |

use std::env;
use std::str::FromStr;
use std::time::Duration;

use switchboard_socketio::workers::Workers;
use switchboard_socketio::{SocketServer, TransportConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[path = "../tests/transport/support/echo.rs"]
mod echo;

fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match env::var(name) {
        Ok(value) => value.parse().map_err(|_| anyhow::anyhow!("{name} has an invalid value; correct it or unset it")),
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
    config.limits.max_body = config.limits.max_payload;
    let routes = echo::routes(setting("RECOVERY", false)?);
    let listener = TcpListener::bind(("127.0.0.1", setting("PORT", 3000)?)).await?;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        // If no handler can be installed, the default action of the signal ends the process.
        let _interrupted = tokio::signal::ctrl_c().await;
        interrupted.cancel();
    });
    SocketServer::new(config, routes, Workers::start(1)?).run(listener, stop).await;
    Ok(())
}
