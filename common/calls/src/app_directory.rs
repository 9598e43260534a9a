//! This process's copy of all apps with their API keys, limits, web origins and identity sources,
//! so that a token costs no read.
//!
//! The copy is refreshed every 4 s, by one read of the apps that changed. While MongoDB answers, a
//! revoked key, or a disabled or deleted app, is therefore refused everywhere within 10 s. While it
//! does not, the copy stays as it is: known keys stay valid, and unknown ones are refused with a
//! code that says to try again.
//!
//! A token with an unknown key may be of a key that was made a moment ago. It causes one more read:
//! for all such tokens of this process together, at most one a second and ten at once. Made-up key
//! ids cause no more reads than that. The same holds for tokens with an unknown issuer.
//!
//! The file has more than 400 lines, because all of it works on that one copy.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchboard_auth::token::is_of_source;
use switchboard_auth::{AppSigner, AppVault, Identity, TokenSigner, Tokens, UnverifiedToken, app_key};
use switchboard_core::Secret;
use switchboard_core::domain::{AppId, AppKeyId, AppLimit, AppLimits, AppScope, Code, Refusal, Timestamp};
use switchboard_core::failure_log::FailureLog;
use switchboard_jwks::JwksCache;
use switchboard_records::{AppRecord, Records, RecordsError};
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app_limits::LimitRefusals;
use crate::app_origins::AppOrigins;
use crate::identity_sources::{AppSource, IdentitySources, Named, SourceKeys};
use crate::key_uses::{LastUse, USE_MARGIN_MS, USES_INTERVAL, USES_MAX};

/// Time between two reads of the changed apps.
const REFRESH_INTERVAL: Duration = Duration::from_secs(4);
/// Time in which tokens with unknown keys may cause one read.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// Reads that tokens with unknown keys may cause at once.
const LOOKUP_BURST: u32 = 10;

/// Valid API key.
#[derive(Clone, Debug)]
pub struct AppKey {
    /// Public id.
    pub id: AppKeyId,
    /// App of the key.
    pub app: AppId,
    /// Secret, with which the app's backend signs tokens.
    pub secret: Secret,
    /// Scopes of the key.
    pub scopes: Vec<AppScope>,
}

impl AppKey {
    /// Returns the key as it signs user tokens.
    #[must_use]
    pub const fn signer(&self) -> AppSigner<'_> {
        AppSigner { app: &self.app, key: &self.id, secret: &self.secret }
    }

    /// Checks that the key has a scope.
    ///
    /// # Errors
    /// `FORBIDDEN` with the name of the scope.
    pub fn authorize(&self, scope: AppScope) -> Result<(), Refusal> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, format!("This API key lacks the scope {}", scope.as_str())))
    }
}

/// API key in the copy.
struct KnownKey {
    app: AppId,
    known: Known,
    last_use: LastUse,
}

/// Whether an API key is accepted.
#[derive(Clone, Debug)]
enum Known {
    /// The key is accepted.
    Valid(Arc<AppKey>),
    /// The key was revoked, or its app is disabled or deleted.
    Revoked,
    /// The secret cannot be decrypted with the master keys of this process.
    Unreadable,
}

/// Copy of all apps and keys. Clones share the copy.
#[derive(Clone)]
pub struct AppDirectory(Arc<Parts>);

struct Parts {
    records: Records,
    /// `None`: the deployment has no master key, and so no apps.
    vault: Option<AppVault>,
    /// Public keys of identity sources.
    jwks: JwksCache,
    copy: RwLock<Copy>,
    refusals: LimitRefusals,
    reads: Mutex<Reads>,
    /// Number of reads so far.
    count: AtomicU64,
}

#[derive(Default)]
struct Copy {
    keys: HashMap<AppKeyId, KnownKey>,
    /// Limits of the apps that have any.
    limits: HashMap<AppId, AppLimits>,
    sources: IdentitySources,
    origins: AppOrigins,
    /// Time of the last change that was read, by MongoDB's clock. `None` before the first read.
    read: Option<Timestamp>,
}

/// State of the reads. A read holds it, so that a process has one at a time.
#[derive(Default)]
struct Reads {
    /// Begin and outcome of the last read.
    last: Option<(Instant, bool)>,
    /// Time from which the bucket of look-ups is full.
    full: Option<Instant>,

