//! Rate limits, counted for all pods together: by client address, and by account if there is one.
//! Each route belongs to a class with rates of its own (`docs/OPERATIONS.md`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use switchboard_core::client_address::{ClientNetwork, TrustedProxies};
use switchboard_core::domain::{AppId, AppKeyId, UserId, whole_seconds};
use switchboard_net::{ClientAddresses, ConnectionTimeouts, Counts, Permit};
use switchboard_rooms::rate_limit::{Exceeded, Guess, GuessBounds, GuessClass, PasscodeRates, RateLimiter, Subject};
use switchboard_rooms::{Rate, RateOutcome};
use switchboard_runtime::config::{Env, ROOM_CREATE_RATE, passcode_rates, trusted_proxies};

use crate::address_bounds::AddressBounds;

/// Headers of the IETF draft "RateLimit header fields for HTTP", in the form that most clients
/// know.
pub const HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
];

/// Rate class of a route: by its cost, or by the secret that a caller could guess through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Checks passwords.
    SignIn,
    /// Registers accounts.
    Register,
    /// Joins calls.
    Join,
    /// Makes any other change.
    Write,
    /// Reads.
    Read,
    /// Request of an app's backend.
    Server,
    /// Event that an app's backend sends into a room, where it is copied to each participant.
    ServerEvent,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 7] =
        [Self::SignIn, Self::Register, Self::Join, Self::Write, Self::Read, Self::Server, Self::ServerEvent];

    /// Returns the name of the class in Redis keys and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Register => "register",
            Self::Join => "join",
            Self::Write => "write",
            Self::Read => "read",
            Self::Server => "server",
            Self::ServerEvent => "server_event",
        }
    }
}

/// Rates of one class. `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Rate of one address, or of one IPv6 network.
    pub address: Option<Rate>,
    /// Rate of one account, one guest or one API key of an app.
    pub account: Option<Rate>,
}

/// `RATE_SIGN_IN_PER_ADDRESS`, `RATE_SIGN_IN_PER_ACCOUNT` and so on, each `requests/seconds` or 0.
/// `RATE_LIMITS=false` turns all rates off. The struct has more than eight fields: each is the
/// rates of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RatesConfig {
    /// Rates of [`Class::SignIn`].
    pub sign_in: Rates,
    /// Rates of [`Class::Register`].
    pub register: Rates,
    /// Rates of [`Class::Join`].
    pub join: Rates,
    /// Rates of [`Class::Write`].
    pub write: Rates,
    /// Rates of [`Class::Read`].
    pub read: Rates,
    /// Rates of [`Class::Server`].
    pub server: Rates,
    /// Rates of [`Class::ServerEvent`].
    pub server_event: Rates,
    /// `REQUESTS_PER_ADDRESS`: requests of any kind from one address to this pod.
    pub requests: Option<Rate>,
    /// `REQUESTS_IN_PROGRESS_PER_ADDRESS`: requests from one address that this pod serves at the
    /// same time; 0 is no bound.
    pub in_progress: usize,
    /// Rates of attempts at one call's passcode.
    pub passcode: PasscodeRates,
    /// `RATE_ROOM_CREATE`: rooms that one user may create by joining.
    pub creations: Option<Rate>,
    /// `RATE_PASSWORD_PER_ADDRESS`, `RATE_PASSWORD_PER_ACCOUNT`, `PASSWORD_GUARD_SECONDS`: wrong
    /// passwords of one account.
    pub password: GuessBounds,
    /// `TRUSTED_HOPS`, `FORWARDED_HEADER`: proxies whose word about an address is trusted.
    pub proxies: TrustedProxies,
}

