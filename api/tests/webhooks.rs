//! Webhooks on a real Redis and a real MongoDB, with receivers that fail, are slow, hang, and die.
//! The file has more than 400 lines, because its tests share one service and its receivers.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "support/rooms.rs"]
mod rooms;
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::recorder::{self, RecorderOptions};
use api::webhooks::{Endpoint, EndpointDirectory, WebhookOptions, Webhooks};
use axum::extract::State;
use axum::routing::post;
use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_auth::{AppVault, KeyRing, WebhookSigner};
use switchboard_calls::{AppAdmin, WebhookAdmin};
use switchboard_core::Secret;
use switchboard_core::domain::{
    AppId, CallId, MediaState, PublicUser, Role, RoomName, SessionHandle, Timestamp, WebhookEvent,
};
use switchboard_records::{DeliveryCounts, Records, RecordsTimeouts};
use switchboard_rooms::{
    Caller, Created, Ended, Join, Joined, ModerationCommand, ModerationOutcome, Partition, Proof, Rooms,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use rooms::{connect, connect_pod};
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
    authorization: Option<String>,
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
    /// Call whose requests get no response, and their number.
    hanging: Option<(CallId, usize)>,
    /// Secret that the receiver knows. Without one it verifies nothing.
    secret: Option<String>,
}

