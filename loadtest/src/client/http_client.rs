//! HTTP/1.1 connection that repeats one request with keep-alive. A full HTTP client would use more
//! CPU time than the servers under test.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};

use super::route::Route;

/// Longest response, in bytes.
const RESPONSE_MAX: usize = 1 << 20;
/// Bytes per read; nearly always a whole response.
const READ_CHUNK: usize = 16 << 10;

/// A connection and its request.
#[derive(Debug)]
pub(crate) struct HttpClient {
    stream: TcpStream,
    request: Box<[u8]>,
    response: Vec<u8>,
    /// Bytes of the head of the latest response.
    head_length: usize,
    /// Whether the server closes the connection after the latest response.
    closes: bool,
}

impl HttpClient {
    /// Connects. Every request on this connection is `request`.
    pub(crate) async fn open(address: impl ToSocketAddrs, request: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::on(stream, request))
    }

    /// Connects along a route, for requests that are given to [`HttpClient::exchange`].
    pub(crate) async fn dial(route: impl Into<Route<'_>>) -> anyhow::Result<Self> {
        Ok(Self::on(route.into().connect().await?, ""))
    }

    fn on(stream: TcpStream, request: &str) -> Self {
        let response = Vec::with_capacity(READ_CHUNK);
        Self { stream, request: request.as_bytes().into(), response, head_length: 0, closes: false }
    }

    /// Sends the request and reads the whole response. Returns its status. After an error the
    /// connection is unusable.
    pub(crate) async fn get(&mut self) -> anyhow::Result<u16> {
        self.stream.write_all(&self.request).await?;
        let status = self.read_response().await?;
        ensure!(!self.closes, "the server does not keep the connection alive");
        Ok(status)
    }

    /// Sends any request and reads the whole response. Returns its status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.read_response().await
    }

    /// Body of the latest response.
    pub(crate) fn body(&self) -> &[u8] {
        &self.response[self.head_length..]
    }

    /// Whether the connection can take another request.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.closes
    }

    async fn read_response(&mut self) -> anyhow::Result<u16> {
        self.response.clear();
        let mut head = None;
        loop {
            self.response.reserve(READ_CHUNK);
            ensure!(
                self.stream.read_buf(&mut self.response).await? > 0,
                "the connection closed before the end of a response"
            );
            if head.is_none() {
                head = Head::parse(&self.response)?;
            }
            match &head {
                Some(Head { status, length, head_length, closes }) if self.response.len() == *length => {
                    (self.head_length, self.closes) = (*head_length, *closes);
                    return Ok(*status);
                }
                Some(Head { length, .. }) => ensure!(self.response.len() < *length, "data after the end of a response"),
                None => ensure!(self.response.len() < RESPONSE_MAX, "the response head is too long"),
            }
        }
    }
}

/// Parsed response head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Length of the whole response in bytes, head included.
    length: usize,
    /// Length of the head in bytes.
    head_length: usize,
    /// Whether the server closes the connection after this response.
    closes: bool,
}

impl Head {
    /// Parses the start of a response; `None` when the head is incomplete.
    fn parse(response: &[u8]) -> anyhow::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = response.windows(END.len()).position(|bytes| bytes == END) else { return Ok(None) };
        let mut lines = std::str::from_utf8(&response[..end])?.split("\r\n");
        let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).context("not HTTP/1.1")?;
        let status = first.split(' ').next().unwrap_or_default().parse().context("the response has no status")?;
        let (mut body, mut closes) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let (is_name, value) = (|other| name.eq_ignore_ascii_case(other), value.trim());
            if is_name("content-length") {
                body = Some(value.parse::<usize>().context("malformed Content-Length")?);
            } else if is_name("connection") && value.eq_ignore_ascii_case("close") {
                closes = true;
            }
        }
        let head_length = end + END.len();
        let length = head_length + body.context("the response has no Content-Length")?;
        ensure!(length <= RESPONSE_MAX, "a response of {length} bytes is too long");
        Ok(Some(Self { status, length, head_length, closes }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_response_head_is_parsed_once_complete() {
        let text = "HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\n\r\n";
        let head = Head { status: 200, length: text.len() + 5, head_length: text.len(), closes: false };
        assert_eq!(Head::parse(format!("{text}hel").as_bytes()).unwrap(), Some(head));
        for end in 0..text.len() {
            assert_eq!(Head::parse(&text.as_bytes()[..end]).unwrap(), None);
        }
    }

    #[test]
    fn a_response_without_a_known_length_is_refused() {
        for head in [
            "HTTP/1.0 200 OK\r\nContent-Length: 5",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 1048577",
            "HTTP/1.1 OK\r\nContent-Length: 5",
        ] {
            assert!(Head::parse(format!("{head}\r\n\r\n").as_bytes()).is_err(), "{head}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closes_repeats_no_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_exact(&mut [0; 18]).await.unwrap();
                stream.write_all(b"HTTP/1.1 429 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await.unwrap();
            }
        });
        let request = "GET / HTTP/1.1\r\n\r\n";
        assert!(HttpClient::open(&address, request).await.unwrap().get().await.is_err());
        let mut client = HttpClient::dial(&address).await.unwrap();
        assert_eq!(client.exchange(request.as_bytes()).await.unwrap(), 429);
        assert_eq!((client.body(), client.is_reusable()), (&b"{}"[..], false));
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn one_connection_sends_repeated_requests_and_reads_fragmented_responses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = HttpClient::open(listener.local_addr().unwrap(), "GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for response in
                ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"]
            {
                let mut request = [0; 18];
                stream.read_exact(&mut request).await.unwrap();
                assert_eq!(&request, b"GET / HTTP/1.1\r\n\r\n");
                for byte in response.bytes() {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        assert_eq!(client.get().await.unwrap(), 200);
        assert_eq!(client.get().await.unwrap(), 401);
        serving.await.unwrap();
        assert!(client.get().await.is_err(), "the connection is closed");
    }
}
