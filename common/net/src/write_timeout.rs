//! A TCP stream whose writes have a timeout. Without one, a response that the client never reads
//! would hold its memory forever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// TCP stream whose writes fail with `TimedOut` when the peer reads nothing for a while. It holds a
/// value `G` until the end of the connection, such as the slot that the connection takes.
#[derive(Debug)]
pub struct WriteTimeoutStream<G> {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write blocks.
    timer: Option<Pin<Box<Sleep>>>,
    held: G,
}

impl<G> WriteTimeoutStream<G> {
    /// Wraps a stream. A write may block for `limit`.
    pub const fn new(stream: TcpStream, limit: Duration, held: G) -> Self {
        Self { stream, limit, timer: None, held }
    }

    /// Returns the stream.
    pub const fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns the stream and the value that it held.
    pub fn into_inner(self) -> (TcpStream, G) {
        (self.stream, self.held)
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

impl<G: Unpin> AsyncRead for WriteTimeoutStream<G> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<G: Unpin> AsyncWrite for WriteTimeoutStream<G> {
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

impl<G> Connection for WriteTimeoutStream<G> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step fails the test")]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// More bytes than the buffers of a connection hold.
    const LARGE: usize = 64 * 1024 * 1024;

    async fn pair(limit: Duration) -> (WriteTimeoutStream<()>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (WriteTimeoutStream::new(listener.accept().await.unwrap().0, limit, ()), far)
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
