//! Settings that both binaries have, each group read by one function.

use std::time::Duration;

use switchboard_auth::{IceConfig, TurnCredentials};
use switchboard_core::Secret;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::rate_limit::PasscodeRates;

use super::Env;

/// Development is lenient about secrets, production is not: `NODE_ENV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Defaults let a developer start at once.
    Development,
    /// Missing, default, short or equal secrets refuse to start.
    Production,
}

impl Mode {
    /// Reads `NODE_ENV`: `production`, or anything else for development.
    #[must_use]
    pub fn from_env(env: &Env) -> Self {
        if env.text("NODE_ENV", "development").eq_ignore_ascii_case("production") {
            Self::Production
        } else {
            Self::Development
        }
    }
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging: `LOG_FORMAT`, `LOG_LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Text or JSON; JSON by default in production.
    pub format: LogFormat,
    /// Directives as tracing-subscriber's `EnvFilter` reads them: `info`, `info,signal_node=debug`.
    pub filter: String,
}

impl LogConfig {
    /// Reads it.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        let default = if mode == Mode::Production { LogFormat::Json } else { LogFormat::Text };
        let format = env.parsed("LOG_FORMAT", default, "text or json", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let filter =
            env.parsed("LOG_LEVEL", "info".to_owned(), "a level or filter such as info or info,api=debug", |text| {
                tracing_subscriber::EnvFilter::builder().parse(text).is_ok().then(|| text.to_owned())
            });
        Self { format, filter }
    }
}

/// What leaves the process besides answers.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
}

impl TelemetryConfig {
    /// Reads both.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        Self { log: LogConfig::from_env(env, mode), trace: TraceConfig::from_env(env) }
    }
}

/// Traces: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER_ARG`, as OpenTelemetry names them.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// Where an OpenTelemetry collector takes OTLP over HTTP: `http://host:4318`. `None`: nothing is traced.
    pub endpoint: Option<String>,
    /// How many of all rooms are traced, 0 to 1.
    pub ratio: f64,
}

impl TraceConfig {
    /// Reads it.
    pub fn from_env(env: &mut Env) -> Self {
        // Spans go to a collector near by, which encrypts on the way out: the exporter is built without TLS.
        let endpoint = env.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", None, "http://host:port, without TLS", |text| {
            text.starts_with("http://").then(|| Some(text.to_owned()))
        });
        let ratio = env.parsed("OTEL_TRACES_SAMPLER_ARG", 1.0, "a number from 0 to 1", |text| {
            text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
        });
        Self { endpoint, ratio }
    }
}

/// Redis: `REDIS_URL`, `REDIS_PREFIX`, `PARTITIONS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where it is.
    pub url: RedisUrl,
    /// What every key and channel begins with, so that several deployments share a server.
    pub prefix: String,
    /// How many partitions rooms hash to: the same on every process, for ever.
    pub partitions: u16,
}

impl RedisConfig {
    /// Reads it.
    pub fn from_env(env: &mut Env) -> Self {
        let local = RedisUrl::parse("redis://127.0.0.1:6379").expect("a scheme, a host and a port are an address");
        Self {
            url: env.checked("REDIS_URL", local, RedisUrl::parse),
            prefix: env.parsed("REDIS_PREFIX", "sb".to_owned(), "1 to 32 letters, digits, _ or -", |text| {
                let sound =
                    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                sound.then(|| text.to_owned())
            }),
            partitions: env.number("PARTITIONS", 64, 1..=4096),
        }
    }
}

/// MongoDB: `MONGODB_URI`, `MONGODB_TIMEOUT_MS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoConfig {
    /// The connection string; it may carry a password. Its path names the database, `videocall-db` when it has none.
    pub uri: Secret,
    /// How long a request waits for a server before it is told that there is none.
    pub timeout: Duration,
}

impl MongoConfig {
    /// Reads it.
    pub fn from_env(env: &mut Env) -> Self {
        let uri = env.url("MONGODB_URI", "mongodb://127.0.0.1:27017/videocall-db", &["mongodb", "mongodb+srv"]);
        Self { uri: Secret::new(uri), timeout: env.millis("MONGODB_TIMEOUT_MS", 2_000, 100..=60_000) }
    }
}

/// The keys that sign tokens: `JWT_ACCESS_SECRET`, `JWT_REFRESH_SECRET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsConfig {
    /// Signs access, guest and join tokens.
    pub access: Secret,
    /// Signs refresh tokens.
    pub refresh: Secret,
}

/// Secrets that stand in documentation and examples: whoever reads them could sign tokens.
const KNOWN_SECRETS: [&str; 6] = [
    DEV_ACCESS_SECRET,
    DEV_REFRESH_SECRET,
    "your-super-secret-access-key",
    "your-super-secret-refresh-key",
    "<strong-secret>",
    "<different-strong-secret>",
];
const DEV_ACCESS_SECRET: &str = "switchboard-development-access-secret";
const DEV_REFRESH_SECRET: &str = "switchboard-development-refresh-secret";
/// HS256 wants a key as long as its hash (RFC 7518, 3.2).
const SECRET_MIN_BYTES: usize = 32;

