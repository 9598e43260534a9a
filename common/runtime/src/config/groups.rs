//! Groups of settings that both services have. One function reads each group.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use switchboard_auth::{IceConfig, TurnCredentials};
use switchboard_core::client_address::{ForwardedHeader, TrustedProxies};
use switchboard_core::origin::{Origin, OriginPattern};
use switchboard_core::{KeyRing, Secret};
use switchboard_rooms::conn::{ClientCertificate, ClientCertificateError, RedisUrl};
use switchboard_rooms::rate_limit::{PasscodeRates, TurnRates};

use super::{Env, UrlParts, urls};

/// `NODE_ENV`. It decides how strict the checks of secrets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Secrets have public defaults, and the process listens on the loopback address.
    Development,
    /// The process does not start with missing, default, short or equal secrets.
    Production,
}

impl Mode {
    /// Reads `NODE_ENV`. Unset means production, because development has to be asked for by name.
    pub fn from_env(env: &mut Env) -> Self {
        env.parsed("NODE_ENV", Self::Production, "production or development", |text| match text {
            "production" => Some(Self::Production),
            "development" => Some(Self::Development),
            _ => None,
        })
    }

    /// Reads `BIND_ADDRESS`: by default all addresses in production, and the loopback address in
    /// development.
    pub fn bind_address(self, env: &mut Env) -> IpAddr {
        let default = match self {
            Self::Production => [0, 0, 0, 0],
            Self::Development => [127, 0, 0, 1],
        };
        env.parsed("BIND_ADDRESS", IpAddr::from(default), "an IP address", |text| text.parse().ok())
    }
}

/// Format of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// Logging: `LOG_FORMAT`, `LOG_LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Text or JSON; JSON by default in production.
    pub format: LogFormat,
    /// Directives of tracing-subscriber's `EnvFilter`, such as `info` or `info,signal_node=debug`.
    pub filter: String,
}

impl LogConfig {
    /// Reads the settings.
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

/// Logs and traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
}

impl TelemetryConfig {
    /// Reads the settings of both.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        Self { log: LogConfig::from_env(env, mode), trace: TraceConfig::from_env(env) }
    }
}

/// Traces: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER_ARG`, which are OpenTelemetry's
/// names.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// Address of an OpenTelemetry collector for OTLP over HTTP, such as `http://host:4318`.
    /// `None`: no traces.
    pub endpoint: Option<String>,
    /// Share of rooms that are traced, 0 to 1.
    pub ratio: f64,
}

impl TraceConfig {
    /// Reads the settings.
    pub fn from_env(env: &mut Env) -> Self {
        // The exporter is built without TLS, because the collector is expected on the local
        // network.
        let honoured = UrlParts { path: true, ..UrlParts::default() };
        let endpoint = env.checked("OTEL_EXPORTER_OTLP_ENDPOINT", None, |text| {
            urls::parse(text, &["http"], honoured).map(|_| Some(text.to_owned()))
        });
        let ratio = env.parsed("OTEL_TRACES_SAMPLER_ARG", 1.0, "a number from 0 to 1", |text| {
            text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
        });
        Self { endpoint, ratio }
    }
}

/// Redis: `REDIS_URL`, `REDIS_TLS_CERT_FILE`, `REDIS_TLS_KEY_FILE`, `REDIS_PREFIX`, `PARTITIONS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Address of the server, the cluster or the sentinels.
    pub url: RedisUrl,
    /// Prefix of every key and channel, so that several deployments can share a server.
    pub prefix: String,
    /// Number of partitions that rooms hash to. It must be equal in every process and never change.
    pub partitions: u16,
}

impl RedisConfig {
    /// Reads the settings.
    pub fn from_env(env: &mut Env) -> Self {
        let local = RedisUrl::parse("redis://127.0.0.1:6379").expect("scheme, host and port are a valid address");
        let url = env.checked("REDIS_URL", local, RedisUrl::parse);
        Self {
            url: with_client_certificate(env, url),
            prefix: env.parsed("REDIS_PREFIX", "sb".to_owned(), "1 to 32 letters, digits, _ or -", |text| {
                let valid =
                    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                valid.then(|| text.to_owned())
            }),
            partitions: env.number("PARTITIONS", 64, 1..=4096),
        }
    }
}

