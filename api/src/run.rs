//! Starts the service from a configuration, and stops it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use switchboard_auth::{AppVault, PasswordHasher, Tokens, random_id};
use switchboard_calls::AppDirectory;
use switchboard_core::domain::NodeId;
use switchboard_core::failure_log::FailureLog;
use switchboard_jwks::JwksCache;
use switchboard_records::{Records, RecordsError, RecordsTimeouts, Schema};
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::{Revocations, RoomOptions, Rooms, StoreError};
use switchboard_runtime::admin::{self, Readiness};
use switchboard_runtime::background::BackgroundTasks;
use switchboard_runtime::config::Mode;
use switchboard_runtime::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::clock::now;
use crate::config::{ApiConfig, WebhookConfig};
use crate::erasure;
use crate::http::server;
use crate::limits::Limits;
use crate::recorder::{self, RecorderOptions};
use crate::router::{HttpOptions, router};
use crate::stale_calls::StaleCalls;
use crate::webhooks::{EndpointDirectory, Webhooks};

/// Pause between attempts to reach Redis or MongoDB at the start.
const CONNECT_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Maximum time for requests in progress when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Listening sockets of the service.
#[derive(Debug)]
pub struct Listeners {
    /// Listener for REST and the web page.
    pub clients: TcpListener,
    /// Listener for probes and metrics.
    pub admin: TcpListener,
}

/// Serves until `stop` is cancelled. If Redis or MongoDB is unavailable at the start, the process
/// is alive but not ready until both answer.
///
/// # Errors
/// A setting turns out to be invalid when it is used, or a background task ended early.
pub async fn run(
    config: ApiConfig,
    metrics: Metrics,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let (ready, done) = (Start::default(), CancellationToken::new());
    let probes = admin::router(metrics, readiness(&ready, &stop));
    let (admin, background) = (BackgroundTasks::new(stop.clone()), BackgroundTasks::new(stop.clone()));
    admin.spawn("admin listener", admin::serve(listeners.admin, probes, done.clone()));
    let served = tokio::select! {
        served = serve(&config, listeners.clients, ready, started, &background, &stop) => served,
        () = stop_timeout(&stop) => background.outcome().map_err(Into::into),
    };
    // Also after a failed start, so that the end of the admin listener is no failure of its own.
    stop.cancel();
    done.cancel();
    admin.wait().await?;
    served
}

async fn serve(
    config: &ApiConfig,
    listener: TcpListener,
    ready: Start,
    started: Instant,
    tasks: &BackgroundTasks,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let timeouts = RecordsTimeouts { select: config.mongo.timeout, ..RecordsTimeouts::default() };
    let records = Records::connect(config.mongo.uri.expose(), timeouts).await.context("MONGODB_URI")?;
    // Background work has connections of its own, so that requests cannot stop it.
    let background = records.for_recording().with_line_budgets(config.lines);
    let rooms = tokio::select! {
        rooms = rooms(config) => rooms?,
        () = stop.cancelled() => return Ok(()),
    };
    let readable = Readable { schema: CancellationToken::new(), stop: stop.clone() };
    let preparation = prepare_records(background.clone(), ready, readable.schema.clone());
    let preparation = stop.clone().run_until_cancelled_owned(preparation);
    tasks.spawn("preparation of MongoDB", preparation.map(|_| ()));
    let vault = config.secrets.app_master.clone().map(AppVault::new);
    let WebhookConfig { endpoints, options, https_only } = config.webhooks.clone();
    let has_webhooks = vault.is_some() || !endpoints.is_empty();
    let directory = EndpointDirectory::new(background.clone(), vault.clone(), endpoints);
    let recording = RecorderOptions::default();
    let recorder = recorder::run(rooms.clone(), background.clone(), directory.clone(), recording, stop.clone());
    tasks.spawn("recorder", readable.clone().run(recorder));
    let webhooks = Webhooks::new(directory, options);
    if has_webhooks {
        let deliverer = webhooks.clone().run(background.clone(), stop.clone());
        tasks.spawn("webhooks", readable.clone().run(deliverer));
    }
    tasks.spawn("reader of key files", config.secrets.files.clone().watch(stop.clone()));
    let stale_calls = StaleCalls::new(rooms.clone(), background.clone(), config.unopened_after).run(now, stop.clone());
    tasks.spawn("sweep of stale calls", readable.clone().run(stale_calls));
    tasks.spawn("erasure of deleted calls", readable.run(erasure::run(background, now, stop.clone())));
    let revoked = Revocations::default();
    tasks.spawn("reader of revocations", revoked.clone().follow(rooms.clone(), |_| (), stop.clone()));
    let apps = AppDirectory::new(records.clone(), vault.clone(), JwksCache::default());
    tasks.spawn("reader of apps", apps.clone().follow(|_| (), stop.clone()));
    let app = App::new(Parts {
        records,
        limits: Limits::new(RateLimiter::new(rooms.clone()), config.rates),
        rooms,
        tokens: Tokens::new(&config.secrets.access, &config.secrets.refresh).with_lifetimes(config.lifetimes),
        revoked,
        apps,
        vault,
        is_development: config.mode == Mode::Development,
        webhooks,
        webhooks_https_only: https_only,
        operators: config.operators.clone(),
        addresses: config.secrets.address_key(),
        hasher: PasswordHasher::new(config.password_concurrency),
        ice: (&config.ice).into(),
        frontend: config.origins.frontend.clone(),
        reopen_within_ms: i64::try_from(config.reopen_within.as_millis()).unwrap_or(i64::MAX),
        started,
    });
    let options = HttpOptions { origins: config.origins.clone(), web: config.web.clone(), deadline: config.deadline };
    tracing::info!("serving");
    server::serve(listener, router(app, options), config.connections, stop.clone()).await;
    Ok(tasks.wait().await?)
}