    failures: FailureLog<AppKeyId>,
    /// Ids of keys, and sign-ins of identity sources, whose revocation was read and that `refresh`
    /// has not returned yet.
    revoked: Vec<String>,
}

impl AppDirectory {
    /// Creates an empty copy. Without a vault no token of an app is accepted, and nothing is read.
    #[must_use]
    pub fn new(records: Records, vault: Option<AppVault>, jwks: JwksCache) -> Self {
        Self(Arc::new(Parts {
            records,
            vault,
            jwks,
            copy: RwLock::default(),
            refusals: LimitRefusals::default(),
            reads: Mutex::default(),
            count: AtomicU64::new(0),
        }))
    }

    /// Returns a valid key.
    ///
    /// # Errors
    /// - `TOKEN_INVALID`: there is no such key.
    /// - `KEY_REVOKED`: the key was revoked, or its app is disabled or deleted.
    /// - `SERVICE_UNAVAILABLE`: the key is not known here and MongoDB does not answer, or its
    ///   secret cannot be decrypted.
    pub async fn key(&self, id: &AppKeyId) -> Result<Arc<AppKey>, Refusal> {
        if self.0.vault.is_none() {
            return Err(Refusal::new(Code::TokenInvalid, "This service has no apps"));
        }
        let known = match self.known(id) {
            Some(known) => Some(known),
            None => {
                let answers = self.look_up().await;
                let known = self.known(id);
                if known.is_none() && !answers {
                    return Err(Code::ServiceUnavailable.into());
                }
                known
            }
        };
        match known {
            Some(Known::Valid(key)) => Ok(key),
            Some(Known::Revoked) => Err(Code::KeyRevoked.into()),
            Some(Known::Unreadable) => Err(Code::ServiceUnavailable.into()),
            None => Err(Refusal::new(Code::TokenInvalid, "The API key is unknown")),
        }
    }

    /// Verifies the token of a user: an access or guest token, a user token of an app, or a token
    /// of an identity source. With `resumes`, an expired one is good too. Returns whether it has
    /// expired.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED`, `TOKEN_INVALID`, or as [`AppDirectory::key`]; `FORBIDDEN` if the key may
    /// not sign tokens; `IDENTITY_SOURCE_UNAVAILABLE` if the keys of an identity source cannot be
    /// read.
    pub async fn identify(&self, tokens: &Tokens, token: &str, resumes: bool) -> Result<(Identity, bool), Refusal> {
        let verified = match TokenSigner::of(token) {
            TokenSigner::Service => {
                return match tokens.verify_access(token) {
                    Err(refusal) if refusal.code == Code::TokenExpired && resumes => {
                        Ok((tokens.verify_for_resume(token)?, true))
                    }
                    verified => Ok((verified?, false)),
                };
            }
            TokenSigner::AppKey(id) => self.verify_app(tokens, token, &id, resumes).await,
            TokenSigner::Source(names) => self.verify_source(tokens, token, &names, resumes).await,
        };
        let outcome = match verified.as_ref().map_err(|refusal| refusal.code) {
            Ok(_) => "accepted",
            Err(Code::TokenExpired) => "expired",
            Err(Code::KeyRevoked) => "revoked",
            Err(Code::ServiceUnavailable | Code::IdentitySourceUnavailable) => "unavailable",
            Err(_) => "invalid",
        };
        metrics::counter!("switchboard_app_tokens_total", "outcome" => outcome).increment(1);
        verified
    }

    async fn verify_app(
        &self,
        tokens: &Tokens,
        token: &str,
        id: &AppKeyId,
        resumes: bool,
    ) -> Result<(Identity, bool), Refusal> {
        let key = self.key(id).await?;
        key.authorize(AppScope::TokensMint)?;
        let verified = tokens.verify_app(token, key.signer(), resumes)?;
        self.mark_use(id);
        Ok(verified)
    }

