//! Assigns each partition to the reader of the server that has its slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::reader::{Reader, Report, Subscribe};
use super::{BusEventHandler, Cause, Channels, RETRY_INTERVAL};
use crate::Partition;
use crate::conn::RedisUrl;
use crate::lanes::{Address, locate};

/// Request to subscribe to a partition's channel again.
#[derive(Debug)]
pub(super) struct Resubscribe {
    pub(super) partition: Partition,
    /// Notified when the channel is subscribed again; dropped if that fails.
    pub(super) done: oneshot::Sender<()>,
}

/// A partition without a reader.
#[derive(Default)]
struct Unassigned {
    /// Cause of the lost subscription; `None` for the first one.
    cause: Option<Cause>,
    /// Notifies the caller who waits for it.
    done: Option<oneshot::Sender<()>>,
}

pub(super) struct Supervisor {
    url: RedisUrl,
    channels: Arc<Channels>,
    handler: BusEventHandler,
    ready: watch::Sender<bool>,
    /// Running readers by server. If a reader ends before it takes an order, it reports the order's
    /// partition as lost.
    readers: HashMap<Address, mpsc::UnboundedSender<Subscribe>>,
    tasks: JoinSet<()>,
    /// Whether each partition was subscribed before. A first subscription restores nothing.
    begun: Vec<bool>,
    /// Partitions that no reader has.
    unassigned: BTreeMap<Partition, Unassigned>,
}

impl Supervisor {
    pub(super) fn new(
        url: RedisUrl,
        channels: Arc<Channels>,
        handler: BusEventHandler,
        ready: watch::Sender<bool>,
    ) -> Self {
        let count = channels.names.len();
        let all = (0_u16..).take(count).map(|number| (Partition(number), Unassigned::default()));
        Self {
            url,
            channels,
            handler,
            ready,
            readers: HashMap::new(),
            tasks: JoinSet::new(),
            begun: vec![false; count],
            unassigned: all.collect(),
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Resubscribe>) {
        let (reports, mut reported) = mpsc::unbounded_channel();
        // A failed attempt is repeated after an interval.
        let mut next = Instant::now();
        loop {
            if !self.unassigned.is_empty() && next <= Instant::now() {
                self.assign(&reports).await;
                next = Instant::now() + RETRY_INTERVAL;
            }
            tokio::select! {
                Some(report) = reported.recv() => self.handle(report),
                request = requests.recv() => {
                    let Some(Resubscribe { partition, done }) = request else { return };
                    let wanted = Unassigned { cause: self.cause(partition, Cause::Silent), done: Some(done) };
                    self.unassigned.insert(partition, wanted);
                }
                () = sleep_until(next), if !self.unassigned.is_empty() => {}
            }
        }
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Subscribed(partition) => {
                self.begun[usize::from(partition.0)] = true;
                if self.begun.iter().all(|begun| *begun) {
                    self.ready.send_replace(true);
                }
            }
            Report::Lost(partitions, cause) => {
                if cause == Cause::Reconnected && partitions.iter().any(|p| self.begun[usize::from(p.0)]) {
                    metrics::counter!("switchboard_bus_reconnects_total").increment(1);
                    tracing::warn!(partitions = partitions.len(), "redis subscription connection lost");
                }
                for partition in partitions {
                    let cause = self.cause(partition, cause);
                    self.unassigned.entry(partition).or_insert(Unassigned { cause, done: None });
                }
            }
        }
    }

    fn cause(&self, partition: Partition, cause: Cause) -> Option<Cause> {
        self.begun[usize::from(partition.0)].then_some(cause)
    }

    /// Assigns partitions without a reader to their servers' readers. If the servers are not
    /// found they wait for the next time.
    async fn assign(&mut self, reports: &mpsc::UnboundedSender<Report>) {
        while self.tasks.try_join_next().is_some() {}
        self.readers.retain(|_, orders| !orders.is_closed());
        let known: Vec<Address> = self.readers.keys().chain(self.url.hosts()).cloned().collect();
        let Some(map) = locate(&self.url, &known, &self.channels.slots).await else { return };
        for (partition, Unassigned { cause, done }) in std::mem::take(&mut self.unassigned) {
            let address = &map[usize::from(partition.0)];
            let (mut order, mut attempts) = (Subscribe { partition, cause, done }, 0);
            // A reader that has ended is replaced.
            while let Err(mpsc::error::SendError(back)) = self.reader(address, reports).send(order) {
                self.readers.remove(address);
                (order, attempts) = (back, attempts + 1);
                if attempts > 1 {
                    self.unassigned.insert(partition, Unassigned { cause: order.cause, done: order.done });
                    break;
                }
            }
        }
    }

    fn reader(
        &mut self,
        address: &Address,
        reports: &mpsc::UnboundedSender<Report>,
    ) -> &mpsc::UnboundedSender<Subscribe> {
        self.readers.entry(address.clone()).or_insert_with(|| {
            let (orders, ordered) = mpsc::unbounded_channel();
            let reader = Reader {
                url: self.url.clone(),
                address: address.clone(),
                channels: Arc::clone(&self.channels),
                handler: Arc::clone(&self.handler),
                orders: ordered,
                reports: reports.clone(),
            };
            self.tasks.spawn(reader.run());
            orders
        })
    }
}