/// Connects to Redis. Retries until Redis is available.
async fn rooms(config: &ApiConfig) -> anyhow::Result<Rooms> {
    let options = RoomOptions {
        prefix: config.redis.prefix.clone(),
        partitions: config.redis.partitions,
        empty_after: config.empty_after,
        ..RoomOptions::default()
    };
    // The id is never registered as a node, because no participant is seated through the api.
    let node = NodeId::parse(&format!("api-{}", random_id())).context("id of this process")?;
    loop {
        match Rooms::connect_with_fred(&config.redis.url, options.clone(), node.clone()).await {
            Ok(rooms) => return Ok(rooms),
            // The store has logged the cause, once.
            Err(StoreError::Unavailable) => tracing::debug!("Redis is unavailable; retrying"),
            Err(error) => return Err(error).context("REDIS_URL"),
        }
        tokio::time::sleep(CONNECT_RETRY_PAUSE).await;
    }
}

/// Migrates the documents and creates the indexes as soon as MongoDB answers, and again whenever
/// the primary changes, because it may have come back empty or with other data. The pod is not
/// ready before the first time. Cancels `readable` when this program reads the documents.
async fn prepare_records(records: Records, ready: Start, readable: CancellationToken) {
    let (mut failures, started) = (FailureLog::default(), Instant::now());
    let schema = Schema::new(&records);
    loop {
        // Read first: a primary that appears meanwhile is prepared in the next round.
        let changes = records.primary_changes();
        while let Err((step, error)) = prepare_once(&schema, &records, &ready, &readable).await {
            let cause = error.to_string();
            if failures.failed(step, &cause, started.elapsed()) {
                tracing::warn!(step, %error, "preparing MongoDB failed; retrying");
            }
            ready.waits(cause);
            tokio::time::sleep(CONNECT_RETRY_PAUSE).await;
        }
        ready.done();
        records.primary_changed(changes).await;
    }
}

/// Returns the step that failed, and its error.
async fn prepare_once(
    schema: &Schema,
    records: &Records,
    ready: &Start,
    readable: &CancellationToken,
) -> Result<(), (&'static str, RecordsError)> {
    schema.ensure(|progress| ready.waits(progress)).await.map_err(|error| ("schema", error))?;
    readable.cancel();
    records.ensure_indexes().await.map_err(|error| ("indexes", error))
}

/// Condition for background work: `schema` is cancelled when this program reads the documents. A
/// pod whose program is too old for them must not write any.
#[derive(Clone)]
struct Readable {
    schema: CancellationToken,
    stop: CancellationToken,
}

impl Readable {
    /// Runs `work` from then on, unless the process stops before.
    async fn run(self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.schema.cancelled() => work.await,
            () = self.stop.cancelled() => {}
        }
    }
}

/// Returns the readiness check: ready from the end of the preparation until the process is asked to
/// stop. Later failures of Redis or MongoDB do not count, because they would make every pod
/// unready at the same moment, and clients would get no response with an error code.
fn readiness(ready: &Start, stop: &CancellationToken) -> Readiness {
    let (ready, stop) = (ready.clone(), stop.clone());
    Readiness::new().check("started", move || {
        let result = if stop.is_cancelled() { Err("stopping".to_owned()) } else { ready.state() };
        async move { result }
    })
}

/// Whether the start is done, or what it waits for. Clones share it.
#[derive(Clone)]
struct Start(Arc<watch::Sender<Result<(), String>>>);

impl Default for Start {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Err("waiting for MongoDB and Redis".to_owned()))))
    }
}

impl Start {
    /// Names what the start waits for, unless it is done.
    fn waits(&self, cause: String) {
        self.0.send_if_modified(|state| state.is_err() && std::mem::replace(state, Err(cause)).is_err());
    }

    fn done(&self) {
        let _before = self.0.send_replace(Ok(()));
    }

    fn state(&self) -> Result<(), String> {
        self.0.borrow().clone()
    }
}

/// Waits for `stop`, and then for the time that requests in progress have.
async fn stop_timeout(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
}
