//! A TCP stream whose writes have a timeout. Without one, a response that the client never reads
//! would hold its memory forever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::bounds::{ClientNetwork, Permit};

/// TCP stream whose writes fail with `TimedOut` when the peer reads nothing for a while.
#[derive(Debug)]
pub(crate) struct WriteTimeoutStream {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write blocks.
    timer: Option<Pin<Box<Sleep>>>,
    /// Slot of a client's connection; `None` for a connection of a node.
    permit: Option<Permit<ClientNetwork>>,
}

impl WriteTimeoutStream {
    /// Wraps a stream. The slot is freed at the end of the connection.
    pub(crate) fn new(stream: TcpStream, limit: Duration, permit: Option<Permit<ClientNetwork>>) -> Self {
        Self { stream, limit, timer: None, permit }
    }

    pub(crate) fn into_inner(self) -> (TcpStream, Option<Permit<ClientNetwork>>) {
        (self.stream, self.permit)
    }

    /// Starts the timer of a blocked write, or stops it. Fails when the timer has fired.
    fn check_timeout(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WriteTimeoutStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteTimeoutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_timeout(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_timeout(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// More bytes than the buffers of a connection hold.
    const LARGE: usize = 64 * 1024 * 1024;

    async fn pair(limit: Duration) -> (WriteTimeoutStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (WriteTimeoutStream::new(listener.accept().await.unwrap().0, limit, None), far)
    }

    #[tokio::test]
    async fn a_write_to_a_peer_that_reads_nothing_times_out() {
        let (mut stalled, _far) = pair(Duration::from_millis(50)).await;
        let written = timeout(Duration::from_secs(20), stalled.write_all(&vec![0; LARGE])).await.expect("bounded");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_write_to_a_peer_that_reads_slowly_succeeds() {
        let (mut written, mut far) = pair(Duration::from_secs(20)).await;
        let writing = tokio::spawn(async move { written.write_all(&vec![0; LARGE]).await });
        let mut left = LARGE;
        let mut space = vec![0; 1024 * 1024];
        while left > 0 {
            left -= far.read(&mut space).await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }
}
