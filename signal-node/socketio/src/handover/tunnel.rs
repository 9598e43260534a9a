//! Joins two TCP streams. An idle tunnel holds no buffer, because most sockets of a cluster may run
//! through tunnels.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

/// Maximum number of bytes in one read. The buffer is on the stack.
const READ_SIZE: usize = 8 * 1024;

/// Time in which the second side must end after the first one.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Copies in both directions until both sides have ended, or one has failed. Each stream comes with
/// the bytes that were already read from it.
pub(super) async fn join(one: (TcpStream, Bytes), other: (TcpStream, Bytes)) {
    let ((mut one, read_from_one), (mut other, read_from_other)) = (one, other);
    let ((from_one, to_one), (from_other, to_other)) = (one.split(), other.split());
    let up = pump(from_one, to_other, read_from_one.to_vec());
    let down = pump(from_other, to_one, read_from_other.to_vec());
    let (ended, rest) = match select(Box::pin(up), Box::pin(down)).await {
        Either::Left((ended, rest)) | Either::Right((ended, rest)) => (ended, rest),
    };
    if ended.is_ok() {
        // Cuts a side that does not end in time.
        let _ended_or_not = timeout(LINGER_TIMEOUT, rest).await;
    }
}

/// Copies in one direction until the end of the stream, and passes the end on.
async fn pump(from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut pending: Vec<u8>) -> io::Result<()> {
    poll_fn(|cx| poll_pump(from.as_ref(), to.as_ref(), &mut pending, cx)).await?;
    to.shutdown().await
}

fn poll_pump(from: &TcpStream, to: &TcpStream, pending: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        while !pending.is_empty() {
            ready!(to.poll_write_ready(cx))?;
            let written = write(to, pending)?;
            pending.drain(..written);
        }
        // Frees the memory, so that an idle tunnel holds none.
        *pending = Vec::new();
        ready!(from.poll_read_ready(cx))?;
        let mut space = [0; READ_SIZE];
        let read = match from.try_read(&mut space) {
            Ok(0) => return Poll::Ready(Ok(())),
            Ok(read) => &space[..read],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let written = write(to, read)?;
        *pending = read[written..].to_vec();
    }
}

/// Writes without blocking. Returns the number of bytes written, 0 if the write would block.
fn write(to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match to.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
