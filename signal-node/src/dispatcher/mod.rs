//! Takes a client's event, asks the rules, and performs the effects that they return.
//!
//! | file | content |
//! |---|---|
//! | `mod` | entry points that the server calls; chooses the effect's function |
//! | `access_token` | finds the access token of a client that connects |
//! | `connect` | CONNECT: identifies the client, resumes a session |
//! | `enter` | takes a seat: `room:create`, `room:join` |
//! | `entry` | a decided admission, and what the session gets with its seat |
//! | `room_log` | events through a room's log |
//! | `costs` | tokens that an event costs besides its packet |
//! | `command` | commands of host and moderators |
//! | `exit` | leaving a room, ending a call, the end of a connection |
//! | `queries` | chat history, statistics, ephemeral events |
//! | `refusals` | refusals for failures of the stores |
//! | `responder` | acknowledgements and refusals of one event |
//! | `session` | state that the node keeps for one client |
//! | `session_rates` | rates of chat history, statistics, hands and reactions |

mod access_token;
mod command;
mod connect;
mod costs;
mod enter;
mod entry;
mod exit;
mod queries;
mod refusals;
mod responder;
mod room_log;
mod session;
mod session_rates;

use std::sync::Arc;
use std::time::Duration;

use switchboard_auth::password::PasswordHasher;
use switchboard_auth::token::Tokens;
use switchboard_auth::turn::{IceConfig, IceGrant};
use switchboard_calls::AppDirectory;
use switchboard_core::ClusterKey;
use switchboard_core::domain::{Code, ConnectionState, DisconnectReason, NodeId, Refusal};
use switchboard_core::wire::client_event;
use switchboard_core::wire::server_event::encode;
use switchboard_records::Records;
use switchboard_rooms::rate_limit::{PasscodeRates, RateLimiter, Subject, TurnRates};
use switchboard_rooms::{Rate, RevocationReason, Revocations, Rooms};
use switchboard_rules::Effect;
use switchboard_socketio::send_queue::Message;
use switchboard_socketio::{Application, CloseReason, ConnectError, ConnectRequest, Connected, Event};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::app_limiters::AppLimiters;
use crate::delivery::{self, CatchUp, Hub};
use crate::meters::{self, RelayMeters};
use crate::session_registry::SessionRegistry;
use responder::Responder;
pub use session::ClientSession;

/// Time that a join or a resume waits for this node to be registered again, after it was swept or
/// Redis lost its data: two heartbeats.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two attempts while the node is not registered.
const REGISTRATION_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Packets that a client sends to one other participant when both connect: an offer or an answer of
/// up to 64 KiB (8 tokens), up to 20 candidates and their end, and changes of the state. A client
/// that joins a mesh sends them to all others at the same time.
const PACKETS_PER_PEER: u32 = 32;

/// Most other participants that a client connects to at the same time.
const MESH_PEERS_MAX: u32 = 99;

/// Parts that the dispatcher works with. The struct has more than eight fields: each is a part of
/// the node that an effect needs.
pub struct Dispatcher {
    /// This node.
    pub node: NodeId,
    /// Room state.
    pub rooms: Rooms,
    /// Durable records, for rooms that Redis does not know yet.
    pub records: Records,
    /// Sessions of this node that are in a room.
    pub hub: Arc<Hub>,
    /// All sessions of this node.
    pub sessions: SessionRegistry,
    /// Reads logs for sessions that missed events.
    pub catch_up: CatchUp,
    /// Identifies clients.
    pub credentials: Credentials,
    /// Limits of each session.
    pub limits: SessionLimits,
    /// Rate limits that all nodes share.
    pub limiter: RateLimiter,
    /// Limits of apps.
    pub app_limiters: AppLimiters,
    /// Metrics of events.
    pub meters: RelayMeters,
    /// Tasks that outlive the event that started them: departures that Redis has not accepted yet.
    pub tasks: TaskTracker,
}

