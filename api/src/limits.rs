//! How often clients may ask, counted for all pods together: by address, and by account when there is one. Each route has a class with
//! rates of its own (`docs/OPERATIONS.md`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use switchboard_core::client_address::{client_address, network};
use switchboard_core::domain::Code;
use switchboard_rooms::rate_limit::{Exceeded, PasscodeRates, RateLimiter};
use switchboard_rooms::{Rate, Spent};
use switchboard_runtime::config::{Env, passcode_rates};

use crate::app::App;
use crate::error::Problem;
use crate::extract;

/// Headers of the IETF's draft "RateLimit header fields for HTTP", as most clients know them.
pub const HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
];

/// What a route costs us, or what could be guessed through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passwords.
    SignIn,
    /// Joining calls.
    Join,
    /// Other changes.
    Write,
    /// Reading.
    Read,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Join => "join",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// The rates of a class; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// For each address, or network of IPv6.
    pub address: Option<Rate>,
    /// For each account, guest, or e-mail address that somebody signs in with.
    pub account: Option<Rate>,
}

/// `RATE_SIGN_IN_PER_ADDRESS`, `RATE_SIGN_IN_PER_ACCOUNT` and so on, each `requests/seconds` or 0; `RATE_LIMITS=false` turns all off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RatesConfig {
    /// Of [`Class::SignIn`].
    pub sign_in: Rates,
    /// Of [`Class::Join`].
    pub join: Rates,
    /// Of [`Class::Write`].
    pub write: Rates,
    /// Of [`Class::Read`].
    pub read: Rates,
    /// Of tries of one call's passcode.
    pub passcode: PasscodeRates,
    /// `TRUSTED_HOPS`: proxies in front whose `X-Forwarded-For` entry is believed; 0 believes none.
    pub trusted_hops: usize,
}

impl RatesConfig {
    /// Reads it. An address may be that of a whole office, so its rates are generous.
    pub fn from_env(env: &mut Env) -> Self {
        let on = env.flag("RATE_LIMITS", true);
        let mut rate = |name, default| env.rate(name, default).filter(|_| on);
        let sign_in = Rates {
            address: rate("RATE_SIGN_IN_PER_ADDRESS", "100/60"),
            account: rate("RATE_SIGN_IN_PER_ACCOUNT", "10/60"),
        };
        let join =
            Rates { address: rate("RATE_JOIN_PER_ADDRESS", "600/60"), account: rate("RATE_JOIN_PER_ACCOUNT", "60/60") };
        let write = Rates {
            address: rate("RATE_WRITE_PER_ADDRESS", "1200/60"),
            account: rate("RATE_WRITE_PER_ACCOUNT", "120/60"),
        };
        let read = Rates {
            address: rate("RATE_READ_PER_ADDRESS", "6000/60"),
            account: rate("RATE_READ_PER_ACCOUNT", "600/60"),
        };
        let passcode = passcode_rates(env, on);
        Self { sign_in, join, write, read, passcode, trusted_hops: env.number("TRUSTED_HOPS", 0, 0..=16) }
    }

    const fn of(&self, class: Class) -> Rates {
        match class {
            Class::SignIn => self.sign_in,
            Class::Join => self.join,
            Class::Write => self.write,
            Class::Read => self.read,
        }
    }
}

/// Counts requests and turns away who asks too often.
#[derive(Clone, Debug)]
pub struct Limits {
    limiter: RateLimiter,
    rates: Arc<RatesConfig>,
}

/// The other end of a request's connection, in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The address that a request comes from, as an argument of a handler; none when it came over no connection.
#[derive(Clone, Copy, Debug)]
pub struct Origin(pub Option<IpAddr>);

impl FromRequestParts<App> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(app.limits.address(&parts.headers, &parts.extensions)))
    }
}

/// A count, and the rate that it was held against.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    rate: Rate,
    spent: Spent,
}

impl Limits {
    /// These rates, counted there.
    #[must_use]
    pub fn new(limiter: RateLimiter, rates: RatesConfig) -> Self {
        Self { limiter, rates: Arc::new(rates) }
    }

