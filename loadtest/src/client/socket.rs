//! WebSocket client on a plain TCP stream.
//!
//! tokio-tungstenite keeps a read buffer and a write buffer for each socket. With tens of thousands
//! of idle sockets, loadtest would then use more memory than the servers under test. Here buffers
//! exist only while they hold data, and all frames of one read are handled before the answers go
//! out with one write.

use std::io::{self, Error, ErrorKind};

use tokio::net::TcpStream;

use super::route::Route;

/// Bytes per read.
const READ_CHUNK: usize = 16 * 1024;
/// Longest response to an upgrade request, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Longest frame, in bytes; servers send no longer message.
const FRAME_MAX: usize = 16 << 20;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Status in the close frame of a client that leaves.
const NORMAL_CLOSURE: u16 = 1000;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a str),
    /// Close frame, with its reason if any.
    Close(&'a str),
    /// Ping frame; answer it with [`SendBuffer::pong`].
    Ping(&'a [u8]),
    Other,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
    /// Handled bytes of `received`.
    consumed: usize,
}

impl Socket {
    /// Connects to `host:port` and upgrades at `path`.
    pub(crate) async fn open(route: impl Into<Route<'_>>, path: &str) -> io::Result<Self> {
        let route = route.into();
        let (stream, address) = (route.connect().await?, route.to);
        let mut socket = Self { stream, received: Vec::new(), consumed: 0 };
        let mut request = SendBuffer::default();
        request.0.extend_from_slice(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dpdGNoYm9hcmQtbG9hZA==\r\n\r\n"
            )
            .as_bytes(),
        );
        request.flush(&socket).await?;
        loop {
            socket.receive().await?;
            let found = socket.received.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = found {
                if !socket.received.starts_with(b"HTTP/1.1 101 ") {
                    let status = String::from_utf8_lossy(&socket.received[..end.min(60)]).into_owned();
                    return Err(Error::other(format!("no upgrade: {}", status.lines().next().unwrap_or_default())));
                }
                socket.consumed = end + 4;
                return Ok(socket);
            }
            if socket.received.len() > HEAD_MAX {
                return Err(Error::other("no upgrade: an endless response"));
            }
        }
    }

    /// Waits for data and reads it. Cancel safe.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) async fn receive(&mut self) -> io::Result<()> {
        if self.consumed == self.received.len() {
            self.received = Vec::new();
        } else {
            self.received.drain(..self.consumed);
        }
        self.consumed = 0;
        loop {
            self.stream.readable().await?;
            self.received.reserve(READ_CHUNK);
            match self.stream.try_read_buf(&mut self.received) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "end of stream")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a complete frame is buffered.
    ///
    /// # Errors
    /// When the data are not WebSocket frames, or use an extension that was not negotiated.
    pub(crate) fn has_frame(&self) -> io::Result<bool> {
        Ok(header(&self.received[self.consumed..])?.is_some())
    }

    /// Returns the next buffered frame; `None` when it is incomplete.
    ///
    /// # Errors
    /// When the data are not WebSocket frames, or use an extension that was not negotiated.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some((code, start, end)) = header(&self.received[self.consumed..])? else { return Ok(None) };
        let payload = &self.received[self.consumed + start..self.consumed + end];
        self.consumed += end;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "no UTF-8"));
        Ok(Some(match code {
            TEXT => Frame::Text(text(payload)?),
            CLOSE => Frame::Close(text(payload.get(2..).unwrap_or_default())?),
            PING => Frame::Ping(payload),
            _ => Frame::Other,
        }))
    }
}

