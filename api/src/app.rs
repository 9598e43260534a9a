//! What the routes work with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use switchboard_auth::{Hasher, IceConfig, OperatorKeys, Tokens};
use switchboard_calls::{CallEditor, JoinAccess};
use switchboard_core::ClusterKey;
use switchboard_core::domain::{RoomId, Timestamp};
use switchboard_records::Records;
use switchboard_rooms::{Door, Revocations, Rooms, StoreError};

use crate::limits::Limits;
use crate::routes::Documents;

/// How long a display figure may wait for Redis before the record's own is shown.
const GLANCE: Duration = Duration::from_millis(500);

/// An expired token still resumes a seat, and a seat outlives its socket by ten minutes at most: the longest grace that can be set.
/// This is longer, for a node that does not hear of the revocation at once.
const RESUMABLE: Duration = Duration::from_secs(3600);

/// Handles to everything that routes need; a clone is one reference more.
#[derive(Clone)]
pub struct App(Arc<Whole>);

struct Whole {
    parts: Parts,
    documents: Documents,
}

/// The parts of an [`App`]. Over eight fields: each is one thing that routes work with.
pub struct Parts {
    /// MongoDB.
    pub records: Records,
    /// Redis.
    pub rooms: Rooms,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
    /// Sign-ins that are over before their tokens are.
    pub revoked: Revocations,
    /// Who may look at everything and intervene.
    pub operators: OperatorKeys,
    /// Guests' addresses, for bans: the nodes' own key.
    pub addresses: ClusterKey,
    /// Hashes passwords and passcodes.
    pub hasher: Hasher,
    /// How often clients may ask.
    pub limits: Limits,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// The page's address, without a slash at the end; links to calls begin with it.
    pub frontend: String,
    /// When the process began.
    pub started: Instant,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Whole { parts, documents: Documents::write() }))
    }

    /// What the API says of itself.
    #[must_use]
    pub(crate) fn documents(&self) -> &Documents {
        &self.0.documents
    }

    /// The time of the records.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// Ends a sign-in everywhere: at once on this pod, on the others and on every node when they next look at the list.
    ///
    /// # Errors
    /// When Redis is away: it may or may not be known there.
    pub async fn revoke(&self, sign_in: &str) -> Result<(), StoreError> {
        self.revoke_all(&[sign_in.to_owned()]).await
    }

    /// As `revoke`, of several.
    ///
    /// # Errors
    /// When Redis is away: some may be known there.
    pub async fn revoke_all(&self, sign_ins: &[String]) -> Result<(), StoreError> {
        let keep = self.tokens.lifetimes().access + RESUMABLE;
        try_join_all(sign_ins.iter().map(|sign_in| self.rooms.revoke(sign_in, keep))).await?;
        self.revoked.refresh(&self.rooms).await.map(drop)
    }

    /// Admission to calls.
    #[must_use]
    pub fn access(&self) -> JoinAccess<'_> {
        let Parts { rooms, records, hasher, limits, .. } = &**self;
        let (limiter, passcode_rates) = limits.passcodes();
        JoinAccess { rooms, records, hasher, limiter, passcode_rates }
    }

    /// Changes of calls.
    #[must_use]
    pub fn editor(&self) -> CallEditor<'_> {
        CallEditor { rooms: &self.rooms, records: &self.records }
    }

    /// Where people join a room.
    #[must_use]
    pub fn join_link(&self, room: &RoomId) -> String {
        format!("{}/r/{room}", self.frontend)
    }

    /// How many are in the room, as far as Redis says so quickly; for show, nothing is decided by it.
    pub async fn present(&self, room: &RoomId) -> Option<u32> {
        match tokio::time::timeout(GLANCE, self.rooms.door(room)).await {
            Ok(Ok(Door::Open { participants, .. })) => Some(participants),
            Ok(Ok(Door::Absent | Door::Ended)) => Some(0),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// This machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
