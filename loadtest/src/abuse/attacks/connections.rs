//! Attacks with TCP connections that do little or nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::pause;
use crate::abuse::attack::{OK, Prepared, Stage, Tally};
use crate::client::route::Route;

/// Half-open requests of each stranger.
const HALF_OPEN: usize = 300;
/// Bare connections of each stranger.
const BARE: usize = 500;
/// Time between two bytes of a request.
const DRIP: Duration = Duration::from_millis(500);
/// Connections that a stranger opens one after the other, so that a backlog is no limit.
const OPENERS: usize = 10;

/// Begins requests and never ends them, on all ports.
pub(crate) async fn slowloris(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let ports = ports(stage);
    let strangers = stage.each(HALF_OPEN, |number, from| {
        let (to, tally) = (ports[number % ports.len()].clone(), tally.clone());
        async move {
            // Spreads the dials over time.
            sleep(Duration::from_millis((number / OPENERS) as u64)).await;
            loop {
                match Route::new(from, &to).connect().await {
                    Ok(stream) => {
                        tally.count(OK);
                        drip(stream).await;
                        tally.count("ended by the server");
                    }
                    Err(_) => tally.count("not accepted"),
                }
                pause().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Sends a request byte by byte until the server ends the connection.
async fn drip(mut stream: TcpStream) {
    let start = b"POST /api/auth/login HTTP/1.1\r\nHost: abuse.example.com\r\nX-";
    let mut next: &[u8] = start;
    while stream.write_all(next).await.is_ok() {
        next = b"x";
        if let Ok(Ok(0) | Err(_)) = timeout(DRIP, stream.read(&mut [0; 64])).await {
            return;
        }
    }
}

/// Opens connections and sends nothing.
pub(crate) async fn bare(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let ports = ports(stage);
    let strangers = stage.each(OPENERS, |number, from| {
        let (ports, tally) = (ports.clone(), tally.clone());
        async move {
            let mut open = Vec::new();
            loop {
                // The oldest connections make place for new ones.
                open.truncate(BARE / OPENERS);
                match Route::new(from, &ports[(number + open.len()) % ports.len()]).connect().await {
                    Ok(stream) => {
                        tally.count(OK);
                        open.insert(0, stream);
                    }
                    Err(_) => tally.count("not accepted"),
                }
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Every port that could be reached.
fn ports(stage: &Stage) -> Vec<String> {
    stage.nodes.iter().chain([&stage.api]).chain(&stage.admin).cloned().collect()
}
