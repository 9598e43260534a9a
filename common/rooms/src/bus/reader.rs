//! One connection to one server: subscribes to what it is told, and hands over what is published, from the bytes as they came.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use redis::{Value, cmd};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::{BusEvent, Cause, Channels, PATIENCE, Sink};
use crate::Partition;
use crate::conn::RedisUrl;
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::resp::{Front, OutOfStep, front};
use crate::topology::Address;

/// A partition to subscribe to.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) partition: Partition,
    /// Why it is not subscribed to; `None`, when it never was: then there is nothing to restore.
    pub(super) cause: Option<Cause>,
    /// Who waits for it.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// What a reader tells its supervisor.
#[derive(Debug)]
pub(super) enum Report {
    /// A partition is subscribed to.
    Subscribed(Partition),
    /// Partitions are not any more, for this reason. They are to be read from wherever they are now.
    Lost(Vec<Partition>, Cause),
}

/// A reader.
pub(super) struct Reader {
    pub(super) url: RedisUrl,
    pub(super) address: Address,
    pub(super) channels: Arc<Channels>,
    pub(super) sink: Sink,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
}

/// What a connection has been told to subscribe to.
#[derive(Default)]
struct Subscriptions {
    /// Asked for and not answered, in the order of the answers.
    asked: VecDeque<(Order, Instant)>,
    /// Those that are whole.
    whole: BTreeSet<Partition>,
}

impl Reader {
    /// Reads until the connection is lost, then tells what is lost with it.
    pub(super) async fn run(mut self) {
        let mut subscriptions = Subscriptions::default();
        let opened = timeout(PATIENCE, Connection::open(&self.url, &self.address.0, self.address.1)).await;
        let ended = match opened {
            Ok(Ok(connection)) => self.read(connection, &mut subscriptions).await.err(),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        tracing::debug!(error = ended.map(|error| error.to_string()), "a subscription's connection ended");
        self.orders.close();
        let Subscriptions { asked, whole } = subscriptions;
        for &partition in &whole {
            (self.sink)(BusEvent::Interrupted { partition });
        }
        let mut lost: Vec<Partition> = whole.into_iter().collect();
        lost.extend(asked.into_iter().map(|(order, _)| order.partition));
        while let Ok(order) = self.orders.try_recv() {
            lost.push(order.partition);
        }
        lost.sort_unstable();
        lost.dedup();
        let _supervisor_is_gone = self.reports.send(Report::Lost(lost, Cause::Reconnected));
    }

    async fn read(
        &mut self,
        mut connection: Connection,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), ConnectionError> {
        loop {
            let overdue = subscriptions.asked.front().map(|(_, since)| *since + PATIENCE);
            tokio::select! {
                // What has come counts before the clock: this thread may have been held up.
                biased;
                filled = connection.fill() => {
                    filled?;
                    self.take(&mut connection, subscriptions)?;
                }
                order = self.orders.recv() => {
                    let Some(order) = order else { return Ok(()) };
                    self.subscribe(&mut connection, subscriptions, order).await?;
                }
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
            }
        }
    }

    /// Asks for everything that is ordered by now.
    async fn subscribe(
        &mut self,
        connection: &mut Connection,
        subscriptions: &mut Subscriptions,
        first: Order,
    ) -> Result<(), ConnectionError> {
        let (mut packed, mut next) = (Vec::new(), Some(first));
        while let Some(order) = next {
            // One command a channel: on a cluster each belongs to a slot of its own.
            cmd("SSUBSCRIBE").arg(self.channels.name(order.partition)).write_packed_command(&mut packed);
            if subscriptions.whole.remove(&order.partition) || order.cause == Some(Cause::Silent) {
                (self.sink)(BusEvent::Interrupted { partition: order.partition });
            }
            subscriptions.asked.push_back((order, Instant::now()));
            next = self.orders.try_recv().ok();
        }
        timeout(PATIENCE, connection.send(&packed)).await.map_err(std::io::Error::from)??;
        Ok(())
    }

    /// Deals with everything that has come.
    fn take(&self, connection: &mut Connection, subscriptions: &mut Subscriptions) -> Result<(), ConnectionError> {
        loop {
            let front = if connection.is_between_values() { front(&connection.input) } else { Front::Other };
            match front {
                Front::Published(found) => {
                    let input = &connection.input;
                    if let Some(&partition) = self.channels.partitions.get(&input[found.channel]) {
                        (self.sink)(BusEvent::Message { partition, message: &input[found.message] });
                    }
                    bytes::Buf::advance(&mut connection.input, found.end);
                }
                Front::Needs(all) => {
                    let missing = all.saturating_sub(connection.input.len());
                    connection.input.reserve(missing);
                    return Ok(());
                }
                Front::Other => match connection.taken()? {
                    Some(value) => self.told(&value, subscriptions)?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// What Redis says besides messages: that a channel is subscribed to, or is not any more, or cannot be here.
    fn told(&self, value: &Value, subscriptions: &mut Subscriptions) -> Result<(), ConnectionError> {
        let word = |index: usize| match value {
            Value::Array(items) => match items.get(index) {
                Some(Value::BulkString(bytes)) => Some(&bytes[..]),
                _ => None,
            },
            _ => None,
        };
        let partition = word(1).and_then(|channel| self.channels.partitions.get(channel)).copied();
        match (word(0), partition, value) {
            (Some(b"ssubscribe"), Some(partition), _) => {
                let Some((order, _)) = subscriptions.asked.pop_front() else { return Ok(()) };
                if order.partition != partition {
                    return Err(OutOfStep.into());
                }
                subscriptions.whole.insert(partition);
                if let Some(cause) = order.cause {
                    (self.sink)(BusEvent::Restored { partition, cause });
                }
                if let Some(done) = order.done {
                    let _nobody_waits_any_more = done.send(());
                }
                let _supervisor_is_gone = self.reports.send(Report::Subscribed(partition));
            }
            (Some(b"sunsubscribe"), Some(partition), _) => {
                // Unasked: its slot went to another server.
                let was_whole = subscriptions.whole.remove(&partition);
                if was_whole {
                    (self.sink)(BusEvent::Interrupted { partition });
                    let _supervisor_is_gone = self.reports.send(Report::Lost(vec![partition], Cause::Moved));
                }
            }
            (_, _, Value::ServerError(error)) => {
                let Some((order, _)) = subscriptions.asked.pop_front() else {
                    return Err(ConnectionError::Refused(error.code().to_owned()));
                };
                tracing::debug!(code = error.code(), partition = order.partition.0, "cannot subscribe here");
                let cause = order.cause.unwrap_or(Cause::Moved);
                let _supervisor_is_gone = self.reports.send(Report::Lost(vec![order.partition], cause));
            }
            _ => {}
        }
        Ok(())
    }
}
