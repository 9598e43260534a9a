//! Taking a seat. Admission is decided by pure rules on the room's meta as Redis has it; the script seats only if that meta
//! still holds, else it is decided again.

use std::sync::Arc;

use switchboard_calls::{CallError, Candidate, FoundCall, JoinAccess, RecordRead};
use switchboard_core::domain::call_fields::PARTICIPANTS_DEFAULT;
use switchboard_core::domain::{CallId, CallSettings, CallType, Code, ConnectionState, Refusal, Role, RoomId};
use switchboard_core::wire::client_event;
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::{Created, Join, Joined, LogId, Proof, RoomMeta, SeatCopy, StoreError};
use switchboard_runtime::telemetry::traces::{TARGET, follow};

use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, info_span};

use super::exit::Exit;
use super::session::{Entered, Session, now, stamp};
use super::{Dispatcher, FENCED_FOR, FENCED_PAUSE};
use crate::hub::{Holding, Start};
use crate::welcome::joined_payload;
use switchboard_socketio::send_queue::Message;

/// How often admission is decided again when the room changed meanwhile.
const TRIES: u32 = 5;

impl Dispatcher {
    /// `room:create`
    pub(super) async fn create(&self, session: &mut Session, create: client_event::Create) -> Result<String, Refusal> {
        let spent = self.limiter.spend("room_create", session.user.id.as_str(), self.limits.create).await;
        if spent.is_some_and(|spent| spent.retry_after.is_some()) {
            return Err(Code::RateLimitExceeded.into());
        }
        let room = match create.id {
            Some(room) => {
                // The client's own id may be that of a recorded call which Redis does not know yet.
                match self.records.call_by_room(&room).await {
                    Ok(None) => room,
                    Ok(Some(_)) => return Err(Code::RoomExists.into()),
                    Err(_) => return Err(Code::ServiceUnavailable.into()),
                }
            }
            None => generated_room()?,
        };
        let meta = Arc::new(RoomMeta {
            call_id: CallId::parse(&stamp().id())?,
            name: create.name.map_or_else(|| format!("{}'s call", session.user.name), |name| name.trim().to_owned()),
            host: session.user.id.clone(),
            call_type: if create.is_private { CallType::Private } else { CallType::Public },
            settings: CallSettings::default(),
            max_participants: create.max_participants.unwrap_or(PARTICIPANTS_DEFAULT),
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: now().to_string(),
            version: 0,
        });
        // The record is made from the meta: by the recorder, so that a room can be made while MongoDB is away.
        let details = serde_json::to_string(&*meta).map_err(|_| Code::InternalError)?;
        match self.rooms.create(&room, &meta, &details).await.map_err(unavailable)? {
            Created::Done => {}
            Created::Exists | Created::Ended => return Err(Code::RoomExists.into()),
        }
        let entry = Entry {
            room,
            role: Role::Host,
            waits: false,
            given: Some(Role::Host),
            proof: session.proof.clone(),
            event: "room:created",
        };
        match self.enter(session, entry, &meta).await? {
            Some(fields) => Ok(fields),
            None => Err(Code::RoomNotFound.into()),
        }
    }

    /// `room:join`
    pub(super) async fn join(&self, session: &mut Session, join: client_event::Join) -> Result<String, Refusal> {
        if session.user.is_guest
            && let Some(name) = &join.guest_name
        {
            session.rename(name);
        }
        if session.bound_to.as_ref().is_some_and(|room| *room != join.room_id) {
            return Err(Refusal::new(Code::Forbidden, "This guest's token is for another call"));
        }
        let access = self.access();
        for _ in 0..TRIES {
            let found = access.find(&join.room_id, &session.user.id, &session.proof, RecordRead::IfClosed).await;
            let FoundCall { meta, standing, is_open, .. } = found.map_err(refusal_of)?;
            if !is_open {
                access.open(&join.room_id, &meta).await.map_err(refusal_of)?;
            }
            let (proof, join_token) = self.proof(session, &join)?;
            let candidate = Candidate {
                user: &session.user.id,
                issued_ms: proof.issued_ms,
                address: Some(session.address),
                passcode: join.passcode.as_deref(),
                join_token,
            };
            let admission = access.decide(&join.room_id, &meta, &standing, candidate).await.map_err(refusal_of)?;
            let entry = Entry {
                room: join.room_id.clone(),
                role: admission.role,
                waits: admission.waits,
                given: standing.given,
                proof,
                event: "room:joined",
            };
            let span = follow(info_span!(target: TARGET, "join", role = entry.role.as_str()), &join.room_id);
            if let Some(fields) = self.enter(session, entry, &Arc::new(meta)).instrument(span).await? {
                return Ok(fields);
            }
        }
        Err(Code::ServiceUnavailable.into())
    }

