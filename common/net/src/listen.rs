//! Listener for the connections of clients.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Size in bytes of the kernel's send buffer and of its receive buffer for a connection. Linux
/// doubles it for its own records. Without it both grow to several MiB for a client that does not
/// read or a server that is busy. A pod pays for this memory, and no bound of ours counts it.
const BUFFER_BYTES: u32 = 64 * 1024;
/// Connections that the kernel accepts while the server is busy.
const BACKLOG: u32 = 1024;

/// Listens for clients. The kernel's buffers of each connection have a fixed size.
///
/// # Errors
/// As [`TcpListener::bind`].
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server need not wait for the connections of the last one.
    socket.set_reuseaddr(true)?;
    // Connections inherit the sizes.
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    /// Bytes that the kernel takes for a client that reads nothing.
    async fn unread_bytes(listener: TcpListener) -> usize {
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut taken = 0;
        // Full when nothing more fits for a while.
        while timeout(Duration::from_millis(200), server.writable()).await.is_ok() {
            match server.try_write(&[0; 16 * 1024]) {
                Ok(bytes) => taken += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        drop(client);
        taken
    }

    #[tokio::test]
    async fn the_kernel_takes_little_for_a_client_that_reads_nothing() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (bounded, unbounded) =
            tokio::join!(unread_bytes(listen(local).unwrap()), unread_bytes(TcpListener::bind(local).await.unwrap()));
        // Both include the receive buffer of the client.
        assert!((64 * 1024..512 * 1024).contains(&bounded), "{bounded}");
        assert!(unbounded > 2 * bounded, "{unbounded} without a bound, {bounded} with it");
    }

    #[tokio::test]
    async fn both_families_are_served() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Some machines have no IPv6.
            if address.starts_with('[') && TcpListener::bind(address).await.is_err() {
                continue;
            }
            let listener = listen(address.parse().unwrap()).unwrap();
            let connected = TcpStream::connect(listener.local_addr().unwrap()).await;
            assert!(connected.is_ok(), "{address}");
        }
    }
}
