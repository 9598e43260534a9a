//! Logs, metrics and refusals of a running API at debug level. They contain no secret.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[allow(dead_code, reason = "this test needs only `until`")]
mod support;

use std::path::Path;
use std::sync::Mutex;

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use redis::cmd;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use switchboard_core::domain::{MediaState, NodeId, PublicUser, Role, RoomId, SessionHandle, UserId};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Ended, Join, Joined, Partition, Proof, RoomOptions, RoomPeek, Rooms};

use support::until;

const PASSWORDS: [&str; 3] = ["correct horse battery", "another horse battery", "a wrong one entirely"];
const PASSCODES: [&str; 2] = ["open-sesame-7", "shut-sesame-8"];
const EMAILS: [&str; 2] = ["ann.secret@example.org", "nobody.secret@example.org"];
/// Operator key, with its SHA-256, from FIPS 180-2, B.2.
const OPERATOR: &str = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
const OPERATOR_HASH: &str = "act:write:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
const WRONG_KEY: &str = "no-operators-key-at-all";
/// Secrets of the configuration: keys of tokens, the key of webhooks, passwords in
/// addresses.
const CONFIGURED: [&str; 8] = [
    "access-secret-of-at-least-32-bytes",
    "refresh-secret-of-at-least-32-byte",
    "a-secret-of-webhooks-of-32-bytes!",
    "password-of-redis",
    "password-of-the-hook",
    "query-of-the-hook",
    "secret-of-the-turn-server",
    "previous-access-secret-of-32-bytes",
];
const CLIENT: &str = "203.0.113.77";
const SAID: &str = "said among friends";

/// Running API, and the secrets that no output may contain.
struct Fixture {
    base: String,
    admin: String,
    client: reqwest::Client,
    secrets: Mutex<Vec<String>>,
    /// Bodies of all refusals.
    refusals: Mutex<String>,
}

impl Fixture {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("x-forwarded-for", CLIENT);
        let answer = with(request).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        if status >= 400 {
            self.refusals.lock().unwrap().push_str(&text);
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        for field in ["token", "refreshToken", "joinToken"] {
            if let Some(token) = body["data"][field].as_str() {
                // Search for the signature only, because other parts of two tokens can be equal.
                self.secrets.lock().unwrap().push(token.rsplit('.').next().unwrap().to_owned());
            }
        }
        (status, body["data"].clone())
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, |request| bearer(request, token).json(&body)).await
    }

    async fn metrics(&self) -> String {
        reqwest::get(format!("{}/metrics", self.admin)).await.unwrap().text().await.unwrap()
    }

    /// Asserts that `text` contains no secret.
    fn assert_silent(&self, what: &str, text: &str) {
        let held = self.secrets.lock().unwrap();
        let fixed = PASSWORDS.into_iter().chain(PASSCODES).chain(EMAILS).chain(CONFIGURED);
        let fixed = fixed.chain([OPERATOR, WRONG_KEY, CLIENT, SAID, "$argon2", "eyJ"]);
        for secret in fixed.chain(held.iter().map(String::as_str)) {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{what} tells {secret:?}: {}", line.unwrap_or_default());
        }
    }
}

fn bearer(request: RequestBuilder, token: &str) -> RequestBuilder {
    if token.is_empty() { request } else { request.bearer_auth(token) }
}