/// Limits of each session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Sizes of events.
    pub events: client_event::Limits,
    /// Time that a client may stay connected without a room. Checked at each ping. `None`: no
    /// limit.
    pub join: Option<Duration>,
    /// Rate at which one user may create rooms, on all nodes together. `None`: no limit.
    pub create: Option<Rate>,
    /// Rates at which rooms may be joined, on all nodes together.
    pub joins: JoinRates,
    /// Rates at which passcodes may be tried.
    pub passcode: PasscodeRates,
    /// Rates at which participants may renew their TURN credentials.
    pub turn: TurnRates,
}

/// Rates of `room:join`. `None`: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinRates {
    /// Rate of one address, or of one IPv6 network.
    pub address: Option<Rate>,
    /// Rate of one signed-in user.
    pub account: Option<Rate>,
}

/// Secrets and lists that identify clients.
pub struct Credentials {
    /// Verifies access and join tokens.
    pub tokens: Tokens,
    /// API keys of apps, which sign tokens of their users.
    pub apps: AppDirectory,
    /// Sign-ins that were revoked before their tokens expire.
    pub revoked: Revocations,
    /// Hashes clients' addresses, for bans.
    pub addresses: ClusterKey,
    /// Verifies passcodes.
    pub hasher: PasswordHasher,
    /// ICE servers, with TURN credentials for each participant.
    pub ice: Arc<IceConfig>,
}

impl Application for Dispatcher {
    type Session = ClientSession;

