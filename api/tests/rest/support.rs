//! A running service for tests, and helpers for requests. The file has more than 400 lines, because
//! they are the methods of one service.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::app::Parts;
use api::http::server::serve;
use api::limits::{ConnectionBounds, Limits, RatesConfig};
use api::webhooks::{EndpointDirectory, WebhookOptions, Webhooks};
use api::{App, HttpOptions, router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use devcluster::mongo::Mongo;
use devcluster::redis::RedisServer;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::Sha256;
use switchboard_auth::{
    AccessKeys, AppVault, IceConfig, KeyRing, OperatorKeys, PasswordHasher, Tokens, TurnCredentials,
};
use switchboard_calls::AppDirectory;
use switchboard_core::domain::{
    CallId, MediaState, NodeId, PeerId, PublicUser, Role, RoomId, SessionHandle, Timestamp, UserId,
};
use switchboard_jwks::{JwksCache, JwksOptions};
use switchboard_net::ConnectionTimeouts;
use switchboard_records::{CallChange, CallFact, ChatMessage, LineBudgets, Records, RecordsTimeouts, Stay};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::{Join, Joined, LogId, Proof, Revocations, RoomOptions, RoomPeek, Rooms, Seat};
use switchboard_runtime::config::{Env, Mode, OriginsConfig};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub(crate) const ACCESS_SECRET: &str = "access-secret-of-at-least-32-bytes";
pub(crate) const REFRESH_SECRET: &str = "refresh-secret-of-at-least-32-byte";
pub(crate) const MASTER_KEY: &str = "master-key-of-at-least-32-bytes!";
/// SHA-256 of the texts of FIPS 180-2, B.1 and B.2: keys of operators with read and with write
/// scope.
const OPERATORS: [&str; 2] = [
    "look:read:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "act:write:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
];
pub(crate) const READ_KEY: &str = "abc";
pub(crate) const WRITE_KEY: &str = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
/// Time after its end in which a call can be reopened.
pub(crate) const REOPEN_WITHIN_MS: i64 = 3_600_000;
/// Times of public keys. `max-age` of a test's server is taken as it is, so that the test decides
/// when keys are old.
const JWKS_OPTIONS: JwksOptions = JwksOptions {
    lifetime: Duration::from_secs(300),
    lifetime_min: Duration::ZERO,
    lifetime_max: Duration::from_secs(900),
    stale: Duration::from_secs(3),
    wait: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    retry_pause: Duration::from_millis(100),
    unknown_key_pause: Duration::from_secs(1),
};
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Log of this test, whose tasks all run on one thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to collect the lines, until the guard is dropped.
    pub(crate) fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(lines))
    }

    /// Returns the lines with a target that begins with this text.
    pub(crate) fn lines(&self, target: &str) -> Vec<Value> {
        let log = self.0.lock().unwrap();
        let lines = log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        lines.filter(|line| line["target"].as_str().is_some_and(|of| of.starts_with(target))).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Servers {
    mongo: Mongo,
    redis: RedisServer,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Running service. It ends with the test's runtime.
pub(crate) struct Service {
    base: String,
    client: reqwest::Client,
    pub(crate) records: Records,
    pub(crate) rooms: Rooms,
    pub(crate) hasher: PasswordHasher,
    pub(crate) apps: AppDirectory,
    rates: RatesConfig,
    /// Address of the database, address of Redis, prefix.
    place: (String, String, String),
}

/// Answer of the service.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// Returns status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.body["success"], false, "{self:?}");
        assert_eq!(self.body["requestId"].as_str(), self.headers["x-request-id"].to_str().ok(), "{self:?}");
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    /// Returns the invalid fields, in order.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }

    /// Returns the data of a success.
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.body["success"], true, "{self:?}");
        &self.body["data"]
    }

    pub(crate) fn text(&self, field: &str) -> String {
        self.data()[field].as_str().unwrap_or_else(|| panic!("no {field} in {self:?}")).to_owned()
    }
}

/// User with an account.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
}

/// Backend of an app, with an API key.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) app: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Backend {
    /// Returns the place of a room of the app, as [`Service::seat`] takes it.
    pub(crate) fn place(&self, room: &str) -> Value {
        json!({ "roomId": format!("{}.{room}", self.app) })
    }
}

impl Service {
    /// Starts a service on the shared servers, without rate limits.
    pub(crate) async fn start() -> Self {
        Self::limited(RatesConfig::default()).await
    }

    /// Starts a service on the shared servers, with these rates.
    pub(crate) async fn limited(rates: RatesConfig) -> Self {
        let servers = SERVERS
            .get_or_init(|| async {
                Servers { mongo: Mongo::start().await.unwrap(), redis: RedisServer::start().await.unwrap() }
            })
            .await;
        Self::on(&servers.mongo, &servers.redis.url(), rates).await
    }