impl RatesConfig {
    /// Reads the settings. Rates per address are generous, because an office can share one address.
    pub fn from_env(env: &mut Env) -> Self {
        let on = env.flag("RATE_LIMITS", true);
        let mut rate = |name, default| env.rate(name, default).filter(|_| on);
        let sign_in = Rates {
            address: rate("RATE_SIGN_IN_PER_ADDRESS", "300/60"),
            account: rate("RATE_SIGN_IN_PER_ACCOUNT", "10/60"),
        };
        let register = Rates { address: rate("RATE_REGISTER_PER_ADDRESS", "300/3600"), account: None };
        let (own, all) = (rate("RATE_PASSWORD_PER_ADDRESS", "10/600"), rate("RATE_PASSWORD_PER_ACCOUNT", "100/3600"));
        let join =
            Rates { address: rate("RATE_JOIN_PER_ADDRESS", "600/60"), account: rate("RATE_JOIN_PER_ACCOUNT", "60/60") };
        let write = Rates {
            address: rate("RATE_WRITE_PER_ADDRESS", "1200/60"),
            account: rate("RATE_WRITE_PER_ACCOUNT", "120/60"),
        };
        let read = Rates {
            address: rate("RATE_READ_PER_ADDRESS", "1000/10"),
            account: rate("RATE_READ_PER_ACCOUNT", "600/60"),
        };
        let server = Rates {
            address: rate("RATE_SERVER_PER_ADDRESS", "2000/10"),
            account: rate("RATE_SERVER_PER_KEY", "200/10"),
        };
        let server_event = Rates { address: server.address, account: rate("RATE_SERVER_EVENT_PER_KEY", "100/10") };
        let creations = rate("RATE_ROOM_CREATE", ROOM_CREATE_RATE);
        let requests = rate("REQUESTS_PER_ADDRESS", "20000/10");
        let in_progress = env.number("REQUESTS_IN_PROGRESS_PER_ADDRESS", 256, 0..=1_000_000);
        let pause = env.seconds("PASSWORD_GUARD_SECONDS", 300, 1..=86_400);
        let (password, passcode) = (GuessBounds { address: own, all, pause }, passcode_rates(env, on));
        let proxies = trusted_proxies(env);
        Self {
            sign_in,
            register,
            join,
            write,
            read,
            server,
            server_event,
            requests,
            in_progress,
            passcode,
            creations,
            password,
            proxies,
        }
    }

    const fn of(&self, class: Class) -> Rates {
        match class {
            Class::SignIn => self.sign_in,
            Class::Register => self.register,
            Class::Join => self.join,
            Class::Write => self.write,
            Class::Read => self.read,
            Class::Server => self.server,
            Class::ServerEvent => self.server_event,
        }
    }
}

/// Counts requests and refuses those above a rate.
#[derive(Clone, Debug)]
pub struct Limits {
    limiter: RateLimiter,
    rates: Arc<RatesConfig>,
    addresses: ClientAddresses,
    bounds: AddressBounds,
    lists: Arc<Counts<Reader>>,
}

/// Maximum number of lists that one account reads at the same time, and one address.
const LISTS_MAX: usize = 8;

/// Caller that requests are counted against, besides the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// User or guest.
    User(AppId, UserId),
    /// API key of an app.
    Key(AppKeyId),
}

impl Account {
    /// Returns the subject of rates.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::User(app, user) => Subject::of(app, user),
            Self::Key(key) => Subject::AppKey(key),
        }
    }
}

/// Account or address that reads a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Address(ClientNetwork),
    Account(Account),
}

/// Lists that a request reads. Dropping it frees them.
#[derive(Debug)]
pub struct ListPermit {
    _permits: Vec<Permit<Reader>>,
}

/// Bounds on the connections of clients.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Maximum number of connections at the same time; 0 means no bound.
    pub total: usize,
    /// Maximum number of connections of one address, or of one IPv6 network; 0 means no bound.
    pub per_address: usize,
    /// Time limits for a request's head, for silence between two requests, and for a write that
    /// blocks because the client does not read.
    pub timeouts: ConnectionTimeouts,
}

/// Address of the other end of a connection, stored in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

/// State of a rate limit after one request was counted.
#[derive(Clone, Copy, Debug)]
pub struct RateStatus {
    rate: Rate,
    spent: RateOutcome,
}

/// A rate was exceeded.
#[derive(Clone, Copy, Debug)]
pub struct RateExceeded(pub RateStatus);

impl From<Exceeded> for RateExceeded {
    fn from(Exceeded { rate, spent }: Exceeded) -> Self {
        Self(RateStatus { rate, spent })
    }
}

impl Limits {
    /// Creates limits with these rates; `limiter` keeps the counts.
    #[must_use]
    pub fn new(limiter: RateLimiter, rates: RatesConfig) -> Self {
        let lists = Arc::new(Counts::new("switchboard_http_lists_in_progress", 0, LISTS_MAX));
        let addresses = ClientAddresses::new(rates.proxies);
        let bounds = AddressBounds::new(rates.requests, rates.in_progress);
        Self { limiter, addresses, bounds, lists, rates: Arc::new(rates) }
    }

