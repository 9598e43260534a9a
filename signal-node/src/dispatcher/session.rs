//! What the node keeps for one connected socket.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use switchboard_core::domain::time::Timestamp;
use switchboard_core::domain::{PublicUser, RoomId};
use switchboard_rooms::{Partition, Proof, Seat};
use tokio::time::Instant;

use crate::hub::{Holding, Link};
use crate::roster::Enrolled;
use switchboard_rules::{Place, SessionView, Stamp};
use switchboard_socketio::send_queue::Message;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// Who it is. Somebody without a token has no name until it joins with one.
    pub user: PublicUser,
    /// The same as JSON, made once.
    pub user_json: Box<str>,
    /// The room a guest's token is bound to.
    pub bound_to: Option<RoomId>,
    /// The hashed private id that the session's seat is found by.
    pub pid: String,
    /// That of the session this client failed to resume: its seat is given up by the next join.
    pub old_pid: Option<String>,
    /// How it proves who it is.
    pub proof: Proof,
    /// Where it comes from, as limits count it.
    pub address: IpAddr,
    /// Its place among the node's sockets, and the way to the client.
    pub socket: Enrolled,
    /// The room it is in.
    pub entered: Option<Entered>,
    /// Since when it is in none.
    pub idle_since: Instant,
}

/// A session's room.
#[derive(Debug)]
pub struct Entered {
    /// What the rules see of it.
    pub place: Place,
    /// The seat.
    pub seat: Arc<Seat>,
    /// The receiving end.
    pub link: Arc<Link>,
    /// The room's partition.
    pub partition: Partition,
}

impl Entered {
    /// A session's room, as its script gave it.
    pub(super) fn new(holding: &Holding, link: Arc<Link>, partition: Partition) -> Self {
        let Holding { seat, copy, meta } = holding;
        let place = Place {
            room: seat.room.clone(),
            peer: seat.peer.clone(),
            role: copy.role,
            state: copy.state,
            meta: Arc::clone(meta),
        };
        Self { place, seat: Arc::clone(seat), link, partition }
    }
}

impl Session {
    /// What the rules see.
    pub(super) fn view(&self) -> SessionView<'_> {
        let place = self.entered.as_ref().map(|entered| &entered.place);
        SessionView { user: &self.user, user_json: &self.user_json, place }
    }

    /// Takes over what the room was told since the last event: the rules are to see its role, state and call as they are.
    pub(super) fn refresh(&mut self) {
        if let Some(Entered { place, link, .. }) = &mut self.entered {
            link.look(|holding| {
                (place.role, place.state) = (holding.copy.role, holding.copy.state);
                if !Arc::ptr_eq(&place.meta, &holding.meta) {
                    place.meta = Arc::clone(&holding.meta);
                }
            });
        }
    }

    /// Sends an event that is in no log.
    pub(super) fn tell(&self, event: &str) {
        // A closed or overflowing socket is told nothing any more.
        let _closing = self.socket.outbox().send(Message::packet(format!("42[{event}]")));
    }

    /// Names somebody who came without a token.
    pub(super) fn rename(&mut self, name: &str) {
        self.user.name = name.trim().to_owned();
        self.user_json = user_json(&self.user);
    }
}

/// A user's JSON, as events carry it.
pub(super) fn user_json(user: &PublicUser) -> Box<str> {
    // Strings and a flag: nothing that JSON cannot hold.
    serde_json::to_string(user).unwrap_or_else(|_| "{}".to_owned()).into_boxed_str()
}

/// Now, by this machine's clock: for people to read. What orders events is Redis TIME.
pub(super) fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// What an event of now is stamped with.
pub(super) fn stamp() -> Stamp {
    Stamp { at: now(), nonce: rand::random() }
}

/// The first `digits` hexadecimal digits of a text's SHA-256.
pub(super) fn digest(text: &str, digits: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in hash {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex.truncate(digits);
    hex
}
