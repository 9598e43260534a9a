//! Rate limits that all pods share, counted in Redis.
//!
//! They fail open: while Redis does not answer promptly, every request passes and a metric counts
//! it. Otherwise an outage of Redis would refuse requests that work without Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{AppId, AppKeyId, Rate, RateOutcome, Refusal, RoomId, UserId};

use crate::scripts::{GuessReply, GuessStep};
use crate::{Rooms, StoreError};

pub use crate::scripts::GuessBounds;

/// Classes of requests, each counted by itself: the values of the metrics' label. Add a new class
/// here, so that its series exist before a request is refused.
pub const CLASSES: [&str; 16] = [
    "sign_in",
    "register",
    "join",
    "write",
    "read",
    "password",
    "password_guarded",
    "passcode",
    "passcode_guarded",
    "passcode_hash",
    "room_create",
    "room_join",
    "server",
    "server_event",
    "turn",
    "app_requests",
];

/// Time that a request waits for its count.
const COUNT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time without counts after a count that did not come.
const PAUSE_INTERVAL: Duration = Duration::from_secs(1);

/// What requests are counted against. Each kind has its own name space, so that no text of a client
/// reaches the count of another kind. Add a new kind here.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Network of a client.
    Address(ClientNetwork),
    /// Account or guest.
    User(&'a UserId),
    /// User of an app other than the default one.
    AppUser(&'a AppId, &'a UserId),
    /// API key of an app.
    AppKey(&'a AppKeyId),
    /// App other than the default one.
    App(&'a AppId),
    /// E-mail address that a client names, with or without an account.
    Email(&'a str),
    /// One passcode of one room: the room and the stored hash. A new passcode has new counts.
    Passcode(&'a RoomId, &'a str),
}

impl<'a> Subject<'a> {
    /// Returns the user of an app.
    #[must_use]
    pub fn of(app: &'a AppId, user: &'a UserId) -> Self {
        if app.is_default() { Self::User(user) } else { Self::AppUser(app, user) }
    }

    /// Returns the hash under which the subject is counted. It has a fixed length and hides the
    /// subject.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        match self {
            Self::Address(address) => hash.update(format!("address {address}")),
            Self::User(user) => hash.update(format!("user {user}")),
            Self::AppUser(app, user) => hash.update(format!("app user {}", app.user(user))),
            Self::AppKey(key) => hash.update(format!("app key {key}")),
            Self::App(app) => hash.update(format!("app {app}")),
            Self::Email(email) => hash.update(format!("email {email}")),
            Self::Passcode(room, stored) => hash.update(format!("passcode {room} {stored}")),
        }
        hex::encode(&hash.finalize()[..12])
    }
}

/// Kind of secret that a client can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuessClass {
    /// Passcode of a call.
    Passcode,
    /// Password of an account.
    Password,
}

impl GuessClass {
    /// Returns the class of refusals: at the rate of an address, and while the secret is guarded.
    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Passcode => ["passcode", "passcode_guarded"],
            Self::Password => ["password", "password_guarded"],
        }
    }
}

/// Bounds of guesses at one call's passcode, over REST and sockets together. Only wrong guesses are
/// counted. docs/BUDGETS.md shows why four digits are not guessed in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasscodeRates {
    /// `RATE_PASSCODE_PER_ADDRESS`: wrong passcodes from one address.
    pub address: Option<Rate>,
    /// `RATE_PASSCODE_PER_CALL`: wrong passcodes from all addresses together. Above it, the call is
    /// guarded.
    pub call: Option<Rate>,
    /// `PASSCODE_GUARD_SECONDS`: time between two guesses of an address at a guarded call.
    pub pause: Duration,
    /// `RATE_PASSCODE_HASHES`: passcodes of all calls that one address may have hashed.
    pub hashes: Option<Rate>,
}

impl PasscodeRates {
    /// Returns the bounds of guesses.
    #[must_use]
    pub const fn bounds(&self) -> GuessBounds {
        GuessBounds { address: self.address, all: self.call, pause: self.pause }
    }
}

/// Rates at which TURN credentials are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnRates {
    /// `RATE_TURN_PER_ADDRESS`: for one address.
    pub address: Option<Rate>,
    /// `RATE_TURN_PER_USER`: for one user or guest.
    pub user: Option<Rate>,
}

/// A request that exceeds a rate.
#[derive(Clone, Copy, Debug)]
pub struct Exceeded {
    /// Rate.
    pub rate: Rate,
    /// State of the rate.
    pub spent: RateOutcome,
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self::rate_exceeded(exceeded.spent.retry_after.unwrap_or_default())
    }
}

/// Counts requests. Cheap to clone; clones share the pause after a failure.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    rooms: Rooms,
    born: Instant,
    /// Time in ms since `born` until which no request of a partition is counted: one server that is
    /// away must not stop the counts on others.
    paused_until: Arc<[AtomicU64]>,
}

