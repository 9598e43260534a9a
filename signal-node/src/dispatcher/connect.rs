//! CONNECT: who it is, and whether a session is resumed.
//!
//! The private id is `<lineage>.<nonce>`. Somebody without a token is who its lineage says: the secret goes on through fresh
//! sessions, so that a guest who comes back is the same guest.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use switchboard_common::domain::{Code, DisconnectReason, PublicUser, Refusal, RoomId, UserId};
use switchboard_common::room::{Attach, Attached, LogId, Reseat, StoreError};
use switchboard_common::wire::offset::Offset;
use tokio::time::Instant;

use super::session::{Entered, Session, digest, user_json};
use super::{Dispatcher, FENCED_FOR, FENCED_PAUSE};
use crate::hub::{self, Holding, packet};
use crate::outbox::Message;
use crate::rules::Place;
use crate::transport::{ConnectError, ConnectRequest, Connected};

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

impl Dispatcher {
    pub(super) async fn connect_session(&self, request: ConnectRequest) -> Result<Connected<Session>, ConnectError> {
        let auth = parse(request.auth.as_deref()).map_err(|refusal| refused(&refusal))?;
        // Ours are 45 characters; anything else is nobody's session.
        let presented = auth.pid.filter(|pid| pid.len() == 45 && pid.is_ascii());
        let lineage =
            presented.as_deref().and_then(|pid| pid.split_once('.')).map_or_else(secret, |(l, _)| l.to_owned());
        let who = self.identify(auth.token.as_deref(), presented.is_some(), &lineage);
        let (user, bound_to) = who.map_err(|refusal| refused(&refusal))?;
        let offset = auth.offset.as_deref().and_then(Offset::parse);
        let mut session = Session {
            user_json: user_json(&user),
            user,
            bound_to,
            pid: String::new(),
            old_pid: presented.as_deref().map(|pid| digest(pid, 32)),
            outbox: request.outbox,
            entered: None,
        };
        if let (Some(pid), Some(offset)) = (&presented, offset)
            && let Some(first) = self.resume(&mut session, offset).await?
        {
            metrics::counter!("switchboard_resumes_total", "outcome" => "resumed").increment(1);
            session.old_pid = None;
            self.send_ice_servers(&session);
            return Ok(Connected { sid: sid(pid), pid: Some(pid.clone()), session, first });
        }
        if presented.is_some() {
            metrics::counter!("switchboard_resumes_total", "outcome" => "fresh").increment(1);
        }
        let pid = format!("{lineage}.{}", secret());
        session.pid = digest(&pid, 32);
        self.send_ice_servers(&session);
        Ok(Connected { sid: sid(&pid), pid: Some(pid), session, first: Vec::new() })
    }

    /// Who a client is, and the one room it is bound to if it is: by its token, or a guest by its lineage. A resume takes a
    /// token that has merely expired, since calls are longer than tokens.
    fn identify(
        &self,
        token: Option<&str>,
        resumes: bool,
        lineage: &str,
    ) -> Result<(PublicUser, Option<RoomId>), Refusal> {
        let tokens = &self.credentials.tokens;
        let identity = match token.filter(|token| !token.is_empty()) {
            Some(token) if resumes => tokens.verify_for_resume(token)?,
            Some(token) => tokens.verify_access(token)?,
            None => {
                let id = UserId::parse(&format!("guest-{}", digest(lineage, 16)))?;
                return Ok((PublicUser::new(id, String::new(), None), None));
            }
        };
        Ok((identity.user, identity.room))
    }

    /// Takes the presented session's seat again; the events it missed. `None`: there is nothing to resume.
    async fn resume(&self, session: &mut Session, offset: Offset) -> Result<Option<Vec<Message>>, ConnectError> {
        let Some(pid) = session.old_pid.clone() else { return Ok(None) };
        let partition = self.rooms.partition_of(&offset.room);
        let link = self.hub.register(partition, offset.room.clone(), session.outbox.clone());
        let attach = Attach {
            room: offset.room.clone(),
            pid: pid.clone(),
            user: session.user.id.clone(),
            handle: link.handle,
            offset: LogId { ms: offset.ms, seq: offset.seq },
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
                let first = resumed.missed.iter().map(|entry| packet(entry.id, &offset.room, &entry.event)).collect();
                if session.user.name.is_empty() {
                    session.rename(&resumed.user.name);
                }
                session.pid = pid.clone();
                let meta = Arc::new(resumed.meta);
                let place = Place {
                    room: offset.room,
                    peer: resumed.seat.peer.clone(),
                    role: resumed.role,
                    state: resumed.state,
                    media: resumed.media,
                    meta: meta.clone(),
                };
                let copy = Reseat {
                    pid,
                    role: resumed.role,
                    public: session.user.clone(),
                    media: resumed.media,
                    join_id: resumed.join_id,
                    joined_at: resumed.joined_at,
                };
                let seat = resumed.seat;
                let holding = Holding { seat: seat.clone(), copy, meta };
                let missed = self.hub.go_live(partition, &link, holding, resumed.last, None);
                self.mend(missed);
                session.entered = Some(Entered { place, seat, link, partition });
                Ok(Some(first))
            }
            Ok(Attached::Fresh) => {
                self.hub.unregister(partition, &link);
                Ok(None)
            }
            Ok(Attached::Busy | Attached::Fenced) | Err(StoreError::Unavailable | StoreError::Unexpected(_)) => {
                // The transport closes without an answer: the client keeps what it has and comes back by itself.
                self.hub.unregister(partition, &link);
                hub::close(&session.outbox, DisconnectReason::Unavailable);
                Err(refused(&Code::ServiceUnavailable.into()))
            }
        }
    }
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