/// Opcode of a frame, and start and end of its payload; `None` when it is incomplete.
fn header(bytes: &[u8]) -> io::Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & FINAL == 0 || first & 0x70 != 0 || second & MASKED != 0 {
        return Err(Error::new(ErrorKind::InvalidData, "a fragmented, compressed or masked frame"));
    }
    let (start, length) = match second & 0x7f {
        126 => match rest {
            [a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    if length > FRAME_MAX {
        return Err(Error::new(ErrorKind::InvalidData, "a frame that is too long"));
    }
    Ok((bytes.len() >= start + length).then_some((first & 0x0f, start, start + length)))
}

/// Frames to send; they accumulate until [`SendBuffer::flush`].
#[derive(Debug, Default)]
pub(crate) struct SendBuffer(Vec<u8>);

impl SendBuffer {
    /// Adds a text message.
    pub(crate) fn text(&mut self, text: &str) {
        self.frame(FINAL | TEXT, text.as_bytes());
    }

    /// Adds a binary message.
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.frame(FINAL | BINARY, bytes);
    }

    /// Adds the answer to a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.frame(FINAL | PONG, payload);
    }

    /// Adds a close frame for a normal closure.
    pub(crate) fn close(&mut self) {
        self.frame(FINAL | CLOSE, &NORMAL_CLOSURE.to_be_bytes());
    }

    /// Adds a frame that a well-behaved client does not send. `first` is its first byte: the final
    /// bit and the opcode.
    pub(crate) fn unusual(&mut self, first: u8, payload: &[u8]) {
        self.frame(first, payload);
    }

    #[expect(clippy::cast_possible_truncation, reason = "each cast is in the range that its arm says")]
    fn frame(&mut self, first: u8, payload: &[u8]) {
        self.0.push(first);
        match payload.len() {
            length @ 0..=125 => self.0.push(MASKED | length as u8),
            length @ 126..=0xffff => {
                self.0.push(MASKED | 126);
                self.0.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                self.0.push(MASKED | 127);
                self.0.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        // Any mask is safe here, because the server is our own; a zero mask would not spare the
        // server any work.
        let mask: [u8; 4] = rand::random();
        self.0.extend_from_slice(&mask);
        let start = self.0.len();
        self.0.extend_from_slice(payload);
        let mut words = self.0[start..].chunks_exact_mut(4);
        for word in &mut words {
            word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        words.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// Sends all frames. Cancel safe: unsent bytes stay in the buffer.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) async fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while !self.0.is_empty() {
            match socket.stream.try_write(&self.0) {
                Ok(sent) if sent == self.0.len() => self.0 = Vec::new(),
                Ok(sent) => drop(self.0.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::Message;

    /// Independent echo server; closes on the text `close`.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    Message::Text(text) if text == "close" => stream.close(None).await.unwrap(),
                    Message::Text(_) => stream.send(message).await.unwrap(),
                    _ => {}
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn texts_of_all_length_encodings_are_echoed_by_tungstenite() {
        let mut socket = Socket::open(&echo().await, "/").await.unwrap();
        let mut send_buffer = SendBuffer::default();
        let texts = [0, 1, 3, 125, 126, 127, 65_535, 65_536, 200_001].map(|length| "ä".repeat(length / 2));
        for text in &texts {
            send_buffer.text(text);
        }
        let mut expected = texts.iter();
        let mut got = 0;
        // Writes and reads concurrently, because neither peer can buffer all messages.
        let mut flushed = false;
        while got < texts.len() {
            tokio::select! {
                sent = send_buffer.flush(&socket), if !flushed => { sent.unwrap(); flushed = true; }
                () = async {}, if flushed => socket.receive().await.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(1)), if !flushed => socket.receive().await.unwrap(),
            }
            while let Some(frame) = socket.frame().unwrap() {
                assert!(frame == Frame::Text(expected.next().unwrap()));
                got += 1;
            }
        }
        send_buffer.text("close");
        send_buffer.flush(&socket).await.unwrap();
        socket.receive().await.unwrap();
        assert_eq!(socket.frame().unwrap(), Some(Frame::Close("")));
    }

    #[test]
    fn a_partial_header_waits_and_a_masked_or_fragmented_frame_is_refused() {
        for part in [&[][..], &[0x81], &[0x81, 126], &[0x81, 126, 1], &[0x81, 127, 0, 0], &[0x81, 2, b'a']] {
            assert!(header(part).unwrap().is_none());
        }
        assert_eq!(header(&[0x81, 2, b'a', b'b', 0]).unwrap(), Some((TEXT, 2, 4)));
        assert!(header(&[0x81, 0x80]).is_err());
        assert!(header(&[0x01, 0]).is_err());
    }
}