impl RateLimiter {
    /// Creates a limiter that counts in the Redis of these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        let paused_until = (0..rooms.partitions()).map(|_| AtomicU64::new(0)).collect();
        Self { rooms, born: Instant::now(), paused_until }
    }

    /// Counts one request of `subject` in a class of [`CLASSES`]. Returns `None` without a count:
    /// the rate is off, or Redis does not answer within 500 ms.
    pub async fn spend(&self, class: &'static str, subject: Subject<'_>, rate: Option<Rate>) -> Option<RateOutcome> {
        let rate = rate?;
        let subject = subject.digest();
        let spent = self.ask(class, &subject, async |rooms: &Rooms| rooms.spend(class, &subject, rate).await).await?;
        if spent.retry_after.is_some() {
            metrics::counter!("switchboard_rate_limited_total", "class" => class).increment(1);
        }
        Some(spent)
    }

    /// Counts one request of `subject` as [`RateLimiter::spend`] does.
    ///
    /// # Errors
    /// The rate is exceeded.
    pub async fn check(&self, class: &'static str, subject: Subject<'_>, rate: Option<Rate>) -> Result<(), Exceeded> {
        match (rate, self.spend(class, subject, rate).await) {
            (Some(rate), Some(spent)) if spent.retry_after.is_some() => Err(Exceeded { rate, spent }),
            _ => Ok(()),
        }
    }

    /// Asks whether an address may guess a secret now. Report the result to the [`Guess`]; a guess
    /// without a result is not counted.
    ///
    /// # Errors
    /// `Exceeded`: the address has too many wrong guesses, or the secret is guarded.
    pub async fn guess(
        &self,
        class: GuessClass,
        secret: Subject<'_>,
        from: Option<ClientNetwork>,
        bounds: GuessBounds,
    ) -> Result<Guess<'_>, Exceeded> {
        let address = from.map_or_else(|| "unknown".to_owned(), |address| Subject::Address(address).digest());
        let mut guess = Guess { limiter: self, class, secret: secret.digest(), address, bounds, known: false };
        if bounds.address.is_none() && bounds.all.is_none() {
            return Ok(guess);
        }
        match guess.step(GuessStep::Try).await {
            Some(GuessReply::Wait { after, guarded }) => {
                let [own, all] = class.names();
                let name = if guarded { all } else { own };
                metrics::counter!("switchboard_rate_limited_total", "class" => name).increment(1);
                let rate = if guarded { bounds.all } else { bounds.address };
                let rate = rate.unwrap_or(Rate { requests: 1, period: bounds.pause });
                let spent = RateOutcome { remaining: 0, retry_after: Some(after), reset_after: after };
                Err(Exceeded { rate, spent })
            }
            Some(GuessReply::Done { known }) => {
                guess.known = known;
                Ok(guess)
            }
            None => Ok(guess),
        }
    }

    /// Sends a request that counts in the partition of a subject. Returns `None` if Redis does not
    /// answer in time.
    async fn ask<T>(
        &self,
        class: &'static str,
        subject: &str,
        request: impl AsyncFnOnce(&Rooms) -> Result<T, StoreError>,
    ) -> Option<T> {
        let paused_until = &self.paused_until[usize::from(self.rooms.partition_of_subject(subject).0)];
        if self.now_ms() < paused_until.load(Ordering::Relaxed) {
            return self.open(class);
        }
        let Ok(Ok(reply)) = tokio::time::timeout(COUNT_TIMEOUT, request(&self.rooms)).await else {
            let pause = u64::try_from(PAUSE_INTERVAL.as_millis()).unwrap_or(0);
            paused_until.store(self.now_ms() + pause, Ordering::Relaxed);
            return self.open(class);
        };
        Some(reply)
    }

    fn open<T>(&self, class: &'static str) -> Option<T> {
        metrics::counter!("switchboard_rate_limit_open_total", "class" => class).increment(1);
        None
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A guess that may be compared now.
#[derive(Debug)]
pub struct Guess<'a> {
    limiter: &'a RateLimiter,
    class: GuessClass,
    secret: String,
    address: String,
    bounds: GuessBounds,
    /// The address has guessed right before.
    known: bool,
}

impl Guess<'_> {
    /// Counts the guess, because it was wrong.
    pub async fn wrong(self) {
        if self.bounds.address.is_some() || self.bounds.all.is_some() {
            self.step(GuessStep::Wrong).await;
        }
    }

    /// Remembers that the address has guessed right.
    pub async fn right(self) {
        if !self.known && self.bounds.all.is_some() {
            self.step(GuessStep::Right).await;
        }
    }

    async fn step(&self, step: GuessStep) -> Option<GuessReply> {
        let [class, _] = self.class.names();
        let pair = (self.secret.as_str(), self.address.as_str());
        let ask = async |rooms: &Rooms| rooms.guess(class, pair, step, self.bounds).await;
        self.limiter.ask(class, &self.secret, ask).await
    }
}
