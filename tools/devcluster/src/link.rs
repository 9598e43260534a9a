//! A link to a server, whose bandwidth and latency can be changed while it is in use.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes that a connection forwards at a time.
const CHUNK: usize = 16 * 1024;
/// Chunks of one direction of a connection that are on their way.
const CHUNKS_IN_FLIGHT: usize = 16;

/// Speed of a link. All connections share the bandwidth of each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Bytes per second and direction.
    pub bandwidth: u32,
    /// Time that a byte takes in one direction.
    pub latency: Duration,
}

/// Forwards connections to a server on this machine, as fast as it can until it has a speed.
/// Dropping it ends all connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    speed: Arc<Mutex<Option<Speed>>>,
    /// Ends with this value.
    _forwarding: JoinSet<()>,
}

impl Link {
    /// Starts a link to the server on this port of 127.0.0.1, on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a link")?;
        let address = listener.local_addr()?;
        let speed = Arc::new(Mutex::new(None));
        let [near, far] = [Direction::new(&speed), Direction::new(&speed)];
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                // Otherwise the last bytes of a request wait for an acknowledgement.
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                connections.spawn(far.clone().forward(from_client, to_server));
                connections.spawn(near.clone().forward(from_server, to_client));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, speed, _forwarding: forwarding })
    }

    /// Address that stands for the server's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the speed; `None` is as fast as possible.
    pub fn set_speed(&self, speed: Option<Speed>) {
        *self.speed.lock().unwrap_or_else(PoisonError::into_inner) = speed;
    }
}

/// One direction of all connections of a link.
#[derive(Clone)]
struct Direction {
    speed: Arc<Mutex<Option<Speed>>>,
    /// When the bytes that were accepted before have left.
    free_at: Arc<Mutex<Instant>>,
}

impl Direction {
    fn new(speed: &Arc<Mutex<Option<Speed>>>) -> Self {
        Self { speed: Arc::clone(speed), free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Returns when this many bytes arrive that are sent now.
    fn arrival(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(speed) = *self.speed.lock().unwrap_or_else(PoisonError::into_inner) else { return now };
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        *free_at = now.max(*free_at) + Duration::from_secs(1) * bytes / speed.bandwidth;
        *free_at + speed.latency
    }

    /// Forwards one direction of a connection until it ends.
    async fn forward(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (sender, mut on_their_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_IN_FLIGHT);
        let read = async {
            let mut chunk = vec![0; CHUNK];
            while let Ok(length @ 1..) = from.read(&mut chunk).await {
                let bytes = chunk.get(..length).unwrap_or_default().to_vec();
                if sender.send((self.arrival(length), bytes)).await.is_err() {
                    break;
                }
            }
            drop(sender);
        };
        let write = async {
            while let Some((arrival, bytes)) = on_their_way.recv().await {
                sleep_until(arrival).await;
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            on_their_way.close();
            let _ = to.shutdown().await;
        };
        tokio::join!(read, write);
    }
}