    /// Admission to calls.
    fn access(&self) -> JoinAccess<'_> {
        JoinAccess {
            rooms: &self.rooms,
            records: &self.records,
            hasher: &self.credentials.hasher,
            limiter: &self.limiter,
            passcode_rates: self.limits.passcode,
        }
    }

    /// Proof of identity of the session and, if there is one, its join token; and that token's role.
    fn proof(&self, session: &Session, join: &client_event::Join) -> Result<(Proof, Option<Role>), Refusal> {
        let mut proof = session.proof.clone();
        let Some(token) = &join.token else { return Ok((proof, None)) };
        let grant = self.credentials.tokens.verify_join(token, &join.room_id, &session.user.id)?;
        // The oldest token counts: a removal between the two must not be forgotten.
        proof.issued_ms = proof.issued_ms.min(grant.issued_at * 1000);
        Ok((proof, Some(grant.role)))
    }

    /// Takes the seat. `None`: the room changed since it was looked at.
    async fn enter(
        &self,
        session: &mut Session,
        entry: Entry,
        meta: &Arc<RoomMeta>,
    ) -> Result<Option<String>, Refusal> {
        let partition = self.rooms.partition_of(&entry.room);
        let link = self.hub.register(partition, entry.room.clone(), session.socket.outbox().clone());
        let join = Join {
            room: entry.room.clone(),
            meta_version: meta.version,
            user: session.user.id.clone(),
            pid: session.pid.clone(),
            old_pid: session.old_pid.clone(),
            handle: link.handle,
            role: entry.role,
            waits: entry.waits,
            public: session.user.clone(),
            media: meta.settings.media_at_entry(entry.role),
            given: entry.given,
            proof: entry.proof.clone(),
        };
        let deadline = Instant::now() + FENCED_FOR;
        let joined = loop {
            match self.rooms.join(join.clone()).await {
                // This node is about to be registered again.
                Ok(Joined::Fenced) if Instant::now() < deadline => sleep(FENCED_PAUSE).await,
                answer => break answer,
            }
        };
        let mut copy = SeatCopy {
            pid: session.pid.clone(),
            state: ConnectionState::Connected,
            away: false,
            role: entry.role,
            public: session.user.clone(),
            media: meta.settings.media_at_entry(entry.role),
            join_id: LogId::default(),
            from: LogId::default(),
            joined_at: now().to_string(),
            address: entry.proof.address.clone(),
        };
        let (seat, id, name, payload) = match joined {
            Ok(Joined::Seated { seat, id, snapshot }) => {
                if let Some(own) = snapshot.seats.iter().find(|other| other.peer_id == seat.peer) {
                    copy.joined_at.clone_from(&own.joined_at);
                }
                let payload = joined_payload(&self.node, &entry.room, &seat.peer, &snapshot);
                (seat, id, entry.event, payload)
            }
            Ok(Joined::Waiting { seat, id }) => {
                copy.state = ConnectionState::Waiting;
                (seat, id, "room:waiting", serde_json::json!({ "roomId": entry.room, "waiting": true }))
            }
            other => {
                self.hub.unregister(partition, &link);
                return no_seat(other);
            }
        };
        // The room before is left only now, so that a refusal costs no seat; and before anything of the new one goes out, so that the
        // client's offset never goes back to the old one.
        if let Some(before) = session.entered.take() {
            self.depart(before, Exit::Leave).await;
        }
        session.old_pid = None;
        (copy.join_id, copy.from) = (id, id);
        let event = encode(name, &payload);
        let first = Message::packet(format!(r#"42[{event},"{id}.{room}"]"#, room = entry.room));
        let holding = Holding { seat, copy, meta: meta.clone() };
        session.entered = Some(Entered::new(&holding, Arc::clone(&link), partition));
        let missed = self.hub.go_live(partition, &link, holding, Start::Seen(id, Some(first)));
        self.mend(missed);
        // The acknowledgement says the same as the event: `{"success":true, ...}`.
        let fields = payload.to_string();
        Ok(Some(format!(",{}", &fields[1..fields.len() - 1])))
    }
}

/// What `enter` is to do.
struct Entry {
    room: RoomId,
    role: Role,
    waits: bool,
    /// The role that the room was found to give it.
    given: Option<Role>,
    proof: Proof,
    /// The event that tells the client it is in.
    event: &'static str,
}

/// The refusal for an answer without a seat; `None` asks to decide again.
fn no_seat(joined: Result<Joined, StoreError>) -> Result<Option<String>, Refusal> {
    match joined.map_err(unavailable)? {
        Joined::Full => Err(Code::RoomFull.into()),
        Joined::Locked => Err(Code::RoomLocked.into()),
        Joined::Banned => Err(Code::Banned.into()),
        Joined::Ended => Err(Code::CallEnded.into()),
        Joined::Fenced => Err(Code::ServiceUnavailable.into()),
        Joined::Absent | Joined::Changed => Ok(None),
        Joined::Seated { .. } | Joined::Waiting { .. } => Err(Code::InternalError.into()),
    }
}

/// What a client is told when the store failed; said in the log only when it is a bug.
pub(super) fn unavailable(error: StoreError) -> Refusal {
    if let StoreError::Unexpected(detail) = &error {
        tracing::error!(detail, "the store answered something unexpected");
    }
    Code::ServiceUnavailable.into()
}

/// Turns the failure of a use case into a refusal.
fn refusal_of(error: CallError) -> Refusal {
    match error {
        CallError::Refused(refusal) => refusal,
        CallError::NotFound => Code::RoomNotFound.into(),
        CallError::PasscodeRateExceeded(_) => Code::RateLimitExceeded.into(),
        CallError::Rooms(error) => unavailable(error),
        CallError::Records(error) => {
            tracing::warn!(%error, "reading a call's record failed");
            Code::ServiceUnavailable.into()
        }
    }
}

/// 12 upper-case letters and digits.
fn generated_room() -> Result<RoomId, Refusal> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let text: String = (0..12).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect();
    RoomId::parse(&text)
}
