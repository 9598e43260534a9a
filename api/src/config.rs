//! The api's settings, from the environment.

use std::path::PathBuf;
use std::time::Duration;

use switchboard_auth::{Lifetimes, OperatorKeys};
use switchboard_runtime::config::{
    ConfigErrors, Env, IceSettings, Mode, MongoConfig, OriginsConfig, RedisConfig, Secret, SecretsConfig,
    TelemetryConfig,
};

use crate::limits::RatesConfig;
use crate::webhooks::{Endpoint, WebhookOptions};

/// HMAC-SHA256 wants a key as long as its hash.
const WEBHOOK_SECRET_MIN_BYTES: usize = 32;

/// Everything that the api can be told. Over eight fields: each is a group or a knob of its own.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// `API_PORT`: where REST and the page are served.
    pub port: u16,
    /// `METRICS_PORT`: where probes and metrics are served.
    pub metrics_port: u16,
    /// `BIND_ADDRESS`: the address of both.
    pub bind: std::net::IpAddr,
    /// Logging.
    pub telemetry: TelemetryConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// MongoDB.
    pub mongo: MongoConfig,
    /// The keys that sign tokens.
    pub secrets: SecretsConfig,
    /// `ACCESS_TOKEN_TTL`, `REFRESH_TOKEN_TTL`, `GUEST_TOKEN_TTL`, `JOIN_TOKEN_TTL`, in seconds.
    pub lifetimes: Lifetimes,
    /// Which pages may call.
    pub origins: OriginsConfig,
    /// How often clients may ask.
    pub rates: RatesConfig,
    /// STUN and TURN.
    pub ice: IceSettings,
    /// `WEB_DIR`: the folder of the page; none: no page.
    pub web: Option<PathBuf>,
    /// `PASSWORD_CONCURRENCY`: how many passwords are hashed at once.
    pub password_concurrency: usize,
    /// `REQUEST_TIMEOUT_MS`: after which a request is answered 503.
    pub deadline: Duration,
    /// `EMPTY_ROOM_SECONDS`: after which an empty room's call ends.
    pub empty_after: Duration,
    /// `UNOPENED_CALL_SECONDS`: how long after its date a call that nobody came to is cancelled.
    pub unopened_after: Duration,
    /// `ADMIN_API_KEYS`: who may look at everything and intervene.
    pub operators: OperatorKeys,
    /// Who is told what happens.
    pub webhooks: WebhookConfig,
}

/// Webhooks: `WEBHOOK_URLS`, `WEBHOOK_SECRET`, `WEBHOOK_TIMEOUT_MS`, `WEBHOOK_GIVE_UP_SECONDS`.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// To whom, and how.
    pub options: WebhookOptions,
    /// Signs what is sent; there when there is an endpoint.
    pub secret: Option<Secret>,
}

impl WebhookConfig {
    fn from_env(env: &mut Env) -> Self {
        let addresses = env.list("WEBHOOK_URLS", "");
        let endpoints: Vec<_> = addresses.iter().filter_map(|address| Endpoint::parse(address)).collect();
        if endpoints.len() < addresses.len() {
            env.reject("WEBHOOK_URLS", "must be a list of http or https addresses");
        }
        let secret = env.secret("WEBHOOK_SECRET");
        let long_enough = secret.as_ref().is_some_and(|text| text.expose().len() >= WEBHOOK_SECRET_MIN_BYTES);
        if !endpoints.is_empty() && !long_enough {
            env.reject("WEBHOOK_SECRET", format!("must have at least {WEBHOOK_SECRET_MIN_BYTES} bytes"));
        }
        let options = WebhookOptions {
            endpoints,
            timeout: env.millis("WEBHOOK_TIMEOUT_MS", 10_000, 100..=60_000),
            give_up: env.seconds("WEBHOOK_GIVE_UP_SECONDS", 86_400, 1..=7 * 86_400),
            ..WebhookOptions::default()
        };
        Self { options, secret }
    }
}

