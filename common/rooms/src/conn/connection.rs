//! A bare connection to one Redis server: bytes out, values in. No layer between could reorder,
//! repeat or buffer them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use redis::{Cmd, ServerError, Value, cmd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::resp::{Decoder, OutOfStep};
use super::tls;
use super::url::{Credentials, Deployment, RedisUrl, Sentinels};

/// Free space in bytes for one read.
const READ_CAPACITY: usize = 64 * 1024;
/// Maximum capacity of an empty buffer. A larger one, after a large value, is given back.
const IDLE_CAPACITY_MAX: usize = 4 * READ_CAPACITY;

/// Time without traffic before the first TCP keepalive probe, and between two probes.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum length of a server's error in a log line, in characters. Redis explains protected mode
/// in a thousand.
const WORDS_MAX: usize = 200;
/// Number of unanswered probes after which the connection is closed.
pub(crate) const KEEPALIVE_PROBES_MAX: u32 = 3;

/// Why a connection cannot be opened, or cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Network error, in the words of the system.
    #[error("{}", in_words(.0))]
    Io(#[from] io::Error),
    /// TLS could not be set up: a certificate that is not trusted, a wrong name, a server without
    /// TLS.
    #[error("TLS: {}", in_words(.0))]
    Tls(io::Error),
    /// The server sent bytes that are not RESP2.
    #[error("{0}")]
    OutOfStep(#[from] OutOfStep),
    /// The server refused the credentials, the database or a command, or replied with a value that
    /// does not fit. Holds the command and the server's own words.
    #[error("{0}")]
    Refused(String),
}

impl ConnectionError {
    /// Returns whether the server sent or took no byte in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    /// Returns the error for a command with a reply that is an error, or that does not fit.
    pub(crate) fn refused(command: &str, reply: &Value) -> Self {
        Self::Refused(match reply {
            Value::ServerError(error) => format!("{command}: {}", server_words(error)),
            _ => format!("{command}: unexpected reply"),
        })
    }
}

/// Returns the words of a server's error, at most [`WORDS_MAX`] characters of them.
pub(crate) fn server_words(error: &ServerError) -> String {
    let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
    words.trim_end().chars().take(WORDS_MAX).collect()
}

/// Returns the words of a server that denies a command: the ACL of the user forbids it, or the
/// provider has renamed or removed it. `None` for another reply.
pub(crate) fn denial(reply: &Value) -> Option<String> {
    let Value::ServerError(error) = reply else { return None };
    let words = server_words(error);
    is_denial(&words).then_some(words)
}

/// Returns whether these are the words of a server that denies a command.
pub(crate) fn is_denial(words: &str) -> bool {
    words.starts_with("NOPERM ") || words.starts_with("ERR unknown command")
}

/// Returns a network error in words that name the peer's part in it.
fn in_words(error: &io::Error) -> String {
    if let Some(words) = tls::in_words(error) {
        return words;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the server closed the connection".to_owned(),
        io::ErrorKind::TimedOut => "the server did not answer in time".to_owned(),
        _ => error.to_string(),
    }
}

/// An authenticated connection. It closes when it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    /// Received bytes that are not handled yet.
    pub(crate) input: BytesMut,
}

impl Connection {
    /// Connects to a server with the URL's TLS, credentials and database. A server that a Sentinel
    /// named must be a master.
    ///
    /// # Errors
    /// See [`ConnectionError`]. There is no timeout; the caller sets one.
    pub async fn open(url: &RedisUrl, host: &str, port: u16) -> Result<Self, ConnectionError> {
        let mut connection = Self::connect(url, host, port).await?;
        connection.authenticate(url.credentials()).await?;
        if url.database() != 0 {
            connection.expect_accepted("SELECT", cmd("SELECT").arg(url.database())).await?;
        }
        if matches!(url.deployment(), Deployment::Sentinel(_)) {
            connection.expect_master().await?;
        }
        Ok(connection)
    }

    /// Connects to a Sentinel with the URL's TLS and these credentials.
    ///
    /// # Errors
    /// See [`ConnectionError`]. There is no timeout; the caller sets one.
    pub(crate) async fn open_sentinel(
        url: &RedisUrl,
        sentinels: &Sentinels,
        (host, port): &(String, u16),
    ) -> Result<Self, ConnectionError> {
        let mut connection = Self::connect(url, host, *port).await?;
        connection.authenticate(sentinels.credentials.as_ref()).await?;
        Ok(connection)
    }

