//! Which partition is read from which server, and by which reader.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::reader::{Order, Reader, Report};
use super::{Cause, Channels, PAUSE, Sink};
use crate::Partition;
use crate::conn::RedisUrl;
use crate::topology::{Address, slot_map};

/// Somebody doubts a partition's subscription.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) partition: Partition,
    /// Told when it is subscribed to again; dropped when that failed.
    pub(super) done: oneshot::Sender<()>,
}

/// Why a partition is to be subscribed to, and who waits for it.
#[derive(Default)]
struct Wanted {
    cause: Option<Cause>,
    done: Option<oneshot::Sender<()>>,
}

pub(super) struct Supervisor {
    url: RedisUrl,
    channels: Arc<Channels>,
    sink: Sink,
    ready: watch::Sender<bool>,
    /// Those that run, by server. What they are told of here may come too late for one that ends: it then comes back as lost.
    readers: HashMap<Address, mpsc::UnboundedSender<Order>>,
    tasks: JoinSet<()>,
    /// Whether a partition was ever subscribed to: before that there is nothing to restore.
    begun: Vec<bool>,
    /// Partitions that no reader has.
    homeless: BTreeMap<Partition, Wanted>,
}

impl Supervisor {
    pub(super) fn new(url: RedisUrl, channels: Arc<Channels>, sink: Sink, ready: watch::Sender<bool>) -> Self {
        let count = channels.names.len();
        let all = (0_u16..).take(count).map(|number| (Partition(number), Wanted::default()));
        Self {
            url,
            channels,
            sink,
            ready,
            readers: HashMap::new(),
            tasks: JoinSet::new(),
            begun: vec![false; count],
            homeless: all.collect(),
        }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Request>) {
        let (reports, mut reported) = mpsc::unbounded_channel();
        // What just failed is not tried again at once.
        let mut next = Instant::now();
        loop {
            if !self.homeless.is_empty() && next <= Instant::now() {
                self.place(&reports).await;
                next = Instant::now() + PAUSE;
            }
            tokio::select! {
                Some(report) = reported.recv() => self.heed(report),
                request = asked.recv() => {
                    let Some(Request { partition, done }) = request else { return };
                    let wanted = Wanted { cause: self.cause(partition, Cause::Silent), done: Some(done) };
                    self.homeless.insert(partition, wanted);
                }
                () = sleep_until(next), if !self.homeless.is_empty() => {}
            }
        }
    }

    fn heed(&mut self, report: Report) {
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
                    tracing::warn!(partitions = partitions.len(), "the subscriptions' connection to redis was lost");
                }
                for partition in partitions {
                    let cause = self.cause(partition, cause);
                    self.homeless.entry(partition).or_insert(Wanted { cause, done: None });
                }
            }
        }
    }

    fn cause(&self, partition: Partition, cause: Cause) -> Option<Cause> {
        self.begun[usize::from(partition.0)].then_some(cause)
    }

    /// Orders what nobody has from its server's reader. Without a slot map it waits for the next time.
    async fn place(&mut self, reports: &mpsc::UnboundedSender<Report>) {
        while self.tasks.try_join_next().is_some() {}
        self.readers.retain(|_, orders| !orders.is_closed());
        let known: Vec<Address> = self.readers.keys().chain(self.url.hosts()).cloned().collect();
        let Some(map) = slot_map(&self.url, &known, &self.channels.slots).await else { return };
        for (partition, Wanted { cause, done }) in std::mem::take(&mut self.homeless) {
            let address = &map[usize::from(partition.0)];
            let (mut order, mut tries) = (Order { partition, cause, done }, 0);
            // A reader that ended since is replaced.
            while let Err(mpsc::error::SendError(back)) = self.reader(address, reports).send(order) {
                self.readers.remove(address);
                (order, tries) = (back, tries + 1);
                if tries > 1 {
                    self.homeless.insert(partition, Wanted { cause: order.cause, done: order.done });
                    break;
                }
            }
        }
    }

    fn reader(&mut self, address: &Address, reports: &mpsc::UnboundedSender<Report>) -> &mpsc::UnboundedSender<Order> {
        self.readers.entry(address.clone()).or_insert_with(|| {
            let (orders, ordered) = mpsc::unbounded_channel();
            let reader = Reader {
                url: self.url.clone(),
                address: address.clone(),
                channels: Arc::clone(&self.channels),
                sink: Arc::clone(&self.sink),
                orders: ordered,
                reports: reports.clone(),
            };
            self.tasks.spawn(reader.run());
            orders
        })
    }
}