    /// Starts a service on these servers, without rate limits.
    pub(crate) async fn on_servers(mongo: &Mongo, redis: &str) -> Self {
        Self::on(mongo, redis, RatesConfig::default()).await
    }

    async fn on(mongo: &Mongo, redis: &str, rates: RatesConfig) -> Self {
        let name = format!("rest{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self::pod(&mongo.uri(&name), redis, &name, rates).await
    }

    /// Starts another pod of the same service.
    pub(crate) async fn another_pod(&self) -> Self {
        let (mongo, redis, prefix) = &self.place;
        Self::pod(mongo, redis, prefix, self.rates).await
    }

    /// Starts another pod of the same service, with these keys of access and of refresh tokens.
    pub(crate) async fn pod_with_keys(&self, access: impl Into<AccessKeys>, refresh: KeyRing) -> Self {
        let (mongo, redis, prefix) = &self.place;
        Self::pod_of(mongo, redis, prefix, self.rates, (operators(), access.into(), refresh), vault()).await
    }

    /// Starts a pod with this database, Redis and prefix.
    pub(crate) async fn pod(mongo: &str, redis: &str, prefix: &str, rates: RatesConfig) -> Self {
        Self::pod_of(mongo, redis, prefix, rates, (operators(), ACCESS_SECRET.into(), REFRESH_SECRET.into()), vault())
            .await
    }

    /// Starts another pod of the same service, without operator keys.
    pub(crate) async fn pod_without_operators(&self) -> Self {
        let (mongo, redis, prefix) = &self.place;
        let keys = (OperatorKeys::default(), ACCESS_SECRET.into(), REFRESH_SECRET.into());
        Self::pod_of(mongo, redis, prefix, self.rates, keys, vault()).await
    }

    /// Starts another pod of the same service, without a master key.
    pub(crate) async fn pod_without_master_key(&self) -> Self {
        let (mongo, redis, prefix) = &self.place;
        let keys = (operators(), ACCESS_SECRET.into(), REFRESH_SECRET.into());
        Self::pod_of(mongo, redis, prefix, self.rates, keys, None).await
    }

    /// Creates an app with a key of all scopes. Returns the ids of both.
    pub(crate) async fn app_key(&self) -> (String, String) {
        let (app, key, _) = self.app_secret().await;
        (app, key)
    }

    /// Creates an app with a key of all scopes. Returns the ids of both, and the secret.
    pub(crate) async fn app_secret(&self) -> (String, String, String) {
        let post = async |path: String, body: Value| {
            let request = self.request(Method::POST, &path).header("x-api-key", WRITE_KEY).json(&body);
            self.send(request).await
        };
        let app = post("/api/admin/apps".to_owned(), json!({ "name": "Acme" })).await.text("id");
        let key = post(format!("/api/admin/apps/{app}/keys"), json!({})).await;
        (app, key.text("keyId"), key.text("secret"))
    }

    /// Creates an API key of an app with these scopes.
    pub(crate) async fn backend_of(&self, app: &str, scopes: &[&str]) -> Backend {
        let path = format!("/api/admin/apps/{app}/keys");
        let request = self.request(Method::POST, &path).header("x-api-key", WRITE_KEY);
        let key = self.send(request.json(&json!({ "scopes": scopes }))).await;
        Backend { app: app.to_owned(), key: key.text("keyId"), secret: key.text("secret") }
    }

    /// Creates an app with a backend that has all scopes.
    pub(crate) async fn backend(&self) -> Backend {
        let (app, key, secret) = self.app_secret().await;
        Backend { app, key, secret }
    }

    /// Sends a request of a backend. A body that is null is none.
    pub(crate) async fn ask(&self, backend: &Backend, method: Method, path: &str, body: Value) -> Reply {
        let request = self.request(method, &format!("/api/server{path}"));
        let request = request.basic_auth(&backend.key, Some(&backend.secret));
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Creates an app. Returns its id, and a token of its user for this room.
    pub(crate) async fn app_user(&self, user: &str, room: &str) -> (String, String) {
        let (app, key, secret) = self.app_secret().await;
        (app, user_token((&key, &secret), user, room))
    }

    async fn pod_of(
        mongo: &str,
        redis: &str,
        prefix: &str,
        rates: RatesConfig,
        (operators, access, refresh): (OperatorKeys, AccessKeys, KeyRing),
        vault: Option<AppVault>,
    ) -> Self {
        let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(5) };
        let records = Records::connect(mongo, timeouts).await.unwrap();
        // Create the indexes with default timeouts, because the first operations can be slow.
        until("the indexes to be made", async || records.ensure_indexes().await.is_ok()).await;
        // No node runs that could ask a socket whether its client is alive.
        let probe = Duration::ZERO;
        let options = RoomOptions { prefix: prefix.to_owned(), partitions: 4, probe, ..RoomOptions::default() };
        let (url, node) = (RedisUrl::parse(redis).unwrap(), NodeId::parse("api-test").unwrap());
        // The test seats participants, as nodes do.
        let seats = Rooms::connect(&url, options.clone(), node.clone()).await.unwrap();
        let rooms = Rooms::connect_with_fred(&url, options, node).await.unwrap();
        let hasher = PasswordHasher::new(2);
        let revoked = Revocations::default();
        tokio::spawn(revoked.clone().follow(rooms.clone(), |_| (), CancellationToken::new()));
        let apps = AppDirectory::new(records.clone(), vault.clone(), JwksCache::new(JWKS_OPTIONS));
        tokio::spawn(apps.clone().follow(|_| (), CancellationToken::new()));
        let app = App::new(Parts {
            records: records.clone(),
            limits: Limits::new(RateLimiter::new(rooms.clone()), rates),
            rooms,
            tokens: Tokens::new(&access, &refresh),
            revoked,
            apps: apps.clone(),
            vault: vault.clone(),
            is_development: true,
            webhooks: Webhooks::new(
                EndpointDirectory::new(records.clone(), vault, Vec::new()),
                WebhookOptions::default(),
            ),
            webhooks_https_only: false,
            operators,
            addresses: access.cluster_key(&refresh),
            hasher: hasher.clone(),
            ice: IceConfig {
                stun: vec!["stun:127.0.0.1:3478".into()],
                turn: Vec::new(),
                credentials: TurnCredentials::None,
            },
            frontend: "http://page.test".into(),
            reopen_within_ms: REOPEN_WITHIN_MS,
            started: Instant::now(),
        });
        let origins = "http://friend.test,capacitor://localhost,https://*.friends.test";
        let mut env = Env::new([("ALLOWED_ORIGINS", origins), ("FRONTEND_URL", "http://page.test")]);
        let web = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web");
        let options = HttpOptions {
            origins: OriginsConfig::from_env(&mut env, Mode::Production),
            web: Some(web),
            deadline: Duration::from_secs(30),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let time = Duration::from_secs(30);
        let timeouts = ConnectionTimeouts { head: time, idle: time, write: time };
        let bounds = ConnectionBounds { total: 0, per_address: 0, timeouts };
        tokio::spawn(serve(listener, router(app, options), bounds, CancellationToken::new()));
        let place = (mongo.to_owned(), redis.to_owned(), prefix.to_owned());
        // A test sees each response as it is.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, client, records, rooms: seats, hasher, apps, rates, place }
    }

    /// Returns a request builder.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request. The body of a response without JSON reads as null.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        Reply { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Reply {
        let request = self.request(Method::GET, path);
        self.send(token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth)).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Reply {
        let request = self.request(Method::POST, path).json(&body);
        self.send(token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth)).await
    }

