//! Refusal of a connection over a bound.

use tokio::net::TcpStream;

use crate::Full;

/// Tells a client over HTTP that it may try again in 5 s, and returns. The caller closes the
/// connection. It is not awaited that the client reads, because that would cost what the bound
/// saves.
pub fn refuse(stream: &TcpStream, full: Full) {
    let status = match full {
        Full::Total => "503 Service Unavailable",
        Full::Key => "429 Too Many Requests",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nRetry-After: 5\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let _read_or_not = stream.try_write(head.as_bytes());
}
