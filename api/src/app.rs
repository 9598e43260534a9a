//! The parts of the service that routes use.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use switchboard_auth::{AppVault, IceConfig, OperatorKeys, PasswordHasher, Tokens};
use switchboard_calls::{AppAdmin, AppDirectory, CallCreator, CallEditor, JoinAccess, WebhookAdmin, join_link};
use switchboard_core::ClusterKey;
use switchboard_core::domain::{RoomId, Timestamp};
use switchboard_records::Records;
use switchboard_rooms::{RevocationReason, Revocations, RoomPeek, Rooms, StoreError};

use crate::clock;
use crate::limits::Limits;
use crate::webhooks::Webhooks;

/// How long a participant count may wait for Redis. After that, the count in the record is shown.
const PRESENT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a revocation stays in Redis after the access token has expired, because an expired
/// token still resumes a seat. A seat outlives its socket by at most 10 minutes (the longest grace
/// period that can be set); the rest is for a node that learns of the revocation late.
const REVOCATION_MARGIN: Duration = Duration::from_secs(3600);

/// Shared handle to everything that routes need. A clone costs one reference count.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`]. The struct has more than eight fields: each is one service that routes
/// use.
pub struct Parts {
    /// Records in MongoDB.
    pub records: Records,
    /// Room state in Redis.
    pub rooms: Rooms,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
    /// Sign-ins that were ended before their tokens expire.
    pub revoked: Revocations,
    /// API keys of apps.
    pub apps: AppDirectory,
    /// Encrypts the secrets of apps' keys. `None`: there are no apps.
    pub vault: Option<AppVault>,
    /// Whether key sets of identity sources may have an `http` address on this machine.
    pub is_development: bool,
    /// Webhook endpoints, and the way to them.
    pub webhooks: Webhooks,
    /// Whether URLs of apps' webhooks must have the scheme `https`.
    pub webhooks_https_only: bool,
    /// API keys of operators.
    pub operators: OperatorKeys,
    /// Key that hashes clients' addresses for bans; the same key as on the nodes.
    pub addresses: ClusterKey,
    /// Hashes passwords and passcodes.
    pub hasher: PasswordHasher,
    /// Rate limits.
    pub limits: Limits,
    /// STUN and TURN servers.
    pub ice: IceConfig,
    /// Address of the web page, without a slash at the end. Links to calls begin with it.
    pub frontend: String,
    /// Time in milliseconds after its end in which the host can reopen a call.
    pub reopen_within_ms: i64,
    /// Start of the process.
    pub started: Instant,
}

impl App {
    /// Creates the handle.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the current time, for records.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        clock::now()
    }

    /// Revokes one sign-in, because a person ended it: immediately on this pod, elsewhere when the
    /// pod or node next reads the list of revocations.
    ///
    /// # Errors
    /// Redis is unavailable. The revocation may or may not have been stored.
    pub async fn revoke(&self, sign_in: &str) -> Result<(), StoreError> {
        self.revoke_all(&[sign_in.to_owned()]).await
    }

    /// Ends the tokens of a sign-in whose refresh token was used twice, as [`App::revoke`] does.
    /// Its seats in calls stay until their access tokens expire.
    ///
    /// # Errors
    /// As [`App::revoke`].
    pub async fn revoke_replayed(&self, sign_in: &str) -> Result<(), StoreError> {
        self.revoke_for(&[sign_in.to_owned()], RevocationReason::Replayed).await
    }

    /// Revokes several sign-ins, as [`App::revoke`] does.
    ///
    /// # Errors
    /// Redis is unavailable. Some revocations may have been stored.
    pub async fn revoke_all(&self, sign_ins: &[String]) -> Result<(), StoreError> {
        self.revoke_for(sign_ins, RevocationReason::SignedOut).await
    }

    async fn revoke_for(&self, sign_ins: &[String], reason: RevocationReason) -> Result<(), StoreError> {
        let keep = self.tokens.lifetimes().access + REVOCATION_MARGIN;
        try_join_all(sign_ins.iter().map(|sign_in| self.rooms.revoke(sign_in, reason, keep))).await?;
        self.revoked.refresh(&self.rooms).await.map(drop)
    }

    /// Returns the use case of admission to calls.
    #[must_use]
    pub fn access(&self) -> JoinAccess<'_> {
        let Parts { rooms, records, hasher, tokens, limits, apps, .. } = &**self;
        let (limiter, passcode_rates) = limits.passcodes();
        JoinAccess { rooms, records, hasher, tokens, limiter, passcode_rates, creations: limits.creations(), apps }
    }

    /// Returns the use case of creating calls.
    #[must_use]
    pub fn creator(&self) -> CallCreator<'_> {
        CallCreator { rooms: &self.rooms, records: &self.records, frontend: &self.frontend }
    }

    /// Returns the use case of editing calls.
    #[must_use]
    pub fn editor(&self) -> CallEditor<'_> {
        CallEditor { rooms: &self.rooms, records: &self.records, apps: &self.apps }
    }

    /// Returns the use cases of apps and their keys.
    #[must_use]
    pub fn app_admin(&self) -> AppAdmin<'_> {
        AppAdmin { records: &self.records, vault: self.vault.as_ref(), is_development: self.is_development }
    }

    /// Returns the use cases of apps' webhooks and of the events that were sent.
    #[must_use]
    pub fn webhook_admin(&self) -> WebhookAdmin<'_> {
        WebhookAdmin { records: &self.records, vault: self.vault.as_ref(), https_only: self.webhooks_https_only }
    }

    /// Returns the address of the web page at which users join a room.
    #[must_use]
    pub fn join_link(&self, room: &RoomId) -> String {
        join_link(&self.frontend, room)
    }

    /// Returns the number of participants in a room, or `None` if Redis does not answer in time.
    /// The number is for display only; no decision depends on it.
    pub async fn present(&self, room: &RoomId) -> Option<u32> {
        match tokio::time::timeout(PRESENT_TIMEOUT, self.rooms.peek(room)).await {
            Ok(Ok(RoomPeek::Open { participants, .. })) => Some(participants),
            Ok(Ok(RoomPeek::Absent | RoomPeek::Ended)) => Some(0),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