    async fn verify_source(
        &self,
        tokens: &Tokens,
        token: &str,
        names: &UnverifiedToken,
        resumes: bool,
    ) -> Result<(Identity, bool), Refusal> {
        let AppSource { app, source, keys, .. } = &*self.source(names).await?;
        let key = match keys {
            SourceKeys::Registered(keys) => keys.find(names).cloned(),
            SourceKeys::At(uri) => self.0.jwks.key(uri, names).await?,
        };
        let unknown = || Refusal::new(Code::TokenInvalid, "The issuer has no such key");
        tokens.verify_source(token, (app, source), &key.ok_or_else(unknown)?, resumes)
    }

    /// Returns the identity source that a token names. One that is not known may be new: it costs a
    /// read as an unknown key does.
    async fn source(&self, token: &UnverifiedToken) -> Result<Arc<AppSource>, Refusal> {
        if self.0.vault.is_none() {
            return Err(Code::TokenInvalid.into());
        }
        let mut named = self.named(token);
        if matches!(named, Named::UnknownIssuer | Named::OtherAudience) {
            let answers = self.look_up().await;
            named = self.named(token);
            if matches!(named, Named::UnknownIssuer | Named::OtherAudience) && !answers {
                return Err(Code::ServiceUnavailable.into());
            }
        }
        let invalid = |problem: &'static str| Err(Refusal::new(Code::TokenInvalid, problem));
        match named {
            Named::Source(source) => Ok(source),
            Named::Closed => Err(Code::KeyRevoked.into()),
            Named::UnknownIssuer => invalid("The issuer of the token is unknown"),
            Named::OtherAudience => invalid("The token is for another audience"),
            Named::Ambiguous => invalid("The token is for the audiences of several apps"),
        }
    }

    fn named(&self, token: &UnverifiedToken) -> Named {
        self.copy().sources.named(token)
    }

