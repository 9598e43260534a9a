//! Takes a seat: `room:create` and `room:join`.
//!
//! `switchboard_calls` decides admission from the room's metadata. The script gives a seat only if
//! the metadata has not changed since; otherwise admission is decided again.

use std::sync::Arc;
use std::time::Duration;

use switchboard_auth::JoinGrant;
use switchboard_calls::{
    ADMISSION_ATTEMPTS_MAX, CallError, Candidate, FoundCall, JoinAccess, RecordRead, seat_refusal,
};
use switchboard_core::domain::call_fields::PARTICIPANTS_DEFAULT;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, Code, ConnectionState, Refusal, Role, RoomId, RoomName, SessionHandle,
};
use switchboard_core::wire::client_event;
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::rate_limit::Subject;
use switchboard_rooms::{Created, Join, Joined, Proof, RoomMeta, StoreError};
use switchboard_rules::Effect;
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use switchboard_socketio::send_queue::Message;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, info_span};

use super::costs;
use super::entry::Entry;
use super::exit::Exit;
use super::refusals::{call_refusal, store_refusal};
use super::session::{ClientSession, CurrentRoom, now, stamp};
use super::{Dispatcher, JoinRates, REGISTRATION_RETRY_INTERVAL, REGISTRATION_TIMEOUT};
use crate::app_limiters::{AppPlace, Arrival};
use crate::delivery::{DeliveryStart, JoinedPayload, SeatReplica, SharedSnapshot, acknowledged_fields};

/// Time that a join waits for the record of its user. A read takes a millisecond; an outage of
/// MongoDB must not delay the joins of open rooms for longer.
const PROFILE_TIMEOUT: Duration = Duration::from_millis(500);

impl Dispatcher {
    /// `room:create`
    pub(super) async fn create(
        &self,
        session: &mut ClientSession,
        create: client_event::Create,
    ) -> Result<String, Refusal> {
        self.limiter.check("room_create", session.subject(), self.limits.create).await?;
        self.read_profile(session).await;
        let room = match create.id {
            Some(name) => {
                let room = session.app.room(&name);
                // The client's id may be that of a recorded call that Redis does not know yet.
                match self.records.call_by_room(&room).await.map_err(|error| call_refusal(error.into()))? {
                    None => room,
                    Some(_) => return Err(Code::RoomExists.into()),
                }
            }
            None => session.app.room(&RoomName::from_random(rand::random())),
        };
        // Before the call is created, because it would stay without a participant.
        let place = take_place(session, &room, false).await?;
        let limits = self.credentials.apps.limits(&session.app);
        let meta = Arc::new(RoomMeta {
            call_id: CallId::parse(&stamp().id())?,
            name: create.name.map_or_else(|| format!("{}'s call", session.user.name), |name| name.trim().to_owned()),
            host: session.user.id.clone(),
            call_type: if create.is_private { CallType::Private } else { CallType::Public },
            settings: CallSettings::default(),
            max_participants: limits.seats(create.max_participants.unwrap_or(PARTICIPANTS_DEFAULT)),
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: now().to_string(),
            version: 0,
        });
        // The recorder makes the record from the metadata, so that a room can be created while
        // MongoDB is away.
        let details = serde_json::to_string(&*meta).map_err(|_| Code::InternalError)?;
        match self.rooms.create(&room, &meta, &details).await.map_err(store_refusal)? {
            Created::Done => {}
            Created::Exists | Created::Ended | Created::Pending => return Err(Code::RoomExists.into()),
        }
        let entry = Entry {
            room,
            role: Role::Host,
            waits: false,
            given: Some(Role::Host),
            given_permissions: None,
            grant: None,
            proof: session.proof.clone(),
            event: "room:created",
            place,
        };
        match self.enter(session, entry, &meta).await? {
            Some(fields) => Ok(fields),
            None => Err(Code::RoomNotFound.into()),
        }
    }

