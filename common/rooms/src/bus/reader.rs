//! One connection to one server: subscribes to channels, and passes on the messages without copying
//! them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use redis::{ServerErrorKind, Value, cmd};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::{BusEvent, BusEventHandler, Cause, Channels, SUBSCRIBE_TIMEOUT};
use crate::Partition;
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::resp::{Front, OutOfStep, front};
use crate::conn::{Purpose, RedisUrl};
use crate::lanes::Address;

/// Order to subscribe to a partition's channel.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) partition: Partition,
    /// Cause of the lost subscription; `None` for the first one, which restores nothing.
    pub(super) cause: Option<Cause>,
    /// Notifies the caller who waits for it.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// Report of a reader to its supervisor.
#[derive(Debug)]
pub(super) enum Report {
    /// The partition is subscribed.
    Subscribed(Partition),
    /// These partitions are not subscribed any more.
    Lost(Vec<Partition>, Cause),
}

/// Reader of one server.
pub(super) struct Reader {
    pub(super) url: RedisUrl,
    pub(super) address: Address,
    pub(super) channels: Arc<Channels>,
    pub(super) handler: BusEventHandler,
    pub(super) orders: mpsc::UnboundedReceiver<Subscribe>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
}

/// Subscriptions of a connection.
#[derive(Default)]
struct Subscriptions {
    /// Sent, without a reply yet, in the order of the replies.
    pending: VecDeque<(Subscribe, Instant)>,
    /// Confirmed by a reply.
    active: BTreeSet<Partition>,
}

impl Reader {
    /// Reads until the connection is lost, then reports the partitions that are lost with it.
    pub(super) async fn run(mut self) {
        let mut subscriptions = Subscriptions::default();
        let opened = timeout(SUBSCRIBE_TIMEOUT, Connection::open(&self.url, &self.address.0, self.address.1)).await;
        let ended = match opened.unwrap_or_else(|late| Err(std::io::Error::from(late).into())) {
            Ok(connection) => self.read(connection, &mut subscriptions).await.err(),
            Err(error) => Some(error),
        };
        if let Some(error) = ended {
            self.url.failed(Purpose::Subscriptions, &self.address, &error);
        }
        self.orders.close();
        let Subscriptions { pending, active } = subscriptions;
        for &partition in &active {
            (self.handler)(BusEvent::Interrupted { partition });
        }
        let mut lost: Vec<Partition> = active.into_iter().collect();
        lost.extend(pending.into_iter().map(|(order, _)| order.partition));
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
            let overdue = subscriptions.pending.front().map(|(_, since)| *since + SUBSCRIBE_TIMEOUT);
            tokio::select! {
                // Received bytes count before the timeout, because this thread may have been
                // delayed.
                biased;
                filled = connection.fill() => {
                    filled?;
                    self.handle_input(&mut connection, subscriptions)?;
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

    /// Sends a command for each order that has arrived by now.
    async fn subscribe(
        &mut self,
        connection: &mut Connection,
        subscriptions: &mut Subscriptions,
        first: Subscribe,
    ) -> Result<(), ConnectionError> {
        let (mut packed, mut next) = (Vec::new(), Some(first));
        while let Some(order) = next {
            // One command for each channel, because on a cluster each has its own slot.
            cmd("SSUBSCRIBE").arg(self.channels.name(order.partition)).write_packed_command(&mut packed);
            if subscriptions.active.remove(&order.partition) || order.cause == Some(Cause::Silent) {
                (self.handler)(BusEvent::Interrupted { partition: order.partition });
            }
            subscriptions.pending.push_back((order, Instant::now()));
            next = self.orders.try_recv().ok();
        }
        timeout(SUBSCRIBE_TIMEOUT, connection.send(&packed)).await.map_err(std::io::Error::from)??;
        Ok(())
    }

    /// Handles all received bytes.
    fn handle_input(
        &self,
        connection: &mut Connection,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), ConnectionError> {
        loop {
            let front = if connection.is_between_values() { front(&connection.input) } else { Front::Other };
            match front {
                Front::Published(found) => {
                    let input = &connection.input;
                    if let Some(&partition) = self.channels.partitions.get(&input[found.channel]) {
                        (self.handler)(BusEvent::Message { partition, message: &input[found.message] });
                    }
                    bytes::Buf::advance(&mut connection.input, found.end);
                }
                Front::Needs(all) => {
                    let missing = all.saturating_sub(connection.input.len());
                    connection.input.reserve(missing);
                    return Ok(());
                }
                Front::Other => match connection.next_value()? {
                    Some(value) => self.handle_answer(&value, subscriptions)?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Handles a reply other than a message: a channel is subscribed, was taken away, or is not on
    /// this server.
    fn handle_answer(&self, value: &Value, subscriptions: &mut Subscriptions) -> Result<(), ConnectionError> {
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
                let Some((order, _)) = subscriptions.pending.pop_front() else { return Ok(()) };
                if order.partition != partition {
                    return Err(OutOfStep.into());
                }
                subscriptions.active.insert(partition);
                self.url.recovered(Purpose::Subscriptions, &self.address);
                if let Some(cause) = order.cause {
                    (self.handler)(BusEvent::Restored { partition, cause });
                }
                if let Some(done) = order.done {
                    let _caller_is_gone = done.send(());
                }
                let _supervisor_is_gone = self.reports.send(Report::Subscribed(partition));
            }
            (Some(b"sunsubscribe"), Some(partition), _) => {
                // Not requested: the slot moved to another server.
                let was_active = subscriptions.active.remove(&partition);
                if was_active {
                    (self.handler)(BusEvent::Interrupted { partition });
                    let _supervisor_is_gone = self.reports.send(Report::Lost(vec![partition], Cause::Moved));
                }
            }
            (_, _, Value::ServerError(error)) => {
                let Some((order, _)) = subscriptions.pending.pop_front() else {
                    return Err(ConnectionError::refused("SSUBSCRIBE", value));
                };
                // A moved slot is no fault: the supervisor asks its new server.
                if error.kind() != Some(ServerErrorKind::Moved) {
                    let refused = ConnectionError::refused("SSUBSCRIBE", value);
                    self.url.failed(Purpose::Subscriptions, &self.address, &refused);
                }
                let cause = order.cause.unwrap_or(Cause::Moved);
                let _supervisor_is_gone = self.reports.send(Report::Lost(vec![order.partition], cause));
            }
            _ => {}
        }
        Ok(())
    }
}
