//! A TCP stream whose reads and writes have timeouts. Without them, a request that never comes, or
//! a response that is never read, would hold its memory and its slot forever.

use std::future::Future as _;
use std::hash::Hash;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::connections::ConnectionSlot;
use crate::requests::Requests;

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    /// Time from the first byte of a request's head to its last, and from the start of the
    /// connection to its first head.
    pub head: Duration,
    /// Time between two requests.
    pub idle: Duration,
    /// Time for which a write may block.
    pub write: Duration,
}

/// Error of a head that was not complete in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the head of a request was not complete in time")]
pub struct HeadTimeout;

/// TCP stream whose writes fail with `TimedOut` when the peer reads nothing for a while.
///
/// On the side of a server, reads have timeouts too. A head that is not complete in time is an
/// error `TimedOut` with [`HeadTimeout`]. A connection that is idle for too long, or that makes
/// room for another one, ends as if the client had closed it. The stream holds the connection's
/// slot.
#[derive(Debug)]
pub struct BoundedStream<K: Eq + Hash + Clone> {
    stream: TcpStream,
    write_timeout: Duration,
    /// Runs while a write blocks.
    write_timer: Option<Pin<Box<Sleep>>>,
    reads: Option<Box<Reads<K>>>,
}

/// Reads of a server's connection.
#[derive(Debug)]
struct Reads<K: Eq + Hash + Clone> {
    timeouts: ConnectionTimeouts,
    requests: Requests,
    /// Number of requests when `phase` was set.
    seen: usize,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    /// Bytes were written since the timer was set.
    wrote: bool,
    slot: Option<ConnectionSlot<K>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads a head, or waits for the first one.
    Head,
    /// Waits for the next head.
    Idle,
}

impl<K: Eq + Hash + Clone> BoundedStream<K> {
    /// Wraps a connection to a server.
    #[must_use]
    pub const fn to_server(stream: TcpStream, write_timeout: Duration) -> Self {
        Self { stream, write_timeout, write_timer: None, reads: None }
    }

    /// Wraps the connection of a client. `requests` must count each of its requests.
    #[must_use]
    pub fn of_client(
        stream: TcpStream,
        timeouts: ConnectionTimeouts,
        requests: Requests,
        slot: Option<ConnectionSlot<K>>,
    ) -> Self {
        let timer = Box::pin(sleep(timeouts.head));
        let reads = Reads { timeouts, requests, seen: 0, phase: Phase::Head, timer, wrote: false, slot };
        Self { stream, write_timeout: timeouts.write, write_timer: None, reads: Some(Box::new(reads)) }
    }

    /// Returns the stream.
    pub const fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns the stream and the connection's slot.
    pub fn into_inner(self) -> (TcpStream, Option<ConnectionSlot<K>>) {
        (self.stream, self.reads.and_then(|reads| reads.slot))
    }

    /// Starts the timer of a blocked write, or stops it. Fails when the timer has fired.
    fn check_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if let Some(reads) = &mut self.reads {
                reads.wrote = true;
            }
            if self.write_timer.take().is_some() {
                // The connection may be idle after this write, which the next read finds out.
                cx.waker().wake_by_ref();
            }
            return written;
        }
        if let Some(slot) = self.reads.as_mut().and_then(|reads| reads.slot.as_mut()) {
            // A server may have buffered the whole response, so that the request has ended.
            let _active_or_replaced = slot.set_active();
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<K: Eq + Hash + Clone> Reads<K> {
    /// Checks the connection before a read, while a response is being written or not. Returns
    /// whether it may go on.
    fn before_read(&mut self, cx: &Context<'_>, writes: bool) -> bool {
        let (begun, in_progress) = self.requests.progress();
        if in_progress || writes {
            return true;
        }
        if begun != self.seen {
            self.seen = begun;
            self.set_phase(Phase::Idle, self.timeouts.idle);
        }
        self.phase == Phase::Head || self.slot.as_mut().is_none_or(|slot| slot.set_idle(cx.waker()))
    }

    /// Notes that bytes were read. Returns whether the connection may go on.
    fn after_read(&mut self) -> bool {
        if self.phase == Phase::Head || self.requests.progress().1 {
            return true;
        }
        self.set_phase(Phase::Head, self.timeouts.head);
        self.slot.as_mut().is_none_or(ConnectionSlot::set_active)
    }

    /// Checks the timer when nothing can be read.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, writes: bool) -> Poll<io::Result<()>> {
        if self.requests.progress().1 {
            self.requests.wake_at_end(cx.waker());
            return Poll::Pending;
        }
        if writes {
            return Poll::Pending;
        }
        if self.phase == Phase::Idle && std::mem::take(&mut self.wrote) {
            // A response that is still being sent is no silence.
            self.set_phase(Phase::Idle, self.timeouts.idle);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(match self.phase {
            Phase::Head => Err(io::Error::new(io::ErrorKind::TimedOut, HeadTimeout)),
            Phase::Idle => Ok(()),
        })
    }

    fn set_phase(&mut self, phase: Phase, time: Duration) {
        self.phase = phase;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

impl<K: Eq + Hash + Clone + Unpin> AsyncRead for BoundedStream<K> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(reads) = &mut this.reads else { return Pin::new(&mut this.stream).poll_read(cx, buf) };
        let writes = this.write_timer.is_some();
        if !reads.before_read(cx, writes) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_pending() {
            return reads.poll_timeout(cx, writes);
        }
        if buf.filled().len() > before && !reads.after_read() {
            buf.set_filled(before);
        }
        read
    }
}

impl<K: Eq + Hash + Clone + Unpin> AsyncWrite for BoundedStream<K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_write(cx, written)
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

impl<K: Eq + Hash + Clone> Connection for BoundedStream<K> {
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

    async fn pair(limit: Duration) -> (BoundedStream<u8>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (BoundedStream::to_server(listener.accept().await.unwrap().0, limit), far)
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