    /// Returns the reader of clients' addresses.
    #[must_use]
    pub const fn addresses(&self) -> &ClientAddresses {
        &self.addresses
    }

    /// Returns the bounds on the requests of one address.
    #[must_use]
    pub const fn bounds(&self) -> &AddressBounds {
        &self.bounds
    }

    /// Counts a request that reads many documents, until the permit is dropped. `None`: the account
    /// or the address reads its most lists.
    #[must_use]
    pub fn list(&self, account: Option<&Account>, address: Option<ClientNetwork>) -> Option<ListPermit> {
        let account = account.cloned().map(Reader::Account);
        let readers = address.map(Reader::Address).into_iter().chain(account);
        let permits: Result<_, _> = readers.map(|reader| self.lists.acquire(reader)).collect();
        permits.ok().map(|permits| ListPermit { _permits: permits })
    }

    /// Returns the rates of a class.
    #[must_use]
    pub fn rates(&self, class: Class) -> Rates {
        self.rates.of(class)
    }

    /// Counts a request that reveals whether a user exists, in the class of sign-ins.
    ///
    /// # Errors
    /// The user's rate is exceeded.
    pub async fn lookup(&self, user: &UserId) -> Result<(), RateExceeded> {
        self.spend(Class::SignIn.name(), Subject::User(user), self.rates.sign_in.account).await.map(drop)
    }

    /// Asks whether an address may guess the password of the account with this e-mail address,
    /// whether or not there is one.
    ///
    /// # Errors
    /// The address has too many wrong guesses, or the account is guarded.
    pub async fn guess_password(&self, email: &str, from: Option<ClientNetwork>) -> Result<Guess<'_>, RateExceeded> {
        let guess = self.limiter.guess(GuessClass::Password, Subject::Email(email), from, self.rates.password);
        Ok(guess.await?)
    }

    /// Counts one request of `subject` against `rate`. `name` must be a constant, because it
    /// becomes part of a Redis key and a metric label.
    ///
    /// # Errors
    /// The rate is exceeded.
    pub async fn spend(
        &self,
        name: &'static str,
        subject: Subject<'_>,
        rate: Option<Rate>,
    ) -> Result<Option<RateStatus>, RateExceeded> {
        let Some(rate) = rate else { return Ok(None) };
        let Some(spent) = self.limiter.spend(name, subject, Some(rate)).await else { return Ok(None) };
        let status = RateStatus { rate, spent };
        if spent.retry_after.is_some() { Err(RateExceeded(status)) } else { Ok(Some(status)) }
    }

    /// Returns the counter of attempts at passcodes, and its rates.
    #[must_use]
    pub fn passcodes(&self) -> (&RateLimiter, PasscodeRates) {
        (&self.limiter, self.rates.passcode)
    }

    /// Returns the rate at which one user may create rooms by joining.
    #[must_use]
    pub fn creations(&self) -> Option<Rate> {
        self.rates.creations
    }
}

impl RateExceeded {
    /// Creates the refusal of a request that is allowed after `wait`.
    #[must_use]
    pub const fn after(rate: Rate, wait: Duration) -> Self {
        let reset_after = wait.saturating_add(rate.period);
        Self(RateStatus { rate, spent: RateOutcome { remaining: 0, retry_after: Some(wait), reset_after } })
    }
}

impl RateStatus {
    /// Returns the seconds until the next request is allowed; at least 1.
    #[must_use]
    pub fn retry_after(&self) -> u64 {
        whole_seconds(self.spent.retry_after.unwrap_or_default())
    }

    /// Writes the `RateLimit-*` headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { rate, spent } = self;
        let period = rate.period.as_secs();
        let values = [
            rate.requests.to_string(),
            spent.remaining.to_string(),
            whole_seconds(spent.reset_after).to_string(),
            format!("{};w={period}", rate.requests),
        ];
        for (name, value) in HEADERS.into_iter().zip(values) {
            headers.insert(name, HeaderValue::try_from(value).expect("digits are a valid header value"));
        }
    }

    /// Returns the one of two limits that has fewer requests left.
    #[must_use]
    pub fn tighter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|status| status.spent.remaining)
    }
}

#[cfg(test)]
mod tests {
    use switchboard_rooms::rate_limit::CLASSES;

    use super::*;

    #[test]
    fn every_class_has_a_metric_series_before_its_first_refusal() {
        for class in Class::ALL {
            assert!(CLASSES.contains(&class.name()), "{}", class.name());
        }
    }
}
