//! The shell around the rules: takes a client's event, asks the rules what follows, and does it.
//!
//! | file | what |
//! |---|---|
//! | `connect` | CONNECT: who it is, and resuming a session |
//! | `enter` | taking a seat: `room:create`, `room:join` |
//! | `log` | events through a room's log |
//! | `command` | what host and moderators do |
//! | `exit` | leaving, ending, and the end of a socket |
//! | `ask` | what is read for one session, and what it tells in passing |
//! | `answer` | acknowledgements and refusals |
//! | `session` | what the node keeps for one socket |

mod answer;
mod ask;
mod command;
mod connect;
mod enter;
mod exit;
mod log;
mod session;

use std::sync::Arc;
use std::time::Duration;

use switchboard_auth::password::PasswordHasher;
use switchboard_auth::token::Tokens;
use switchboard_auth::turn::IceConfig;
use switchboard_core::ClusterKey;
use switchboard_core::domain::{Code, ConnectionState, DisconnectReason, NodeId};
use switchboard_core::wire::client_event;
use switchboard_core::wire::server_event::encode;
use switchboard_records::Records;
use switchboard_rooms::rate_limit::{PasscodeRates, RateLimiter};
use switchboard_rooms::{Rate, Revocations, Rooms};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::hub::{self, CatchUp, Hub};
use crate::mender::Mender;
use crate::meters::{self, RelayMeters};
use crate::roster::Roster;
use answer::Asked;
pub use session::Session;
use switchboard_rules::Effect;
use switchboard_socketio::send_queue::Message;
use switchboard_socketio::{Application, CloseReason, ConnectError, ConnectRequest, Connected, Event};

/// How long a join or a resume waits for this node to be registered again, after it was swept or Redis lost its data: two beats.
const FENCED_FOR: Duration = Duration::from_secs(2);
const FENCED_PAUSE: Duration = Duration::from_millis(100);

/// What the dispatcher works with. Over eight fields: each is a part of the node that an effect needs.
pub struct Dispatcher {
    /// This node.
    pub node: NodeId,
    /// Room state.
    pub rooms: Rooms,
    /// The durable records, for rooms that Redis does not know yet.
    pub records: Records,
    /// The sessions of this node that are in a room.
    pub hub: Arc<Hub>,
    /// All of them.
    pub roster: Roster,
    /// What mends gaps of the subscription.
    pub mender: Mender,
    /// Who somebody is.
    pub credentials: Credentials,
    /// What sessions are held to.
    pub limits: SessionLimits,
    /// Counts what all nodes limit together.
    pub limiter: RateLimiter,
    /// What is measured of events.
    pub meters: RelayMeters,
    /// What outlives the event that caused it: farewells that Redis has not taken yet.
    pub tasks: TaskTracker,
}

/// What sessions are held to.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Sizes of events.
    pub events: client_event::Limits,
    /// How long a socket may be in no room. Looked at with each ping. `None`: for ever.
    pub join: Option<Duration>,
    /// How often one user may create a room, on all nodes together. `None`: no limit.
    pub create: Option<Rate>,
    /// How often a passcode may be tried.
    pub passcode: PasscodeRates,
}

/// What tells who somebody is, and what is given to whom.
pub struct Credentials {
    /// Tokens.
    pub tokens: Tokens,
    /// Sign-ins that are over before their tokens are.
    pub revoked: Revocations,
    /// Guests' addresses, for bans.
    pub addresses: ClusterKey,
    /// Passcodes.
    pub hasher: PasswordHasher,
    /// ICE servers with credentials per user.
    pub ice: IceConfig,
}

impl Application for Dispatcher {
    type Session = Session;

    fn serves(&self, namespace: &str) -> bool {
        namespace == "/"
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<Session>, ConnectError> {
        // Boxed: a connect is rare, and its future would otherwise be part of every idle socket's.
        Box::pin(self.connect_session(request)).await
    }

    async fn event(&self, session: &mut Session, event: Event) {
        let (read, asked) = (Instant::now(), Asked::new(session.socket.outbox(), &event));
        self.forget_gone_room(session);
        session.refresh();
        if !event.attachments().is_empty() {
            return asked.refuse(&Code::BinaryNotSupported.into());
        }
        let arguments = event.arguments();
        let parsed = client_event::parse(event.name(), arguments.first().copied(), &self.limits.events);
        let effect = parsed.and_then(|parsed| switchboard_rules::handle(parsed, &session.view(), session::stamp()));
        match effect {
            Err(refusal) => asked.refuse(&refusal),
            Ok(Effect::Log(logged)) => self.log(session, logged, asked, read),
            Ok(Effect::IceServers) => {
                self.send_ice_servers(session);
                asked.accept("");
            }
            Ok(effect) => Box::pin(self.perform(session, effect, asked, read)).await,
        }
    }

    fn tick(&self, session: &mut Session) -> Option<Message> {
        self.forget_gone_room(session);
        let Some(entered) = &session.entered else {
            if self.limits.join.is_some_and(|limit| session.idle_since.elapsed() >= limit) {
                hub::close(session.socket.outbox(), DisconnectReason::JoinTimeout);
            }
            return None;
        };
        let offset = self.hub.tick(entered.partition, &entered.link)?;
        Some(Message::packet(format!(r#"42["server:tick","{offset}"]"#)))
    }

    async fn closed(&self, session: Session, reason: CloseReason) {
        self.close_session(session, reason).await;
    }
}

impl Dispatcher {
    /// The effects that wait for Redis before the session's next event: barriers, questions, hints.
    async fn perform(&self, session: &mut Session, effect: Effect, asked: Asked, read: Instant) {
        let enters = matches!(effect, Effect::Create(_) | Effect::Join(_));
        let done = match effect {
            Effect::Create(create) => self.create(session, create).await,
            Effect::Join(join) => self.join(session, join).await,
            Effect::Leave => self.leave(session).await,
            Effect::EndCall(room) => self.end_call(session, &room).await,
            Effect::Hint { event, required_settings } => self.hint(session, &event, required_settings).await,
            Effect::History(wanted) => self.history(session, wanted).await,
            Effect::Stats { of_the_call } => self.stats(session, of_the_call).await,
            Effect::Command(action, command) => self.command(session, action, command).await,
            Effect::Log(_) | Effect::IceServers => return,
        };
        if enters {
            let waits = session.entered.as_ref().is_some_and(|it| it.place.state == ConnectionState::Waiting);
            meters::entered(done.as_deref(), waits, read);
        }
        match done {
            Ok(fields) => asked.accept(&fields),
            Err(refusal) => asked.refuse(&refusal),
        }
    }

    /// Reads what a session missed while its script was on the way, apart from the session.
    fn mend(&self, missed: Option<CatchUp>) {
        if let Some(missed) = missed {
            let mender = self.mender.clone();
            self.tasks.spawn(async move { mender.catch_up(missed).await });
        }
    }

    /// `webrtc:ice-servers`, with credentials of the session's own; and which node it is, which a resumed session learns here.
    fn send_ice_servers(&self, session: &Session) {
        let now = u64::try_from(session::now().seconds()).unwrap_or(0);
        let servers = self.credentials.ice.ice_servers(&session.user.id, now);
        let event = encode("webrtc:ice-servers", &serde_json::json!({ "iceServers": servers, "node": self.node }));
        session.tell(&event);
    }
}
