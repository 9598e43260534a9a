//! The connections to one server: a pool for scripts and small reads, and a connection for reads
//! with large answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::fred::clients::{Client, Pool};
use ::fred::interfaces::{ClientLike, EventInterface};
use ::fred::types::config::{
    Config, ConnectionConfig, ReconnectPolicy, Server as FredServer, ServerConfig, TcpConfig, TlsConfig, TlsConnector,
    UnresponsiveConfig,
};
use redis::cmd;
use socket2::TcpKeepalive;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use crate::conn::connection::{Connection, ConnectionError, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES_MAX};
use crate::conn::{Credentials, Purpose, RedisUrl, tls};
use crate::lanes::{ANSWER_TIMEOUT, Address, BACKOFF_MAX, BACKOFF_MIN, Traffic, within};

/// Number of connections for scripts and small reads. The second serves while the first is lost,
/// and runs on another core.
const REQUEST_CONNECTIONS: usize = 2;
/// Number of all connections to a server: the last is for reads with large answers.
const CONNECTIONS: usize = REQUEST_CONNECTIONS + 1;
/// Time between two polls of the state of a connection that works. Events of `fred` tell earlier.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time without a connection after which the cause is looked for.
const DIAGNOSIS_DELAY: Duration = Duration::from_millis(100);
/// Time between two looks for the cause.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which `fred` looks for a server that does not answer.
const SILENCE_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Which of the connections work.
type Working = [bool; CONNECTIONS];

/// The connections to a server. They close when the value is dropped.
pub(super) struct Server {
    pub(super) address: Address,
    requests: Pool,
    large_reads: Client,
    working: watch::Receiver<Working>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Server {
    /// Starts to connect. `None` if a file of the client's certificate cannot be used, which is
    /// logged.
    pub(super) async fn start(shared: &Arc<Shared>, address: &Address) -> Option<Arc<Self>> {
        let started = config(&shared.url, address).await.and_then(|config| Self::connect(shared, address, config));
        match started {
            Ok(server) => Some(Arc::new(server)),
            Err(error) => {
                shared.url.failed(Purpose::Requests, address, &error);
                None
            }
        }
    }

    /// Starts the tasks. Not async, because one of them starts servers too.
    fn connect(shared: &Arc<Shared>, address: &Address, config: Config) -> Result<Self, ConnectionError> {
        let (connection, policy) = (connection_config(shared.queue_time()), reconnect_policy());
        let (connection, policy) = (Some(connection), Some(policy));
        let requests = Pool::new(config.clone(), None, connection.clone(), policy.clone(), REQUEST_CONNECTIONS);
        let requests = requests.map_err(|error| ConnectionError::Refused(error.to_string()))?;
        let large_reads = Client::new(config, None, connection, policy);
        let (working, works) = watch::channel([false; CONNECTIONS]);
        let clients = requests.clients().iter().chain([&large_reads]).cloned().enumerate();
        let mut tasks: Vec<_> = clients
            .map(|(index, client)| AbortOnDropHandle::new(tokio::spawn(keep_connected(client, index, working.clone()))))
            .collect();
        let diagnosis = diagnose(Arc::downgrade(shared), shared.url.clone(), address.clone(), works.clone());
        tasks.push(AbortOnDropHandle::new(tokio::spawn(diagnosis)));
        Ok(Self { address: address.clone(), requests, large_reads, working: works, _tasks: tasks })
    }

    /// Waits for a connection that works.
    pub(super) async fn client(&self, traffic: Traffic) -> &Client {
        let (requests, large_reads) = (0..REQUEST_CONNECTIONS, REQUEST_CONNECTIONS..CONNECTIONS);
        let range = match traffic {
            Traffic::Requests => requests,
            Traffic::LargeReads => large_reads,
        };
        let mut working = self.working.clone();
        // It fails only without a sender, and the tasks of this value have them.
        let _ = working.wait_for(|working| working[range.clone()].contains(&true)).await;
        match traffic {
            Traffic::Requests => self.requests.next_connected(),
            Traffic::LargeReads => &self.large_reads,
        }
    }
}

/// Returns the configuration of a connection, with the certificates as their files are now.
async fn config(url: &RedisUrl, (host, port): &Address) -> Result<Config, ConnectionError> {
    let tls = if url.tls() {
        let config = tls::config(url.client_certificate()).await.map_err(ConnectionError::Tls)?;
        Some(TlsConfig::from(TlsConnector::from(config)))
    } else {
        None
    };
    // `fred` looks an address up as `host:port`, where IPv6 needs brackets.
    let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let server = FredServer { host: name.into(), port: *port, tls_server_name: Some(host.clone().into()) };
    let credentials = url.credentials();
    Ok(Config {
        // An attempt that fails is followed by the next one, the first time too.
        fail_fast: false,
        server: ServerConfig::Centralized { server },
        username: credentials.and_then(|Credentials { user, .. }| user.clone()),
        password: credentials.map(|Credentials { password, .. }| password.clone()),
        database: Some(url.database()).filter(|&database| database != 0),
        tls,
        ..Config::default()
    })
}

/// Returns the bounds of a connection. `limit` is the time that a request may take.
fn connection_config(limit: Duration) -> ConnectionConfig {
    let tcp = TcpConfig {
        nodelay: Some(true),
        // The bytes of a lost connection that Redis has not got yet are never sent. Otherwise a
        // request could take effect late, after its repetition and newer requests.
        linger: Some(Duration::ZERO),
        keepalive: Some(
            TcpKeepalive::new()
                .with_time(KEEPALIVE_INTERVAL)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_PROBES_MAX),
        ),
        // A server that lost its power acknowledges nothing.
        user_timeout: Some(limit),
        ttl: None,
    };
    ConnectionConfig {
        connection_timeout: ANSWER_TIMEOUT,
        internal_command_timeout: ANSWER_TIMEOUT,
        max_command_attempts: 1,
        // A server that is paused acknowledges and does not answer.
        unresponsive: UnresponsiveConfig { max_timeout: Some(limit), interval: SILENCE_CHECK_INTERVAL },
        tcp,
        ..ConnectionConfig::default()
    }
}

