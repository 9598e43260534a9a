//! A connection that asks the same thing again and again: HTTP/1.1, kept alive, no more of it than that takes. A whole client would
//! cost more than the servers that it is to measure.

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};

/// A longer answer is not what is measured.
const LONGEST: usize = 1 << 20;
/// What is read at once: a whole answer, nearly always.
const CHUNK: usize = 16 << 10;

/// The connection, and what it asks.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    request: Box<[u8]>,
    answer: Vec<u8>,
}

impl Line {
    /// Connects; every request will be this one.
    pub(crate) async fn open(address: impl ToSocketAddrs, request: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: request.as_bytes().into(), answer: Vec::with_capacity(CHUNK) })
    }

    /// Asks; the status of the answer, which was read to its end. After an error the connection is of no more use.
    pub(crate) async fn ask(&mut self) -> anyhow::Result<u16> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        let mut head = None;
        loop {
            self.answer.reserve(CHUNK);
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "cut before the end of an answer");
            if head.is_none() {
                head = Head::read(&self.answer)?;
            }
            match &head {
                Some(Head { status, length }) if self.answer.len() == *length => return Ok(*status),
                Some(Head { length, .. }) => ensure!(self.answer.len() < *length, "more than the answer"),
                None => ensure!(self.answer.len() < LONGEST, "a head without an end"),
            }
        }
    }
}

/// What a client must know of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of the whole answer.
    length: usize,
}

impl Head {
    /// Reads the beginning of an answer; `None` when more of it is to come.
    fn read(answer: &[u8]) -> anyhow::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = answer.windows(END.len()).position(|bytes| bytes == END) else { return Ok(None) };
        let mut lines = std::str::from_utf8(&answer[..end])?.split("\r\n");
        let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).context("not HTTP/1.1")?;
        let status = first.split(' ').next().unwrap_or_default().parse().context("no status")?;
        let mut body = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let (is, value) = (|other| name.eq_ignore_ascii_case(other), value.trim());
            if is("content-length") {
                body = Some(value.parse::<usize>().context("no length")?);
            } else if is("connection") && value.eq_ignore_ascii_case("close") {
                bail!("not kept alive");
            }
        }
        let length = end + END.len() + body.context("an answer that does not say its length is not read here")?;
        ensure!(length <= LONGEST, "an answer of {length} bytes");
        Ok(Some(Self { status, length }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\n\r\n";
        let head = Head { status: 200, length: text.len() + 5 };
        assert_eq!(Head::read(format!("{text}hel").as_bytes()).unwrap(), Some(head));
        for end in 0..text.len() {
            assert_eq!(Head::read(&text.as_bytes()[..end]).unwrap(), None);
        }
    }

    #[test]
    fn an_answer_whose_end_cannot_be_told_is_refused() {
        for head in [
            "HTTP/1.0 200 OK\r\nContent-Length: 5",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close",
            "HTTP/1.1 200 OK\r\nContent-Length: 1048577",
            "HTTP/1.1 OK\r\nContent-Length: 5",
        ] {
            assert!(Head::read(format!("{head}\r\n\r\n").as_bytes()).is_err(), "{head}");
        }
    }

    #[tokio::test]
    async fn one_connection_asks_again_and_reads_answers_that_come_in_parts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut line = Line::open(listener.local_addr().unwrap(), "GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in
                ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"]
            {
                let mut asked = [0; 18];
                stream.read_exact(&mut asked).await.unwrap();
                assert_eq!(&asked, b"GET / HTTP/1.1\r\n\r\n");
                for byte in answer.bytes() {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        assert_eq!(line.ask().await.unwrap(), 200);
        assert_eq!(line.ask().await.unwrap(), 401);
        serving.await.unwrap();
        assert!(line.ask().await.is_err(), "the connection is over");
    }
}
