//! Webhooks on a real Redis and a real MongoDB, with a receiver that fails, is slow, and dies.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::recorder::{self, RecorderOptions};
use api::webhooks::{self, Endpoint, WebhookOptions};
use axum::extract::State;
use axum::routing::post;
use devcluster::mongo::Mongo;
use devcluster::redis::RedisServer;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use switchboard_auth::{KeyRing, WebhookSigner};
use switchboard_core::Secret;
use switchboard_core::domain::{CallId, MediaState, NodeId, PublicUser, Role, RoomId, SessionHandle, Timestamp};
use switchboard_records::{DeliveryCounts, Records, RecordsTimeouts};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Created, Ended, Join, Joined, Partition, Proof, RoomOptions, Rooms};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use support::{BOUND, meta, until, user};

const PARTITIONS: u16 = 4;
const SECRET: &str = "a-secret-of-webhooks-of-32-bytes!";
const NEXT_SECRET: &str = "the-next-secret-of-webhooks-of-32";

/// Keys in the middle of a rotation.
fn keys() -> KeyRing {
    KeyRing::new(Secret::new(NEXT_SECRET), [Secret::new(SECRET)])
}

/// Requests to a receiver, in order: header values and body.
#[derive(Clone, Debug)]
struct Got {
    signature: String,
    event_id: String,
    body: String,
    json: Value,
}

#[derive(Default)]
struct Inbox {
    got: Vec<Got>,
    /// Number of requests to refuse next.
    refusals: usize,
    /// Delay of each response.
    delay: Duration,
}

/// Receiver on its own port, which can stop and restart.
struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    port: u16,
    serving: JoinHandle<()>,
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: String) -> StatusCode {
    let delay = inbox.lock().unwrap().delay;
    tokio::time::sleep(delay).await;
    let mut inbox = inbox.lock().unwrap();
    if inbox.refusals > 0 {
        inbox.refusals -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(header("switchboard-event"), json["type"].as_str().unwrap());
    assert_eq!(header("authorization"), "Basic dXM6cEBzcw==", "us:p@ss, of the endpoint's URL");
    let got = Got { signature: header("switchboard-signature"), event_id: header("switchboard-event-id"), body, json };
    inbox.got.push(got);
    StatusCode::NO_CONTENT
}

impl Receiver {
    async fn start() -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let (port, serving) = Self::serve(&inbox, 0).await;
        Self { inbox, port, serving }
    }

    async fn serve(inbox: &Arc<Mutex<Inbox>>, port: u16) -> (u16, JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().route("/hook", post(receive)).with_state(Arc::clone(inbox));
        (port, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }

    /// Stops the receiver, with all open connections.
    fn die(&self) {
        self.serving.abort();
        self.inbox.lock().unwrap().refusals = usize::MAX;
    }

    async fn come_back(&mut self) {
        self.inbox.lock().unwrap().refusals = 0;
        (_, self.serving) = Self::serve(&self.inbox, self.port).await;
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("http://us:p%40ss@127.0.0.1:{}/hook", self.port)).unwrap()
    }

    fn got(&self) -> Vec<Got> {
        self.inbox.lock().unwrap().got.clone()
    }

    /// Returns the types of a call's events, in the order of arrival.
    fn events_of(&self, call: &CallId) -> Vec<String> {
        let of_call = |got: &Got| got.json["data"]["callId"] == call.as_str();
        self.got().iter().filter(|got| of_call(got)).map(|got| got.json["type"].as_str().unwrap().to_owned()).collect()
    }
}

const EVENTS_OF_A_CALL: [&str; 6] =
    ["call.started", "participant.joined", "participant.joined", "participant.left", "participant.left", "call.ended"];

struct Bed {
    redis: RedisServer,
    mongo: Mongo,
    rooms: Rooms,
    records: Records,
}

/// Connects as a node does, to seat participants.
async fn connect(redis: &RedisServer) -> Rooms {
    let (url, options, node) = place(redis);
    Rooms::connect(&url, options, node).await.unwrap()
}

/// Connects as an api pod does.
async fn connect_pod(redis: &RedisServer) -> Rooms {
    let (url, options, node) = place(redis);
    Rooms::connect_with_fred(&url, options, node).await.unwrap()
}

fn place(redis: &RedisServer) -> (RedisUrl, RoomOptions, NodeId) {
    let options = RoomOptions { partitions: PARTITIONS, ..RoomOptions::default() };
    (RedisUrl::parse(&redis.url()).unwrap(), options, NodeId::parse("n1").unwrap())
}