/// Adds the client certificate of `REDIS_TLS_CERT_FILE` and `REDIS_TLS_KEY_FILE`, if they are set.
fn with_client_certificate(env: &mut Env, url: RedisUrl) -> RedisUrl {
    const CERTIFICATE: &str = "REDIS_TLS_CERT_FILE";
    const KEY: &str = "REDIS_TLS_KEY_FILE";
    let (certificate, key) = match (env.optional(CERTIFICATE), env.optional(KEY)) {
        (None, None) => return url,
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            env.reject(KEY, format!("must be set together with {CERTIFICATE}"));
            return url;
        }
        (None, Some(_)) => {
            env.reject(CERTIFICATE, format!("must be set together with {KEY}"));
            return url;
        }
    };
    let files = match ClientCertificate::new(Path::new(&certificate), Path::new(&key)) {
        Ok(files) => files,
        Err(problem) => {
            let name = match problem {
                ClientCertificateError::Certificate(_) => CERTIFICATE,
                ClientCertificateError::Key(_) => KEY,
            };
            env.reject(name, problem.to_string());
            return url;
        }
    };
    url.clone().with_client_certificate(files).unwrap_or_else(|problem| {
        env.reject(CERTIFICATE, problem.to_string());
        url
    })
}

/// MongoDB: `MONGODB_URI`, `MONGODB_TIMEOUT_MS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoConfig {
    /// Connection string, which may contain a password. Its path names the database; the default is
    /// `videocall-db`.
    pub uri: Secret,
    /// Time limit for finding a server.
    pub timeout: Duration,
}

impl MongoConfig {
    /// Reads the settings.
    pub fn from_env(env: &mut Env) -> Self {
        let local = "mongodb://127.0.0.1:27017/videocall-db".to_owned();
        let uri = env.checked("MONGODB_URI", local, |text| urls::check_mongodb(text).map(|()| text.to_owned()));
        Self { uri: Secret::new(uri), timeout: env.millis("MONGODB_TIMEOUT_MS", 2_000, 100..=60_000) }
    }
}

/// Web origins that may call: `ALLOWED_ORIGINS`, `FRONTEND_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginsConfig {
    /// Whether every origin may call, because the list is `*`.
    pub any: bool,
    /// Origins that may call.
    pub list: Vec<OriginPattern>,
    /// Whether every port of `http://localhost` and `http://127.0.0.1` may call: in development
    /// alone, so that a front end's own development server needs no setting.
    pub loopback: bool,
    /// Address of the web page, without a slash at the end. Links to calls begin with it.
    pub frontend: String,
}

impl OriginsConfig {
    /// Reads the settings. The list always contains the origin of the web page. In production `*`
    /// is refused, because it would let every web page use a visitor's network.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        let honoured = UrlParts { path: true, ..UrlParts::default() };
        let frontend = env.url("FRONTEND_URL", "http://localhost:8080", &["http", "https"], honoured);
        let frontend = frontend.trim_end_matches('/').to_owned();
        let entries = env.list("ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:8080");
        let any = entries.iter().any(|entry| entry == "*");
        if any && mode == Mode::Production {
            env.reject("ALLOWED_ORIGINS", "must be a list of origins in production, not *");
        }
        let entries: Vec<String> = entries.into_iter().filter(|entry| entry != "*").collect();
        let mut list = env.check_each("ALLOWED_ORIGINS", &entries, OriginPattern::parse);
        let page = frontend.split('/').take(3).collect::<Vec<_>>().join("/");
        list.extend(Origin::parse(&page).map(OriginPattern::exactly));
        Self { any, list, loopback: mode == Mode::Development, frontend }
    }

    /// Returns whether a request with these headers `Origin` and `Host` is allowed: its origin is
    /// listed, is the origin of the service itself, or is on this machine where
    /// [`Self::loopback`] allows that.
    #[must_use]
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let Some(origin) = Origin::parse(origin) else { return self.any };
        self.any
            || host.is_some_and(|host| origin.is_of_host(host))
            || self.list.iter().any(|pattern| pattern.allows(&origin))
            || (self.loopback && origin.is_loopback())
    }
}

