//! CONNECT: who it is, and whether a session is resumed.
//!
//! The private id is `<lineage>.<nonce>`. Somebody without a token is who its lineage says: the secret goes on through fresh
//! sessions, so that a guest who comes back is the same guest.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use switchboard_auth::Identity;
use switchboard_core::client_address::network;
use switchboard_core::domain::{Code, DisconnectReason, PublicUser, Refusal, RoomId, UserId};
use switchboard_core::wire::offset::Offset;
use switchboard_rooms::{Attach, Attached, Proof, Resumed, StoreError};
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::session::{Entered, Session, digest, user_json};
use super::{Dispatcher, FENCED_FOR, FENCED_PAUSE};
use crate::hub::{self, Holding, Start, admission, packet};
use switchboard_socketio::send_queue::Message;
use switchboard_socketio::{ConnectError, ConnectRequest, Connected};

/// What a client presents.
#[derive(Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    offset: Option<String>,
}

/// Who a client is known to be.
struct Known {
    user: PublicUser,
    /// The one room that a guest's token is for.
    bound_to: Option<RoomId>,
    /// The sign-in that its token belongs to.
    sign_in: Option<String>,
    /// When that token was issued, in seconds since the Unix epoch; 0 without one.
    issued_at: u64,
    /// The token has expired: it can resume a seat and nothing else.
    expired: bool,
}

impl Dispatcher {
    pub(super) async fn connect_session(&self, request: ConnectRequest) -> Result<Connected<Session>, ConnectError> {
        let auth = parse(request.auth.as_deref()).map_err(|refusal| refused(&refusal))?;
        // Ours are 45 characters; anything else is nobody's session.
        let presented = auth.pid.filter(|pid| pid.len() == 45 && pid.is_ascii());
        let lineage =
            presented.as_deref().and_then(|pid| pid.split_once('.')).map_or_else(secret, |(l, _)| l.to_owned());
        let who = self.identify(auth.token.as_deref(), presented.is_some(), &lineage);
        let Known { user, bound_to, sign_in, issued_at, expired } = who.map_err(|refusal| refused(&refusal))?;
        // Enrolled before the list is asked: a sign-in revoked meanwhile ends the socket one way or the other.
        let socket = self.roster.enroll(sign_in.as_deref(), request.send_queue);
        if sign_in.is_some_and(|sign_in| self.credentials.revoked.has(&sign_in)) {
            return Err(refused(&Code::TokenInvalid.into()));
        }
        let offset = auth.offset.as_deref().and_then(Offset::parse);
        let from = network(request.handshake.address);
        let address = user.is_guest.then(|| self.credentials.addresses.hash_address(request.handshake.address));
        let mut session = Session {
            user_json: user_json(&user),
            user,
            bound_to,
            pid: String::new(),
            proof: Proof { issued_ms: issued_at * 1000, address },
            address: from,
            old_pid: presented.as_deref().map(|pid| digest(pid, 32)),
            socket,
            entered: None,
            idle_since: Instant::now(),
        };
        let mut outcome = "fresh";
        if let (Some(pid), Some(offset)) = (&presented, offset) {
            let span = follow(info_span!(target: TARGET, "resume"), &offset.room);
            match self.resume(&mut session, offset).instrument(span).await? {
                Resume::Back(first) => {
                    metrics::counter!("switchboard_resumes_total", "outcome" => "resumed").increment(1);
                    session.old_pid = None;
                    self.send_ice_servers(&session);
                    return Ok(Connected { sid: sid(pid), pid: Some(pid.clone()), session, first });
                }
                Resume::Missed => outcome = "missed",
                Resume::Nothing => {}
            }
        }
        if presented.is_some() {
            metrics::counter!("switchboard_resumes_total", "outcome" => outcome).increment(1);
        }
        if expired {
            // Good for resuming only: anybody can present a private id.
            return Err(refused(&Code::TokenExpired.into()));
        }
        let pid = format!("{lineage}.{}", secret());
        session.pid = digest(&pid, 32);
        self.send_ice_servers(&session);
        Ok(Connected { sid: sid(&pid), pid: Some(pid), session, first: Vec::new() })
    }

