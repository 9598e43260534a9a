//! Test bed: real servers, stores on several nodes, and helpers.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use devcluster::redis::{RedisCluster, RedisOptions, RedisServer};
use devcluster::redis_sentinel::RedisSentinel;
use redis::{Cmd, FromRedisValue, cmd};
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_core::wire::server_event::{hand_lowered, hand_raised_template, media_changed_template};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::{Hashes, ScriptArguments, write_command};
use switchboard_rooms::*;
use tokio::sync::mpsc;

/// Longer than any step takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) enum Servers {
    One(Box<RedisServer>),
    Many(RedisCluster),
    Sentinel(RedisSentinel),
}

pub(crate) struct TestBed {
    pub(crate) servers: Servers,
    /// User and password in the URL, with the `@`; empty for the default user.
    credentials: &'static str,
    pub(crate) options: RoomOptions,
    /// Stores of [`TestBed::guest`] use `fred`, as api pods do.
    fred: bool,
}

impl TestBed {
    pub(crate) async fn standalone() -> Self {
        Self::on(Servers::One(Box::new(RedisServer::start().await.unwrap())))
    }

    pub(crate) async fn cluster() -> Self {
        Self::on(Servers::Many(RedisCluster::start(3).await.unwrap()))
    }

    /// Starts a cluster in which each master has a replica.
    pub(crate) async fn replicated() -> Self {
        Self::on(Servers::Many(RedisCluster::start_with(3, 1).await.unwrap()))
    }

    /// Starts a master and its replica, with three Sentinels.
    pub(crate) async fn sentinel() -> Self {
        Self::on(Servers::Sentinel(RedisSentinel::start().await.unwrap()))
    }

    /// Starts a server as some providers run it: `CONFIG` does not exist, and the user has the
    /// rights of `docs/OPERATIONS.md` and no others.
    pub(crate) async fn restricted() -> Self {
        let user = ["--rename-command", "CONFIG", "", "--user", "calls", "on", ">secret"].map(str::to_owned);
        let extra = user.into_iter().chain(documented_rights()).collect();
        let server = RedisServer::start_with(&RedisOptions { extra, ..RedisOptions::default() }).await.unwrap();
        Self { credentials: "calls:secret@", ..Self::on(Servers::One(Box::new(server))) }
    }

    fn on(servers: Servers) -> Self {
        // No node runs that could ask a socket whether its client is alive.
        let options = RoomOptions { partitions: 8, probe: Duration::ZERO, ..RoomOptions::default() };
        Self { servers, credentials: "", options, fred: false }
    }

    /// Makes the stores of [`TestBed::guest`] use `fred`.
    pub(crate) fn with_fred(self) -> Self {
        Self { fred: true, ..self }
    }

