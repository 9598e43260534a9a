//! The WebSocket transport over a plain TCP stream. An idle socket holds no buffer.
//!
//! | file | content |
//! |---|---|
//! | `mod` | `WebSocketTransport`: reads and writes messages |
//! | `codec` | WebSocket frames (RFC 6455), without I/O |

mod codec;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::bounds::{ClientNetwork, ConnectionSlot, FrameMeter, MessageBounds};
use crate::protocol::{CloseReason, Frame, Received};
use codec::{Decoder, Header, Incoming};

/// Maximum number of bytes in one read. The buffer is on the stack, so that no memory stays
/// allocated.
const READ_SIZE: usize = 16 * 1024;

/// Maximum number of frames in one system call.
const FRAMES_PER_WRITE: usize = 16;

/// WebSocket connection to a client.
#[derive(Debug)]
pub(crate) struct WebSocketTransport {
    stream: TcpStream,
    decoder: Decoder,
    messages: MessageBounds,
    out: VecDeque<(OpCode, Bytes)>,
    /// Number of bytes of the first frame in `out`, header included, that are already written.
    written: usize,
    /// Number of bytes that the stream has taken.
    written_total: u64,
    /// The last write would have blocked.
    stalled: bool,
    /// Slot of the client's connection.
    _slot: Option<ConnectionSlot<ClientNetwork>>,
}

impl WebSocketTransport {
    /// Takes over the stream after the HTTP upgrade. `read` are bytes that were already received.
    pub(crate) fn new(
        stream: TcpStream,
        read: &[u8],
        slot: Option<ConnectionSlot<ClientNetwork>>,
        messages: MessageBounds,
    ) -> Self {
        Self {
            stream,
            decoder: Decoder::with_rest(read),
            messages,
            out: VecDeque::new(),
            written: 0,
            written_total: 0,
            stalled: false,
            _slot: slot,
        }
    }

    /// Returns the next message. Handles control frames itself. Each frame counts before it is
    /// processed.
    ///
    /// # Errors
    /// Reason why the connection has ended.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        meter: &mut FrameMeter,
    ) -> Poll<Result<Received, CloseReason>> {
        loop {
            if meter.poll_turn(cx).is_pending() {
                return self.poll_pongs(cx);
            }
            let decoded = if self.decoder.has_rest() { self.decoder.decode(&[], &self.messages)? } else { None };
            let (message, bytes) = match decoded {
                Some(frame) => frame,
                None => match self.poll_read(cx, meter) {
                    Poll::Ready(Ok(Some(frame))) => frame,
                    Poll::Ready(Ok(None)) => continue,
                    Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                    Poll::Pending => {
                        meter.end_turn();
                        return self.poll_pongs(cx);
                    }
                },
            };
            meter.count(bytes, Instant::now())?;
            match message {
                Incoming::Text(text) => return Poll::Ready(Ok(Received::Frame(Frame::Text(text)))),
                Incoming::Binary(bytes) => return Poll::Ready(Ok(Received::Frame(Frame::Binary(bytes)))),
                Incoming::Skipped(skipped) => return Poll::Ready(Ok(Received::Skipped(skipped))),
                Incoming::Ping(data) => self.pong(data),
                Incoming::Fragment | Incoming::Pong => {}
                Incoming::Close(Some(1001)) => return Poll::Ready(Err(CloseReason::TransportClose)),
                Incoming::Close(_) => return Poll::Ready(Err(CloseReason::TransportLost)),
            }
        }
    }

    /// Writes pongs. The rest follows when the stream is writable; a failure shows at the next
    /// read.
    fn poll_pongs(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, CloseReason>> {
        let _pending_or_failing = self.poll_flush(cx);
        Poll::Pending
    }

    /// Answers a ping with the next write. Replaces an unsent pong, as RFC 6455 allows, so that a
    /// client that sends thousands of pings receives few pongs.
    fn pong(&mut self, data: Bytes) {
        let pong = OpCode::Control(Control::Pong);
        let begun = self.out.len() == 1 && self.written > 0;
        match self.out.back_mut() {
            Some((last, waiting)) if *last == pong && !begun => *waiting = data,
            _ => self.out.push_back((pong, data)),
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        meter: &mut FrameMeter,
    ) -> Poll<Result<Option<(Incoming, usize)>, CloseReason>> {
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                meter.read(buffer.filled().len());
                Poll::Ready(self.decoder.decode(buffer.filled(), &self.messages))
            }
            Ok(()) | Err(_) => Poll::Ready(Err(CloseReason::TransportLost)),
        }
    }

    /// Queues frames to write.
    pub(crate) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.out.extend(frames.into_iter().map(|frame| match frame {
            Frame::Text(text) => (OpCode::Data(Data::Text), text.into()),
            Frame::Binary(bytes) => (OpCode::Data(Data::Binary), bytes),
        }));
    }

    /// Returns whether the last write did not block.
    pub(crate) fn is_ready(&self) -> bool {
        !self.stalled
    }

    /// Returns the number of bytes that the stream has taken.
    pub(crate) fn written_total(&self) -> u64 {
        self.written_total
    }

    /// Returns whether all queued frames are written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes queued frames until the stream blocks.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        while !self.out.is_empty() {
            let headers: [Option<Header>; FRAMES_PER_WRITE] =
                std::array::from_fn(|i| self.out.get(i).map(|(opcode, payload)| Header::new(*opcode, payload.len())));
            let mut slices = [IoSlice::new(&[]); 2 * FRAMES_PER_WRITE];
            let mut count = 0;
            let mut skip = self.written;
            for (header, (_, payload)) in headers.iter().flatten().zip(&self.out) {
                for part in [header.as_slice(), payload] {
                    let skipped = skip.min(part.len());
                    skip -= skipped;
                    slices[count] = IoSlice::new(&part[skipped..]);
                    count += 1;
                }
            }
            let result = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]);
            self.stalled = result.is_pending();
            match ready!(result) {
                Ok(0) | Err(_) => return Poll::Ready(Err(CloseReason::TransportLost)),
                Ok(written) => self.advance(written, &headers),
            }
        }
        // Frees the memory, so that an idle socket holds none.
        self.out = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize, headers: &[Option<Header>]) {
        self.written_total += written as u64;
        self.written += written;
        for header in headers.iter().flatten() {
            let Some((_, payload)) = self.out.front() else { return };
            let whole = header.as_slice().len() + payload.len();
            if self.written < whole {
                return;
            }
            self.written -= whole;
            self.out.pop_front();
        }
    }

    /// Writes the queued frames and a close frame, then waits until the client closes. If the
    /// server closed first, the kernel would drop data that the client has not read. The caller
    /// bounds the time.
    pub(crate) async fn close(mut self, reason: CloseReason) {
        if reason == CloseReason::TransportLost {
            return;
        }
        let mut payload = reason.code().to_be_bytes().to_vec();
        payload.extend_from_slice(reason.name().as_bytes());
        self.out.push_back((OpCode::Control(Control::Close), payload.into()));
        if poll_fn(|cx| self.poll_flush(cx)).await.is_ok() {
            end(&mut self.stream).await;
        }
    }
}

/// Closes a WebSocket that belongs to no session: without a code, as the stock server does. The
/// caller bounds the time.
pub(crate) async fn close_unused(mut stream: TcpStream) {
    let close = Header::new(OpCode::Control(Control::Close), 0);
    if stream.write_all(close.as_slice()).await.is_ok() {
        end(&mut stream).await;
    }
}

/// Ends the stream, and reads until the client ends it too.
async fn end(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut scratch = [0; 512];
        while let Ok(1..) = stream.read(&mut scratch).await {}
    }
}