    async fn connect(url: &RedisUrl, host: &str, port: u16) -> Result<Self, ConnectionError> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let stream = if url.tls() {
            let secured = tls::connect(stream, host, url.client_certificate()).await;
            Stream::Tls(Box::new(secured.map_err(ConnectionError::Tls)?))
        } else {
            Stream::Plain(stream)
        };
        Ok(Self { stream, decoder: Decoder::default(), input: BytesMut::new() })
    }

    async fn authenticate(&mut self, credentials: Option<&Credentials>) -> Result<(), ConnectionError> {
        let Some(Credentials { user, password }) = credentials else { return Ok(()) };
        let mut auth = cmd("AUTH");
        auth.arg(user).arg(password);
        self.expect_accepted("AUTH", &auth).await
    }

    /// Sentinels that were cut off name the old master, which may be a replica by now. Its answers
    /// would be old, and it refuses every write.
    async fn expect_master(&mut self) -> Result<(), ConnectionError> {
        let reply = self.query(&cmd("ROLE")).await?;
        match &reply {
            Value::Array(items) => match items.first() {
                Some(Value::BulkString(role)) if role == b"master" => Ok(()),
                _ => Err(ConnectionError::Refused("ROLE: the server is a replica".to_owned())),
            },
            _ => Err(ConnectionError::refused("ROLE", &reply)),
        }
    }

    async fn expect_accepted(&mut self, name: &str, command: &Cmd) -> Result<(), ConnectionError> {
        match self.query(command).await? {
            error @ Value::ServerError(_) => Err(ConnectionError::refused(name, &error)),
            _ => Ok(()),
        }
    }

    /// Sends one command and returns its reply. An error from the server is a reply.
    ///
    /// # Errors
    /// See [`ConnectionError`]. The connection cannot be used any more.
    pub async fn query(&mut self, command: &Cmd) -> Result<Value, ConnectionError> {
        if let Err(error) = self.send(&command.get_packed_command()).await {
            // A server that refuses the connection says why and closes it, perhaps before this
            // command.
            let refusal = self.value().await?;
            return if matches!(refusal, Value::ServerError(_)) { Ok(refusal) } else { Err(error.into()) };
        }
        self.value().await
    }

    /// Sends packed commands.
    ///
    /// # Errors
    /// See [`ConnectionError`]. The connection cannot be used any more.
    pub async fn send(&mut self, packed: &[u8]) -> io::Result<()> {
        self.stream.write_all(packed).await?;
        self.stream.flush().await
    }

    /// Sends packed commands, and gives up when the server took no byte for the time `silence`.
    ///
    /// # Errors
    /// See [`ConnectionError`]. The connection cannot be used any more.
    pub(crate) async fn send_within(&mut self, mut packed: &[u8], silence: Duration) -> io::Result<()> {
        while packed.has_remaining() {
            timeout(silence, self.stream.write_buf(&mut packed)).await??;
        }
        timeout(silence, self.stream.flush()).await?
    }

    /// Waits for the next value.
    ///
    /// # Errors
    /// See [`ConnectionError`]. The connection cannot be used any more.
    pub async fn value(&mut self) -> Result<Value, ConnectionError> {
        loop {
            if let Some(value) = self.next_value()? {
                return Ok(value);
            }
            self.fill().await?;
        }
    }

    /// Returns the next value of the received bytes; `None` if it is not complete.
    pub(crate) fn next_value(&mut self) -> Result<Option<Value>, OutOfStep> {
        self.decoder.next(&mut self.input)
    }

    /// Returns whether no value is partly read.
    pub(crate) fn is_between_values(&self) -> bool {
        self.decoder.is_between_values()
    }

    /// Waits for more bytes. Cancel-safe.
    ///
    /// # Errors
    /// See [`ConnectionError`]. The connection cannot be used any more.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        if self.input.is_empty() && self.input.capacity() > IDLE_CAPACITY_MAX {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_CAPACITY);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Turns on TCP keepalive. A subscriber sends nothing, so without probes it would not notice a
/// server that lost its power.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_PROBES_MAX)?;
    Ok(())
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
