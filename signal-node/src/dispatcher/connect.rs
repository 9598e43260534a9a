//! CONNECT: identifies the client, and resumes a session if it can.
//!
//! The private session id is `<lineage>.<nonce>`. A client without a token is identified by a hash
//! of the lineage. The lineage stays the same in fresh sessions, so that a guest who comes back is
//! the same guest.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use switchboard_auth::Identity;
use switchboard_core::domain::{Code, DisconnectReason, PublicUser, Refusal, RoomId, UserId};
use switchboard_core::wire::offset::Offset;
use switchboard_rooms::{
    Attach, Attached, LogContent, LogEntry, Proof, Resumed, RevocationReason, StoreError, socket_id,
};
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use switchboard_socketio::send_queue::Message;
use switchboard_socketio::{ConnectError, ConnectRequest, Connected};
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, info_span};

use super::access_token::find_access_token;
use super::costs;
use super::session::{ClientSession, CurrentRoom, digest, user_json};
use super::session_rates::SessionRates;
use super::{Credentials, Dispatcher, REGISTRATION_RETRY_INTERVAL, REGISTRATION_TIMEOUT};
use crate::delivery::{self, DeliveryStart, SeatReplica, SessionLink, packet};

/// The `auth` object of a CONNECT packet.
#[derive(Debug, Default, Deserialize)]
struct ConnectAuth {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    offset: Option<String>,
}

/// Identity of a client.
struct Identified {
    identity: Identity,
    /// The token has expired: it is good for resuming a seat only.
    expired: bool,
}

impl Dispatcher {
    pub(super) async fn connect_session(
        &self,
        request: ConnectRequest,
    ) -> Result<Connected<ClientSession>, ConnectError> {
        let auth = parse(request.auth.as_deref()).map_err(|refusal| refused(&refusal))?;
        let extras = request.handshake.extras.as_deref();
        let token = find_access_token(auth.token.as_deref(), request.auth.as_deref(), extras);
        let token = token.map_err(|refusal| refused(&refusal))?;
        // Our private ids have 45 characters; any other text is no session.
        let presented = auth.pid.filter(|pid| pid.len() == 45 && pid.is_ascii());
        let lineage =
            presented.as_deref().and_then(|pid| pid.split_once('.')).map_or_else(secret, |(l, _)| l.to_owned());
        let identified = self.identify(token, presented.is_some(), &lineage).await;
        let Identified { identity, expired } = identified.map_err(|refusal| refused(&refusal))?;
        let Identity { user, room: bound_to, session: sign_in, issued_ms, expires_at, app, grant, .. } = identity;
        let origin = self.credentials.apps.check_origin(&app, request.handshake.origin.as_deref());
        origin.map_err(|refusal| refused(&refusal))?;
        // Registered before the list of revocations is read, so that a sign-in that is revoked in
        // between ends the connection in either case.
        let registration = self.sessions.register(sign_in.as_deref(), request.send_queue);
        if sign_in.as_deref().is_some_and(|key| self.credentials.apps.is_revoked(key)) {
            return Err(refused(&Code::KeyRevoked.into()));
        }
        // Refusal of a token that is good for resuming a seat only.
        let fresh_refusal = match sign_in.and_then(|sign_in| self.credentials.revoked.reason(&sign_in)) {
            Some(RevocationReason::Replayed) if !expired => Some(Code::TokenInvalid),
            Some(RevocationReason::Replayed | RevocationReason::SignedOut) => {
                return Err(refused(&Code::TokenInvalid.into()));
            }
            None => expired.then_some(Code::TokenExpired),
        };
        let offset = auth.offset.as_deref().and_then(|text| Offset::parse(text, &app));
        let network = request.handshake.network;
        let address = self.credentials.addresses.hash_address(network);
        let mut session = ClientSession {
            user_json: user_json(&user),
            user,
            app_limiter: self.app_limiters.of(&app).await,
            app,
            grant,
            bound_to,
            pid: String::new(),
            token_end: token.map(|_| expires_at),
            proof: Proof { issued_ms, address },
            address: network,
            old_pid: presented.as_deref().map(|pid| digest(pid, 32)),
            registration,
            budget: request.budget,
            room: None,
            rates: SessionRates::default(),
            idle_since: Instant::now(),
        };
        let mut outcome = "fresh";
        // A token for one room brings nobody back into another.
        let is_bound_elsewhere = |room: &RoomId| session.bound_to.as_ref().is_some_and(|bound| bound != room);
        let offset = offset.filter(|offset| !is_bound_elsewhere(&offset.room));
        if let (Some(pid), Some(offset)) = (&presented, offset) {
            let span = follow(info_span!(target: TARGET, "resume"), &offset.room);
            match self.resume(&mut session, offset).instrument(span).await? {
                ResumeOutcome::Resumed(first) => {
                    metrics::counter!("switchboard_resumes_total", "outcome" => "resumed").increment(1);
                    session.old_pid = None;
                    self.send_ice_servers(&session);
                    return Ok(Connected { sid: socket_id(&session.pid), pid: Some(pid.clone()), session, first });
                }
                ResumeOutcome::Missed => outcome = "missed",
                ResumeOutcome::NotFound => {}
            }
        }
        if presented.is_some() {
            metrics::counter!("switchboard_resumes_total", "outcome" => outcome).increment(1);
        }
        if let Some(code) = fresh_refusal {
            // Good for resuming only, because any client can present a private id.
            return Err(refused(&code.into()));
        }
        let pid = format!("{lineage}.{}", secret());
        session.pid = digest(&pid, 32);
        self.send_ice_servers(&session);
        Ok(Connected { sid: socket_id(&session.pid), pid: Some(pid), session, first: Vec::new() })
    }