    /// `room:join`
    pub(super) async fn join(&self, session: &mut ClientSession, join: client_event::Join) -> Result<String, Refusal> {
        self.count_join(session).await?;
        let access = self.access();
        let room = access.resolve(&session.app, session.bound_to.as_ref(), &join.room_id).await;
        if let Some(current) = session.room.as_ref().filter(|current| current.view.room == room) {
            // The same room by another spelling, perhaps of an event that the client repeats.
            self.spend(session, self.cost(session, &Effect::JoinAgain))?;
            return self.repeat_joined(session, current).await;
        }
        if session.user.is_guest
            && let Some(name) = &join.guest_name
        {
            session.set_name(name);
        }
        if session.bound_to.as_ref().is_some_and(|bound| *bound != room) {
            return Err(match &session.grant {
                Some(_) => Code::RoomNotAllowed.into(),
                None => Refusal::new(Code::Forbidden, "This guest token is for another call"),
            });
        }
        let partition = self.rooms.partition_of(&room);
        let tokens = costs::join(self.hub.participants(partition, &room));
        self.spend(session, tokens)?;
        self.read_profile(session).await;
        let mut place = None;
        for _ in 0..ADMISSION_ATTEMPTS_MAX {
            let found = access.find(&room, &session.user.id, &session.proof, RecordRead::IfClosed).await;
            let found = match (found, &session.grant) {
                (Err(CallError::NotFound), Some(grant)) if session.bound_to.is_some() => {
                    // Before the call is created, because it would stay without a participant.
                    if place.is_none() {
                        place = take_place(session, &room, false).await?;
                    }
                    let created = access.create(&room, &session.user.id, grant.role, now()).await;
                    created.map_err(call_refusal)?;
                    continue;
                }
                (found, _) => found.map_err(call_refusal)?,
            };
            let (proof, join_token) = self.proof(session, &room, &join)?;
            let candidate = Candidate {
                user: &session.user.id,
                issued_ms: proof.issued_ms,
                address: Some(session.address),
                passcode: join.passcode.as_deref(),
                join_token: join_token.as_ref(),
            };
            let admission = access.decide(&room, &found.meta, &found.standing, candidate).await;
            let admission = admission.map_err(call_refusal)?;
            if place.is_none() {
                place = take_place(session, &room, found.standing.seated).await?;
            }
            access.open(&room, &found).await.map_err(call_refusal)?;
            let FoundCall { meta, standing, .. } = found;
            let entry = Entry {
                room: room.clone(),
                role: admission.role,
                waits: admission.waits,
                given: standing.given,
                given_permissions: standing.given_permissions,
                grant: session.token_grant().map(|grant| standing.grant_over(grant)),
                proof,
                event: "room:joined",
                place: place.take(),
            };
            let span = follow(info_span!(target: TARGET, "join", role = entry.role.as_str()), &room);
            if let Some(fields) = self.enter(session, entry, &Arc::new(meta)).instrument(span).await? {
                // The node knows the room only now if none of its sessions was in it.
                let cost = costs::join(self.hub.participants(partition, &room));
                session.budget.charge(cost.saturating_sub(tokens));
                return Ok(fields);
            }
        }
        Err(Code::ServiceUnavailable.into())
    }

    /// `room:join` of the room that the session is in already: the same answer once more.
    pub(super) async fn join_again(&self, session: &ClientSession) -> Result<String, Refusal> {
        let Some(current) = &session.room else { return Err(Code::NotInRoom.into()) };
        self.count_join(session).await?;
        self.repeat_joined(session, current).await
    }

    /// Sends the event that the session got when it joined its room.
    async fn repeat_joined(&self, session: &ClientSession, current: &CurrentRoom) -> Result<String, Refusal> {
        if current.view.state == ConnectionState::Waiting {
            let payload = waiting_payload(&current.view.room);
            session.send_event(&encode("room:waiting", &payload));
            return Ok(acknowledged_fields(&payload));
        }
        let joined = self.catch_up.join_again(current.partition, &current.link).await;
        joined.ok_or_else(|| Code::ServiceUnavailable.into())
    }

    /// Counts a join before it costs a store anything. A guest can come back as another guest, so
    /// the address counts too.
    async fn count_join(&self, session: &ClientSession) -> Result<(), Refusal> {
        let JoinRates { address, account } = self.limits.joins;
        self.limiter.check("room_join", Subject::Address(session.address), address).await?;
        if session.user.is_guest {
            return Ok(());
        }
        Ok(self.limiter.check("room_join", session.subject(), account).await?)
    }

    /// Takes name and picture of a user from the record, because the token has them as they were
    /// when it was issued. While MongoDB is away, the token's copy is good enough to join with.
    async fn read_profile(&self, session: &mut ClientSession) {
        // The app's backend alone knows its users; an account may have the same id.
        if session.user.is_guest || !session.app.is_default() {
            return;
        }
        match timeout(PROFILE_TIMEOUT, self.records.user(&session.user.id)).await {
            Ok(Ok(Some(user))) => session.set_user(user.public()),
            // The account was deleted: its tokens are good until they expire.
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => metrics::counter!("switchboard_profiles_unread_total").increment(1),
        }
    }

