//! A WebSocket client on a bare TCP stream.
//!
//! tokio-tungstenite keeps a read and a write buffer for each socket; a load generator with ten thousands of idle sockets beside the
//! servers it measures would take more memory than they do. Here what is read and what is to be sent exist only while there is
//! something, and everything that one system call brought is dealt with before the answers go out with another.

use std::io::{self, Error, ErrorKind};

use tokio::net::TcpStream;

/// How much is asked for at once.
const READ: usize = 16 * 1024;
/// A response to an upgrade is shorter.
const HEAD: usize = 16 * 1024;
/// Beyond this no server here sends one message.
const LONGEST: usize = 16 << 20;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a str),
    /// The end, with its reason if one was given.
    Close(&'a str),
    /// To be answered with [`Outbox::pong`].
    Ping(&'a [u8]),
    Other,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// Of the inbox, dealt with.
    read: usize,
}

impl Socket {
    /// Connects to `host:port` and upgrades at `path`.
    pub(crate) async fn open(address: &str, path: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream, inbox: Vec::new(), read: 0 };
        let mut request = Outbox::default();
        request.0.extend_from_slice(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dpdGNoYm9hcmQtbG9hZA==\r\n\r\n"
            )
            .as_bytes(),
        );
        request.flush(&socket).await?;
        loop {
            socket.fill().await?;
            let found = socket.inbox.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = found {
                if !socket.inbox.starts_with(b"HTTP/1.1 101 ") {
                    let status = String::from_utf8_lossy(&socket.inbox[..end.min(60)]).into_owned();
                    return Err(Error::other(format!("no upgrade: {}", status.lines().next().unwrap_or_default())));
                }
                socket.read = end + 4;
                return Ok(socket);
            }
            if socket.inbox.len() > HEAD {
                return Err(Error::other("no upgrade: an endless response"));
            }
        }
    }

    /// Waits for more, and takes what has come. May be dropped while it waits.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        if self.read == self.inbox.len() {
            self.inbox = Vec::new();
        } else {
            self.inbox.drain(..self.read);
        }
        self.read = 0;
        loop {
            self.stream.readable().await?;
            self.inbox.reserve(READ);
            match self.stream.try_read_buf(&mut self.inbox) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "end of stream")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a whole frame has come.
    ///
    /// # Errors
    /// As [`Socket::frame`].
    pub(crate) fn has_frame(&self) -> io::Result<bool> {
        Ok(header(&self.inbox[self.read..])?.is_some())
    }

    /// The next frame of what has come; `None` when more must be waited for.
    ///
    /// # Errors
    /// What came is no WebSocket, or uses what was not negotiated.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some((code, start, end)) = header(&self.inbox[self.read..])? else { return Ok(None) };
        let payload = &self.inbox[self.read + start..self.read + end];
        self.read += end;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "no UTF-8"));
        Ok(Some(match code {
            TEXT => Frame::Text(text(payload)?),
            CLOSE => Frame::Close(text(payload.get(2..).unwrap_or_default())?),
            PING => Frame::Ping(payload),
            _ => Frame::Other,
        }))
    }
}

/// A frame's opcode, and where its payload begins and ends; `None` when it is not whole.
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
    if length > LONGEST {
        return Err(Error::new(ErrorKind::InvalidData, "a frame that is too long"));
    }
    Ok((bytes.len() >= start + length).then_some((first & 0x0f, start, start + length)))
}

/// What is to be sent: frames gather until [`Outbox::flush`].
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<u8>);

impl Outbox {
    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes());
    }

    /// Adds a binary message.
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.frame(BINARY, bytes);
    }

    /// Answers a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, payload);
    }

    #[expect(clippy::cast_possible_truncation, reason = "each cast is in the range that its arm says")]
    fn frame(&mut self, code: u8, payload: &[u8]) {
        self.0.push(FINAL | code);
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
        // Any mask will do against a server of our own choosing; zeros would spare the server nothing.
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

    /// Sends everything. Dropped while it waits, it keeps what was not sent.
    ///
    /// # Errors
    /// The connection has ended.
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

    /// An independent server that sends back what it gets, and closes when told to.
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
    async fn texts_of_every_length_come_back_from_another_implementation() {
        let mut socket = Socket::open(&echo().await, "/").await.unwrap();
        let mut outbox = Outbox::default();
        let texts = [0, 1, 3, 125, 126, 127, 65_535, 65_536, 200_001].map(|length| "ä".repeat(length / 2));
        for text in &texts {
            outbox.text(text);
        }
        let mut expected = texts.iter();
        let mut got = 0;
        // Writes and reads at once: neither side has buffers for all of it.
        let mut flushed = false;
        while got < texts.len() {
            tokio::select! {
                sent = outbox.flush(&socket), if !flushed => { sent.unwrap(); flushed = true; }
                () = async {}, if flushed => socket.fill().await.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(1)), if !flushed => socket.fill().await.unwrap(),
            }
            while let Some(frame) = socket.frame().unwrap() {
                assert!(frame == Frame::Text(expected.next().unwrap()));
                got += 1;
            }
        }
        outbox.text("close");
        outbox.flush(&socket).await.unwrap();
        socket.fill().await.unwrap();
        assert_eq!(socket.frame().unwrap(), Some(Frame::Close("")));
    }

    #[test]
    fn half_a_header_is_waited_for_and_a_masked_frame_is_refused() {
        for part in [&[][..], &[0x81], &[0x81, 126], &[0x81, 126, 1], &[0x81, 127, 0, 0], &[0x81, 2, b'a']] {
            assert!(header(part).unwrap().is_none());
        }
        assert_eq!(header(&[0x81, 2, b'a', b'b', 0]).unwrap(), Some((TEXT, 2, 4)));
        assert!(header(&[0x81, 0x80]).is_err());
        assert!(header(&[0x01, 0]).is_err());
    }
}
