//! Single-threaded runtimes, one per core. A socket stays on one of them for its whole life.
//!
//! Only messages from other sockets cross threads: no task is stolen, and no thread is woken for
//! work that another thread could do. The runtime that starts the workers is the first worker, and
//! the only one on a single core.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The worker runtimes. Cheap to clone. The threads end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Workers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The first one is the runtime that started the others.
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    /// Ends the threads when dropped.
    _stop: DropGuard,
}

impl Workers {
    /// Starts `count - 1` runtimes beside the current one.
    ///
    /// # Errors
    /// A thread or the resources of its runtime cannot be created.
    ///
    /// # Panics
    /// Must be called within a Tokio runtime.
    pub fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut runtimes = vec![Handle::current()];
        for number in 1..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let stop = stop.clone();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
        }
        Ok(Self { inner: Arc::new(Inner { runtimes, next: AtomicUsize::new(0), _stop: stop.drop_guard() }) })
    }

    /// Serves a connection on the next runtime, round-robin.
    pub(crate) fn spread<F, T>(&self, stream: TcpStream, serve: F)
    where
        F: FnOnce(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let Inner { runtimes, next, .. } = &*self.inner;
        let number = next.fetch_add(1, Ordering::Relaxed) % runtimes.len();
        if number == 0 {
            runtimes[0].spawn(serve(stream));
            return;
        }
        // A stream is registered with the runtime that created it, so it is created again on the
        // new one.
        let Ok(stream) = stream.into_std() else { return };
        runtimes[number].spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use std::collections::HashMap;
    use std::thread::ThreadId;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn connections_are_spread_evenly_and_each_stays_on_one_thread() {
        let workers = Workers::start(3).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, mut threads) = unbounded_channel::<ThreadId>();
        for _ in 0..6 {
            let mut client = TcpStream::connect(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            workers.spread(stream, move |mut stream| async move {
                let first = thread::current().id();
                let byte = stream.read_u8().await.unwrap();
                assert_eq!(thread::current().id(), first);
                stream.write_u8(byte).await.unwrap();
                seen.send(first).unwrap();
            });
            client.write_u8(7).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 7);
        }
        let mut counts = HashMap::new();
        for _ in 0..6 {
            *counts.entry(threads.recv().await.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    }
}