    /// Returns whether some app has pages of this origin.
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        let copy = self.0.copy.read().unwrap_or_else(PoisonError::into_inner);
        copy.origins.any_allows(origin)
    }

    /// Checks that tokens of an app are accepted on the page that sends them. `origin`: that of the
    /// page; `None` if there is none, or if it is the service's own.
    ///
    /// # Errors
    /// `ORIGIN_NOT_ALLOWED`: the app has origins, and not this one.
    pub fn check_origin(&self, app: &AppId, origin: Option<&str>) -> Result<(), Refusal> {
        let Some(origin) = origin.filter(|_| !app.is_default()) else { return Ok(()) };
        let copy = self.0.copy.read().unwrap_or_else(PoisonError::into_inner);
        if copy.origins.app_allows(app, origin) {
            return Ok(());
        }
        metrics::counter!("switchboard_app_origins_refused_total").increment(1);
        Err(Code::OriginNotAllowed.into())
    }

    /// Verifies the key id and the secret of a backend. Costs a read only as [`AppDirectory::key`]
    /// does.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS`, `KEY_REVOKED` or `SERVICE_UNAVAILABLE`.
    pub async fn authenticate(&self, id: &str, secret: &str) -> Result<Arc<AppKey>, Refusal> {
        let verified = async {
            let wrong = || Refusal::new(Code::InvalidCredentials, "The id or the secret of the API key is wrong");
            let id = AppKeyId::read(id).ok_or_else(wrong)?;
            let key = self.key(&id).await.map_err(|refusal| match refusal.code {
                Code::TokenInvalid => Refusal { code: Code::InvalidCredentials, ..refusal },
                _ => refusal,
            })?;
            if !app_key::is_secret(&key.secret, secret) {
                return Err(wrong());
            }
            self.mark_use(&id);
            Ok(key)
        };
        let verified = verified.await;
        let outcome = match verified.as_ref().map_err(|refusal| refusal.code) {
            Ok(_) => "accepted",
            Err(Code::KeyRevoked) => "revoked",
            Err(Code::ServiceUnavailable) => "unavailable",
            Err(_) => "invalid",
        };
        metrics::counter!("switchboard_app_requests_total", "outcome" => outcome).increment(1);
        verified
    }

    /// Returns whether the key or the identity source of this sign-in is known to be revoked, or
    /// its app to be disabled or deleted.
    #[must_use]
    pub fn is_revoked(&self, sign_in: &str) -> bool {
        if is_of_source(sign_in) {
            return !self.copy().sources.is_valid(sign_in);
        }
        AppKeyId::read(sign_in).is_some_and(|id| matches!(self.known(&id), Some(Known::Revoked)))
    }

    /// Returns the limits of an app: none for the app of accounts and guests.
    #[must_use]
    pub fn limits(&self, app: &AppId) -> AppLimits {
        if app.is_default() {
            return AppLimits::default();
        }
        self.copy().limits.get(app).copied().unwrap_or_default()
    }

    /// Checks the number of seats that a call of an app is to have.
    ///
    /// # Errors
    /// `APP_LIMIT_REACHED`.
    pub fn check_seats(&self, app: &AppId, wanted: Option<u32>) -> Result<(), Refusal> {
        let (limits, wanted) = (self.limits(app), wanted.unwrap_or(0));
        let most = limits.seats(wanted);
        if most >= wanted {
            return Ok(());
        }
        Err(self.0.refusals.limit_reached(app, AppLimit::ParticipantsPerCall, most))
    }

    /// Makes the refusals at the limits of apps.
    #[must_use]
    pub fn refusals(&self) -> &LimitRefusals {
        &self.0.refusals
    }

    /// Returns how many times MongoDB was asked.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn known(&self, id: &AppKeyId) -> Option<Known> {
        self.copy().keys.get(id).map(|key| key.known.clone())
    }

    fn mark_use(&self, id: &AppKeyId) {
        if let Some(key) = self.copy().keys.get(id) {
            key.last_use.mark(now());
        }
    }

    /// Stores the last uses of keys, so that operators see them: each at most 5 minutes too early.
    ///
    /// # Errors
    /// MongoDB is unavailable. The uses wait for the next call.
    pub async fn note_key_uses(&self) -> Result<(), RecordsError> {
        let to_store =
            |(id, key): (&AppKeyId, &KnownKey)| Some((key.app.clone(), id.clone(), key.last_use.to_store()?));
        let uses: Vec<_> = self.copy().keys.iter().filter_map(to_store).take(USES_MAX).collect();
        if uses.is_empty() {
            return Ok(());
        }
        self.0.records.for_recording().note_key_uses(&uses, USE_MARGIN_MS).await?;
        let copy = self.copy();
        for (_, id, at) in &uses {
            if let Some(key) = copy.keys.get(id) {
                key.last_use.was_stored(*at);
            }
        }
        Ok(())
    }

    fn copy(&self) -> RwLockReadGuard<'_, Copy> {
        // No code under the lock panics half-way through a change.
        self.0.copy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the changed apps for an unknown key, unless a read began since or there were too many.
    /// Returns whether the last read succeeded.
    async fn look_up(&self) -> bool {
        let asked = Instant::now();
        let mut reads = self.0.reads.lock().await;
        let full = reads.full.unwrap_or(asked).max(asked);
        match reads.last {
            Some((began, answers)) if began >= asked || full - asked > LOOKUP_INTERVAL * (LOOKUP_BURST - 1) => answers,
            _ => {
                reads.full = Some(full + LOOKUP_INTERVAL);
                self.read(&mut reads).await.is_ok()
            }
        }
    }

    /// Reads the apps that changed. Returns the ids of keys and the sign-ins of identity sources
    /// that are revoked since.
    ///
    /// # Errors
    /// MongoDB is unavailable. The copy is then unchanged.
    pub async fn refresh(&self) -> Result<Vec<String>, RecordsError> {
        let mut reads = self.0.reads.lock().await;
        self.read(&mut reads).await?;
        Ok(std::mem::take(&mut reads.revoked))
    }

    async fn read(&self, reads: &mut Reads) -> Result<(), RecordsError> {
        let Some(vault) = &self.0.vault else { return Ok(()) };
        let (began, since) = (Instant::now(), self.copy().read);
        let changed = self.0.records.changed_apps(since).await;
        reads.last = Some((began, changed.is_ok()));
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let outcome = if changed.is_ok() { "ok" } else { "failed" };
        metrics::counter!("switchboard_app_reads_total", "outcome" => outcome).increment(1);
        let changed = changed?;
        // Decrypted before the lock is taken, because every token waits for it.
        let read: Vec<_> = changed.iter().map(|app| (app, keys_of(app, vault).collect::<Vec<_>>())).collect();
        let mut copy = self.0.copy.write().unwrap_or_else(PoisonError::into_inner);
        copy.read = changed.iter().map(|app| app.changed_at).max().max(copy.read);
        let mut has_other_origins = false;
        for (app, keys) in read {
            let origins = if app.deleted_at.is_some() { &[][..] } else { &app.origins };
            has_other_origins |= copy.origins.set(&app.id, origins);
            if app.deleted_at.is_some() || app.limits == AppLimits::default() {
                copy.limits.remove(&app.id);
            } else {
                copy.limits.insert(app.id.clone(), app.limits);
            }
            reads.revoked.extend(copy.sources.replace(app));
            for (id, known) in keys {
                if matches!(known, Known::Unreadable)
                    && reads.failures.failed(id.clone(), "", Duration::from_millis(app.changed_at.0.unsigned_abs()))
                {
                    tracing::error!(app_id = %app.id, key_id = %id, "secret of an API key not decrypted");
                }
                let is_revoked = matches!(known, Known::Revoked);
                let before = match copy.keys.entry(id.clone()) {
                    Entry::Occupied(mut key) => Some(std::mem::replace(&mut key.get_mut().known, known)),
                    Entry::Vacant(place) => {
                        place.insert(KnownKey { app: app.id.clone(), known, last_use: LastUse::default() });
                        None
                    }
                };
                if is_revoked && !matches!(before, None | Some(Known::Revoked)) {
                    reads.revoked.push(id.to_string());
                }
            }
        }
        if has_other_origins {
            copy.origins.unite();
        }
        let valid = copy.keys.values().filter(|key| matches!(key.known, Known::Valid(_))).count();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("switchboard_app_keys").set(valid as f64);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("switchboard_identity_sources").set(copy.sources.count() as f64);
        if !changed.is_empty() {
            let addresses = copy.sources.addresses();
            self.0.jwks.retain(|uri| addresses.contains(uri));
        }
        Ok(())
    }

    /// Refreshes the copy, and stores the last uses of keys, until `stop`. Calls `revoked` with
    /// each key id and each sign-in of an identity source that is revoked since, after the copy has
    /// it.
    pub async fn follow(self, revoked: impl Fn(&str), stop: CancellationToken) {
        if self.0.vault.is_none() {
            return stop.cancelled().await;
        }
        // Side by side, so that a write that takes long delays no revocation.
        tokio::join!(self.read_changes(revoked, &stop), self.store_uses(&stop));
    }

    async fn read_changes(&self, revoked: impl Fn(&str), stop: &CancellationToken) {
        let mut ticks = ticks(REFRESH_INTERVAL);
        while tick(&mut ticks, stop).await {
            match self.refresh().await {
                Ok(sign_ins) => sign_ins.iter().for_each(|sign_in| revoked(sign_in)),
                // Counted; the metric and the log of MongoDB's state tell operators.
                Err(error) => tracing::debug!(%error, "reading apps failed"),
            }
        }
    }

    async fn store_uses(&self, stop: &CancellationToken) {
        let mut ticks = ticks(USES_INTERVAL);
        while tick(&mut ticks, stop).await {
            if let Err(error) = self.note_key_uses().await {
                tracing::debug!(%error, "storing uses of API keys failed");
            }
        }
    }
}

fn ticks(time: Duration) -> Interval {
    let mut ticks = interval(time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick. Returns false when `stop` is cancelled.
async fn tick(ticks: &mut Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        _ = ticks.tick() => true,
        () = stop.cancelled() => false,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the keys of an app as they are accepted.
fn keys_of<'a>(app: &'a AppRecord, vault: &'a AppVault) -> impl Iterator<Item = (AppKeyId, Known)> + 'a {
    let is_closed = app.disabled || app.deleted_at.is_some();
    app.keys.iter().map(move |key| {
        let known = if is_closed || key.revoked_at.is_some() {
            Known::Revoked
        } else {
            let valid = |secret| AppKey { id: key.id.clone(), app: app.id.clone(), secret, scopes: key.scopes.clone() };
            let secret = vault.open(&app.id, &key.id, &key.sealed);
            secret.map_or(Known::Unreadable, |secret| Known::Valid(Arc::new(valid(secret))))
        };
        (key.id.clone(), known)
    })
}