impl Bed {
    async fn start() -> Self {
        let redis = RedisServer::start().await.unwrap();
        let mongo = Mongo::start().await.unwrap();
        let rooms = connect(&redis).await;
        for number in 0..PARTITIONS {
            rooms.check_node(Partition(number), "r", true).await.unwrap();
        }
        let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(2) };
        let records = Records::connect(&mongo.uri("webhooks"), timeouts).await.unwrap();
        // Create the indexes with default timeouts, because the first operations can be slow.
        until("the indexes to be made", async || records.ensure_indexes().await.is_ok()).await;
        Self { redis, mongo, rooms, records }
    }

    /// Starts the background tasks of an API pod: a recorder and deliverers. They run until the
    /// task is aborted.
    async fn pod(&self, endpoints: &[Endpoint], give_up: Duration) -> JoinHandle<()> {
        let options = WebhookOptions {
            endpoints: endpoints.to_vec(),
            timeout: Duration::from_secs(5),
            give_up,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_millis(200),
            lease: Duration::from_secs(2),
            idle: Duration::from_millis(20),
            concurrency: 4,
        };
        let recording = RecorderOptions {
            lease: Duration::from_secs(2),
            flush_interval: Duration::from_millis(20),
            batch: 5,
            webhooks: endpoints.iter().map(|endpoint| endpoint.name.clone()).collect(),
            ..RecorderOptions::default()
        };
        let (rooms, records) = (connect_pod(&self.redis).await, self.records.clone());
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            tokio::join!(
                recorder::run(rooms, records.clone(), recording, stop.clone()),
                webhooks::run(records, options, WebhookSigner::new(keys()), stop.clone()),
            );
        })
    }

    /// Runs a call of two users, from its creation to its end.
    async fn call(&self, number: u32) -> CallId {
        let meta = meta(number, user(0));
        let room = RoomId::parse(&format!("room-{number}")).unwrap();
        let details = serde_json::to_string(&meta).unwrap();
        assert_eq!(self.rooms.create(&room, &meta, &details).await.unwrap(), Created::Done);
        for person in 0..2_u32 {
            let join = Join {
                room: room.clone(),
                meta_version: 0,
                hosts_by_app: false,
                user: user(person.into()),
                pid: format!("{:032x}", number << 8 | person),
                old_pid: None,
                handle: SessionHandle(u64::from(number << 8 | person)),
                role: Role::Participant,
                waits: false,
                public: PublicUser::new(user(person.into()), format!("Person {person}"), None),
                media: MediaState::default(),
                given: (person == 0).then_some(Role::Host),
                proof: Proof::default(),
            };
            let joined = self.rooms.join(join).await.unwrap();
            assert!(matches!(joined, Joined::Seated { .. }), "{joined:?}");
        }
        assert_eq!(self.rooms.end(&room, &meta.call_id, "ended_by_host").await.unwrap(), Ended::Done);
        meta.call_id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_arrives_signed_and_in_the_order_of_its_call_although_receiver_and_pods_die() {
    let bed = Bed::start().await;
    let mut receiver = Receiver::start().await;
    let endpoint = receiver.endpoint();
    let pods = [
        bed.pod(std::slice::from_ref(&endpoint), BOUND * 2).await,
        bed.pod(std::slice::from_ref(&endpoint), BOUND * 2).await,
    ];
    receiver.inbox.lock().unwrap().refusals = 7;
    let mut calls = Vec::new();
    for number in 0..30 {
        calls.push(bed.call(number).await);
        if number == 10 {
            until("some deliveries in spite of refusals", async || receiver.got().len() > 3).await;
            receiver.die();
        }
    }
    pods[0].abort();
    receiver.come_back().await;
    until("all deliveries", async || {
        let counts = bed.records.delivery_counts(&endpoint.name).await.unwrap();
        counts == DeliveryCounts { pending: 0, delivered: 30 * 6, given_up: 0 }
    })
    .await;

    let mut seen: HashMap<String, Got> = HashMap::new();
    for got in receiver.got() {
        let at = got.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap();
        let at = Timestamp(at.parse::<i64>().unwrap() * 1000);
        assert_eq!(WebhookSigner::new(keys()).sign(at, &got.body), got.signature);
        // A receiver needs one of the secrets only.
        for secret in [SECRET, NEXT_SECRET] {
            let own = WebhookSigner::new(secret).sign(at, &got.body);
            let own = own.split(',').next_back().unwrap();
            assert!(got.signature.split(',').any(|signature| signature == own), "{}", got.signature);
        }
        assert_eq!(got.json["id"], got.event_id);
        if let Some(earlier) = seen.insert(got.event_id.clone(), got.clone()) {
            assert_eq!(earlier.body, got.body, "a repetition is the same");
        }
    }
    for call in &calls {
        // A pod that died between the response and its storing causes a repetition; otherwise the
        // order is that of the call.
        let mut story = receiver.events_of(call);
        story.dedup();
        let mut expected = EVENTS_OF_A_CALL.to_vec();
        expected.dedup();
        assert_eq!(story, expected, "{call}");
        assert!(receiver.events_of(call).len() >= EVENTS_OF_A_CALL.len());
    }
    assert_eq!(seen.len(), 30 * 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_delays_neither_the_recorder_nor_other_receivers_and_a_dead_one_is_given_up() {
    let mut bed = Bed::start().await;
    let (quick, slow) = (Receiver::start().await, Receiver::start().await);
    slow.inbox.lock().unwrap().delay = BOUND;
    let dead = Receiver::start().await;
    dead.serving.abort();
    let _ = dead.serving.await;
    let nobody = Endpoint::parse(&format!("http://127.0.0.1:{}/hook", dead.port)).unwrap();
    let _pod = bed.pod(&[quick.endpoint(), slow.endpoint(), nobody.clone()], Duration::from_secs(2)).await;
    let call = bed.call(1).await;
    until("the deliveries of the quick receiver", async || quick.events_of(&call).len() == EVENTS_OF_A_CALL.len())
        .await;
    assert_eq!(quick.events_of(&call), EVENTS_OF_A_CALL);
    assert!(slow.got().is_empty());
    assert_eq!(bed.records.call_events(&call).await.unwrap().len(), 6, "all is recorded");
    until("the dead one to be given up", async || {
        let counts = bed.records.delivery_counts(&nobody.name).await.unwrap();
        counts == DeliveryCounts { pending: 0, delivered: 0, given_up: EVENTS_OF_A_CALL.len() as u64 }
    })
    .await;

    // Events that were queued before MongoDB stopped are delivered after its return.
    bed.mongo.process().kill().unwrap();
    let later = bed.call(2).await;
    bed.mongo.restart().await.unwrap();
    until("the deliveries of the call from the outage", async || {
        quick.events_of(&later).len() >= EVENTS_OF_A_CALL.len()
    })
    .await;
}