impl SecretsConfig {
    /// Reads them; in production each must be set, unknown to the world, at least 32 bytes long, and the two different.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        let access = Self::one(env, mode, "JWT_ACCESS_SECRET", DEV_ACCESS_SECRET);
        let refresh = Self::one(env, mode, "JWT_REFRESH_SECRET", DEV_REFRESH_SECRET);
        if mode == Mode::Production && access == refresh {
            env.reject("JWT_REFRESH_SECRET", "must differ from JWT_ACCESS_SECRET");
        }
        Self { access, refresh }
    }

    fn one(env: &mut Env, mode: Mode, name: &str, default: &str) -> Secret {
        let given = env.secret(name);
        if mode == Mode::Production {
            match given.as_ref().map(Secret::expose) {
                None => env.reject(name, "must be set in production"),
                Some(text) if KNOWN_SECRETS.contains(&text) => env.reject(name, "is a documented default"),
                Some(text) if text.len() < SECRET_MIN_BYTES => {
                    env.reject(name, format!("must have at least {SECRET_MIN_BYTES} bytes"));
                }
                Some(_) => {}
            }
        }
        given.unwrap_or_else(|| Secret::new(default))
    }
}

/// Which web origins may call: `ALLOWED_ORIGINS`, `FRONTEND_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginsConfig {
    /// Any origin: the list was `*`.
    pub any: bool,
    /// Origins as browsers send them: scheme, host and port without a path, in lower case.
    pub list: Vec<String>,
    /// Where the page is: links to calls begin with it. Without a slash at the end.
    pub frontend: String,
}

impl OriginsConfig {
    /// Reads it. The frontend's own origin is always on the list.
    pub fn from_env(env: &mut Env) -> Self {
        const SCHEMES: [&str; 2] = ["http", "https"];
        let frontend = env.url("FRONTEND_URL", "http://localhost:8080", &SCHEMES).trim_end_matches('/').to_owned();
        let mut any = false;
        let mut list = vec![origin_of(&frontend)];
        for entry in env.list("ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:8080") {
            let sound =
                entry.split_once("://").is_some_and(|(scheme, host)| SCHEMES.contains(&scheme) && !host.is_empty());
            if entry == "*" {
                any = true;
            } else if !sound {
                env.reject("ALLOWED_ORIGINS", "must be * or a list of origins such as https://example.org");
            } else if !list.contains(&origin_of(&entry)) {
                list.push(origin_of(&entry));
            }
        }
        Self { any, list, frontend }
    }

    /// Whether a request with this `Origin` header to this `Host` may pass: listed, or the page's own origin.
    #[must_use]
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let own =
            |host: &str| origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        self.any || host.is_some_and(own) || self.list.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }
}

/// An address without its path.
fn origin_of(address: &str) -> String {
    let end = address.find("://").map_or(0, |at| at + 3);
    let path = address[end..].find('/').map_or(address.len(), |at| end + at);
    address[..path].to_ascii_lowercase()
}

/// The STUN server of the Node service.
pub const ICE_DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// STUN and TURN: `STUN_SERVER`, `TURN_SERVER_URL`, `TURN_SERVER_USERNAME`, `TURN_SERVER_CREDENTIAL`, `TURN_SECRET`, `TURN_TTL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceSettings {
    /// `stun:host:port`; `none` for none.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses.
    pub turn: Vec<String>,
    /// For a TURN server with fixed credentials.
    pub username: Option<String>,
    /// For a TURN server with fixed credentials.
    pub credential: Option<Secret>,
    /// coturn's `static-auth-secret`: credentials for each user are derived from it, and expire.
    pub secret: Option<Secret>,
    /// How long derived credentials last.
    pub ttl: Duration,
}

impl IceSettings {
    /// Reads it.
    pub fn from_env(env: &mut Env) -> Self {
        let stun = match env.list("STUN_SERVER", ICE_DEFAULT_STUN) {
            list if list == ["none"] => Vec::new(),
            list => list,
        };
        let settings = Self {
            stun,
            turn: env.list("TURN_SERVER_URL", ""),
            username: env.optional("TURN_SERVER_USERNAME"),
            credential: env.secret("TURN_SERVER_CREDENTIAL"),
            secret: env.secret("TURN_SECRET"),
            ttl: env.seconds("TURN_TTL", 3_600, 60..=86_400),
        };
        if !settings.stun.iter().all(|address| address.starts_with("stun:") || address.starts_with("stuns:")) {
            env.reject("STUN_SERVER", "must be none or a list of stun: addresses");
        }
        if !settings.turn.iter().all(|address| address.starts_with("turn:") || address.starts_with("turns:")) {
            env.reject("TURN_SERVER_URL", "must be a list of turn: or turns: addresses");
        }
        let complete = settings.secret.is_some() || (settings.username.is_some() && settings.credential.is_some());
        if !settings.turn.is_empty() && !complete {
            env.reject("TURN_SERVER_URL", "needs TURN_SECRET, or TURN_SERVER_USERNAME and TURN_SERVER_CREDENTIAL");
        }
        settings
    }
}

impl From<&IceSettings> for IceConfig {
    /// A secret is preferred to fixed credentials: those never expire.
    fn from(settings: &IceSettings) -> Self {
        let credentials = match (&settings.secret, &settings.username, &settings.credential) {
            (Some(secret), _, _) => TurnCredentials::Secret { secret: secret.expose().to_owned(), ttl: settings.ttl },
            (None, Some(username), Some(credential)) => {
                TurnCredentials::Static { username: username.clone(), credential: credential.expose().to_owned() }
            }
            _ => TurnCredentials::None,
        };
        Self { stun: settings.stun.clone(), turn: settings.turn.clone(), credentials }
    }
}

/// Reads `RATE_PASSCODE_PER_ADDRESS` and `RATE_PASSCODE_PER_CALL`; no rates when limits are off.
pub fn passcode_rates(env: &mut Env, on: bool) -> PasscodeRates {
    PasscodeRates {
        address: env.rate("RATE_PASSCODE_PER_ADDRESS", "20/60").filter(|_| on),
        call: env.rate("RATE_PASSCODE_PER_CALL", "120/60").filter(|_| on),
    }
}