    pub(crate) fn url(&self) -> RedisUrl {
        let url = match &self.servers {
            Servers::One(server) => server.url(),
            Servers::Many(cluster) => cluster.url(),
            Servers::Sentinel(servers) => servers.url(),
        };
        RedisUrl::parse(&url.replace("://", &format!("://{}", self.credentials))).unwrap()
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.options.prefix, self.options.partitions)
    }

    pub(crate) fn servers(&mut self) -> &mut [RedisServer] {
        match &mut self.servers {
            Servers::One(server) => std::slice::from_mut(&mut **server),
            Servers::Many(cluster) => cluster.servers(),
            Servers::Sentinel(servers) => servers.servers(),
        }
    }

    /// Returns a store whose node is not registered, as an api pod has one.
    pub(crate) async fn guest(&self, node: &str) -> Rooms {
        if !self.fred {
            return self.store(node).await;
        }
        Rooms::connect_with_fred(&self.url(), self.options.clone(), NodeId::parse(node).unwrap()).await.unwrap()
    }

    /// Returns a store whose node is registered in every partition.
    pub(crate) async fn node(&self, node: &str) -> Rooms {
        let rooms = self.store(node).await;
        rooms.register_node().await.unwrap();
        rooms
    }

    async fn store(&self, node: &str) -> Rooms {
        Rooms::connect(&self.url(), self.options.clone(), NodeId::parse(node).unwrap()).await.unwrap()
    }

    /// Subscribes to a node's channels. Returns the events from now on.
    pub(crate) async fn listen(&self, node: &str) -> (Bus, mpsc::UnboundedReceiver<BusEvent<'static>>) {
        let (sender, events) = mpsc::unbounded_channel();
        let handler: BusEventHandler = Arc::new(move |event| {
            let kept = match event {
                // Leaked, because a test has few messages and ends soon.
                BusEvent::Message { partition, message } => {
                    BusEvent::Message { partition, message: message.to_vec().leak() }
                }
                BusEvent::Interrupted { partition } => BusEvent::Interrupted { partition },
                BusEvent::Restored { partition, cause } => BusEvent::Restored { partition, cause },
            };
            let _ = sender.send(kept);
        });
        (Bus::start(&self.url(), &self.options, &NodeId::parse(node).unwrap(), handler).await.unwrap(), events)
    }

    /// Runs a command on every server that is up.
    pub(crate) async fn everywhere<T: FromRedisValue>(&mut self, command: &Cmd) -> Vec<T> {
        let mut answers = Vec::new();
        for server in self.servers() {
            answers.push(server.query(command).await.unwrap());
        }
        answers
    }

    /// Runs a script as a node or an api pod sends it. No argument may have a carriage return.
    pub(crate) async fn run<S: ScriptArguments, T: FromRedisValue>(&mut self, arguments: &S) -> T {
        let mut packed = Vec::new();
        write_command(&mut packed, Hashes::compute().of(S::SCRIPT), arguments);
        // Every line of a length is followed by the word.
        let text = String::from_utf8(packed).unwrap();
        let mut command = Cmd::new();
        text.split("\r\n").skip(2).step_by(2).for_each(|word| {
            command.arg(word);
        });
        self.at_its_keys(&command).await
    }

    /// Returns how often a command has run on all servers, in scripts too.
    pub(crate) async fn calls_of(&mut self, command: &str) -> u64 {
        let stats = self.everywhere::<String>(cmd("INFO").arg("commandstats")).await.concat();
        let prefix = format!("cmdstat_{command}:calls=");
        let counts = stats.lines().filter_map(|line| line.strip_prefix(&prefix)?.split(',').next());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    }

    /// Runs a command on the server that has its keys.
    pub(crate) async fn at_its_keys<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        for server in self.servers() {
            // The other servers of a cluster answer that the keys are elsewhere.
            if let Ok(answer) = server.query(command).await {
                return answer;
            }
        }
        panic!("no server takes {command:?}");
    }

    /// Returns every key, sorted.
    pub(crate) async fn all_keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.everywhere::<Vec<String>>(cmd("KEYS").arg("*")).await.concat();
        keys.sort();
        keys
    }
}

/// Returns the rights that `docs/OPERATIONS.md` gives to the user.
pub(crate) fn documented_rights() -> Vec<String> {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("docs/OPERATIONS.md");
    let text = std::fs::read_to_string(manual).unwrap();
    let rule = text.split('`').find(|code| code.starts_with("~<prefix>:*")).unwrap();
    rule.replace("<prefix>", "sb").split(' ').map(Into::into).collect()
}

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

pub(crate) fn user(n: usize) -> UserId {
    UserId::parse(&format!("{n:024x}")).unwrap()
}

pub(crate) fn peer(n: usize) -> PeerId {
    PeerId::parse(user(n).as_str()).unwrap()
}

/// Returns the metadata of a call whose host is user 0.
pub(crate) fn meta(places: u32) -> RoomMeta {
    RoomMeta {
        call_id: CallId::parse("65a000000000000000000001").unwrap(),
        name: "A call".into(),
        host: user(0),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: places,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: "2026-01-01T00:00:00.000Z".into(),
        version: 1,
    }
}

