//! A signaling node: Socket.IO sockets on one side, rooms on Redis on the other.
//!
//! The way of an event: `transport` -> `dispatcher` -> `rules` -> `dispatcher` -> the room's log on Redis; and back:
//! `subscriber` -> `hub` -> `outbox` -> `transport`.

pub mod catalog;
pub mod config;
pub mod directory;
pub mod dispatcher;
pub mod drain;
pub mod hub;
pub mod janitor;
pub mod mender;
pub mod meters;
pub mod neighbours;
pub mod pulse;
pub mod roster;
pub mod subscriber;
pub mod welcome;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use switchboard_auth::password::PasswordHasher;
use switchboard_auth::token::Tokens;
use switchboard_core::ClusterKey;
use switchboard_records::{Records, RecordsTimeouts};
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::{Bus, Revocations, Rooms, StoreError};
use switchboard_runtime::admin::{self, Readiness};
use switchboard_runtime::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use config::NodeConfig;
use directory::NodeDirectory;
use dispatcher::{Credentials, Dispatcher};
use hub::Hub;
use janitor::Janitor;
use mender::Mender;
use neighbours::Neighbours;
use pulse::Pulse;
use roster::Roster;
use switchboard_socketio::workers::Workers;
use switchboard_socketio::{Peers, SocketIo, SocketServer, TransportConfig};

/// How long a probe waits for Redis: less than load balancers wait for the probe.
const GLANCE: Duration = Duration::from_millis(200);
/// Between tries to reach a Redis that is not there yet.
const RETRY: Duration = Duration::from_millis(500);

/// The sockets that the node was given.
#[derive(Debug)]
pub struct Listeners {
    /// Clients.
    pub clients: TcpListener,
    /// Other nodes, who hand requests over.
    pub peers: TcpListener,
    /// Probes and metrics.
    pub admin: TcpListener,
}

/// Serves until `stop`, then drains. Redis need not be there at the start: the node is alive and not ready until then.
///
/// # Errors
/// What keeps it from starting: Redis or MongoDB are of the wrong kind, or Redis goes just after it came.
pub async fn run(
    config: NodeConfig,
    metrics: Metrics,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (beating, done) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let connected = Arc::new(OnceLock::new());
    let readiness = readiness(&connected, Arc::clone(&beating), stop.clone());
    let admin = tokio::spawn(admin::serve(listeners.admin, admin::router(metrics, readiness), done.clone()));
    let Some(rooms) = connect(&config, &stop).await? else {
        done.cancel();
        return admin.await.context("the admin listener")?.map_err(Into::into);
    };
    let rooms = connected.get_or_init(|| rooms).clone();
    let records = Records::connect(
        config.mongo.uri.expose(),
        RecordsTimeouts { select: config.mongo.timeout, ..Default::default() },
    )
    .await
    .context("connecting to MongoDB")?;
    let hub = Arc::new(Hub::new(rooms.partitions()));
    let tasks = TaskTracker::new();
    let mender =
        Mender { node: config.node.clone(), rooms: rooms.clone(), hub: Arc::clone(&hub), tasks: tasks.clone() };
    let sink = subscriber::sink(mender.clone());
    let bus = Bus::start(&config.rooms.redis.url, &config.rooms.options, &config.node, sink)
        .await
        .context("subscribing on Redis")?;

    let well = Arc::new(AtomicBool::new(false));
    let directory = Arc::new(NodeDirectory::new(rooms.clone()));
    let peers = Peers::new(config.node.as_str(), config.listen.handovers.key, directory, Arc::clone(&well));
    let janitor = Janitor {
        node: config.node.clone(),
        rooms: rooms.clone(),
        hub: Arc::clone(&hub),
        bus,
        mender: mender.clone(),
        ready: beating,
        well: Arc::clone(&well),
        address: config.listen.handovers.address,
    };
    let janitor = tokio::spawn(Arc::new(janitor).run(Neighbours::new(peers.clone()), done.clone()));
    let roster = Roster::default();
    let revoked = Revocations::default();
    revoked.refresh(&rooms).await.context("reading the list of revoked sign-ins")?;
    let watching = TaskTracker::new();
    watching.spawn(revoked.clone().follow(
        rooms.clone(),
        {
            let roster = roster.clone();
            move |sign_in| roster.end(sign_in)
        },
        done.clone(),
    ));
    let pulse = Pulse { rooms: rooms.clone(), roster: roster.clone(), well };
    watching.spawn(pulse.run(done.clone()));
    watching.close();
    let partitions = rooms.partitions();
    let dispatcher = Dispatcher {
        node: config.node.clone(),
        limiter: RateLimiter::new(rooms.clone()),
        rooms,
        records,
        hub: Arc::clone(&hub),
        roster: roster.clone(),
        mender,
        meters: meters::RelayMeters::default(),
        credentials: Credentials {
            revoked,
            addresses: ClusterKey::derive(config.secrets.access.expose()),
            tokens: Tokens::new(config.secrets.access.expose(), config.secrets.refresh.expose()),
            hasher: PasswordHasher::new(std::thread::available_parallelism().map_or(1, usize::from)),
            ice: (&config.ice).into(),
        },
        limits: config.sockets.sessions,
        tasks: tasks.clone(),
    };
    let server = SocketServer::new(
        TransportConfig { peers: Some(peers), ..config.sockets.transport },
        vec![("/socket.io/".to_owned(), Arc::new(SocketIo::new(Arc::new(dispatcher))))],
        Workers::start(config.listen.workers).context("starting the workers")?,
    );
    let accepting = CancellationToken::new();
    let accepted = tokio::spawn({
        let (server, accepting) = (server.clone(), accepting.clone());
        async move { server.run(listeners.clients, accepting).await }
    });
    let handed_over = tokio::spawn({
        let (server, accepting) = (server.clone(), accepting.clone());
        async move { server.run_handovers(listeners.peers, accepting).await }
    });
    tracing::info!(node_id = %config.node, "serving");
    stop.cancelled().await;

    config.sockets.drain.run(&server, &hub, partitions).await;
    accepting.cancel();
    tasks.close();
    // Farewells that Redis does not take are told by the sweep of this node instead.
    let _late = tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await;
    done.cancel();
    janitor.await.context("the janitor")?;
    watching.wait().await;
    accepted.await.context("the listener")?;
    handed_over.await.context("the listener for other nodes")?;
    admin.await.context("the admin listener")??;
    Ok(())
}