    fn serves(&self, namespace: &str) -> bool {
        namespace == "/"
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<ClientSession>, ConnectError> {
        // Boxed, because a connect is rare and its future would be part of every idle connection.
        Box::pin(self.connect_session(request)).await
    }

    async fn event(&self, session: &mut ClientSession, event: Event) {
        let (read, responder) = (Instant::now(), Responder::new(session.registration.send_queue(), &event));
        self.leave_if_removed(session);
        session.refresh();
        if !event.attachments().is_empty() {
            return responder.refuse(&Code::BinaryNotSupported.into());
        }
        let arguments = event.arguments();
        let parsed = client_event::parse(event.name(), arguments.first().copied(), &self.limits.events);
        let effect = parsed.and_then(|parsed| switchboard_rules::handle(parsed, &session.view(), session::stamp()));
        match effect.and_then(|effect| self.spend_for(session, &effect).map(|()| effect)) {
            Err(refusal) => responder.refuse(&refusal),
            Ok(Effect::Log(logged)) => self.log(session, logged, responder, read),
            Ok(effect) => Box::pin(self.perform(session, effect, responder, read)).await,
        }
    }

    fn burst(&self, session: &ClientSession) -> u32 {
        let Some(room) = session.room.as_ref().filter(|_| session.is_seated()) else { return 0 };
        PACKETS_PER_PEER * room.view.meta.max_participants.saturating_sub(1).min(MESH_PEERS_MAX)
    }

    fn tick(&self, session: &mut ClientSession) -> Option<Message> {
        self.leave_if_removed(session);
        if self.has_ended(session) {
            delivery::close(session.registration.send_queue(), DisconnectReason::Revoked);
            return None;
        }
        let Some(room) = &session.room else {
            if self.limits.join.is_some_and(|limit| session.idle_since.elapsed() >= limit) {
                delivery::close(session.registration.send_queue(), DisconnectReason::JoinTimeout);
            }
            return None;
        };
        let offset = self.hub.fresh_offset(room.partition, &room.link)?;
        Some(Message::packet(format!(r#"42["server:tick","{offset}"]"#)))
    }

    async fn closed(&self, session: ClientSession, reason: CloseReason) {
        self.close_session(session, reason).await;
    }
}

impl Dispatcher {
    /// Returns the reason for which the sign-in of a session is revoked.
    fn revoked(&self, session: &ClientSession) -> Option<RevocationReason> {
        session.registration.sign_in().and_then(|sign_in| self.credentials.revoked.reason(sign_in))
    }

    /// Returns whether a revoked sign-in ends the session. After a replay its seat stays until the
    /// token has expired, because the owner of the sign-in may be the one who sits there.
    fn has_ended(&self, session: &ClientSession) -> bool {
        if session.registration.sign_in().is_some_and(|key| self.credentials.apps.is_revoked(key)) {
            return true;
        }
        match self.revoked(session) {
            Some(RevocationReason::SignedOut) => true,
            Some(RevocationReason::Replayed) => session.has_expired(),
            None => false,
        }
    }

    /// Returns the tokens that an effect costs besides its packet.
    fn cost(&self, session: &ClientSession, effect: &Effect) -> u32 {
        let Some(room) = &session.room else { return 0 };
        costs::of(effect, || self.hub.participants(room.partition, &room.link.room))
    }

    /// Counts an effect against its own rate and spends its tokens, before it is performed.
    fn spend_for(&self, session: &mut ClientSession, effect: &Effect) -> Result<(), Refusal> {
        session.rates.spend(effect)?;
        self.spend(session, self.cost(session, effect))?;
        // Last, so that what a session sends beyond its own rates costs the app's others nothing.
        // Leaving frees a place, so it is never refused.
        match session.app_limiter.as_ref().filter(|_| !matches!(effect, Effect::Leave)) {
            Some(limiter) => limiter.spend_event(),
            None => Ok(()),
        }
    }

    /// Spends tokens before an effect is performed.
    fn spend(&self, session: &ClientSession, tokens: u32) -> Result<(), Refusal> {
        session.budget.spend(tokens, || self.burst(session)).map_err(Refusal::rate_exceeded)
    }

    /// Performs an effect that must be done before the session's next event.
    async fn perform(&self, session: &mut ClientSession, effect: Effect, responder: Responder, read: Instant) {
        let enters = matches!(effect, Effect::Create(_) | Effect::Join(_));
        let done = match effect {
            // The tokens of the sign-in have ended. Only the seat that it has stays.
            Effect::Create(_) | Effect::Join(_) if self.revoked(session).is_some() => Err(Code::TokenInvalid.into()),
            Effect::Create(create) => self.create(session, create).await,
            Effect::Join(join) => self.join(session, join).await,
            Effect::JoinAgain => self.join_again(session).await,
            Effect::Leave => self.leave(session).await,
            Effect::EndCall(room) => self.end_call(session, &room).await,
            Effect::Ephemeral { event_kind, event, required_settings } => {
                self.send_ephemeral(session, (event_kind, &event), required_settings).await
            }
            Effect::History(wanted) => self.history(session, wanted).await,
            Effect::Stats { with_call } => self.stats(session, with_call).await,
            Effect::Command(action, command) => self.command(session, action, command).await,
            Effect::IceServers => self.renew_ice_servers(session).await.map(|()| String::new()),
            Effect::Log(_) => return,
        };
        if enters {
            let waits = session.room.as_ref().is_some_and(|room| room.view.state == ConnectionState::Waiting);
            meters::record_join(done.as_deref(), waits, read);
        }
        match done {
            Ok(fields) => responder.accept(&fields),
            Err(refusal) => responder.refuse(&refusal),
        }
    }

    /// `webrtc:get-ice-servers`
    async fn renew_ice_servers(&self, session: &ClientSession) -> Result<(), Refusal> {
        if session.is_seated() {
            let rates = self.limits.turn;
            let address = self.limiter.check("turn", Subject::Address(session.address), rates.address);
            let user = self.limiter.check("turn", session.subject(), rates.user);
            tokio::try_join!(address, user)?;
        }
        self.send_ice_servers(session);
        Ok(())
    }

    /// Returns the ICE servers of a session: with TURN credentials if it has a seat.
    fn ice_grant(&self, session: &ClientSession) -> IceGrant {
        let now = u64::try_from(session::now().seconds()).unwrap_or(0);
        match &session.room {
            Some(room) if session.is_seated() => {
                self.credentials.ice.for_participant(&room.link.room, &session.user.id, now)
            }
            _ => self.credentials.ice.without_seat(),
        }
    }

    /// Sends `webrtc:ice-servers` with the node's name, which a resumed session learns here.
    fn send_ice_servers(&self, session: &ClientSession) {
        let IceGrant { servers, ttl } = self.ice_grant(session);
        let mut payload = serde_json::json!({ "iceServers": servers, "node": self.node });
        if let Some(ttl) = ttl {
            payload["iceTtl"] = ttl.into();
        }
        session.send_event(&encode("webrtc:ice-servers", &payload));
    }
}
