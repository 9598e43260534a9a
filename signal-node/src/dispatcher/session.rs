//! State that the node keeps for one connected client.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use switchboard_auth::AppGrant;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::time::Timestamp;
use switchboard_core::domain::{AppId, CallPermissions, ConnectionState, PublicUser, RoomId};
use switchboard_rooms::rate_limit::Subject;
use switchboard_rooms::{Partition, Proof, Seat, TokenGrant};
use switchboard_rules::{SeatView, SessionView, Stamp};
use switchboard_socketio::NetworkBudget;
use switchboard_socketio::send_queue::Message;
use tokio::time::Instant;

use super::session_rates::SessionRates;
use crate::app_limiters::{AppLimiter, AppPlace};
use crate::delivery::{SeatReplica, SessionLink};
use crate::session_registry::Registration;

/// Session of one client. The struct has more than eight fields: each is needed by a different
/// event.
#[derive(Debug)]
pub struct ClientSession {
    /// User. A guest without a token has no name until they join with one.
    pub user: PublicUser,
    /// The user as JSON, encoded once.
    pub user_json: Box<str>,
    /// App of the user.
    pub app: AppId,
    /// Limits of the app; `None` for the app of accounts and guests.
    pub app_limiter: Option<Arc<AppLimiter>>,
    /// Role and permissions that the app's backend grants.
    pub grant: Option<AppGrant>,
    /// The only room that the token is good for.
    pub bound_to: Option<RoomId>,
    /// Hash of the private session id, by which Redis finds the seat.
    pub pid: String,
    /// Hash of the private session id that could not be resumed. The next join gives up its seat.
    pub old_pid: Option<String>,
    /// Expiry of the token, in seconds since the Unix epoch; `None` without a token.
    pub token_end: Option<u64>,
    /// Evidence that removals and bans are compared with: time of the token, and address.
    pub proof: Proof,
    /// Network of the client, as rate limits count it.
    pub address: ClientNetwork,
    /// Entry in the session registry, with the queue to the client.
    pub registration: Registration,
    /// Tokens of the client's socket and address.
    pub budget: NetworkBudget,
    /// Rates of the session's reads.
    pub rates: SessionRates,
    /// Room that the session is in.
    pub room: Option<CurrentRoom>,
    /// Time since which the session is in no room.
    pub idle_since: Instant,
}

/// Room that a session is in.
#[derive(Debug)]
pub struct CurrentRoom {
    /// The seat as the rules see it.
    pub view: SeatView,
    /// Permissions of the seat; `None` for accounts and guests.
    pub permissions: Option<CallPermissions>,
    /// The seat.
    pub seat: Arc<Seat>,
    /// The receiving end of the room's events.
    pub link: Arc<SessionLink>,
    /// Partition of the room.
    pub partition: Partition,
}

impl CurrentRoom {
    /// Makes the room of a session from the seat that a script gave.
    pub(super) fn new(
        replica: &SeatReplica,
        link: Arc<SessionLink>,
        partition: Partition,
        place: Option<AppPlace>,
    ) -> Self {
        link.hold_place(place);
        let SeatReplica { seat, copy, meta } = replica;
        let view = SeatView {
            room: seat.room.clone(),
            peer: seat.peer.clone(),
            role: copy.role,
            state: copy.state,
            meta: Arc::clone(meta),
        };
        Self { view, permissions: copy.permissions, seat: Arc::clone(seat), link, partition }
    }
}

impl ClientSession {
    /// Returns whether the session has a seat. Waiting in the lobby is none.
    pub(super) fn is_seated(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.view.state != ConnectionState::Waiting)
    }

    /// Returns whether the session's token has expired.
    pub(super) fn has_expired(&self) -> bool {
        let now = u64::try_from(now().seconds()).unwrap_or(0);
        self.token_end.is_some_and(|end| end <= now)
    }

    /// Returns what the user may do: as the seat says, else as the token of an app says, else
    /// everything.
    fn permissions(&self) -> CallPermissions {
        let of_seat = self.room.as_ref().and_then(|room| room.permissions);
        of_seat.or_else(|| Some(self.grant.as_ref()?.permissions)).unwrap_or_default()
    }

    /// Returns what the user's token grants; `None` if it is not of an app's backend.
    pub(super) fn token_grant(&self) -> Option<TokenGrant> {
        let AppGrant { role, permissions } = self.grant.as_ref()?;
        Some(TokenGrant { issued_ms: self.proof.issued_ms, role: *role, permissions: *permissions })
    }

    /// Returns the user, as rates count it.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject::of(&self.app, &self.user.id)
    }

    /// Returns the session as the rules see it.
    pub(super) fn view(&self) -> SessionView<'_> {
        let seat = self.room.as_ref().map(|room| &room.view);
        let permissions = self.permissions();
        let has_grant = self.grant.is_some();
        SessionView { user: &self.user, user_json: &self.user_json, seat, has_grant, permissions }
    }

    /// Copies role, permissions, state, profile and call from the replica, so that the rules see
    /// them as they are now.
    pub(super) fn refresh(&mut self) {
        let Self { room, user, user_json: json, .. } = self;
        if let Some(CurrentRoom { view, permissions, link, .. }) = room {
            link.with_replica(|replica| {
                if *user != replica.copy.public {
                    user.clone_from(&replica.copy.public);
                    *json = user_json(user);
                }
                (view.role, view.state) = (replica.copy.role, replica.copy.state);
                *permissions = replica.copy.permissions;
                if !Arc::ptr_eq(&view.meta, &replica.meta) {
                    view.meta = Arc::clone(&replica.meta);
                }
            });
        }
    }

    /// Sends an event that is in no log.
    pub(super) fn send_event(&self, event: &str) {
        // A queue that is closed or overflows needs no event: its client is on its way out.
        let _closing = self.registration.send_queue().send(Message::packet(format!("42[{event}]")));
    }

    /// Replaces the public profile of the user.
    pub(super) fn set_user(&mut self, user: PublicUser) {
        if self.user != user {
            self.user = user;
            self.user_json = user_json(&self.user);
        }
    }

    /// Sets the name of a guest without a token.
    pub(super) fn set_name(&mut self, name: &str) {
        self.user.name = name.trim().to_owned();
        self.user_json = user_json(&self.user);
    }
}

/// Returns a user's JSON, as signaling events carry it: without the data of an app, which every ICE
/// candidate would repeat.
pub(super) fn user_json(user: &PublicUser) -> Box<str> {
    let user = user.without_metadata();
    // The fields are strings and a flag, which JSON can always hold.
    serde_json::to_string(&user).unwrap_or_else(|_| "{}".to_owned()).into_boxed_str()
}

/// Returns the time by this machine's clock, for people to read. Redis TIME orders events.
pub(super) fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the stamp of an event that is handled now.
pub(super) fn stamp() -> Stamp {
    Stamp { at: now(), nonce: rand::random() }
}

/// Returns the first `digits` hexadecimal digits of a text's SHA-256.
pub(super) fn digest(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(Sha256::digest(text.as_bytes()));
    hex.truncate(digits);
    hex
}
