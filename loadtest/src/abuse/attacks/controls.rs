//! Controls: attacks that send nothing to the servers. They show the delays that strangers cause
//! only because they share the machine.

use std::hint::black_box;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use crate::abuse::attack::{OK, Prepared, Stage, Tally};

/// Rounds of computation between two yields.
const ROUNDS: u64 = 100_000;
/// Connections of each stranger.
const CONNECTIONS: usize = 50;
/// Bytes per exchange.
const EXCHANGE_BYTES: usize = 1024;

/// Computes without a pause.
pub(crate) async fn compute(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(1, |_, _| {
        let tally = tally.clone();
        async move {
            loop {
                black_box((0..ROUNDS).fold(0_u64, |sum, round| sum.rotate_left(7) ^ black_box(round)));
                tally.count(OK);
                yield_now().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Strangers exchange bytes with each other over TCP, as fast as possible.
pub(crate) async fn exchange(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let mut strangers = Vec::new();
    for index in 0..stage.strangers {
        let listener = TcpListener::bind((stage.stranger(index), 0)).await?;
        let address = listener.local_addr()?;
        strangers.push(Box::pin(echo(listener)) as _);
        for _ in 0..CONNECTIONS {
            strangers.push(Box::pin(ask(address, tally.clone())) as _);
        }
    }
    Ok(Prepared { strangers, honest: None })
}

async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            // An error is the end of the attack.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

async fn ask(address: SocketAddr, tally: Tally) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let mut bytes = [b'x'; EXCHANGE_BYTES];
    while stream.write_all(&bytes).await.is_ok() && stream.read_exact(&mut bytes).await.is_ok() {
        tally.count(OK);
    }
}