/// Connects to Redis, however long that takes: a node that ended instead would be started again ever more seldom, and be missing when
/// Redis is back. `None`: it was told to stop meanwhile.
async fn connect(config: &NodeConfig, stop: &CancellationToken) -> anyhow::Result<Option<Rooms>> {
    let redis = &config.rooms;
    loop {
        match Rooms::connect(&redis.redis.url, redis.options.clone(), config.node.clone()).await {
            Ok(rooms) => return Ok(Some(rooms)),
            Err(StoreError::Unavailable) => tracing::warn!("redis is not there yet"),
            Err(error) => return Err(error).context("connecting to Redis"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// A node is ready while it beats, its subscription lives and Redis keeps what it is given; not while it drains.
fn readiness(connected: &Arc<OnceLock<Rooms>>, beating: Arc<AtomicBool>, stop: CancellationToken) -> Readiness {
    let connected = Arc::clone(connected);
    Readiness::new()
        .check("cluster", move || {
            let beating = beating.load(Ordering::Relaxed);
            async move { if beating { Ok(()) } else { Err("not registered, or its subscription is silent".to_owned()) } }
        })
        .check("redis_policy", move || {
            let connected = Arc::clone(&connected);
            async move {
                // Until then the cluster check says no.
                let Some(rooms) = connected.get() else { return Ok(()) };
                match timeout(GLANCE, rooms.policy()).await {
                    Ok(Ok(policy)) if policy != "noeviction" => Err(format!("maxmemory-policy must be noeviction and is {policy}")),
                    // A Redis that does not answer is the cluster check's business, which has patience; and a probe that waited for it would
                    // fail on every node at once.
                    Ok(_) | Err(_) => Ok(()),
                }
            }
        })
        .check("draining", move || {
            let draining = stop.is_cancelled();
            async move { if draining { Err("this node is going away".to_owned()) } else { Ok(()) } }
        })
}