/// Default STUN server, as in the old Node.js backend.
pub const ICE_DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// STUN and TURN: `STUN_SERVER`, `TURN_SERVER_URL`, `TURN_SERVER_USERNAME`,
/// `TURN_SERVER_CREDENTIAL`, `TURN_SECRET`, `TURN_TTL`.
#[derive(Clone, Debug)]
pub struct IceSettings {
    /// Addresses of STUN servers, such as `stun:host:port`. The setting `none` means none.
    pub stun: Vec<String>,
    /// Addresses of TURN servers, with scheme `turn:` or `turns:`.
    pub turn: Vec<String>,
    /// User name for a TURN server with fixed credentials.
    pub username: Option<String>,
    /// Password for a TURN server with fixed credentials.
    pub credential: Option<Secret>,
    /// Secrets for expiring credentials, which are derived for each participant: coturn's
    /// `static-auth-secret`.
    pub secret: Option<KeyRing>,
    /// Lifetime of derived credentials.
    pub ttl: Duration,
}

impl IceSettings {
    /// Reads the settings.
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
            secret: env.key_ring("TURN_SECRET"),
            ttl: env.seconds("TURN_TTL", 600, 60..=86_400),
        };
        env.check_each("STUN_SERVER", &settings.stun, |address| urls::check_ice(address, ["stun", "stuns"]));
        env.check_each("TURN_SERVER_URL", &settings.turn, |address| urls::check_ice(address, ["turn", "turns"]));
        let complete = settings.secret.is_some() || (settings.username.is_some() && settings.credential.is_some());
        if !settings.turn.is_empty() && !complete {
            env.reject("TURN_SERVER_URL", "needs TURN_SECRET, or TURN_SERVER_USERNAME and TURN_SERVER_CREDENTIAL");
        }
        settings
    }
}

impl From<&IceSettings> for IceConfig {
    /// Prefers the secret over fixed credentials, because fixed credentials never expire.
    fn from(settings: &IceSettings) -> Self {
        let credentials = match (&settings.secret, &settings.username, &settings.credential) {
            (Some(keys), _, _) => TurnCredentials::Secret { keys: keys.clone(), ttl: settings.ttl },
            (None, Some(username), Some(credential)) => {
                TurnCredentials::Static { username: username.clone(), credential: credential.expose().to_owned() }
            }
            _ => TurnCredentials::None,
        };
        Self { stun: settings.stun.clone(), turn: settings.turn.clone(), credentials }
    }
}

/// Reads `KEEP_ALIVE_MS`: time between two HTTP requests on a connection. The default is longer
/// than the defaults of load balancers, so that they close idle connections first.
pub fn keep_alive(env: &mut Env) -> Duration {
    env.millis("KEEP_ALIVE_MS", 130_000, 1_000..=86_400_000)
}

/// Default of `RATE_ROOM_CREATE`: rooms that one user may create, over sockets and by joining.
pub const ROOM_CREATE_RATE: &str = "20/60";

/// Reads `RATE_PASSCODE_PER_ADDRESS`, `RATE_PASSCODE_PER_CALL`, `PASSCODE_GUARD_SECONDS` and
/// `RATE_PASSCODE_HASHES`. There are no rates if `on` is false.
pub fn passcode_rates(env: &mut Env, on: bool) -> PasscodeRates {
    PasscodeRates {
        address: env.rate("RATE_PASSCODE_PER_ADDRESS", "10/3000").filter(|_| on),
        call: env.rate("RATE_PASSCODE_PER_CALL", "60/3600").filter(|_| on),
        pause: env.seconds("PASSCODE_GUARD_SECONDS", 900, 1..=86_400),
        hashes: env.rate("RATE_PASSCODE_HASHES", "120/60").filter(|_| on),
    }
}

/// Reads `TRUSTED_HOPS` and `FORWARDED_HEADER`: the proxies in front, and the header in which they
/// name the address of a client.
pub fn trusted_proxies(env: &mut Env) -> TrustedProxies {
    let names = ForwardedHeader::NAMES;
    let header = env.parsed("FORWARDED_HEADER", ForwardedHeader::default(), "x-forwarded-for or forwarded", |text| {
        names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, header)| *header)
    });
    TrustedProxies { hops: env.number("TRUSTED_HOPS", 0, 0..=16), header }
}

/// Reads `RATE_TURN_PER_ADDRESS` and `RATE_TURN_PER_USER`. There are no rates if `on` is false.
pub fn turn_rates(env: &mut Env, on: bool) -> TurnRates {
    TurnRates {
        address: env.rate("RATE_TURN_PER_ADDRESS", "6000/600").filter(|_| on),
        user: env.rate("RATE_TURN_PER_USER", "60/600").filter(|_| on),
    }
}