    /// Who a client is: by its token, or a guest by its lineage. A resume takes a token that has merely expired, since calls are longer
    /// than tokens.
    fn identify(&self, token: Option<&str>, resumes: bool, lineage: &str) -> Result<Known, Refusal> {
        let tokens = &self.credentials.tokens;
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            let id = UserId::parse(&format!("guest-{}", digest(lineage, 16)))?;
            let user = PublicUser::new(id, String::new(), None);
            return Ok(Known { user, bound_to: None, sign_in: None, issued_at: 0, expired: false });
        };
        let (identity, expired) = match tokens.verify_access(token) {
            Err(refusal) if refusal.code == Code::TokenExpired && resumes => (tokens.verify_for_resume(token)?, true),
            verified => (verified?, false),
        };
        let Identity { user, room: bound_to, session: sign_in, issued_at, .. } = identity;
        Ok(Known { user, bound_to, sign_in, issued_at, expired })
    }

    /// Takes the presented session's seat again.
    async fn resume(&self, session: &mut Session, offset: Offset) -> Result<Resume, ConnectError> {
        let Some(pid) = session.old_pid.clone() else { return Ok(Resume::Nothing) };
        let partition = self.rooms.partition_of(&offset.room);
        let link = self.hub.register(partition, offset.room.clone(), session.socket.outbox().clone());
        let attach = Attach {
            room: offset.room.clone(),
            pid: pid.clone(),
            user: session.user.id.clone(),
            handle: link.handle,
            offset: offset.id,
        };
        let deadline = Instant::now() + FENCED_FOR;
        let attached = loop {
            match self.rooms.attach(attach.clone()).await {
                Ok(Attached::Fenced) if Instant::now() < deadline => tokio::time::sleep(FENCED_PAUSE).await,
                answer => break answer,
            }
        };
        match attached {
            Ok(Attached::Resumed(resumed)) => {
                let Resumed { seat, mut copy, missed, last, meta } = *resumed;
                if session.user.name.is_empty() {
                    session.rename(&copy.public.name);
                }
                copy.public = session.user.clone();
                session.pid = pid;
                let holding = Holding { seat, copy, meta: Arc::new(meta) };
                let entered = Entered::new(&holding, Arc::clone(&link), partition);
                // Let in while its socket was lost: what comes after that follows from there, as for one that is there.
                let admitted = missed.iter().position(|entry| admission(entry).is_some());
                let (told, start) = match admitted {
                    Some(at) => (&missed[..at], Start::Admitted(missed[at].id)),
                    None => (&missed[..], Start::Seen(last, None)),
                };
                let first = told.iter().map(|entry| packet(entry.id, &offset.room, &entry.text())).collect();
                let behind = self.hub.go_live(partition, &link, holding, start);
                self.mend(behind);
                session.entered = Some(entered);
                Ok(Resume::Back(first))
            }
            Ok(Attached::Fresh) => {
                self.hub.unregister(partition, &link);
                Ok(Resume::Nothing)
            }
            Ok(Attached::Missed) => {
                self.hub.unregister(partition, &link);
                Ok(Resume::Missed)
            }
            Ok(Attached::Busy) => {
                self.hub.unregister(partition, &link);
                // Another socket has the seat and keeps it: closed, this one would come back and take it, and then the other, for ever.
                session.old_pid = None;
                Ok(Resume::Nothing)
            }
            Ok(Attached::Fenced) | Err(StoreError::Unavailable | StoreError::Unexpected(_)) => {
                // The transport closes without an answer: the client keeps what it has and comes back by itself.
                self.hub.unregister(partition, &link);
                hub::close(session.socket.outbox(), DisconnectReason::Unavailable);
                Err(refused(&Code::ServiceUnavailable.into()))
            }
        }
    }
}

/// What came of a session that was presented.
enum Resume {
    /// Its seat again, and the events it missed.
    Back(Vec<Message>),
    /// Its seat is there, and what it missed no longer is.
    Missed,
    /// There is nothing to resume.
    Nothing,
}

fn parse(auth: Option<&RawValue>) -> Result<Auth, Refusal> {
    auth.map_or_else(|| Ok(Auth::default()), |raw| serde_json::from_str(raw.get()))
        .map_err(|_| Refusal::new(Code::ValidationError, "auth must be an object with strings token, pid and offset"))
}

fn refused(refusal: &Refusal) -> ConnectError {
    ConnectError::coded(refusal.message.clone(), refusal.code.as_str())
}

/// 128 random bits, 22 characters.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// The public session id of a private one: the same after each resume, and it tells nothing of it.
fn sid(pid: &str) -> String {
    digest(&format!("sid:{pid}"), 20)
}