/// Returns the pauses between two attempts to connect. The number of attempts has no bound, because
/// the search for the servers drops those that serve no more.
fn reconnect_policy() -> ReconnectPolicy {
    let millis = |pause: Duration| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
    let (min_delay, max_delay) = (millis(BACKOFF_MIN), millis(BACKOFF_MAX));
    ReconnectPolicy::Exponential { attempts: 0, max_attempts: 0, min_delay, max_delay, base: 2, jitter: min_delay }
}

/// Runs the connection of a client, and publishes whether it works.
async fn keep_connected(client: Client, index: usize, working: watch::Sender<Working>) {
    let mut has_worked = false;
    loop {
        let (mut errors, mut connects) = (client.error_rx(), client.reconnect_rx());
        let mut connection = AbortOnDropHandle::new(client.connect());
        loop {
            let works = client.is_connected();
            let changed = publish(&working, index, works);
            if works && changed && std::mem::replace(&mut has_worked, true) {
                metrics::counter!("switchboard_redis_lane_reconnects_total").increment(1);
            }
            tokio::select! {
                // An error that `fred` does not recover from.
                _ = &mut connection => break,
                () = event(&mut errors) => {}
                () = event(&mut connects) => {}
                () = sleep(if works { POLL_INTERVAL } else { BACKOFF_MIN }) => {}
            }
        }
        publish(&working, index, false);
        sleep(BACKOFF_MAX).await;
    }
}

/// Publishes whether a connection works. Returns whether that is a change.
fn publish(working: &watch::Sender<Working>, index: usize, works: bool) -> bool {
    working.send_if_modified(|all| std::mem::replace(&mut all[index], works) != works)
}

/// Waits for the next event.
async fn event<T: Clone>(events: &mut broadcast::Receiver<T>) {
    if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
        std::future::pending().await
    }
}

/// Logs why connections cannot be opened, and that they work again. `fred` tells causes as text of
/// the debugger, so a bare connection is opened, which tells them in the words of the server, of
/// TLS or of the system. If that works twice and `fred`'s do not, its connections are replaced:
/// since they were made, a certificate was renewed, or the CA.
async fn diagnose(shared: Weak<Shared>, url: RedisUrl, address: Address, mut working: watch::Receiver<Working>) {
    let (mut pause, mut opened) = (DIAGNOSIS_DELAY, false);
    loop {
        let all = |working: &Working| !working.contains(&false);
        let seen = timeout(pause, working.wait_for(all)).await.map(|seen| seen.is_ok());
        match seen {
            Ok(true) => {
                url.recovered(Purpose::Requests, &address);
                (pause, opened) = (DIAGNOSIS_DELAY, false);
                if working.wait_for(|working| !all(working)).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(false) => return,
            Err(_) => {}
        }
        pause = DIAGNOSIS_INTERVAL;
        match within(ANSWER_TIMEOUT, probe(&url, &address)).await {
            Err(error) => {
                url.failed(Purpose::Requests, &address, &error);
                opened = false;
            }
            Ok(()) if !opened => opened = true,
            Ok(()) => {
                let Some(shared) = shared.upgrade() else { return };
                tracing::info!("redis connections replaced");
                shared.replace(&address).await;
                opened = false;
            }
        }
    }
}

/// Opens a bare connection, as `fred` does.
async fn probe(url: &RedisUrl, (host, port): &Address) -> Result<(), ConnectionError> {
    let reply = Connection::open(url, host, *port).await?.query(&cmd("PING")).await?;
    if matches!(reply, redis::Value::ServerError(_)) {
        return Err(ConnectionError::refused("PING", &reply));
    }
    Ok(())
}