/// Returns the request of user `n` for a seat, with private id `pid-n` and handle `n`.
pub(crate) fn join(name: &str, n: usize) -> Join {
    Join {
        room: room(name),
        meta_version: 1,
        grant: None,
        user: user(n),
        pid: format!("pid-{n}"),
        old_pid: None,
        handle: SessionHandle(n as u64),
        role: if n == 0 { Role::Host } else { Role::Participant },
        waits: false,
        public: PublicUser::new(user(n), format!("User 100% {n}"), None),
        media: MediaState::default(),
        given: (n == 0).then_some(Role::Host),
        permissions: None,
        given_permissions: None,
        proof: Proof::default(),
    }
}

/// Returns the request of guest `n` at an address for a seat.
pub(crate) fn guest(name: &str, n: usize, address: Option<&str>) -> Join {
    let user = UserId::parse(&format!("guest-{n:016x}")).unwrap();
    let public = PublicUser::new(user.clone(), format!("Guest {n}"), None);
    let proof = Proof { address: address.map(Into::into), ..Proof::default() };
    Join { user, public, proof, given: None, role: Role::Guest, ..join(name, n) }
}

/// Answer to a join that was seated.
pub(crate) struct Seated {
    pub(crate) seat: Arc<Seat>,
    pub(crate) id: LogId,
    pub(crate) snapshot: Box<Snapshot>,
}

pub(crate) fn seated(joined: Joined) -> Seated {
    match joined {
        Joined::Seated { seat, id, snapshot, .. } => Seated { seat, id, snapshot },
        other => panic!("not seated: {other:?}"),
    }
}

pub(crate) async fn sit(rooms: &Rooms, name: &str, n: usize) -> Seated {
    seated(rooms.join(join(name, n)).await.unwrap())
}

/// Returns the request of user `n` to resume after `offset`.
pub(crate) fn attach(name: &str, n: usize, handle: u64, offset: LogId) -> Attach {
    let (room, pid, handle) = (room(name), format!("pid-{n}"), SessionHandle(handle));
    Attach { room, pid, user: user(n), handle, offset, address: None }
}

pub(crate) fn resumed(attached: Attached) -> Box<Resumed> {
    match attached {
        Attached::Resumed(resumed) => resumed,
        other => panic!("not resumed: {other:?}"),
    }
}

/// Returns a chat message as receivers get it.
pub(crate) fn event(text: impl std::fmt::Display) -> Bytes {
    Bytes::from(format!("\"chat:message\",{{\"message\":\"{text}\"}}"))
}

pub(crate) fn relay(to: PeerId, text: impl std::fmt::Display) -> Op {
    Op { kind: OpKind::Relay { to }, event_kind: EventKind::ChatMessage, event: event(text), dedupe: None }
}

pub(crate) fn broadcast(text: impl std::fmt::Display) -> Op {
    Op { kind: OpKind::Broadcast, event_kind: EventKind::ChatMessage, event: event(text), dedupe: None }
}

/// Returns the operation that switches video, audio and screen of user 1, as the rules make it.
pub(crate) fn switch(role: Role, [video_enabled, audio_enabled, screen_share_enabled]: [Option<bool>; 3]) -> Op {
    let change = MediaChange { video_enabled, audio_enabled, screen_share_enabled };
    let screen = "canShareScreen screenShareEnabled allowParticipantScreenShare";
    let required_settings = ["canPublish videoEnabled", "canPublish audioEnabled", screen];
    let switch =
        ConditionalMediaChange { change, role, required_settings, required_to_unmute: "allowParticipantUnmute" };
    let event = media_changed_template(&user(1), &peer(1)).into();
    Op { kind: OpKind::Media(switch), event_kind: EventKind::MediaChanged, event, dedupe: None }
}