impl ApiConfig {
    /// Reads every variable; reports every wrong one.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn from_env(mut variables: Env) -> Result<Self, ConfigErrors> {
        let env = &mut variables;
        let mode = Mode::from_env(env);
        let defaults = Lifetimes::default();
        let mut lifetime = |name, default: Duration, most| env.seconds(name, default.as_secs(), 1..=most);
        let lifetimes = Lifetimes {
            access: lifetime("ACCESS_TOKEN_TTL", defaults.access, 86_400),
            refresh: lifetime("REFRESH_TOKEN_TTL", defaults.refresh, 90 * 86_400),
            guest: lifetime("GUEST_TOKEN_TTL", defaults.guest, 7 * 86_400),
            join: lifetime("JOIN_TOKEN_TTL", defaults.join, 3_600),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let config = Self {
            port: env.port("API_PORT", 3001),
            metrics_port: env.port("METRICS_PORT", 9101),
            bind: env.parsed("BIND_ADDRESS", std::net::IpAddr::from([0, 0, 0, 0]), "an IP address", |text| {
                text.parse().ok()
            }),
            telemetry: TelemetryConfig::from_env(env, mode),
            redis: RedisConfig::from_env(env),
            mongo: MongoConfig::from_env(env),
            secrets: SecretsConfig::from_env(env, mode),
            lifetimes,
            origins: OriginsConfig::from_env(env),
            rates: RatesConfig::from_env(env),
            ice: IceSettings::from_env(env),
            web: env.optional("WEB_DIR").map(PathBuf::from),
            password_concurrency: env.number("PASSWORD_CONCURRENCY", cores, 1..=256),
            deadline: env.millis("REQUEST_TIMEOUT_MS", 15_000, 100..=300_000),
            empty_after: env.seconds("EMPTY_ROOM_SECONDS", 300, 1..=86_400),
            unopened_after: env.seconds("UNOPENED_CALL_SECONDS", 86_400, 60..=30 * 86_400),
            operators: operators(env),
            webhooks: WebhookConfig::from_env(env),
        };
        variables.finish().map(|()| config)
    }
}

fn operators(env: &mut Env) -> OperatorKeys {
    let keys = env.list("ADMIN_API_KEYS", "");
    OperatorKeys::parse(keys.iter().map(String::as_str)).unwrap_or_else(|| {
        env.reject(
            "ADMIN_API_KEYS",
            "must be a list of name:read:hash or name:write:hash, each with the SHA-256 of its key",
        );
        OperatorKeys::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn webhooks_need_sound_addresses_and_a_long_secret() {
        let wrong = |pairs: &[(&'static str, &'static str)]| -> Vec<String> {
            let errors = ApiConfig::from_env(Env::new(pairs.iter().copied())).err();
            errors.map_or_else(Vec::new, |errors| errors.0.into_iter().map(|error| error.name).collect())
        };
        let (url, secret) = (("WEBHOOK_URLS", "https://a.test/x, http://b.test"), "0123456789abcdef0123456789abcdef");
        assert!(wrong(&[url, ("WEBHOOK_SECRET", secret)]).is_empty());
        assert_eq!(wrong(&[url]), ["WEBHOOK_SECRET"]);
        assert_eq!(wrong(&[url, ("WEBHOOK_SECRET", "short")]), ["WEBHOOK_SECRET"]);
        for address in ["ftp://a.test", "a.test/x", "http://"] {
            assert_eq!(wrong(&[("WEBHOOK_URLS", address)]), ["WEBHOOK_URLS"], "{address}");
        }
    }

    #[test]
    fn nothing_set_is_a_configuration_for_development_and_none_for_production() {
        assert!(ApiConfig::from_env(Env::new([("LOG_LEVEL", "info")])).is_ok());
        let production = Env::new([("NODE_ENV", "production"), ("API_PORT", "x"), ("REQUEST_TIMEOUT_MS", "0")]);
        let names: Vec<_> = ApiConfig::from_env(production).unwrap_err().0.into_iter().map(|e| e.name).collect();
        for name in ["API_PORT", "REQUEST_TIMEOUT_MS", "JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"] {
            assert!(names.iter().any(|wrong| wrong == name), "{name} is among {names:?}");
        }
    }
}