    /// Registers a user called `name`.
    pub(crate) async fn user(&self, name: &str) -> User {
        let email = format!("{}@example.org", name.to_lowercase());
        let form = json!({ "name": name, "email": email, "password": PASSWORD });
        let reply = self.post("/api/auth/register", None, form).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let id = reply.data()["user"]["id"].as_str().unwrap().to_owned();
        User { id, email, token: reply.text("token"), refresh: reply.text("refreshToken") }
    }

    /// Creates a call with these fields and a title. Returns the call.
    pub(crate) async fn call(&self, host: &User, mut fields: Value) -> Value {
        fields.as_object_mut().unwrap().entry("title").or_insert("A call".into());
        let reply = self.post("/api/video-calls", Some(&host.token), fields).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.data().clone()
    }

    pub(crate) async fn join(&self, call: &Value, token: Option<&str>, more: Value) -> Reply {
        let mut body = json!({ "roomId": call["roomId"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/api/video-calls/join", token, body).await
    }

    /// Returns the database, through the driver.
    pub(crate) async fn database(&self) -> mongodb::Database {
        mongodb::Client::with_uri_str(&self.place.0).await.unwrap().default_database().unwrap()
    }

    /// Writes facts of a call, as the recorder does.
    pub(crate) async fn record(&self, call: &Value, changes: impl IntoIterator<Item = CallChange>) {
        self.record_within(LineBudgets::default(), call, changes).await;
    }

    /// Writes facts of a call as a recorder with these bounds does.
    pub(crate) async fn record_within(
        &self,
        budgets: LineBudgets,
        call: &Value,
        changes: impl IntoIterator<Item = CallChange>,
    ) {
        let fact = |change| {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            CallFact {
                event_id: format!("0:{number}"),
                order: format!("{number:020}"),
                at: Timestamp(i64::from(number)),
                call: CallId::parse(call["_id"].as_str().unwrap()).unwrap(),
                room: RoomId::parse(call["roomId"].as_str().unwrap()).unwrap(),
                change,
            }
        };
        let facts: Vec<_> = changes.into_iter().map(fact).collect();
        let recorder = self.records.clone().with_line_budgets(budgets);
        assert_eq!(recorder.write_facts(&facts).await.unwrap(), []);
    }

    /// Seats a participant as a node does. `visit` distinguishes several sessions.
    pub(crate) async fn seat(&self, call: &Value, id: &str, visit: u64) -> Arc<Seat> {
        self.seat_with(call, id, visit, Proof { issued_ms: u64::MAX >> 12, address: None }).await
    }

    /// Seats a participant with this proof of identity.
    pub(crate) async fn seat_with(&self, call: &Value, id: &str, visit: u64, proof: Proof) -> Arc<Seat> {
        match self.enter(call, id, visit, proof, false).await {
            Joined::Seated { seat, .. } => seat,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the payloads of the events with this name that the room's log has for a participant.
    pub(crate) async fn heard(&self, place: &Value, peer: &str, name: &str) -> Vec<Value> {
        let room = RoomId::parse(place["roomId"].as_str().unwrap()).unwrap();
        // Before everything that a test does, and within the recovery window.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let after = LogId { ms: u64::try_from(now.as_millis()).unwrap() - 60_000, seq: 0 };
        let log = self.rooms.read(&room, &PeerId::parse(peer).unwrap(), after).await.unwrap().unwrap();
        let payload = |event: &str| {
            let all: Value = serde_json::from_str(&format!("[{event}]")).unwrap();
            (all[0] == name).then(|| all[1].clone())
        };
        log.iter().filter_map(|entry| payload(entry.event())).collect()
    }

    /// Lets a participant wait in the lobby.
    pub(crate) async fn wait_in_lobby(&self, call: &Value, id: &str, visit: u64) {
        let proof = Proof { issued_ms: u64::MAX >> 12, address: None };
        assert!(matches!(self.enter(call, id, visit, proof, true).await, Joined::Waiting { .. }));
    }

    async fn enter(&self, call: &Value, id: &str, visit: u64, proof: Proof, waits: bool) -> Joined {
        let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
        self.rooms.check_node(self.rooms.partition_of(&room), "r", true).await.unwrap();
        let RoomPeek::Open { meta, .. } = self.rooms.peek(&room).await.unwrap() else { panic!("the room is not open") };
        let user = UserId::parse(id).unwrap();
        let join = Join {
            room,
            meta_version: meta.version,
            grant: None,
            pid: format!("{visit:0>8}{id:0>24}"),
            old_pid: None,
            handle: SessionHandle(visit),
            role: if user == meta.host { Role::Host } else { Role::Participant },
            waits,
            public: PublicUser::new(user.clone(), "Gil".into(), None),
            given: (user == meta.host).then_some(Role::Host),
            permissions: None,
            given_permissions: None,
            user,
            media: MediaState::default(),
            proof,
        };
        self.rooms.join(join).await.unwrap()
    }
}

/// Returns a user token, as the backend of an app signs it.
pub(crate) fn user_token((key, secret): (&str, &str), user: &str, room: &str) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims = json!({ "iss": key, "sub": user, "room": room, "exp": exp });
    let unsigned = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(claims.to_string().as_bytes()));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&unsigned);
    format!("{unsigned}.{}", encode(&mac.finalize().into_bytes()))
}

fn vault() -> Option<AppVault> {
    Some(AppVault::new(MASTER_KEY.into()))
}

fn operators() -> OperatorKeys {
    OperatorKeys::parse(OPERATORS).unwrap()
}

/// Returns a chat message, to all participants or to one.
pub(crate) fn said(from: &str, to: Option<&str>, message: &str) -> CallChange {
    let user = |id: &str| UserId::parse(id).unwrap();
    let id = format!("m{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let (name, message) = ("Somebody".to_owned(), message.to_owned());
    CallChange::Chat(Box::new(ChatMessage { id, from: user(from), name, to: to.map(user), message }))
}

fn present(id: &str) -> Stay {
    Stay { peer: PeerId::parse(id).unwrap(), user: UserId::parse(id).unwrap(), join: "1-0".to_owned() }
}

/// Returns a join.
pub(crate) fn came(id: &str) -> CallChange {
    CallChange::Joined { who: present(id), name: "Somebody".to_owned(), role: Role::Participant, count: 1, first: true }
}

/// Returns a leave.
pub(crate) fn went(id: &str) -> CallChange {
    CallChange::Left { who: present(id), reason: "kicked".to_owned(), count: 0 }
}

/// Waits for a condition, with a time limit.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(120), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}