fn text(data: &Value, field: &str) -> String {
    data[field].as_str().unwrap_or_else(|| panic!("no {field} in {data}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_metrics_and_refusals_contain_no_secret() {
    let mongo = Mongo::start().await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let password = format!(">{}", CONFIGURED[3]);
    let allow = ["SETUSER", "switchboard", "on", &password, "~*", "&*", "+@all"];
    redis.query::<String>(cmd("ACL").arg(&allow[..])).await.unwrap();
    let guarded = redis.url().replace("redis://", &format!("redis://switchboard:{}@", CONFIGURED[3]));
    let (port, admin, nobody) = (ports::free().unwrap(), ports::free().unwrap(), ports::free().unwrap());
    let hook = format!("http://us:{}@127.0.0.1:{nobody}/hook?key={}", CONFIGURED[4], CONFIGURED[5]);
    let dir = tempfile::tempdir().unwrap();
    let spec = common(dir.path(), port, admin)
        .env("MONGODB_URI", mongo.uri("secrets"))
        .env("REDIS_URL", guarded)
        .env("TRUSTED_HOPS", 1)
        .env("ADMIN_API_KEYS", OPERATOR_HASH)
        .env("WEBHOOK_URLS", hook)
        .env("WEBHOOK_SECRET", CONFIGURED[2])
        .env("WEBHOOK_GIVE_UP_SECONDS", 1)
        .env("TURN_SERVER_URL", "turn:turn.test:3478")
        .env("TURN_SECRET", CONFIGURED[6]);
    let mut process = Process::spawn(spec).unwrap();
    let fixture = Fixture {
        base: format!("http://127.0.0.1:{port}"),
        admin: format!("http://127.0.0.1:{admin}"),
        client: reqwest::Client::new(),
        secrets: Mutex::default(),
        refusals: Mutex::default(),
    };
    until("the api to be ready", async || {
        reqwest::get(format!("{}/readyz", fixture.admin)).await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    accounts(&fixture).await;
    calls(&fixture, &redis).await;
    for _ in 0..2 {
        // An address with a port that is none.
        let request = fixture.client.get(format!("{}/api/version", fixture.base));
        request.header("x-forwarded-for", format!("{CLIENT}:http")).send().await.unwrap();
    }

    // Wait for the end of both: the webhook without a receiver is given up, the invalid fact is a
    // dead fact.
    until("a webhook to be given up and a fact to be set aside", async || {
        let metrics = fixture.metrics().await;
        let counted = |name: &str| metrics.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
        counted("switchboard_webhooks_total{outcome=\"given_up\"}") && counted("switchboard_dead_facts_total")
    })
    .await;
    let metrics = fixture.metrics().await;
    let exit = process.stop(std::time::Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit.code(), Some(0));
    let log = std::fs::read_to_string(dir.path().join("api.log")).unwrap();
    // The log must still name the events, each with its request id.
    for event in
        ["registered", "sign_in_failed", "signed_in", "refresh_replayed", "password_changed", "password_change_failed"]
    {
        assert!(log.lines().any(|line| line.contains("\"audit\"") && line.contains(event)), "{event} in {log}");
    }
    assert!(metrics.contains("switchboard_client_addresses_unreadable_total{reason=\"malformed\"} 2"), "{metrics}");
    assert_eq!(log.matches("client addresses unreadable").count(), 1, "warned of once: {log}");
    let failed = log.lines().filter(|line| line.contains("webhook failed; retrying")).count();
    assert!((1..=2).contains(&failed), "the cause of failing webhooks is logged once for each endpoint: {log}");
    assert!(log.lines().any(|line| line.contains("webhook failed") && line.contains("Connection refused")), "{log}");
    for sentence in ["operator key refused", "operator ended a call", "webhook given up", "fact cannot be recorded"] {
        assert!(log.contains(sentence), "{sentence} in {log}");
    }
    fixture.assert_silent("the log", &log);
    fixture.assert_silent("the metrics", &metrics);
    fixture.assert_silent("a refusal", &fixture.refusals.lock().unwrap());
}

#[tokio::test]
async fn a_password_in_the_address_of_an_unreachable_server_is_not_logged() {
    let (port, admin, nobody) = (ports::free().unwrap(), ports::free().unwrap(), ports::free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await.unwrap();
    let spec = common(dir.path(), port, admin)
        .env("MONGODB_URI", format!("mongodb://ann:{}@127.0.0.1:{nobody}/x", PASSWORDS[0].replace(' ', "-")))
        .env("MONGODB_TIMEOUT_MS", 200)
        .env("REDIS_URL", redis.url());
    let mut process = Process::spawn(spec).unwrap();
    let log = || std::fs::read_to_string(dir.path().join("api.log")).unwrap_or_default();
    until("the api to miss MongoDB", async || log().contains("preparing MongoDB failed")).await;
    process.kill().unwrap();
    assert!(!log().contains(&PASSWORDS[0].replace(' ', "-")), "{}", log());
}

/// Serves TCP connections: sends `words`, or ends the connection if they are empty.
async fn server_that_says(words: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _closed_by_the_client = tokio::io::AsyncWriteExt::write_all(&mut stream, words.as_bytes()).await;
            // Read until the client closes, so that the words are not lost with a reset.
            tokio::spawn(async move {
                let bytes = if words.is_empty() { 0 } else { u64::MAX };
                let _ended =
                    tokio::io::copy(&mut tokio::io::AsyncReadExt::take(stream, bytes), &mut tokio::io::sink()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn the_log_says_once_why_redis_is_not_reached_and_keeps_its_password() {
    let redis = RedisServer::start().await.unwrap();
    redis.query::<String>(cmd("CONFIG").arg(&["SET", "requirepass", "password-of-redis"])).await.unwrap();
    let (plain, nobody) = (redis.port(), ports::free().unwrap());
    let says = server_that_says;
    let echo = says("-ERR unknown command 'AUTH', with args beginning with: 'me' 'password-of-redis'\r\n").await;
    let cases: [(String, &str); 8] = [
        (format!("redis://127.0.0.1:{plain}"), "NOAUTH Authentication required"),
        (format!("redis://me:password-of-nobody@127.0.0.1:{plain}"), "AUTH: WRONGPASS invalid username-password pair"),
        (
            format!("rediss://:password-of-redis@127.0.0.1:{}", says("-ERR what?\r\n").await),
            "TLS: the server does not speak TLS",
        ),
        (format!("redis://127.0.0.1:{nobody}"), "Connection refused"),
        (
            format!("redis://127.0.0.1:{}", says("-DENIED Redis is running in protected mode\r\n").await),
            "DENIED Redis is",
        ),
        (format!("redis://127.0.0.1:{}", says("-LOADING Redis is loading the dataset\r\n").await), "LOADING Redis is"),
        (format!("redis://127.0.0.1:{}", says("").await), "the server closed the connection"),
        (format!("redis://me:password-of-redis@127.0.0.1:{echo}"), "'me' '[secret]'"),
    ];
    let visits = cases.map(async |(url, reason)| {
        let dir = tempfile::tempdir().unwrap();
        let spec = common(dir.path(), ports::free().unwrap(), ports::free().unwrap())
            .env("MONGODB_URI", format!("mongodb://127.0.0.1:{nobody}/x"))
            .env("REDIS_URL", &url);
        let mut process = Process::spawn(spec).unwrap();
        let log = || std::fs::read_to_string(dir.path().join("api.log")).unwrap_or_default();
        let lines = |text: &str| log().lines().filter(|line| line.contains(text)).count();
        // Two attempts have failed, so the second one has logged nothing.
        until("two attempts", async || lines("Redis is unavailable; retrying") >= 2).await;
        process.kill().unwrap();
        let failed = log();
        let failed: Vec<_> = failed.lines().filter(|line| line.contains("redis connection failed")).collect();
        assert_eq!(failed.iter().filter(|line| line.contains(reason)).count(), 1, "{url}: {}", log());
        assert!(failed.len() <= 2, "{url}: {failed:?}");
        for secret in ["password-of-redis", "password-of-nobody"] {
            assert!(!log().contains(secret), "{url}: {}", log());
        }
    });
    futures_util::future::join_all(visits).await;
}

fn common(dir: &Path, port: u16, admin: u16) -> Spec {
    Spec::new("api", env!("CARGO_BIN_EXE_api"), dir)
        .env("NODE_ENV", "development")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("LOG_FORMAT", "json")
        .env("LOG_LEVEL", "debug")
        .env("JWT_ACCESS_SECRET", CONFIGURED[0])
        .env("JWT_ACCESS_SECRET_PREVIOUS", CONFIGURED[7])
        .env("JWT_REFRESH_SECRET", CONFIGURED[1])
}

/// Registers, signs in with right and wrong passwords, refreshes, replays, changes the password,
/// signs out.
async fn accounts(fixture: &Fixture) {
    let form = |email: &str, password: &str| json!({ "name": "Ann", "email": email, "password": password });
    let (status, ann) = fixture.post("/api/auth/register", "", form(EMAILS[0], PASSWORDS[0])).await;
    assert_eq!(status, 201);
    assert_eq!(fixture.post("/api/auth/register", "", form(EMAILS[0], PASSWORDS[0])).await.0, 409);
    for email in EMAILS {
        assert_eq!(fixture.post("/api/auth/login", "", form(email, PASSWORDS[2])).await.0, 401);
    }
    // Truncated JSON, wrong types, a query operator, and secrets in unexpected fields.
    let broken = format!(r#"{{"email": "{}", "password": "{}""#, EMAILS[0], PASSWORDS[0]);
    let json = ("content-type", "application/json");
    let sent =
        fixture.ask(Method::POST, "/api/auth/login", |request| request.header(json.0, json.1).body(broken)).await;
    assert_eq!(sent.0, 400);
    let injected = json!({ "email": { "$gt": EMAILS[0] }, "password": [PASSWORDS[0]] });
    assert_eq!(fixture.post("/api/auth/login", "", injected).await.0, 400);
    let stray = format!("/api/video-calls?search={}&page={}", EMAILS[0], PASSCODES[0]);
    assert_eq!(fixture.ask(Method::GET, &stray, |request| request.bearer_auth(text(&ann, "token"))).await.0, 400);
    let refresh = async |token: &str| fixture.post("/api/auth/refresh", "", json!({ "refreshToken": token })).await;
    let first = text(&ann, "refreshToken");
    let (status, second) = refresh(&first).await;
    assert_eq!(status, 200);
    assert_eq!(refresh(&text(&second, "refreshToken")).await.0, 200);
    assert_eq!(refresh(&first).await.0, 401, "replayed after two");
    assert_eq!(
        fixture.ask(Method::GET, "/api/auth/profile", |request| request.bearer_auth(text(&ann, "token"))).await.0,
        401
    );
    let forged = format!("{}x", text(&second, "token"));
    assert_eq!(fixture.ask(Method::GET, "/api/auth/profile", |request| request.bearer_auth(forged)).await.0, 401);

    let (_, again) = fixture.post("/api/auth/login", "", form(EMAILS[0], PASSWORDS[0])).await;
    let token = text(&again, "token");
    let change = |current: &str| json!({ "currentPassword": current, "newPassword": PASSWORDS[1], "confirmPassword": PASSWORDS[1] });
    assert_eq!(fixture.post("/api/auth/change-password", &token, change(PASSWORDS[2])).await.0, 401);
    assert_eq!(fixture.post("/api/auth/change-password", &token, change(PASSWORDS[0])).await.0, 200);
    assert_eq!(fixture.post("/api/auth/logout", &token, json!({})).await.0, 200);
}

/// A call with a passcode: guests, a wrong passcode, a participant who chats, an operator who ends
/// it.
async fn calls(fixture: &Fixture, redis: &RedisServer) {
    let form = json!({ "email": EMAILS[0], "password": PASSWORDS[1] });
    let (status, ann) = fixture.post("/api/auth/login", "", form).await;
    assert_eq!(status, 200);
    let token = text(&ann, "token");
    let (_, call) =
        fixture.post("/api/video-calls", &token, json!({ "title": "Ours", "passcode": PASSCODES[0] })).await;
    let room = RoomId::parse(&text(&call, "roomId")).unwrap();
    let join = |passcode: &str| json!({ "roomId": room.name(), "guestName": "Gil", "passcode": passcode });
    assert_eq!(fixture.post("/api/video-calls/join", "", join(PASSCODES[1])).await.0, 401);
    assert_eq!(fixture.post("/api/video-calls/join", "", join(PASSCODES[0])).await.0, 200);
    assert_eq!(fixture.post("/api/video-calls/join", &token, join("")).await.0, 200);
    let path = format!("/api/video-calls/{}", text(&call, "_id"));
    let patch = json!({ "passcode": PASSCODES[1] });
    assert_eq!(fixture.ask(Method::PATCH, &path, |request| request.bearer_auth(&token).json(&patch)).await.0, 200);

    let rooms = RoomOptions::default();
    let rooms =
        Rooms::connect(&RedisUrl::parse(&redis.url()).unwrap(), rooms, NodeId::parse("n1").unwrap()).await.unwrap();
    let partition: Partition = rooms.partition_of(&room);
    rooms.check_node(partition, "r", true).await.unwrap();
    let RoomPeek::Open { meta, .. } = rooms.peek(&room).await.unwrap() else { panic!("the room is not open") };
    let user = UserId::parse(&text(&ann["user"], "id")).unwrap();
    let joined = rooms.join(Join {
        room: room.clone(),
        meta_version: meta.version,
        grant: None,
        user: user.clone(),
        pid: "0".repeat(32),
        old_pid: None,
        handle: SessionHandle(1),
        role: Role::Host,
        waits: false,
        public: PublicUser::new(user, "Ann".into(), None),
        media: MediaState::default(),
        given: Some(Role::Host),
        permissions: None,
        given_permissions: None,
        proof: Proof::default(),
    });
    assert!(matches!(joined.await.unwrap(), Joined::Seated { .. }));
    // A fact that cannot be recorded.
    let outbox = switchboard_rooms::keys::Keys::new("sb", rooms.partitions()).outbox(partition);
    let chat = json!({ "id": "m1", "fromUser": SAID, "message": SAID }).to_string();
    let call_id = text(&call, "_id");
    let fields = ["k", "chat", "c", &call_id, "r", room.as_str(), "p", "-", "u", "-", "j", "-", "n", "1", "d", &chat];
    redis.query::<String>(cmd("XADD").arg(outbox).arg("*").arg(&fields[..])).await.unwrap();

    let end = format!("/api/admin/rooms/{room}/end");
    for key in ["", WRONG_KEY] {
        assert_eq!(fixture.ask(Method::POST, &end, |request| request.header("x-api-key", key)).await.0, 401);
    }
    assert_eq!(fixture.ask(Method::POST, &end, |request| request.header("x-api-key", OPERATOR)).await.0, 200);
    assert_eq!(rooms.end(&room, &meta.call_id, "host").await.unwrap(), Ended::Already);
}
