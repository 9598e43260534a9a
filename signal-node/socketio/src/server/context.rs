//! State that all connections of a server share.

use std::sync::Arc;

use switchboard_core::domain::whole_seconds;
use switchboard_net::{ClientAddresses, ConnectionMetrics};
use tokio::time::Instant;

use crate::bounds::{
    ClientNetwork, Connections, MessageBounds, NetworkBudget, NetworkRates, RateTable, SharedMessageBounds,
};
use crate::config::{AdmissionLimits, TransportConfig};
use crate::engine::{Engine, Service};
use crate::handover::Handovers;
use crate::polling::{PollingSession, PollingTransport};
use crate::protocol::{Handshake, HandshakeError};
use crate::registry::{SessionForRequests, SilentSession, SocketRegistry, WokenSession};
use crate::send_queue::{Backlog, Delayed, Queue, SendQueueLimits};
use crate::transport::Transport;
use crate::workers::Workers;

const CONNECTION_METRICS: ConnectionMetrics =
    ConnectionMetrics { open: "switchboard_connections_open", replaced: "switchboard_connections_replaced_total" };

/// State that all connections of a server share. The struct has more than eight fields: each is one
/// bound or table of the server.
pub(super) struct ServerContext {
    pub(super) config: Arc<TransportConfig>,
    /// Paths and their services.
    pub(super) routes: Vec<(String, Arc<dyn Service>)>,
    pub(super) sockets: Arc<SocketRegistry>,
    /// TCP connections of clients.
    pub(super) connections: Arc<Connections<ClientNetwork>>,
    pub(super) rates: Rates,
    /// Reads the addresses of clients.
    pub(super) addresses: ClientAddresses,
    pub(super) handovers: Handovers,
    /// Bounds on messages.
    messages: Arc<SharedMessageBounds>,
    /// Packets and frames by client network.
    network_rates: Arc<NetworkRates>,
    /// Queues with delayed messages.
    delayed: Arc<Delayed>,
    /// Bytes in all queues.
    backlog: Arc<Backlog>,
}

/// Rates by client network.
pub(super) struct Rates {
    requests: Option<RateTable>,
    handshakes: Option<RateTable>,
    handovers: Option<RateTable>,
}

impl ServerContext {
    pub(super) fn new(config: TransportConfig, routes: Vec<(String, Arc<dyn Service>)>, workers: Workers) -> Self {
        let limits = &config.admission;
        // Behind proxies all connections come from the proxies.
        let per_address = if config.proxies.hops == 0 { limits.connections_per_address } else { 0 };
        let connections = Connections::new(CONNECTION_METRICS, limits.connections, per_address);
        Self {
            sockets: Arc::new(SocketRegistry::new(workers, limits, &config.timeouts)),
            connections: Arc::new(connections),
            rates: Rates::new(limits),
            addresses: ClientAddresses::new(config.proxies),
            handovers: Handovers::new(&config),
            messages: Arc::new(SharedMessageBounds::new(&config.limits, limits)),
            network_rates: Arc::new(NetworkRates::new(limits)),
            backlog: Arc::new(Backlog::new(config.limits.send_queues_bytes)),
            config: Arc::new(config),
            routes,
            delayed: Arc::default(),
        }
    }

    /// Returns an open session for its HTTP requests. The first request of a silent one starts its
    /// task.
    pub(super) fn session(&self, sid: &str) -> Option<SessionForRequests> {
        let wake = |silent: &SilentSession| {
            let messages = self.message_bounds(silent.handshake.network);
            (self.new_queue(), Arc::new(PollingSession::new(silent.opening, messages)))
        };
        let (found, woken) = self.sockets.session(sid, wake)?;
        if let Some(WokenSession { session, queue, polling, registration }) = woken {
            let transport = Transport::Polling(PollingTransport::new(polling));
            let engine = self.new_engine(transport, queue, session.handshake);
            registration.serve(&*session.service, engine);
        }
        Some(found)
    }

    /// Creates the session of a new socket.
    pub(super) fn new_engine(&self, transport: Transport, queue: Arc<Queue>, handshake: Arc<Handshake>) -> Engine {
        let messages = self.message_bounds(handshake.network);
        let budget = NetworkBudget::new(handshake.network, &self.network_rates, self.config.limits.events_per_second);
        Engine::new(transport, queue, handshake, Arc::clone(&self.config), messages, budget)
    }

    /// Creates the bounds on the messages of a client.
    pub(super) fn message_bounds(&self, client: ClientNetwork) -> MessageBounds {
        MessageBounds::new(&self.messages, client)
    }

    /// Creates the send queue of a new socket.
    pub(super) fn new_queue(&self) -> Arc<Queue> {
        let limits = self.config.limits;
        let limits = SendQueueLimits { bytes: limits.send_queue_bytes, messages: limits.send_queue_messages };
        Queue::new(limits, Arc::clone(&self.delayed), Arc::clone(&self.backlog))
    }
}

impl Rates {
    fn new(limits: &AdmissionLimits) -> Self {
        Self {
            requests: limits.requests.map(RateTable::new),
            handshakes: limits.handshakes.map(RateTable::new),
            handovers: limits.handovers.map(RateTable::new),
        }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// The client's network exceeds the rate.
    pub(super) fn count_request(&self, client: ClientNetwork) -> Result<(), HandshakeError> {
        count(self.requests.as_ref(), client, HandshakeError::TooManyRequests)
    }

    /// Counts a request that opens a socket.
    ///
    /// # Errors
    /// The client's network exceeds the rate.
    pub(super) fn count_handshake(&self, client: ClientNetwork) -> Result<(), HandshakeError> {
        count(self.handshakes.as_ref(), client, HandshakeError::TooManyHandshakes)
    }

    /// Counts a request that is handed over to another node.
    ///
    /// # Errors
    /// The client's network exceeds the rate.
    pub(super) fn count_handover(&self, client: ClientNetwork) -> Result<(), HandshakeError> {
        count(self.handovers.as_ref(), client, HandshakeError::TooManyHandovers)
    }
}

fn count(
    table: Option<&RateTable>,
    client: ClientNetwork,
    refusal: fn(u64) -> HandshakeError,
) -> Result<(), HandshakeError> {
    let Some(table) = table else { return Ok(()) };
    table.take(client, 1, Instant::now()).map_err(|wait| refusal(whole_seconds(wait)))
}