/// Receiver on its own port, which can stop and restart.
struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    port: u16,
    serving: JoinHandle<()>,
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(header("switchboard-event"), json["type"].as_str().unwrap());
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let (signature, event_id) = (header("switchboard-signature"), header("switchboard-event-id"));
    let got = Got { authorization, signature, event_id, body, json };
    let (delay, hangs) = {
        let mut inbox = inbox.lock().unwrap();
        let delay = inbox.delay;
        let hangs = inbox.hanging.as_mut().filter(|(call, _)| got.json["data"]["callId"] == call.as_str());
        (delay, hangs.map(|(_, count)| *count += 1).is_some())
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(delay).await;
    let mut inbox = inbox.lock().unwrap();
    if inbox.refusals > 0 {
        inbox.refusals -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    if inbox.secret.as_ref().is_some_and(|secret| !got.is_signed_with(secret)) {
        return StatusCode::UNAUTHORIZED;
    }
    inbox.got.push(got);
    StatusCode::NO_CONTENT
}

impl Got {
    /// Returns whether a receiver that knows this secret accepts the event.
    fn is_signed_with(&self, secret: &str) -> bool {
        let own = WebhookSigner::new(secret).sign(self.signed_at(), &self.body);
        let own = own.split(',').next_back().unwrap();
        self.signature.split(',').any(|signature| signature == own)
    }

    fn signed_at(&self) -> Timestamp {
        let at = self.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap();
        Timestamp(at.parse::<i64>().unwrap() * 1000)
    }
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
        Endpoint::parse(&format!("http://us:p%40ss@127.0.0.1:{}/hook", self.port)).unwrap().with_keys(keys())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Returns the types of all events, sorted.
    fn types(&self) -> Vec<String> {
        let mut types: Vec<_> = self.got().iter().map(|got| got.json["type"].as_str().unwrap().to_owned()).collect();
        types.sort();
        types
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

fn vault() -> AppVault {
    AppVault::new("a-master-key-of-at-least-32-bytes".into())
}

fn options() -> WebhookOptions {
    WebhookOptions {
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_millis(200),
        turn: Duration::from_millis(500),
        margin: Duration::from_millis(500),
        idle: Duration::from_millis(20),
        concurrency: 4,
        ..WebhookOptions::default()
    }
}

impl Bed {
    async fn start() -> Self {
        let redis = RedisServer::start().await.unwrap();
        let mongo = Mongo::start().await.unwrap();
        let rooms = connect(&redis, PARTITIONS).await;
        for number in 0..PARTITIONS {
            rooms.check_node(Partition(number), "r", true).await.unwrap();
        }
        let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(2) };
        let records = Records::connect(&mongo.uri("webhooks"), timeouts).await.unwrap();
        // Create the indexes with default timeouts, because the first operations can be slow.
        until("the indexes to be made", async || records.ensure_indexes().await.is_ok()).await;
        Self { redis, mongo, rooms, records }
    }

    /// Starts the background tasks of an API pod: a recorder and a deliverer. They run until the
    /// task is aborted.
    async fn pod(&self, endpoints: &[Endpoint], give_up: Duration) -> JoinHandle<()> {
        let options = WebhookOptions { give_up, timeout: Duration::from_secs(1), ..options() };
        self.pod_with(endpoints, options).await
    }

    async fn pod_with(&self, endpoints: &[Endpoint], options: WebhookOptions) -> JoinHandle<()> {
        let directory = EndpointDirectory::new(self.records.clone(), Some(vault()), endpoints.to_vec());
        let recording = RecorderOptions {
            lease: Duration::from_secs(2),
            flush_interval: Duration::from_millis(20),
            batch: 5,
            ..RecorderOptions::default()
        };
        let (rooms, records) = (connect_pod(&self.redis.url(), PARTITIONS).await, self.records.clone());
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            tokio::join!(
                recorder::run(rooms, records.clone(), directory.clone(), recording, stop.clone()),
                Webhooks::new(directory, options).run(records, stop.clone()),
            );
        })
    }

    fn webhook_admin<'a>(&'a self, vault: &'a AppVault) -> WebhookAdmin<'a> {
        WebhookAdmin { records: &self.records, vault: Some(vault), https_only: false }
    }

    /// Creates an app.
    async fn app(&self) -> AppId {
        let vault = vault();
        let admin = AppAdmin { records: &self.records, vault: Some(&vault), is_development: true };
        admin.create("Acme", Timestamp(0)).await.unwrap().id
    }

    /// Runs a call of the app of accounts, as [`Bed::call_of`] does.
    async fn call(&self, number: u32) -> CallId {
        self.call_of(&AppId::default(), number).await
    }

    /// Runs a call of two users, from its creation to its end.
    async fn call_of(&self, app: &AppId, number: u32) -> CallId {
        let meta = meta(number, user(0));
        let room = app.room(&RoomName::parse(&format!("room-{number}")).unwrap());
        let details = serde_json::to_string(&meta).unwrap();
        assert_eq!(self.rooms.create(&room, &meta, &details).await.unwrap(), Created::Done);
        for person in 0..2_u32 {
            let join = Join {
                room: room.clone(),
                meta_version: 0,
                grant: None,
                user: user(person.into()),
                pid: format!("{:032x}", number << 8 | person),
                old_pid: None,
                handle: SessionHandle(u64::from(number << 8 | person)),
                role: Role::Participant,
                waits: false,
                public: PublicUser::new(user(person.into()), format!("Person {person}"), None),
                media: MediaState::default(),
                given: (person == 0).then_some(Role::Host),
                permissions: None,
                given_permissions: None,
                proof: Proof::default(),
            };
            let joined = self.rooms.join(join).await.unwrap();
            assert!(matches!(joined, Joined::Seated { .. }), "{joined:?}");
        }
        let peer = switchboard_core::domain::PeerId::parse(user(1).as_str()).unwrap();
        let promote = ModerationCommand::Role { peer, role: Role::Moderator };
        let promoted = self.rooms.moderate(&room, Caller::Operator, &promote).await.unwrap();
        assert_eq!(promoted, ModerationOutcome::Done(Vec::new()));
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
        counts == DeliveryCounts { waiting: 0, delivered: 30 * 6, failed: 0 }
    })
    .await;

    let mut seen: HashMap<String, Got> = HashMap::new();
    for got in receiver.got() {
        assert_eq!(WebhookSigner::new(keys()).sign(got.signed_at(), &got.body), got.signature);
        // A receiver needs one of the secrets only.
        assert!([SECRET, NEXT_SECRET].iter().all(|secret| got.is_signed_with(secret)), "{}", got.signature);
        assert_eq!(got.authorization.as_deref(), Some("Basic dXM6cEBzcw=="), "us:p@ss, of the endpoint's URL");
        assert_eq!((&got.json["id"], &got.json["app"]), (&json!(got.event_id), &json!("default")));
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
    let mut dead = Receiver::start().await;
    dead.serving.abort();
    let _ = (&mut dead.serving).await;
    let nobody = Endpoint::parse(&dead.url()).unwrap().with_keys(keys());
    let _pod = bed.pod(&[quick.endpoint(), slow.endpoint(), nobody.clone()], Duration::from_secs(2)).await;
    let call = bed.call(1).await;
    until("the deliveries of the quick receiver", async || quick.events_of(&call).len() == EVENTS_OF_A_CALL.len())
        .await;
    assert_eq!(quick.events_of(&call), EVENTS_OF_A_CALL);
    assert!(slow.got().is_empty());
    assert_eq!(bed.records.call_events(&call).await.unwrap().len(), 7, "all is recorded");
    until("the dead one to be given up", async || {
        let counts = bed.records.delivery_counts(&nobody.name).await.unwrap();
        counts == DeliveryCounts { waiting: 0, delivered: 0, failed: EVENTS_OF_A_CALL.len() as u64 }
    })
    .await;

    // All that failed are sent again when the receiver is there.
    dead.come_back().await;
    let events = EVENTS_OF_A_CALL.len() as u64;
    assert_eq!(bed.records.resend_failed(&nobody.name, now(), 100).await.unwrap(), events);
    until("the events to be sent again", async || dead.events_of(&call).len() >= EVENTS_OF_A_CALL.len()).await;
    assert_eq!(dead.events_of(&call), EVENTS_OF_A_CALL);
    let first = dead.got()[0].event_id.clone();
    until("one delivered event to be sent once more", async || {
        let ordered = bed.records.resend_delivery(&nobody.name, &first, now()).await.unwrap();
        ordered || dead.events_of(&call).len() > EVENTS_OF_A_CALL.len()
    })
    .await;
    until("it to arrive", async || dead.events_of(&call).len() == EVENTS_OF_A_CALL.len() + 1).await;

    // Events that were queued before MongoDB stopped are delivered after its return.
    bed.mongo.process().kill().unwrap();
    let later = bed.call(2).await;
    bed.mongo.restart().await.unwrap();
    until("the deliveries of the call from the outage", async || {
        quick.events_of(&later).len() >= EVENTS_OF_A_CALL.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_2xx_is_a_receipt_although_its_body_does_not_end() {
    let bed = Bed::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let endpoint = Endpoint::parse(&url).unwrap().with_keys(keys());
    let requests = Arc::new(Mutex::new(0));
    let answered = Arc::clone(&requests);
    let _receiver = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _some_of_the_request = socket.read(&mut [0; 4096]).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nworking").await.unwrap();
            *answered.lock().unwrap() += 1;
            open.push(socket);
        }
    });
    let options = WebhookOptions { give_up: BOUND * 2, timeout: Duration::from_millis(300), ..options() };
    let _pod = bed.pod_with(std::slice::from_ref(&endpoint), options).await;
    bed.call(1).await;
    let events = EVENTS_OF_A_CALL.len() as u64;
    until("all events to be delivered", async || {
        let counts = bed.records.delivery_counts(&endpoint.name).await.unwrap();
        counts == DeliveryCounts { waiting: 0, delivered: events, failed: 0 }
    })
    .await;
    assert_eq!(*requests.lock().unwrap(), events, "none is sent twice");
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_apps_gets_its_own_events_that_it_asks_for_and_a_rotation_of_its_secret_loses_none() {
    let bed = Bed::start().await;
    let (vault, receivers) = (vault(), [Receiver::start().await, Receiver::start().await, Receiver::start().await]);
    let [all, acme, other] = &receivers;
    let admin = bed.webhook_admin(&vault);
    let apps = [bed.app().await, bed.app().await];
    let asked = vec![WebhookEvent::CallEnded, WebhookEvent::ParticipantRoleChanged];
    let webhook = admin.add(&apps[0], &acme.url(), Some(asked), now()).await.unwrap();
    admin.add(&apps[1], &other.url(), None, now()).await.unwrap();
    acme.inbox.lock().unwrap().secret = Some(webhook.secret.expose().to_owned());
    let _pods = [bed.pod(&[all.endpoint()], BOUND * 2).await, bed.pod(&[all.endpoint()], BOUND * 2).await];
    let arrived = async |receiver: &Receiver, call: &CallId, events: usize| {
        until("the events of a call", async || receiver.events_of(call).len() >= events).await;
    };
    let first = bed.call_of(&apps[0], 1).await;
    let second = bed.call_of(&apps[1], 2).await;
    arrived(acme, &first, 2).await;
    arrived(other, &second, EVENTS_OF_A_CALL.len()).await;
    for call in [&first, &second] {
        arrived(all, call, EVENTS_OF_A_CALL.len()).await;
    }
    assert_eq!(acme.events_of(&first), ["participant.role_changed", "call.ended"]);
    assert_eq!(other.events_of(&second), EVENTS_OF_A_CALL);
    assert_eq!((acme.types().len(), other.types().len()), (2, EVENTS_OF_A_CALL.len()), "nothing of another app");
    assert_eq!(all.events_of(&first), EVENTS_OF_A_CALL);
    assert!(acme.got().iter().all(|got| got.json["app"] == apps[0].as_str()));

    // While both secrets sign, the receiver may know either. Events wait while it is away.
    acme.die();
    let third = bed.call_of(&apps[0], 3).await;
    let mut acme = receivers.into_iter().nth(1).unwrap();
    let rotated = admin.rotate(&apps[0], &webhook.webhook.id, 3_600, now()).await.unwrap();
    acme.come_back().await;
    arrived(&acme, &third, 2).await;
    acme.inbox.lock().unwrap().secret = Some(rotated.secret.expose().to_owned());
    let fourth = bed.call_of(&apps[0], 4).await;
    arrived(&acme, &fourth, 2).await;
    // The previous secret ends at once: the webhook signs with the new one alone.
    let last = admin.rotate(&apps[0], &webhook.webhook.id, 0, now()).await.unwrap();
    acme.inbox.lock().unwrap().secret = Some(last.secret.expose().to_owned());
    let fifth = bed.call_of(&apps[0], 5).await;
    arrived(&acme, &fifth, 2).await;
    let got = acme.got().into_iter().filter(|got| got.json["data"]["callId"] == fifth.as_str());
    assert!(got.into_iter().all(|got| !got.is_signed_with(rotated.secret.expose())));
    for call in [&third, &fourth, &fifth] {
        let mut events = acme.events_of(call);
        events.dedup();
        assert_eq!(events, ["participant.role_changed", "call.ended"], "{call}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_for_one_call_delays_no_other_call() {
    let bed = Bed::start().await;
    let receiver = Receiver::start().await;
    let hanging = meta(1, user(0)).call_id;
    receiver.inbox.lock().unwrap().hanging = Some((hanging.clone(), 0));
    let long = WebhookOptions { timeout: BOUND * 2, give_up: BOUND * 4, ..options() };
    let _pod = bed.pod_with(&[receiver.endpoint()], long).await;
    assert_eq!(bed.call(1).await, hanging);
    let hung = || receiver.inbox.lock().unwrap().hanging.as_ref().unwrap().1;
    until("the request that hangs", async || hung() == 1).await;
    let mut calls = Vec::new();
    for number in 2..22 {
        calls.push(bed.call(number).await);
    }
    for call in &calls {
        until("the events of another call", async || receiver.events_of(call).len() >= EVENTS_OF_A_CALL.len()).await;
        assert_eq!(receiver.events_of(call), EVENTS_OF_A_CALL);
    }
    assert_eq!(hung(), 1, "the first attempt goes on");
    assert!(receiver.events_of(&hanging).is_empty());
}

fn openssl(dir: &Path, arguments: &str) {
    let made = std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Serves TLS with a certificate for `localhost` of a new CA, `<name>-ca.pem`, and answers 204 to
/// each request. Returns the port.
async fn tls_receiver(dir: &Path, name: &str) -> u16 {
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        dir,
        &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}-ca.key -out {name}-ca.pem"),
    );
    openssl(dir, &format!("req -newkey rsa:2048 -nodes -subj /CN=hook -keyout {name}.key -out {name}.csr"));
    let sign = format!("x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -days 2");
    openssl(dir, &format!("{sign} -extfile names -out {name}.pem"));
    let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                // The head and the small body come together.
                let _request = stream.read(&mut [0; 16 * 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// Operator key, with its SHA-256, from FIPS 180-2, B.2.
const OPERATOR: &str = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
const OPERATOR_HASH: &str = "act:write:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_tests_endpoints_with_a_private_ca_and_reads_the_reason_of_each_failure_once_in_the_log() {
    let (mongo, redis) = (Mongo::start().await.unwrap(), RedisServer::start().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (trusted, stranger) = (tls_receiver(dir.path(), "own").await, tls_receiver(dir.path(), "stranger").await);
    let plain = Receiver::start().await;
    let (port, probes, nobody) = (ports::free().unwrap(), ports::free().unwrap(), ports::free().unwrap());
    let url = |port: u16| format!("https://localhost:{port}/hook");
    let environment = [
        ("NODE_ENV", "development".to_owned()),
        ("BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("API_PORT", port.to_string()),
        ("METRICS_PORT", probes.to_string()),
        ("MONGODB_URI", mongo.uri("webhooks")),
        ("REDIS_URL", redis.url()),
        ("PARTITIONS", PARTITIONS.to_string()),
        ("ADMIN_API_KEYS", OPERATOR_HASH.to_owned()),
        ("APP_MASTER_KEY", "a-master-key-of-at-least-32-bytes".to_owned()),
        ("WEBHOOK_URLS", url(nobody)),
        ("WEBHOOK_SECRET", SECRET.to_owned()),
        ("SSL_CERT_FILE", dir.path().join("own-ca.pem").display().to_string()),
    ];
    let spec = Spec::new("api", env!("CARGO_BIN_EXE_api"), dir.path());
    let spec = environment.iter().fold(spec, |spec, (name, value)| spec.env(*name, value));
    let mut process = Process::spawn(spec).unwrap();
    let probe = format!("http://127.0.0.1:{probes}/readyz");
    until("the api to be ready", async || reqwest::get(&probe).await.is_ok_and(|answer| answer.status() == 200)).await;
    let client = reqwest::Client::new();
    let ask = async |method: Method, path: &str, body: Value| {
        let request = client.request(method, format!("http://127.0.0.1:{port}/api/admin{path}"));
        let answer = request.header("x-api-key", OPERATOR).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()["data"].clone()
    };
    let app = ask(Method::POST, "/apps", json!({ "name": "Acme" })).await["id"].as_str().unwrap().to_owned();
    let ping = async |url: String| {
        let added = ask(Method::POST, &format!("/apps/{app}/webhooks"), json!({ "url": url })).await;
        ask(Method::POST, &format!("/webhooks/{}/ping", added["webhookId"].as_str().unwrap()), json!({})).await
    };
    let accepted = ping(url(trusted)).await;
    assert_eq!((&accepted["delivered"], &accepted["status"]), (&json!(true), &json!(204)), "{accepted}");
    plain.inbox.lock().unwrap().refusals = 1;
    for (url, reason) in [
        (url(stranger), "name a CA of your own in SSL_CERT_FILE"),
        (format!("https://127.0.0.1:{trusted}/hook"), "names another host"),
        (format!("https://localhost:{}/hook", plain.port), "does not speak TLS"),
        (plain.url(), "answered 500"),
    ] {
        let refused = ping(url.clone()).await;
        assert!(
            refused["delivered"] == false && refused["problem"].as_str().unwrap().contains(reason),
            "{url}: {refused}"
        );
    }

    let deployment = ask(Method::GET, "/webhooks", json!({})).await[0]["webhookId"].as_str().unwrap().to_owned();
    let refused = ask(Method::POST, &format!("/webhooks/{deployment}/ping"), json!({})).await;
    assert!(refused["problem"].as_str().unwrap().contains("Connection refused"), "{refused}");

    // The command line does the same.
    let command = async |arguments: &[&str]| {
        let all = ["admin", "app", "webhook"].iter().chain(arguments);
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_api"));
        command.env_clear().args(all).envs(environment.iter().map(|(name, value)| (*name, value)));
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let listed = command(&["list", &app]).await;
    let id = listed[0]["webhookId"].as_str().unwrap();
    assert_eq!((listed.as_array().unwrap().len(), command(&["ping", id]).await["delivered"].clone()), (5, json!(true)));

    // 12 events fail for the same reason.
    let rooms = connect(&redis, PARTITIONS).await;
    for number in 0..PARTITIONS {
        rooms.check_node(Partition(number), "r", true).await.unwrap();
    }
    let records = Records::connect(&mongo.uri("webhooks"), RecordsTimeouts::default()).await.unwrap();
    let bed = Bed { redis, mongo, rooms, records };
    bed.call(1).await;
    bed.call(2).await;
    until("the attempts", async || {
        let page = ask(Method::GET, &format!("/webhooks/{deployment}/deliveries?state=waiting"), json!({})).await;
        let deliveries = page["deliveries"].as_array().unwrap().clone();
        deliveries.len() == 12 && deliveries.iter().filter(|delivery| delivery["attempts"] != 0).count() == 2
    })
    .await;
    assert!(process.stop(Duration::from_secs(30)).await.unwrap().success());
    let log = std::fs::read_to_string(dir.path().join("api.log")).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("webhook failed")).collect();
    assert!(lines.len() == 1 && lines[0].contains("Connection refused") && lines[0].contains(&deployment), "{lines:?}");
}
