//! The settings of the API, from environment variables.

use std::path::PathBuf;
use std::time::Duration;

use switchboard_auth::{OperatorKeys, TokenLifetimes};
use switchboard_net::ConnectionTimeouts;
use switchboard_records::{LineBudget, LineBudgets};
use switchboard_runtime::config::{
    ConfigErrors, Env, IceSettings, Mode, MongoConfig, OriginsConfig, RedisConfig, SecretsConfig, TelemetryConfig,
    keep_alive,
};

use crate::limits::{ConnectionBounds, RatesConfig};
use crate::webhooks::{Endpoint, WebhookOptions};

/// HMAC-SHA256 needs a key as long as its hash.
const WEBHOOK_SECRET_MIN_BYTES: usize = 32;

/// Maximum time for the head of a request, which is small.
const HEAD_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// All settings of the API. The struct has more than eight fields: each is one setting or one group
/// of settings.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// `NODE_ENV`: development or production.
    pub mode: Mode,
    /// `API_PORT`: port of REST and the web page.
    pub port: u16,
    /// `METRICS_PORT`: port of probes and metrics.
    pub metrics_port: u16,
    /// `BIND_ADDRESS`: address that both ports listen on.
    pub bind: std::net::IpAddr,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Connection to Redis.
    pub redis: RedisConfig,
    /// Connection to MongoDB.
    pub mongo: MongoConfig,
    /// Keys that sign tokens, and the files of all keys.
    pub secrets: SecretsConfig,
    /// `ACCESS_TOKEN_TTL`, `REFRESH_TOKEN_TTL`, `GUEST_TOKEN_TTL`, `JOIN_TOKEN_TTL`, in seconds.
    pub lifetimes: TokenLifetimes,
    /// Web origins that may call the API.
    pub origins: OriginsConfig,
    /// Rate limits.
    pub rates: RatesConfig,
    /// STUN and TURN servers.
    pub ice: IceSettings,
    /// `WEB_DIR`: folder of the web page. `None`: no page is served.
    pub web: Option<PathBuf>,
    /// `PASSWORD_CONCURRENCY`: most passwords that are hashed at the same time.
    pub password_concurrency: usize,
    /// `REQUEST_TIMEOUT_MS`: time limit of a request; after it the response is 503.
    pub deadline: Duration,
    /// `MAX_CONNECTIONS`, `CONNECTIONS_PER_ADDRESS`, `HTTP_TIMEOUT_MS`, `KEEP_ALIVE_MS`: bounds on
    /// connections.
    pub connections: ConnectionBounds,
    /// `EMPTY_ROOM_SECONDS`: time after which an empty room closes.
    pub empty_after: Duration,
    /// `UNOPENED_CALL_SECONDS`: time after its date at which a call without participants is
    /// cancelled.
    pub unopened_after: Duration,
    /// `CALL_REOPEN_SECONDS`: time after its end in which the host can reopen a call; 0: never.
    pub reopen_within: Duration,
    /// `ADMIN_API_KEYS`: API keys of operators.
    pub operators: OperatorKeys,
    /// `CALL_CHAT_MAX_MESSAGES`, `CALL_CHAT_MAX_BYTES`, `CALL_LOG_MAX_EVENTS`,
    /// `CALL_LOG_MAX_BYTES`: most lines in the recorded chat and in the log of one call.
    pub lines: LineBudgets,
    /// Webhooks.
    pub webhooks: WebhookConfig,
}

/// Webhooks: `WEBHOOK_URLS`, `WEBHOOK_SECRET`, `WEBHOOK_TIMEOUT_MS`, `WEBHOOK_GIVE_UP_SECONDS`.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Endpoints of the deployment, with the keys that sign their events.
    pub endpoints: Vec<Endpoint>,
    /// Whether URLs of apps must have the scheme `https`: in production.
    pub https_only: bool,
    /// Options of delivery.
    pub options: WebhookOptions,
}

impl WebhookConfig {
    fn from_env(env: &mut Env, mode: Mode) -> Self {
        let urls = env.list("WEBHOOK_URLS", "");
        let endpoints = env.check_each("WEBHOOK_URLS", &urls, Endpoint::parse);
        let keys = env.key_ring("WEBHOOK_SECRET");
        let long_enough = keys
            .as_ref()
            .is_some_and(|keys| keys.load().all().all(|key| key.secret().expose().len() >= WEBHOOK_SECRET_MIN_BYTES));
        if !endpoints.is_empty() && !long_enough {
            env.reject("WEBHOOK_SECRET", format!("must have at least {WEBHOOK_SECRET_MIN_BYTES} bytes"));
        }
        let signed = |endpoint: Endpoint| match &keys {
            Some(keys) => endpoint.with_keys(keys),
            None => endpoint,
        };
        let endpoints = endpoints.into_iter().map(signed).collect();
        let options = WebhookOptions {
            timeout: env.millis("WEBHOOK_TIMEOUT_MS", 10_000, 100..=60_000),
            give_up: env.seconds("WEBHOOK_GIVE_UP_SECONDS", 86_400, 1..=7 * 86_400),
            ..WebhookOptions::default()
        };
        Self { endpoints, https_only: mode == Mode::Production, options }
    }
}