    /// Returns the use case that decides admission.
    fn access(&self) -> JoinAccess<'_> {
        JoinAccess {
            rooms: &self.rooms,
            records: &self.records,
            hasher: &self.credentials.hasher,
            tokens: &self.credentials.tokens,
            limiter: &self.limiter,
            passcode_rates: self.limits.passcode,
            creations: self.limits.create,
            apps: &self.credentials.apps,
        }
    }

    /// Returns the proof of identity of the session and of its join token, and that token.
    fn proof(
        &self,
        session: &ClientSession,
        room: &RoomId,
        join: &client_event::Join,
    ) -> Result<(Proof, Option<JoinGrant>), Refusal> {
        let mut proof = session.proof.clone();
        if let Some(grant) = &session.grant {
            let grant = JoinGrant::by_app(grant.role, proof.issued_ms);
            return Ok((proof, Some(grant)));
        }
        let Some(token) = &join.token else { return Ok((proof, None)) };
        let grant = self.credentials.tokens.verify_join(token, room, &session.user.id)?;
        // The older of both tokens counts, because a removal between the two must not be ignored.
        proof.issued_ms = proof.issued_ms.min(grant.issued_ms);
        Ok((proof, Some(grant)))
    }

    /// Takes the seat. Returns the fields of the acknowledgement; `None` if the room changed since
    /// admission was decided.
    async fn enter(
        &self,
        session: &mut ClientSession,
        entry: Entry,
        meta: &Arc<RoomMeta>,
    ) -> Result<Option<String>, Refusal> {
        let partition = self.rooms.partition_of(&entry.room);
        let link = self.hub.register(partition, entry.room.clone(), session.registration.send_queue().clone());
        let mut copy = entry.seat_copy(session, meta);
        let (seat, id, payload) = match self.request_seat(session, &entry, meta, link.handle).await {
            Ok(Joined::Seated { seat, id, join_id, snapshot }) => {
                self.hub.set_participants(partition, &entry.room, id, snapshot.room.participants());
                copy.join_id = join_id;
                if join_id != id {
                    link.mark_resumed();
                }
                // The user's own seat keeps its role, its media and its raised hand.
                if let Some(own) = snapshot.room.seats.iter().find(|other| other.peer_id == seat.peer) {
                    copy.joined_at.clone_from(&own.joined_at);
                    copy.hand_raised_at.clone_from(&own.hand_raised_at);
                    (copy.role, copy.permissions, copy.media) = (own.role, own.permissions, own.media_state);
                }
                let now_s = u64::try_from(now().seconds()).unwrap_or(0);
                let ice = self.credentials.ice.for_participant(&entry.room, &session.user.id, now_s);
                let payload = JoinedPayload::new(&self.node, &entry.room, &seat.peer, snapshot, &ice);
                (seat, id, Some(payload))
            }
            Ok(Joined::Waiting { seat, id }) => {
                (copy.state, copy.join_id) = (ConnectionState::Waiting, id);
                (seat, id, None)
            }
            other => {
                self.hub.unregister(partition, &link);
                return seat_refusal(&other.map_err(store_refusal)?).map_or(Ok(None), Err);
            }
        };
        // The previous room is left only now, so that a refusal costs no seat. It is left before
        // any event of the new room is sent, so that the client's offset never goes back.
        if let Some(previous) = session.room.take() {
            self.depart(previous, Exit::Leave).await;
        }
        session.old_pid = None;
        copy.from = id;
        let offset = format!("{id}.{}", entry.room.name());
        // The acknowledgement has the same fields as the event.
        let (first, acknowledged) = match payload {
            Some(payload) => (payload.packet(entry.event, offset), payload.acknowledged()),
            None => {
                let payload = waiting_payload(&entry.room);
                let event = encode("room:waiting", &payload);
                (Message::packet(format!(r#"42[{event},"{offset}"]"#)).owed(), acknowledged_fields(&payload))
            }
        };
        let replica = SeatReplica { seat, copy, meta: meta.clone() };
        session.room = Some(CurrentRoom::new(&replica, Arc::clone(&link), partition, entry.place));
        let read = self.hub.go_live(partition, &link, replica, DeliveryStart::After(id, Some(first)));
        self.catch_up.start(read);
        Ok(Some(acknowledged))
    }

    /// Asks Redis for a seat. Repeats the request while this node is about to be registered again.
    /// Joins of a large room share the reads of the room.
    async fn request_seat(
        &self,
        session: &ClientSession,
        entry: &Entry,
        meta: &RoomMeta,
        handle: SessionHandle,
    ) -> Result<Joined<Arc<SharedSnapshot>>, StoreError> {
        let join = Join {
            room: entry.room.clone(),
            meta_version: meta.version,
            grant: entry.grant,
            user: session.user.id.clone(),
            pid: session.pid.clone(),
            old_pid: session.old_pid.clone(),
            handle,
            role: entry.role,
            waits: entry.waits,
            public: session.user.clone(),
            media: entry.media(meta),
            given: entry.given,
            permissions: entry.permissions(),
            given_permissions: entry.given_permissions,
            proof: entry.proof.clone(),
        };
        let deadline = Instant::now() + REGISTRATION_TIMEOUT;
        loop {
            let small = |room| Arc::new(SharedSnapshot::new(room));
            let large = async || self.catch_up.room_reads.read(&join.room).await;
            match self.rooms.join_and_read(&join, small, large).await {
                Ok(Joined::Fenced) if Instant::now() < deadline => sleep(REGISTRATION_RETRY_INTERVAL).await,
                reply => return reply,
            }
        }
    }
}

/// Takes a place among the participants of the session's app. `returns`: the user has a seat in the
/// room.
async fn take_place(session: &ClientSession, room: &RoomId, returns: bool) -> Result<Option<AppPlace>, Refusal> {
    let Some(limiter) = &session.app_limiter else { return Ok(None) };
    let arrival = Arrival { switches: session.room.is_some(), returns };
    limiter.enter(room, arrival).await.map(Some)
}

fn waiting_payload(room: &RoomId) -> serde_json::Value {
    serde_json::json!({ "roomId": room.name(), "waiting": true })
}