    /// Identifies a client by its token, or a guest by the lineage. A resume accepts a token that
    /// has expired, because calls last longer than tokens.
    async fn identify(&self, token: Option<&str>, resumes: bool, lineage: &str) -> Result<Identified, Refusal> {
        let Credentials { apps, tokens, .. } = &self.credentials;
        if let Some(token) = token {
            let (identity, expired) = apps.identify(tokens, token, resumes).await?;
            return Ok(Identified { identity, expired });
        }
        let id = UserId::parse(&format!("guest-{}", digest(lineage, 16)))?;
        Ok(Identified { identity: Identity::without_token(PublicUser::new(id, String::new(), None)), expired: false })
    }

    /// Takes the seat of the presented session again.
    async fn resume(&self, session: &mut ClientSession, offset: Offset) -> Result<ResumeOutcome, ConnectError> {
        let Some(pid) = session.old_pid.clone() else { return Ok(ResumeOutcome::NotFound) };
        let partition = self.rooms.partition_of(&offset.room);
        let link = self.hub.register(partition, offset.room.clone(), session.registration.send_queue().clone());
        let attach = Attach {
            room: offset.room.clone(),
            pid: pid.clone(),
            user: session.user.id.clone(),
            handle: link.handle,
            offset: offset.id,
            address: session.proof.address.clone(),
        };
        let deadline = Instant::now() + REGISTRATION_TIMEOUT;
        let attached = loop {
            match self.rooms.attach(attach.clone()).await {
                Ok(Attached::Fenced) if Instant::now() < deadline => sleep(REGISTRATION_RETRY_INTERVAL).await,
                answer => break answer,
            }
        };
        match attached {
            Ok(Attached::Resumed(resumed)) => {
                session.pid = pid;
                link.mark_resumed();
                Ok(ResumeOutcome::Resumed(self.take_resumed_seat(session, *resumed, link)))
            }
            Ok(Attached::Fresh) => {
                self.hub.unregister(partition, &link);
                Ok(ResumeOutcome::NotFound)
            }
            Ok(Attached::Missed { bytes_read }) => {
                self.hub.unregister(partition, &link);
                session.budget.charge(costs::log_read(bytes_read));
                Ok(ResumeOutcome::Missed)
            }
            Ok(Attached::Busy) => {
                self.hub.unregister(partition, &link);
                // Another socket has the seat and keeps it. If this one took it, both clients would
                // take it from each other forever.
                session.old_pid = None;
                Ok(ResumeOutcome::NotFound)
            }
            Ok(Attached::Fenced) | Err(StoreError::Unavailable | StoreError::Unexpected(_)) => {
                // The connection is closed without a reply: the client keeps its session id and
                // reconnects by itself.
                self.hub.unregister(partition, &link);
                delivery::close(session.registration.send_queue(), DisconnectReason::Unavailable);
                Err(refused(&Code::ServiceUnavailable.into()))
            }
        }
    }

    /// Puts a session into the seat that it resumed. Returns the events that it missed.
    fn take_resumed_seat(&self, session: &mut ClientSession, resumed: Resumed, link: Arc<SessionLink>) -> Vec<Message> {
        let Resumed { seat, copy, missed, bytes_read, last, meta, participants } = resumed;
        let bytes = missed.iter().map(|entry| entry.event().len()).sum();
        let cost = costs::resume(participants, missed.len(), bytes).saturating_add(costs::log_read(bytes_read));
        session.budget.charge(cost);
        // The room has the name with which the seat was taken, the token perhaps an older one.
        session.set_user(copy.public.clone());
        let (room, partition) = (link.room.clone(), self.rooms.partition_of(&link.room));
        self.hub.set_participants(partition, &room, last, participants);
        let replica = SeatReplica { seat, copy, meta: Arc::new(meta) };
        let place = session.app_limiter.as_ref().map(|limiter| limiter.place(&room));
        session.room = Some(CurrentRoom::new(&replica, Arc::clone(&link), partition, place));
        // An admission while the connection was lost: later events follow after `room:joined`, as
        // for a session that is connected.
        let admitted = missed.iter().position(|entry| matches!(entry.content, LogContent::Admitted(_)));
        let (first, start) = match admitted {
            Some(at) => (&missed[..at], DeliveryStart::Admission(missed[at].id)),
            None => (&missed[..], DeliveryStart::After(last, None)),
        };
        let missed_packet = |entry: &LogEntry| match &entry.content {
            LogContent::Event { kind, event } => Some(packet(entry.id, &room, *kind, event)),
            LogContent::Admitted(_) => None,
        };
        let first = first.iter().filter_map(missed_packet).collect();
        let read = self.hub.go_live(partition, &link, replica, start);
        self.catch_up.start(read);
        first
    }
}

/// Outcome of resuming a session.
enum ResumeOutcome {
    /// The session has its seat again, and gets the events that it missed.
    Resumed(Vec<Message>),
    /// The seat exists, but the log no longer reaches back far enough.
    Missed,
    /// There is no session to resume.
    NotFound,
}

fn parse(auth: Option<&RawValue>) -> Result<ConnectAuth, Refusal> {
    auth.map_or_else(|| Ok(ConnectAuth::default()), |raw| serde_json::from_str(raw.get()))
        .map_err(|_| Refusal::new(Code::ValidationError, "auth must be an object with strings token, pid and offset"))
}

fn refused(refusal: &Refusal) -> ConnectError {
    ConnectError::coded(refusal.message.clone(), refusal.code.as_str())
}

/// Returns 128 random bits as 22 characters.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}
