//! Configuration of the node, from environment variables only. `docs/OPERATIONS.md` lists them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::ClusterKey;
use switchboard_core::domain::NodeId;
use switchboard_core::wire::client_event;
use switchboard_rooms::{LaneOptions, RoomOptions};
use switchboard_runtime::config::{
    ConfigErrors, Env, IceSettings, Mode, MongoConfig, OriginsConfig, ROOM_CREATE_RATE, RedisConfig, SecretsConfig,
    TelemetryConfig, UrlParts, keep_alive, passcode_rates, trusted_proxies, turn_rates,
};

use crate::capacity::Capacity;
use crate::dispatcher::{JoinRates, SessionLimits};
use crate::drain::Drain;
use switchboard_socketio::{AdmissionLimits, AllowedOrigins, Limits, Timeouts, TransportConfig};

/// Configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Addresses and ports.
    pub listen: Listen,
    /// Id of this process.
    pub node: NodeId,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Redis, and times and bounds of rooms.
    pub rooms: RoomsConfig,
    /// MongoDB.
    pub mongo: MongoConfig,
    /// Keys that sign tokens, and the files of all keys.
    pub secrets: SecretsConfig,
    /// STUN and TURN servers for clients.
    pub ice: IceSettings,
    /// Connections of clients.
    pub sockets: SocketsConfig,
}

/// Addresses and ports that the node listens on.
#[derive(Clone, Debug)]
pub struct Listen {
    /// `BIND_ADDRESS`: address of all ports.
    pub address: IpAddr,
    /// `SIGNALING_PORT`: port for clients.
    pub port: u16,
    /// `METRICS_PORT`: port for probes and metrics.
    pub admin_port: u16,
    /// Hand-overs between nodes.
    pub handovers: HandoverConfig,
    /// `WORKERS`: threads that serve connections, including the main thread.
    pub workers: usize,
    /// `PASSWORD_CONCURRENCY`: most passcodes that are hashed at the same time. Half of the cores
    /// by default, so that hashing leaves time for sockets.
    pub password_concurrency: usize,
}

/// Port for hand-overs from other nodes, and the keys that prove that they are nodes.
#[derive(Clone, Debug)]
pub struct HandoverConfig {
    /// `INTERNAL_PORT`: port for other nodes only.
    pub port: u16,
    /// `INTERNAL_URL`, as `host:port`: address at which other nodes reach that port.
    pub address: String,
    /// Derived from `CLUSTER_SECRET`; without it, from the secret of access tokens.
    pub key: ClusterKey,
}

/// Redis, and times and bounds of rooms.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// Address and credentials of Redis.
    pub redis: RedisConfig,
    /// Times and bounds of rooms.
    pub options: RoomOptions,
}

/// Connections of clients.
#[derive(Clone, Debug)]
pub struct SocketsConfig {
    /// Heartbeats, origins and limits.
    pub transport: TransportConfig,
    /// Limits of each session.
    pub sessions: SessionLimits,
    /// Times of a shutdown.
    pub drain: Drain,
    /// `REBALANCE`: whether a node with more than its share of clients moves some to others.
    pub rebalances: bool,
}

impl NodeConfig {
    /// Reads all variables.
    ///
    /// # Errors
    /// All invalid variables together.
    pub fn from_env(mut env: Env) -> Result<Self, ConfigErrors> {
        let env_ref = &mut env;
        let mode = Mode::from_env(env_ref);
        let timeouts = timeouts(env_ref);
        let rooms = rooms(env_ref, &timeouts);
        let secrets = SecretsConfig::from_env(env_ref, mode);
        let config = Self {
            listen: listen(env_ref, mode, &secrets),
            node: node_id(env_ref),
            telemetry: TelemetryConfig::from_env(env_ref, mode),
            mongo: MongoConfig::from_env(env_ref),
            secrets,
            ice: IceSettings::from_env(env_ref),
            sockets: sockets(env_ref, mode, timeouts),
            rooms,
        };
        env.finish().map(|()| config)
    }
}

