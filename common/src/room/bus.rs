//! Subscriptions: a node's own channel in every partition, on `fred`.
//!
//! The list of channels is fixed, and it is we who subscribe to it again after a reconnect: fred's own `manage_subscriptions` does not
//! restore sharded channels when there are no plain ones. What no event tells of (a slot that moved) the canary of `beat` finds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface, PubsubInterface};
use fred::types::Builder;
use fred::types::config::{ReconnectPolicy, Server};
use fred::types::{Message, Value};
use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::keys::Keys;
use super::{Partition, RoomOptions, StoreError};
use crate::domain::NodeId;
use crate::redis_client::RedisUrl;

/// Messages that may wait for the sink. fred's 32 lose two thirds under load.
const BUFFERED: usize = 65_536;
/// How long a connection, or a subscription, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries, in milliseconds as fred takes them.
const PAUSE_MS: u32 = 100;

/// What the subscription tells.
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// Something a script published to this node.
    Message {
        /// On whose channel.
        partition: Partition,
        /// An envelope.
        message: Bytes,
    },
    /// A connection was lost: every partition may have missed something, and may go on to, until `Reconnected`. Comes before any
    /// message that follows what was missed.
    Interrupted,
    /// Subscribed again to everything, after `Interrupted`.
    Reconnected,
    /// This process was too slow and messages were dropped: every partition has missed something.
    Lagged,
}

/// Called for every event, in order, by one task; it must not block.
pub type Sink = Arc<dyn Fn(BusEvent) + Send + Sync>;

/// The node's subscriptions. Dropped, they end.
pub struct Bus {
    client: SubscriberClient,
    channels: Arc<Vec<String>>,
    cluster: bool,
    pump: JoinHandle<()>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.pump.abort();
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.quit().await });
        }
    }
}

impl Bus {
    /// Subscribes to `node`'s channel in every partition; returns when all are.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn start(url: &RedisUrl, options: &RoomOptions, node: &NodeId, sink: Sink) -> Result<Self, StoreError> {
        let keys = Keys::new(&options.prefix, options.partitions);
        let channels: Vec<String> = (0..keys.partitions()).map(|p| keys.channel(Partition(p), node.as_str())).collect();
        let client = build(url).map_err(|error| failed(&error))?;
        // Before the first subscription, or its first messages would be lost.
        let (messages, reconnects) = (client.message_rx(), client.reconnect_rx());
        let init = tokio::time::timeout(PATIENCE, client.init()).await;
        let connected = init.map_err(|_| StoreError::Unavailable)?.map_err(|error| failed(&error));
        if let Err(error) = connected {
            let _ = client.quit().await;
            return Err(error);
        }
        let channels = Arc::new(channels);
        let partitions = (0_u16..).zip(channels.iter()).map(|(p, channel)| (channel.clone(), Partition(p))).collect();
        let pump = Pump { client: client.clone(), channels: channels.clone(), partitions, sink };
        let pump = tokio::spawn(pump.run(messages, reconnects));
        let bus = Self { client, channels, cluster: url.is_cluster(), pump };
        subscribe(&bus.client, &bus.channels).await.map_err(|error| failed(&error))?;
        Ok(bus)
    }

    /// Subscribes again to one partition's channel: for a gap that no event told of. When even that fails, the connections are made anew,
    /// which ends in `Reconnected`.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn resubscribe(&self, partition: Partition) -> Result<(), StoreError> {
        let Some(channel) = self.channels.get(usize::from(partition.0)) else { return Ok(()) };
        let attempt = async {
            if self.cluster {
                self.client.sync_cluster().await?;
            }
            self.client.ssubscribe(channel.as_str()).await
        };
        match tokio::time::timeout(PATIENCE, attempt).await {
            Ok(Ok(())) => Ok(()),
            _ => {
                let _ = self.client.force_reconnection().await;
                Err(StoreError::Unavailable)
            }
        }
    }
}

fn failed(error: &fred::error::Error) -> StoreError {
    tracing::warn!(kind = ?error.kind(), "cannot subscribe");
    StoreError::Unavailable
}

fn build(url: &RedisUrl) -> Result<SubscriberClient, fred::error::Error> {
    let mut builder = Builder::from_config(url.fred()?);
    builder.set_policy(ReconnectPolicy::new_constant(0, PAUSE_MS));
    builder.with_performance_config(|config| {
        config.broadcast_channel_capacity = BUFFERED;
        config.default_command_timeout = PATIENCE;
    });
    builder.with_connection_config(|config| {
        config.connection_timeout = PATIENCE;
        config.internal_command_timeout = PATIENCE;
        config.auto_client_setname = false;
    });
    builder.build_subscriber_client()
}

/// One command a channel: on a cluster each belongs to a slot of its own.
async fn subscribe(client: &SubscriberClient, channels: &[String]) -> Result<(), fred::error::Error> {
    try_join_all(channels.iter().map(|channel| client.ssubscribe(channel.as_str()))).await?;
    Ok(())
}

/// Takes what fred receives to the sink.
struct Pump {
    client: SubscriberClient,
    channels: Arc<Vec<String>>,
    partitions: HashMap<String, Partition>,
    sink: Sink,
}

impl Pump {
    async fn run(self, mut messages: Receiver<Message>, mut reconnects: Receiver<Server>) {
        // Messages of other shards go on arriving while one is subscribed to again.
        let mut restoring: Option<BoxFuture<'static, ()>> = None;
        loop {
            let restored = async {
                match &mut restoring {
                    Some(work) => work.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => self.deliver(message),
                    Err(RecvError::Lagged(missed)) => {
                        metrics::counter!("switchboard_bus_lagged_total").increment(missed);
                        (self.sink)(BusEvent::Lagged);
                    }
                    Err(RecvError::Closed) => return,
                },
                reconnect = reconnects.recv() => {
                    if matches!(reconnect, Err(RecvError::Closed)) {
                        return;
                    }
                    metrics::counter!("switchboard_bus_reconnects_total").increment(1);
                    // Nothing arrives by the new connection before it is asked to: this is in time.
                    (self.sink)(BusEvent::Interrupted);
                    restoring = Some(restore(self.client.clone(), self.channels.clone()).boxed());
                }
                () = restored => {
                    restoring = None;
                    (self.sink)(BusEvent::Reconnected);
                }
            }
        }
    }

    fn deliver(&self, message: Message) {
        let Some(&partition) = self.partitions.get(&*message.channel) else { return };
        let message = match message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.into_inner(),
            _ => return,
        };
        (self.sink)(BusEvent::Message { partition, message });
    }
}

/// Subscribes to everything until it succeeds.
async fn restore(client: SubscriberClient, channels: Arc<Vec<String>>) {
    while let Err(error) = subscribe(&client, &channels).await {
        tracing::warn!(kind = ?error.kind(), "cannot subscribe again yet");
        tokio::time::sleep(Duration::from_millis(PAUSE_MS.into())).await;
    }
}
