//! From a configuration to a service that serves until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use switchboard_auth::{Hasher, Tokens, WebhookKey, random_id};
use switchboard_core::ClusterKey;
use switchboard_core::domain::NodeId;
use switchboard_records::{Records, RecordsTimeouts};
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::{Revocations, RoomOptions, Rooms, StoreError};
use switchboard_runtime::admin::{self, Readiness};
use switchboard_runtime::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts, now};
use crate::config::{ApiConfig, WebhookConfig};
use crate::lapse::Lapses;
use crate::limits::Limits;
use crate::recorder::{self, RecorderOptions};
use crate::{HttpOptions, erasure, router, server, webhooks};

/// Between tries to reach something that is not there yet.
const RETRY: Duration = Duration::from_millis(500);
/// How long requests in progress may take when the process stops.
const GOODBYE: Duration = Duration::from_secs(10);

/// The sockets that the api was given.
#[derive(Debug)]
pub struct Listeners {
    /// REST and the page.
    pub clients: TcpListener,
    /// Probes and metrics.
    pub admin: TcpListener,
}

/// Serves until `stop`. Redis and MongoDB need not be there at the start: the process is alive and not ready until then.
///
/// # Errors
/// A setting that only shows to be wrong when it is used, or a listener that fails.
pub async fn run(
    config: ApiConfig,
    metrics: Metrics,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let (ready, done) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let probes = admin::router(metrics, readiness(&ready, &stop));
    let admin = tokio::spawn(admin::serve(listeners.admin, probes, done.clone()));
    let served = tokio::select! {
        served = serve(&config, listeners.clients, ready, started, stop.clone()) => served,
        () = late(&stop) => Ok(()),
    };
    done.cancel();
    admin.await.context("the admin listener")??;
    served
}

async fn serve(
    config: &ApiConfig,
    listener: TcpListener,
    ready: Arc<AtomicBool>,
    started: Instant,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let timeouts = RecordsTimeouts { select: config.mongo.timeout, ..RecordsTimeouts::default() };
    let records = Records::connect(config.mongo.uri.expose(), timeouts).await.context("MONGODB_URI")?;
    let rooms = tokio::select! {
        rooms = rooms(config) => rooms?,
        () = stop.cancelled() => return Ok(()),
    };
    let indexes = tokio::spawn(make_indexes(records.clone(), ready));
    let WebhookConfig { options, secret } = config.webhooks.clone();
    let told = options.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let recording = RecorderOptions { webhooks: told, ..RecorderOptions::default() };
    let recorder = tokio::spawn(recorder::run(rooms.clone(), records.clone(), recording, stop.clone()));
    let telling = secret.map(|secret| {
        let key = WebhookKey::new(secret.expose());
        tokio::spawn(webhooks::run(records.clone(), options, key, stop.clone()))
    });
    let lapses = Lapses::new(rooms.clone(), records.clone(), config.unopened_after).run(now, stop.clone());
    let lapses = tokio::spawn(lapses);
    let erasing = tokio::spawn(erasure::run(records.clone(), now, stop.clone()));
    let revoked = Revocations::default();
    let following = tokio::spawn(revoked.clone().follow(rooms.clone(), |_| (), stop.clone()));
    let app = App::new(Parts {
        records,
        limits: Limits::new(RateLimiter::new(rooms.clone()), config.rates),
        rooms,
        tokens: Tokens::new(config.secrets.access.expose(), config.secrets.refresh.expose())
            .with_lifetimes(config.lifetimes),
        revoked,
        operators: config.operators.clone(),
        addresses: ClusterKey::derive(config.secrets.access.expose()),
        hasher: Hasher::new(config.password_concurrency),
        ice: (&config.ice).into(),
        frontend: config.origins.frontend.clone(),
        started,
    });
    let options = HttpOptions { origins: config.origins.clone(), web: config.web.clone(), deadline: config.deadline };
    tracing::info!("serving");
    server::serve(listener, router(app, options), stop).await;
    indexes.abort();
    if let Some(telling) = telling {
        telling.await.context("the webhooks")?;
    }
    lapses.await.context("the look for calls that nobody came to")?;
    erasing.await.context("the look for what is left of deleted calls")?;
    following.await.context("the list of revoked sign-ins")?;
    recorder.await.context("the recorder")
}

/// Connects to Redis, however long that takes.
async fn rooms(config: &ApiConfig) -> anyhow::Result<Rooms> {
    let options = RoomOptions {
        prefix: config.redis.prefix.clone(),
        partitions: config.redis.partitions,
        empty_after: config.empty_after,
        ..RoomOptions::default()
    };
    // An id of its own, never registered: nobody is seated through the api.
    let node = NodeId::parse(&format!("api-{}", random_id())).context("the id of this process")?;
    loop {
        match Rooms::connect(&config.redis.url, options.clone(), node.clone()).await {
            Ok(rooms) => return Ok(rooms),
            Err(StoreError::Unavailable) => tracing::warn!("redis is not there yet"),
            Err(error) => return Err(error).context("REDIS_URL"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Makes the indexes as soon as MongoDB is there; registering rests on one of them, so the pod is not ready before.
async fn make_indexes(records: Records, ready: Arc<AtomicBool>) {
    while let Err(error) = records.ensure_indexes().await {
        tracing::warn!(%error, "the indexes could not be made yet");
        tokio::time::sleep(RETRY).await;
    }
    ready.store(true, Ordering::Relaxed);
}

/// Ready once the indexes are made, and until the process is told to stop. Not a word of Redis or MongoDB after that:
/// their trouble would take every pod out at the same moment, and with them the answers that tell clients of it.
fn readiness(ready: &Arc<AtomicBool>, stop: &CancellationToken) -> Readiness {
    let (ready, stop) = (Arc::clone(ready), stop.clone());
    Readiness::new().check("started", move || {
        let verdict = match (stop.is_cancelled(), ready.load(Ordering::Relaxed)) {
            (true, _) => Err("stopping".to_owned()),
            (false, false) => Err("waiting for MongoDB and Redis".to_owned()),
            (false, true) => Ok(()),
        };
        async move { verdict }
    })
}

/// The moment when waiting for requests in progress ends.
async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GOODBYE).await;
}