fn listen(env: &mut Env, mode: Mode, secrets: &SecretsConfig) -> Listen {
    let address = mode.bind_address(env);
    let port = env.port("INTERNAL_PORT", 9202);
    // Container runtimes set HOSTNAME to a name at which other nodes reach a node that listens on
    // all addresses.
    let host = if address.is_unspecified() { env.text("HOSTNAME", "127.0.0.1") } else { address.to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = env.url("INTERNAL_URL", &format!("http://{host}:{port}"), &["http"], UrlParts::default());
    let reached = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let has_port = reached.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let reached = if has_port { reached } else { format!("{reached}:80") };
    Listen {
        address,
        port: env.port("SIGNALING_PORT", 3002),
        admin_port: env.port("METRICS_PORT", 9102),
        handovers: HandoverConfig { port, address: reached, key: secrets.node_key() },
        workers: env.number("WORKERS", cores(), 1..=1024),
        password_concurrency: env.number("PASSWORD_CONCURRENCY", cores().div_ceil(2), 1..=256),
    }
}

/// Returns the number of cores that this process may use. A container's limit counts.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns `NODE_ID` (a pod's name; default `node`) with a random suffix for each start, because a
/// restarted pod must not be taken for the one that died.
fn node_id(env: &mut Env) -> NodeId {
    let start = format!("{:08x}", rand::random::<u32>());
    let fallback = format!("node-{start}");
    let read = |name: &str| NodeId::parse(&format!("{name}-{start}")).ok();
    let given = env.parsed("NODE_ID", None, "1 to 55 letters, digits, _, - or .", |name| read(name).map(Some));
    given.or_else(|| NodeId::parse(&fallback).ok()).unwrap_or_else(|| unreachable!("the fallback is a valid node id"))
}

/// Reads the settings of rooms. The recovery window follows from ping times and grace period,
/// because a client that is away for longer cannot resume anyway.
fn rooms(env: &mut Env, timeouts: &Timeouts) -> RoomsConfig {
    let redis = RedisConfig::from_env(env);
    let grace = env.millis("RECONNECT_GRACE_MS", 20_000, 100..=600_000);
    let options = RoomOptions {
        prefix: redis.prefix.clone(),
        partitions: redis.partitions,
        grace,
        window: timeouts.ping_interval + timeouts.ping_timeout + grace + Duration::from_secs(30),
        log_max_len: env.number("ROOM_LOG_MAX_EVENTS", 10_000, 100..=1_000_000),
        log_max_bytes: env.number("ROOM_LOG_MAX_BYTES", 16 << 20, 65_536..=1 << 30),
        chat_history: (
            env.number("CHAT_HISTORY_MAX_MESSAGES", 500, 1..=100_000),
            RoomOptions::default().chat_history.1,
        ),
        outbox_max: env.number("OUTBOX_MAX_FACTS", 1_000_000, 1_000..=100_000_000),
        empty_after: env.seconds("EMPTY_ROOM_SECONDS", 300, 1..=86_400),
        lanes: LaneOptions {
            queue_max: env.number("REDIS_QUEUE_MAX", 50_000, 1..=10_000_000),
            queue_time: env.millis("REDIS_QUEUE_MS", 2_000, 100..=60_000),
        },
        ..RoomOptions::default()
    };
    RoomsConfig { redis, options }
}

fn timeouts(env: &mut Env) -> Timeouts {
    Timeouts {
        ping_interval: env.millis("PING_INTERVAL_MS", 25_000, 100..=300_000),
        ping_timeout: env.millis("PING_TIMEOUT_MS", 20_000, 100..=300_000),
        connect: env.millis("CONNECT_TIMEOUT_MS", 45_000, 100..=300_000),
        keep_alive: keep_alive(env),
        ..Timeouts::default()
    }
}

/// Default rate of the packets of an address. An office of 27 joins one mesh within its burst: a
/// test of `dispatcher::costs` counts that.
pub(crate) const EVENTS_PER_ADDRESS: &str = "18000/36";

/// Reads the bounds on sockets, connections and requests.
fn admission(env: &mut Env, capacity: Capacity, rates: bool) -> AdmissionLimits {
    let sockets = env.number("MAX_SOCKETS", capacity.sockets, 0..=10_000_000);
    let sockets_per_address = env.number("SOCKETS_PER_ADDRESS", 1000, 0..=10_000_000);
    AdmissionLimits {
        sockets,
        sockets_per_address,
        connections: env.number("MAX_CONNECTIONS", capacity.connections, 0..=20_000_000),
        // A long-polling client holds two connections.
        connections_per_address: env.number("CONNECTIONS_PER_ADDRESS", 2 * sockets_per_address, 0..=20_000_000),
        requests: env.rate("REQUESTS_PER_ADDRESS", "20000/10").filter(|_| rates),
        handshakes: env.rate("HANDSHAKES_PER_ADDRESS", "600/10").filter(|_| rates),
        events: env.rate("EVENTS_PER_ADDRESS", EVENTS_PER_ADDRESS).filter(|_| rates),
        frames: env.rate("FRAMES_PER_ADDRESS", "60000/2").filter(|_| rates),
        handovers: env.rate("HANDOVERS_PER_ADDRESS", "10000/10").filter(|_| rates),
        handovers_per_peer: env.number("HANDOVERS_PER_PEER", sockets, 0..=10_000_000),
        large_messages: env.number("LARGE_MESSAGES", capacity.large_messages, 0..=1_000_000),
    }
}

fn sockets(env: &mut Env, mode: Mode, timeouts: Timeouts) -> SocketsConfig {
    let origins = OriginsConfig::from_env(env, mode);
    let capacity = Capacity::of_process();
    let send_queues = capacity.send_queues_bytes;
    let max_payload = env.number("MAX_PAYLOAD_BYTES", 256 * 1024, 1024..=16 * 1024 * 1024);
    let limits = Limits {
        max_payload,
        max_body: env.number("MAX_BODY_BYTES", 4 * max_payload, max_payload..=64 * 1024 * 1024),
        send_queue_bytes: env.number("SEND_QUEUE_MAX_BYTES", 1024 * 1024, 4096..=1024 * 1024 * 1024),
        send_queues_bytes: env.number("SEND_QUEUES_MAX_BYTES", send_queues, 0..=1024 * 1024 * 1024 * 1024),
        events_per_second: env.number("EVENTS_PER_SECOND", 100, 0..=1_000_000),
        frames_per_second: env.number("FRAMES_PER_SECOND", 1000, 0..=10_000_000),
        ..Limits::default()
    };
    let rates = env.flag("RATE_LIMITS", true);
    SocketsConfig {
        transport: TransportConfig {
            allowed_origins: if origins.any {
                AllowedOrigins::Any
            } else {
                AllowedOrigins::Matching(Arc::new(move |origin| origins.allows(origin, None)))
            },
            proxies: trusted_proxies(env),
            timeouts,
            limits,
            admission: admission(env, capacity, rates),
            // Set at start, when there is a directory.
            peers: None,
        },
        sessions: SessionLimits {
            create: env.rate("RATE_ROOM_CREATE", ROOM_CREATE_RATE).filter(|_| rates),
            joins: JoinRates {
                address: env.rate("RATE_JOIN_PER_ADDRESS", "600/60").filter(|_| rates),
                account: env.rate("RATE_JOIN_PER_ACCOUNT", "60/60").filter(|_| rates),
            },
            passcode: passcode_rates(env, rates),
            turn: turn_rates(env, rates),
            events: client_event::Limits {
                sdp: env.number("SDP_MAX_BYTES", 128 * 1024, 0..=16 * 1024 * 1024),
                candidate: env.number("CANDIDATE_MAX_BYTES", 4 * 1024, 0..=16 * 1024 * 1024),
                chat: env.number("CHAT_MAX_CHARACTERS", 4000, 0..=64 * 1024),
            },
            join: Some(env.millis("JOIN_TIMEOUT_MS", 300_000, 0..=86_400_000)).filter(|limit| !limit.is_zero()),
        },
        drain: Drain {
            delay: env.millis("DRAIN_DELAY_MS", 2_000, 0..=600_000),
            deadline: env.millis("DRAIN_DEADLINE_MS", 20_000, 0..=3_600_000),
        },
        rebalances: env.flag("REBALANCE", true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn pages_of_the_listed_origins_may_open_a_socket_and_others_may_not() {
        let origins = "capacitor://localhost,https://*.b\u{fc}cher.example,https://a.example:443";
        let env = Env::new([("NODE_ENV", "development"), ("ALLOWED_ORIGINS", origins)]);
        let config = NodeConfig::from_env(env).unwrap();
        let AllowedOrigins::Matching(allows) = config.sockets.transport.allowed_origins else { panic!("any") };
        for origin in ["capacitor://localhost", "https://app.xn--bcher-kva.example", "https://a.example"] {
            assert!(allows(origin), "{origin}");
        }
        for origin in ["ionic://localhost", "https://xn--bcher-kva.example", "https://a.example:8443", "null"] {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn an_internal_url_is_a_host_and_a_port_and_nothing_else() {
        let read = |url: &'static str| {
            let env = Env::new([("NODE_ENV", "development"), ("INTERNAL_URL", url)]);
            NodeConfig::from_env(env).map(|config| config.listen.handovers.address).map_err(|errors| errors.to_string())
        };
        assert_eq!(read("http://[::1]:9202").as_deref(), Ok("[::1]:9202"));
        assert_eq!(read("http://node-0.nodes").as_deref(), Ok("node-0.nodes:80"));
        for bad in ["http://a:9202/x", "http://ann:secret@a:9202", "https://a:9202", "http://a:99999"] {
            let refused = read(bad).unwrap_err();
            assert!(refused.starts_with("INTERNAL_URL: ") && !refused.contains("secret"), "{bad}: {refused}");
        }
    }
}