/// Returns a change of the sender's hand: raised at this time, or lowered.
pub(crate) fn hand(n: usize, raised_at: Option<&str>) -> Op {
    let event = match raised_at {
        Some(_) => hand_raised_template(&user(n), &peer(n)),
        None => hand_lowered(&user(n), &peer(n)),
    };
    let kind = OpKind::Hand { raised_at: raised_at.map(Into::into) };
    Op { kind, event_kind: EventKind::HandChanged, event: event.into(), dedupe: None }
}

/// Returns a chat message with this id, which is part of its stamp.
pub(crate) fn chat(to: Option<PeerId>, id: &str) -> Op {
    let address = to.as_ref().map(|to| format!("\"to\":\"{to}\",")).unwrap_or_default();
    let event = format!("\"chat:message\",{{\"id\":\"{id}\",{address}\"message\":\"m\"}}");
    let kind = OpKind::Chat(Chat { to, stamp: format!("{id} now").into() });
    Op { kind, event_kind: EventKind::ChatMessage, event: event.into(), dedupe: None }
}

/// Returns the payload of an event.
pub(crate) fn said(event: &str) -> serde_json::Value {
    serde_json::from_str(event.split_once(',').unwrap().1).unwrap()
}

/// Submits an operation and returns its reply.
pub(crate) async fn act(rooms: &Rooms, seat: &Arc<Seat>, op: Op) -> Result<OpReply, StoreError> {
    let (sender, answer) = tokio::sync::oneshot::channel();
    rooms.submit(seat, op, Box::new(move |reply| sender.send(reply).unwrap()));
    answer.await.unwrap()
}

pub(crate) fn logged(reply: Result<OpReply, StoreError>) -> LogId {
    match reply {
        Ok(OpReply::Logged { id, duplicate: false }) => id,
        other => panic!("not logged: {other:?}"),
    }
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < LONG, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the next envelope that `wanted` selects.
pub(crate) async fn next_envelope(
    events: &mut mpsc::UnboundedReceiver<BusEvent<'static>>,
    wanted: impl Fn(&Envelope<'_>) -> bool,
) -> Envelope<'static> {
    let search = async {
        loop {
            if let BusEvent::Message { message, .. } = events.recv().await.unwrap() {
                let envelope = Envelope::parse(message).expect("an envelope");
                if wanted(&envelope) {
                    return envelope;
                }
            }
        }
    };
    tokio::time::timeout(LONG, search).await.expect("the envelope did not arrive")
}

/// Returns the facts of a partition after a position, oldest first.
pub(crate) async fn facts_after(rooms: &Rooms, p: Partition, after: Option<LogId>) -> Vec<Fact> {
    let entries = rooms.outbox(p, after, 100_000).await.unwrap();
    entries.into_iter().map(|entry| entry.fact.unwrap()).collect()
}

/// Returns the facts of every partition, in order within each.
pub(crate) async fn facts(rooms: &Rooms) -> Vec<Fact> {
    let mut all = Vec::new();
    for p in 0..rooms.partitions() {
        all.extend(facts_after(rooms, Partition(p), None).await);
    }
    all
}

/// Handles the due deadlines of every partition. Returns their number.
pub(crate) async fn expire(rooms: &Rooms) -> usize {
    let mut expired = 0;
    for p in 0..rooms.partitions() {
        expired += rooms.expire_due(Partition(p)).await.unwrap();
    }
    expired
}

/// A message and its reply.
type Answered = (String, Result<OpReply, StoreError>);

/// Messages with their replies, for an audit of the log.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Vec<Answered>>>);

impl Tally {
    /// Submits a message and stores its reply.
    pub(crate) fn submit(&self, rooms: &Rooms, seat: &Arc<Seat>, to: PeerId, text: String) {
        let tally = self.0.clone();
        let op = relay(to, &text);
        rooms.submit(seat, op, Box::new(move |reply| tally.lock().unwrap().push((text, reply))));
    }

    pub(crate) fn answers(&self) -> Vec<Answered> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) {
        until("every operation is answered", async || self.0.lock().unwrap().len() >= count).await;
    }
}