impl ApiConfig {
    /// Reads every variable.
    ///
    /// # Errors
    /// One error for each invalid variable.
    pub fn from_env(mut variables: Env) -> Result<Self, ConfigErrors> {
        let env = &mut variables;
        let mode = Mode::from_env(env);
        let defaults = TokenLifetimes::default();
        let mut lifetime = |name, default: Duration, most| env.seconds(name, default.as_secs(), 1..=most);
        let lifetimes = TokenLifetimes {
            access: lifetime("ACCESS_TOKEN_TTL", defaults.access, 86_400),
            refresh: lifetime("REFRESH_TOKEN_TTL", defaults.refresh, 90 * 86_400),
            guest: lifetime("GUEST_TOKEN_TTL", defaults.guest, 7 * 86_400),
            join: lifetime("JOIN_TOKEN_TTL", defaults.join, 3_600),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let rates = RatesConfig::from_env(env);
        // Behind a proxy, all connections come from a few addresses, and the proxy bounds its own.
        let per_address = if rates.proxies.hops == 0 { 2_000 } else { 0 };
        let connections = ConnectionBounds {
            total: env.number("MAX_CONNECTIONS", 10_000, 0..=10_000_000),
            per_address: env.number("CONNECTIONS_PER_ADDRESS", per_address, 0..=10_000_000),
            timeouts: connection_timeouts(env),
        };
        let config = Self {
            mode,
            port: env.port("API_PORT", 3001),
            metrics_port: env.port("METRICS_PORT", 9101),
            bind: mode.bind_address(env),
            telemetry: TelemetryConfig::from_env(env, mode),
            redis: RedisConfig::from_env(env),
            mongo: MongoConfig::from_env(env),
            secrets: SecretsConfig::from_env(env, mode),
            lifetimes,
            origins: OriginsConfig::from_env(env, mode),
            rates,
            connections,
            ice: IceSettings::from_env(env),
            web: env.optional("WEB_DIR").map(PathBuf::from),
            password_concurrency: env.number("PASSWORD_CONCURRENCY", (cores / 2).max(1), 1..=256),
            deadline: env.millis("REQUEST_TIMEOUT_MS", 15_000, 100..=300_000),
            empty_after: env.seconds("EMPTY_ROOM_SECONDS", 300, 1..=86_400),
            unopened_after: env.seconds("UNOPENED_CALL_SECONDS", 86_400, 60..=30 * 86_400),
            reopen_within: env.seconds("CALL_REOPEN_SECONDS", 86_400, 0..=30 * 86_400),
            operators: operators(env),
            lines: line_budgets(env),
            webhooks: WebhookConfig::from_env(env, mode),
        };
        variables.finish().map(|()| config)
    }
}

fn connection_timeouts(env: &mut Env) -> ConnectionTimeouts {
    let write = env.millis("HTTP_TIMEOUT_MS", 30_000, 100..=300_000);
    ConnectionTimeouts { head: write.min(HEAD_TIMEOUT_MAX), idle: keep_alive(env), write }
}

fn line_budgets(env: &mut Env) -> LineBudgets {
    let LineBudgets { chat, events } = LineBudgets::default();
    let mut budget = |lines, bytes, default: LineBudget| LineBudget {
        lines: env.number(lines, default.lines, 0..=10_000_000),
        bytes: env.number(bytes, default.bytes, 0..=1 << 40),
    };
    LineBudgets {
        chat: budget("CALL_CHAT_MAX_MESSAGES", "CALL_CHAT_MAX_BYTES", chat),
        events: budget("CALL_LOG_MAX_EVENTS", "CALL_LOG_MAX_BYTES", events),
    }
}

fn operators(env: &mut Env) -> OperatorKeys {
    let keys = env.list("ADMIN_API_KEYS", "");
    OperatorKeys::parse(keys.iter().map(String::as_str)).unwrap_or_else(|| {
        env.reject(
            "ADMIN_API_KEYS",
            "must be a list of name:read:hash or name:write:hash, each with the SHA-256 of its key, not empty",
        );
        OperatorKeys::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn webhooks_need_valid_urls_and_a_long_secret() {
        let wrong = |pairs: &[(&'static str, &'static str)]| -> Vec<String> {
            let errors =
                ApiConfig::from_env(Env::new(pairs.iter().copied().chain([("NODE_ENV", "development")]))).err();
            errors.map_or_else(Vec::new, |errors| errors.0.into_iter().map(|error| error.name).collect())
        };
        let (url, secret) = (("WEBHOOK_URLS", "https://a.test/x, http://b.test"), "0123456789abcdef0123456789abcdef");
        assert!(wrong(&[url, ("WEBHOOK_SECRET", secret)]).is_empty());
        assert_eq!(wrong(&[url]), ["WEBHOOK_SECRET"]);
        assert_eq!(wrong(&[url, ("WEBHOOK_SECRET", "short")]), ["WEBHOOK_SECRET"]);
        for address in
            ["ftp://a.test", "a.test/x", "http://", "http://a.test/#x", "http://a.test:0", "http://us:100%@a.test"]
        {
            assert_eq!(wrong(&[("WEBHOOK_URLS", address)]), ["WEBHOOK_URLS"], "{address}");
        }
    }

    #[test]
    fn bounds_of_requests_hashes_and_recording_have_defaults_and_can_be_set() {
        let config = |pairs: &[(&'static str, &'static str)]| {
            let env = Env::new(pairs.iter().copied().chain([("NODE_ENV", "development")]));
            ApiConfig::from_env(env)
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let default = config(&[]).unwrap();
        assert_eq!(default.rates.requests.unwrap().to_string(), "20000/10");
        assert_eq!((default.rates.in_progress, default.password_concurrency), (256, (cores / 2).max(1)));
        assert_eq!(default.lines, LineBudgets::default());
        let set = [("REQUESTS_PER_ADDRESS", "5/1"), ("CALL_CHAT_MAX_MESSAGES", "7"), ("CALL_LOG_MAX_BYTES", "9")];
        let set = config(&set).unwrap();
        assert_eq!((set.lines.chat.lines, set.lines.events.bytes), (7, 9));
        assert_eq!(set.rates.requests.unwrap().requests, 5);
        assert!(config(&[("RATE_LIMITS", "false")]).unwrap().rates.requests.is_none());
        for name in ["REQUESTS_PER_ADDRESS", "REQUESTS_IN_PROGRESS_PER_ADDRESS", "CALL_LOG_MAX_EVENTS"] {
            assert_eq!(config(&[(name, "-1")]).unwrap_err().0[0].name, name);
        }
    }

    #[test]
    fn a_call_can_be_reopened_for_a_day_unless_that_is_set_otherwise() {
        let within = |pairs: &[(&'static str, &'static str)]| {
            let env = Env::new(pairs.iter().copied().chain([("NODE_ENV", "development")]));
            ApiConfig::from_env(env).unwrap().reopen_within.as_secs()
        };
        assert_eq!([within(&[]), within(&[("CALL_REOPEN_SECONDS", "0")])], [86_400, 0]);
    }

    #[test]
    fn idle_connections_are_kept_for_longer_than_load_balancers_keep_them_and_a_head_has_10_seconds() {
        let config = |pairs: &[(&'static str, &'static str)]| {
            let env = Env::new(pairs.iter().copied().chain([("NODE_ENV", "development")]));
            ApiConfig::from_env(env).map(|config| config.connections.timeouts)
        };
        let times = config(&[]).unwrap();
        assert!(times.idle >= Duration::from_secs(75));
        assert_eq!((times.head, times.write), (Duration::from_secs(10), Duration::from_secs(30)));
        assert_eq!(config(&[("KEEP_ALIVE_MS", "620000")]).unwrap().idle, Duration::from_secs(620));
        let errors = config(&[("KEEP_ALIVE_MS", "0")]).unwrap_err();
        assert_eq!(errors.0[0].name, "KEEP_ALIVE_MS");
    }

    #[test]
    fn an_empty_environment_is_invalid_because_development_must_be_asked_for() {
        assert!(ApiConfig::from_env(Env::new([("NODE_ENV", "development")])).is_ok());
        let production = Env::new([("API_PORT", "x"), ("REQUEST_TIMEOUT_MS", "0"), ("CALL_REOPEN_SECONDS", "2592001")]);
        let names: Vec<_> = ApiConfig::from_env(production).unwrap_err().0.into_iter().map(|e| e.name).collect();
        for name in ["API_PORT", "REQUEST_TIMEOUT_MS", "CALL_REOPEN_SECONDS", "JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"]
        {
            assert!(names.iter().any(|wrong| wrong == name), "{name} is among {names:?}");
        }
    }
}
