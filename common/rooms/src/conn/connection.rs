//! A bare connection to one Redis server: bytes out, values in, and nothing in between that could reorder, repeat or buffer them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use redis::{Cmd, Value, cmd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::RedisUrl;
use super::resp::{Decoder, OutOfStep};

/// Read at once.
const READ: usize = 64 * 1024;
/// A buffer that had to grow for something large is given back when it is empty.
const KEPT: usize = 4 * READ;

/// Until a silent server is asked whether it lives, and between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How many of them go unanswered until it is given up.
const PROBES: u32 = 3;

/// Why a connection could not be had, or is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is not RESP2.
    #[error("{0}")]
    OutOfStep(#[from] OutOfStep),
    /// The server refused the credentials or the database; its code.
    #[error("the server refused: {0}")]
    Refused(String),
}

/// A connection, signed in. Dropped, it closes.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    /// Received and not taken.
    pub(crate) input: BytesMut,
}

impl Connection {
    /// Connects to a server and signs in, with the URL's credentials, TLS and database.
    ///
    /// # Errors
    /// See [`ConnectionError`]. It waits as long as the network does: the caller sets the bound.
    pub async fn open(url: &RedisUrl, host: &str, port: u16) -> Result<Self, ConnectionError> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let stream = if url.tls { Stream::Tls(Box::new(secure(stream, host).await?)) } else { Stream::Plain(stream) };
        let mut connection = Self { stream, decoder: Decoder::default(), input: BytesMut::new() };
        if let Some(password) = &url.password {
            let mut auth = cmd("AUTH");
            auth.arg(&url.user).arg(password);
            connection.accepted(&auth).await?;
        }
        if url.database != 0 {
            connection.accepted(cmd("SELECT").arg(url.database)).await?;
        }
        Ok(connection)
    }

    async fn accepted(&mut self, command: &Cmd) -> Result<(), ConnectionError> {
        match self.query(command).await? {
            Value::ServerError(error) => Err(ConnectionError::Refused(error.code().to_owned())),
            _ => Ok(()),
        }
    }

    /// Sends one command and waits for its answer. An error of the server's is an answer.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn query(&mut self, command: &Cmd) -> Result<Value, ConnectionError> {
        self.send(&command.get_packed_command()).await?;
        self.value().await
    }

    /// Sends packed commands.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn send(&mut self, packed: &[u8]) -> io::Result<()> {
        self.stream.write_all(packed).await?;
        self.stream.flush().await
    }

    /// The next value that the server sends.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn value(&mut self) -> Result<Value, ConnectionError> {
        loop {
            if let Some(value) = self.taken()? {
                return Ok(value);
            }
            self.fill().await?;
        }
    }

    /// The next value of what is there already.
    pub(crate) fn taken(&mut self) -> Result<Option<Value>, OutOfStep> {
        self.decoder.next(&mut self.input)
    }

    /// Whether no value is half taken.
    pub(crate) fn is_between_values(&self) -> bool {
        self.decoder.is_between_values()
    }

    /// Waits for more bytes. Cancel-safe.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        if self.input.is_empty() && self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// A subscriber says nothing for as long as it is well: only so does it hear that a server without power is gone.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE)?;
    set_tcp_keepintvl(stream, KEEPALIVE)?;
    set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}

/// TLS as the system trusts, or as `SSL_CERT_FILE` and `SSL_CERT_DIR` say.
async fn secure(stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    // Reads files.
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
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
