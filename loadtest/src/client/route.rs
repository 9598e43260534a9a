//! Where a connection goes to, and from which local address it comes.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Destination and, optionally, source address of a connection. Servers on this machine see each
/// address of 127.0.0.0/8 as a different client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    /// Source address; chosen by the kernel when `None`.
    pub(crate) from: Option<Ipv4Addr>,
    /// `host:port`.
    pub(crate) to: &'a str,
}

impl<'a> Route<'a> {
    /// Connects to `host:port` from this source address.
    pub(crate) fn new(from: Ipv4Addr, to: &'a str) -> Self {
        Self { from: Some(from), to }
    }

    /// Opens a TCP connection without Nagle's delay.
    pub(crate) async fn connect(self) -> io::Result<TcpStream> {
        let stream = match self.from {
            None => TcpStream::connect(self.to).await?,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                let address = lookup_host(self.to).await?.find(std::net::SocketAddr::is_ipv4);
                socket.connect(address.ok_or_else(|| io::Error::other("no IPv4 address"))?).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl<'a> From<&'a str> for Route<'a> {
    fn from(to: &'a str) -> Self {
        Self { from: None, to }
    }
}

impl<'a> From<&'a String> for Route<'a> {
    fn from(to: &'a String) -> Self {
        Self { from: None, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_comes_from_its_source_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let from = Ipv4Addr::new(127, 0, 9, 3);
        let _stream = Route::new(from, &to).connect().await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip(), from);
    }
}