    /// Spends one try of an account that the request does not prove to be its own: an e-mail address to sign in with.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED`.
    pub async fn attempt(&self, class: Class, account: &str) -> Result<(), Problem> {
        self.spend(class.name(), account, self.rates.of(class).account).await.map(drop)
    }

    /// Spends one request of `subject` against a rate of the caller's own; `name` is a word of the code's.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED`.
    pub async fn spend(
        &self,
        name: &'static str,
        subject: &str,
        rate: Option<Rate>,
    ) -> Result<Option<Counted>, Problem> {
        let Some(rate) = rate else { return Ok(None) };
        let Some(spent) = self.limiter.spend(name, subject, Some(rate)).await else { return Ok(None) };
        let counted = Counted { rate, spent };
        if spent.wait.is_some() { Err(Problem::limited(counted)) } else { Ok(Some(counted)) }
    }

    /// The counter of attempts at passcodes, and its rates.
    #[must_use]
    pub fn passcodes(&self) -> (&RateLimiter, PasscodeRates) {
        (&self.limiter, self.rates.passcode)
    }

    fn address(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let Peer(peer) = extensions.get::<Peer>()?;
        Some(network(client_address(
            headers.get_all("x-forwarded-for").iter().map(http::HeaderValue::as_bytes),
            *peer,
            self.rates.trusted_hops,
        )))
    }
}

impl Counted {
    /// Seconds after which to try again; at least one.
    #[must_use]
    pub fn retry_after(&self) -> u64 {
        self.spent.wait.map_or(0, seconds_up).max(1)
    }

    /// Tells the client how it stands.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Self { rate, spent } = self;
        let period = rate.period.as_secs();
        let values = [
            rate.requests.to_string(),
            spent.left.to_string(),
            seconds_up(spent.reset).to_string(),
            format!("{};w={period}", rate.requests),
        ];
        for (name, value) in HEADERS.into_iter().zip(values) {
            headers.insert(name, HeaderValue::try_from(value).expect("digits are a header's value"));
        }
    }

    /// The one of two that leaves less.
    fn tighter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|counted| counted.spent.left)
    }
}

/// The layer of a route of this class.
pub async fn limit(State((app, class)): State<(App, Class)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let account = extract::identify(&mut parts, &app).ok().flatten().map(|identity| identity.user.id);
    let request = Request::from_parts(parts, body);
    let (limits, rates) = (&app.limits, app.limits.rates.of(class));
    // Nobody is looked for whom nothing is counted of.
    let address = rates.address.and_then(|_| limits.address(request.headers(), request.extensions()));
    let address = address.map(|address| address.to_string());
    let count = async |subject: Option<&str>, rate| match subject {
        Some(subject) => limits.spend(class.name(), subject, rate).await,
        None => Ok(None),
    };
    let account = account.as_ref().map(|id| id.as_str());
    let (by_address, by_account) =
        tokio::join!(count(address.as_deref(), rates.address), count(account, rates.account));
    let counted = match (by_address, by_account) {
        (Ok(one), Ok(other)) => Counted::tighter(one, other),
        (Err(problem), _) | (_, Err(problem)) => return problem.into_response(),
    };
    let mut response = next.run(request).await;
    // A handler that counted something of its own has said so already.
    if let Some(counted) = counted
        && !response.headers().contains_key(&HEADERS[0])
    {
        counted.tell(response.headers_mut());
    }
    response
}

fn seconds_up(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

// Which refusal a limit is.
impl Problem {
    /// Too many attempts at a passcode.
    pub(crate) fn passcode(Exceeded { rate, spent }: Exceeded) -> Self {
        Self::limited(Counted { rate, spent })
    }

    /// Too many requests; the headers say when to come back.
    fn limited(counted: Counted) -> Self {
        Self { refusal: Code::RateLimitExceeded.into(), counted: Some(counted) }
    }
}

#[cfg(test)]
mod tests {
    use switchboard_rooms::rate_limit::CLASSES;

    use super::*;

    #[test]
    fn every_class_has_its_series_before_anybody_is_turned_away() {
        for class in [Class::SignIn, Class::Join, Class::Write, Class::Read] {
            assert!(CLASSES.contains(&class.name()), "{}", class.name());
        }
    }
}
