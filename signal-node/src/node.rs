//! One signaling node: start, serve, drain, stop.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use switchboard_auth::AppVault;
use switchboard_auth::password::PasswordHasher;
use switchboard_auth::token::Tokens;
use switchboard_calls::AppDirectory;
use switchboard_jwks::JwksCache;
use switchboard_records::{Records, RecordsTimeouts, Schema};
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::{Bus, RevocationReason, Revocations, Revoked, Rooms, StoreError};
use switchboard_runtime::admin;
use switchboard_runtime::background::BackgroundTasks;
use switchboard_runtime::telemetry::Metrics;
use switchboard_socketio::workers::Workers;
use switchboard_socketio::{Peers, SocketIo, SocketServer, TransportConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app_limiters::AppLimiters;
use crate::balance::Balancer;
use crate::config::NodeConfig;
use crate::delivery::{self, CatchUp, Hub, ReadPermits, RoomReads};
use crate::directory::NodeDirectory;
use crate::dispatcher::{Credentials, Dispatcher};
use crate::health::{self, NodeHealth, PeerHealth, RedisHealth, SchemaCheck};
use crate::membership::{Membership, SeatRecovery};
use crate::meters::RelayMeters;
use crate::session_registry::SessionRegistry;

/// Time between two attempts to reach Redis at start.
const CONNECT_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Time that a stopping node waits for tasks: departures and reads that Redis has not answered yet.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// Open sockets of the node's three ports.
#[derive(Debug)]
pub struct Listeners {
    /// Port for clients.
    pub clients: TcpListener,
    /// Port for hand-overs from other nodes.
    pub peers: TcpListener,
    /// Port for probes and metrics.
    pub admin: TcpListener,
}

/// Parts of the node that several others use.
struct Shared {
    rooms: Rooms,
    hub: Arc<Hub>,
    sessions: SessionRegistry,
    health: NodeHealth,
    catch_up: CatchUp,
    /// Tasks that outlive the event that started them.
    tasks: TaskTracker,
}

/// Tokens that end the parts of the node, in this order.
struct Stops {
    /// Asks the node to stop: it begins to drain.
    node: CancellationToken,
    /// Ends the accepting of connections, after the drain.
    accepting: CancellationToken,
    /// Ends the other background tasks, after the last departures.
    background: CancellationToken,
}

/// Serves until `stop`, then drains and ends. Redis may be away at the start: until it is reached
/// the node is alive and not ready.
///
/// # Errors
/// The reason why the node cannot start: a Redis or MongoDB that is configured wrongly, or a Redis
/// that goes away just after it was reached. A background task that ended early, after the drain.
pub async fn run(
    config: NodeConfig,
    metrics: Metrics,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listeners { clients, peers, admin } = listeners;
    let (health, rooms) = (NodeHealth::default(), Arc::new(OnceLock::new()));
    let stops = Stops { node: stop.clone(), accepting: CancellationToken::new(), background: CancellationToken::new() };
    let background = BackgroundTasks::new(stop.clone());
    let schema = SchemaCheck::default();
    let readiness = health::readiness(&rooms, health.clone(), schema.clone(), stop.clone());
    background
        .spawn("admin listener", admin::serve(admin, admin::router(metrics, readiness), stops.background.clone()));

    // Reaches no server yet. A connection string that cannot be used ends the process at once.
    let timeouts = RecordsTimeouts { select: config.mongo.timeout, ..Default::default() };
    let records = Records::connect(config.mongo.uri.expose(), timeouts).await.context("MONGODB_URI")?;
    let Some(connected) = connect(&config, &stop).await? else {
        stops.background.cancel();
        return Ok(background.wait().await?);
    };
    let shared = Shared::new(&config, rooms.get_or_init(|| connected).clone(), health);
    shared.tasks.spawn(schema.run(Schema::new(&records), stop.clone()));
    let (dispatcher, transport) = start(&config, &shared, records, &background, &stops).await?;
    let server = SocketServer::new(
        transport,
        vec![("/socket.io/".to_owned(), Arc::new(SocketIo::new(Arc::new(dispatcher))))],
        Workers::start(config.listen.workers).context("starting the workers")?,
    );
    accept(&server, clients, peers, &background, &stops.accepting);
    tracing::info!(node_id = %config.node, "serving");
    stop.cancelled().await;

    config.sockets.drain.run(&server, &shared.hub, shared.rooms.partitions()).await;
    stops.accepting.cancel();
    shared.tasks.close();
    // If Redis does not accept a departure in time, the sweep of this node frees the seat.
    let _late = tokio::time::timeout(TASKS_TIMEOUT, shared.tasks.wait()).await;
    stops.background.cancel();
    Ok(background.wait().await?)
}

/// Connects to Redis, however long that takes. A process that ended instead would be restarted with
/// growing delays, and be missing when Redis is back. Returns `None` if `stop` came first.
async fn connect(config: &NodeConfig, stop: &CancellationToken) -> anyhow::Result<Option<Rooms>> {
    let redis = &config.rooms;
    loop {
        match Rooms::connect(&redis.redis.url, redis.options.clone(), config.node.clone()).await {
            Ok(rooms) => return Ok(Some(rooms)),
            // The store has logged the cause, once.
            Err(StoreError::Unavailable) => tracing::debug!("redis not reached yet"),
            Err(error) => return Err(error).context("connecting to Redis"),
        }
        tokio::select! {
            () = tokio::time::sleep(CONNECT_RETRY_INTERVAL) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// Subscribes in Redis and starts the background tasks. Returns the application of the server and
/// the server's configuration.
async fn start(
    config: &NodeConfig,
    shared: &Shared,
    records: Records,
    background: &BackgroundTasks,
    stops: &Stops,
) -> anyhow::Result<(Dispatcher, TransportConfig)> {
    let stopped = &stops.background;
    let sink = delivery::sink(shared.catch_up.clone());
    let bus = Bus::start(&config.rooms.redis.url, &config.rooms.options, &config.node, sink)
        .await
        .context("subscribing in Redis")?;
    let directory = Arc::new(NodeDirectory::new(shared.rooms.clone()));
    let handover_key = config.listen.handovers.key.clone();
    let peers = Peers::new(config.node.as_str(), handover_key, directory, shared.health.healthy_flag());

    let membership = shared.membership(config, bus);
    let peer_health = PeerHealth::new(peers.clone(), shared.rooms.clone(), config.node.clone());
    background.spawn("membership", Arc::new(membership).run(peer_health, stopped.clone()));
    let revoked = Revocations::default();
    revoked.refresh(&shared.rooms).await.context("reading the list of revoked sign-ins")?;
    shared.start_watchers(&revoked, background, stopped);
    let vault = config.secrets.app_master.clone().map(AppVault::new);
    let apps = AppDirectory::new(records.clone(), vault, JwksCache::default());
    let sessions = shared.sessions.clone();
    let close = move |sign_in: &_| sessions.close_sign_in(sign_in);
    background.spawn("reader of apps", apps.clone().follow(close, stopped.clone()));
    let limiters = AppLimiters::new(shared.rooms.clone(), apps.clone());
    background.spawn("limits of apps", limiters.clone().run(stopped.clone()));
    background.spawn("balancer", shared.balancer(config).run(stops.node.clone()));
    background.spawn("reader of key files", config.secrets.files.clone().watch(stopped.clone()));
    let mut transport = TransportConfig { peers: Some(peers), ..config.sockets.transport.clone() };
    let known = apps.clone();
    transport.allowed_origins = transport.allowed_origins.or(move |origin| known.has_origin(origin));
    let dispatcher = shared.dispatcher(config, records, revoked, (apps, limiters));
    Ok((dispatcher, transport))
}

impl Shared {
    fn new(config: &NodeConfig, rooms: Rooms, health: NodeHealth) -> Self {
        let (hub, tasks) = (Arc::new(Hub::new(rooms.partitions())), TaskTracker::new());
        let catch_up = CatchUp {
            node: config.node.clone(),
            ice: Arc::new((&config.ice).into()),
            rooms: rooms.clone(),
            hub: Arc::clone(&hub),
            tasks: tasks.clone(),
            reads: ReadPermits::default(),
            room_reads: RoomReads::new(rooms.clone()),
        };
        Self { rooms, hub, sessions: SessionRegistry::default(), health, catch_up, tasks }
    }

    fn membership(&self, config: &NodeConfig, bus: Bus) -> Membership {
        let (rooms, hub) = (self.rooms.clone(), Arc::clone(&self.hub));
        Membership {
            node: config.node.clone(),
            bus,
            recovery: SeatRecovery::new(rooms.clone(), Arc::clone(&hub), self.tasks.clone()),
            rooms,
            hub,
            health: self.health.clone(),
            address: config.listen.handovers.address.clone(),
        }
    }

    fn start_watchers(&self, revoked: &Revocations, background: &BackgroundTasks, stopped: &CancellationToken) {
        let sessions = self.sessions.clone();
        // After a replay, `Dispatcher::tick` closes each session when its access token has expired.
        let close = move |revoked: &Revoked| {
            if revoked.reason == RevocationReason::SignedOut {
                sessions.close_sign_in(&revoked.sign_in);
            }
        };
        background.spawn("reader of revocations", revoked.clone().follow(self.rooms.clone(), close, stopped.clone()));
        let redis_health =
            RedisHealth { rooms: self.rooms.clone(), sessions: self.sessions.clone(), health: self.health.clone() };
        background.spawn("health of Redis", redis_health.run(stopped.clone()));
    }

    fn balancer(&self, config: &NodeConfig) -> Balancer {
        Balancer {
            node: config.node.clone(),
            rooms: self.rooms.clone(),
            hub: Arc::clone(&self.hub),
            health: self.health.clone(),
            automatic: config.sockets.rebalances,
        }
    }

    fn dispatcher(
        &self,
        config: &NodeConfig,
        records: Records,
        revoked: Revocations,
        (apps, limiters): (AppDirectory, AppLimiters),
    ) -> Dispatcher {
        let secrets = &config.secrets;
        Dispatcher {
            node: config.node.clone(),
            limiter: RateLimiter::new(self.rooms.clone()),
            app_limiters: limiters,
            rooms: self.rooms.clone(),
            records,
            hub: Arc::clone(&self.hub),
            sessions: self.sessions.clone(),
            catch_up: self.catch_up.clone(),
            meters: RelayMeters::default(),
            credentials: Credentials {
                revoked,
                apps,
                addresses: secrets.address_key(),
                tokens: Tokens::new(&secrets.access, &secrets.refresh),
                hasher: PasswordHasher::new(config.listen.password_concurrency),
                ice: Arc::clone(&self.catch_up.ice),
            },
            limits: config.sockets.sessions,
            tasks: self.tasks.clone(),
        }
    }
}

/// Starts to accept connections from clients and from other nodes.
fn accept(
    server: &SocketServer,
    clients: TcpListener,
    peers: TcpListener,
    background: &BackgroundTasks,
    stop: &CancellationToken,
) {
    let (serving, stopped) = (server.clone(), stop.clone());
    background.spawn("client listener", async move { serving.run(clients, stopped).await });
    let (serving, stopped) = (server.clone(), stop.clone());
    background.spawn("hand-over listener", async move { serving.run_handovers(peers, stopped).await });
}
