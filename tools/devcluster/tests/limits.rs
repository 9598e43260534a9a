//! Limits per client address and over time, on a whole cluster behind the load balancer.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::IpAddr;
use std::time::Duration;

use devcluster::cluster::{Cluster, Options};

/// Longest wait for a response, on a busy machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client on HTTP long-polling with a source address of its own.
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    fn at(address: &str, cluster: &Cluster) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let http = reqwest::Client::builder().local_address(address).timeout(REQUEST_TIMEOUT).build().unwrap();
        Self { http, url: format!("{}/socket.io/?EIO=4&transport=polling", cluster.base_url()) }
    }

    /// Opens a session with a forged `X-Forwarded-For`. Returns the status and the session's id.
    async fn open(&self, forged: &str) -> (u16, Option<String>) {
        let response = self.http.get(&self.url).header("x-forwarded-for", forged).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        (status, body.split('"').nth(3).filter(|_| status == 200).map(str::to_owned))
    }

    async fn send(&self, sid: &str, packet: &str) {
        let response = self.http.post(format!("{}&sid={sid}", self.url)).body(packet.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    /// Polls and answers pings until the session ends. Returns all packets.
    async fn until_the_end(&self, sid: &str) -> Vec<String> {
        let mut packets = Vec::new();
        while let Some(more) = self.poll(sid).await {
            packets.extend(more);
        }
        packets
    }

    /// Polls until a packet contains `text`, and returns that packet.
    async fn until(&self, sid: &str, text: &str) -> String {
        loop {
            let packets = self.poll(sid).await.unwrap_or_else(|| panic!("the session ended before {text}"));
            if let Some(packet) = packets.into_iter().find(|packet| packet.contains(text)) {
                return packet;
            }
        }
    }

    /// Packets of one poll; a ping is answered. `None` when the session has ended.
    async fn poll(&self, sid: &str) -> Option<Vec<String>> {
        let response = self.http.get(format!("{}&sid={sid}", self.url)).send().await.unwrap();
        if response.status() != 200 {
            return None;
        }
        let body = response.text().await.unwrap();
        if body.split('\u{1e}').any(|packet| packet == "2") {
            // The session may end before the pong arrives.
            let pong = self.http.post(format!("{}&sid={sid}", self.url)).body("3");
            let _sent_or_ended = pong.send().await.unwrap();
        }
        Some(body.split('\u{1e}').map(str::to_owned).collect())
    }
}

async fn start(env: &[(&str, &str)]) -> Cluster {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Cluster::start(&Options { nodes: 1, env, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn sockets_are_counted_by_the_source_address_that_the_load_balancer_sees() {
    let mut cluster = start(&[("SOCKETS_PER_ADDRESS", "2")]).await;
    let (one, two) = (Client::at("127.0.0.2", &cluster), Client::at("127.0.0.3", &cluster));
    assert_eq!(one.open("10.0.0.1").await.0, 200);
    assert_eq!(one.open("10.0.0.2").await.0, 200);
    assert_eq!(one.open("10.0.0.3").await.0, 429, "a forged address changes nothing");
    assert_eq!(two.open("127.0.0.2").await.0, 200, "a client cannot use up the limit of another address");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_joins_no_room_is_closed_and_counted_as_join_timeout() {
    let mut cluster = start(&[("JOIN_TIMEOUT_MS", "300"), ("PING_INTERVAL_MS", "200")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let sid = client.open("").await.1.unwrap();
    client.send(&sid, "40").await;
    let packets = client.until_the_end(&sid).await;
    assert!(packets.iter().any(|packet| packet.starts_with("40{")), "connected: {packets:?}");
    assert!(packets.iter().any(|packet| packet == "41"), "disconnected: {packets:?}");
    let metrics = format!("http://127.0.0.1:{}/metrics", cluster.ports().nodes[0].admin);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"switchboard_sockets_closed_total{reason="join_timeout"} 1"#), "{metrics}");
    cluster.stop().await.unwrap();
}

/// Registers an account. Returns its access token.
async fn register(client: &Client, cluster: &Cluster) -> String {
    let body = r#"{"name":"Ann","email":"ann@example.org","password":"correct horse battery"}"#;
    let answer = post(client, cluster, "auth/register", "", body).await;
    part(&answer, r#""token":""#).to_owned()
}

async fn post(client: &Client, cluster: &Cluster, path: &str, token: &str, body: &'static str) -> String {
    let request = client.http.post(format!("{}/api/{path}", cluster.base_url())).bearer_auth(token).body(body);
    request.header("content-type", "application/json").send().await.unwrap().text().await.unwrap()
}

/// Text between `after` and the next quotation mark.
fn part<'t>(text: &'t str, after: &str) -> &'t str {
    text.split(after).nth(1).and_then(|rest| rest.split('"').next()).unwrap()
}

/// Sends one event on a new socket. Returns the acknowledgement.
async fn ask(client: &Client, connect: &str, event: &str) -> String {
    let sid = client.open("").await.1.unwrap();
    client.send(&sid, connect).await;
    client.send(&sid, &format!("420{event}")).await;
    loop {
        let packets = client.poll(&sid).await.expect("the session continues");
        if let Some(answer) = packets.iter().find(|packet| packet.starts_with("430")) {
            return answer.clone();
        }
    }
}

#[tokio::test]
async fn the_rate_of_new_rooms_counts_all_sockets_of_a_user() {
    let mut cluster = start(&[("RATE_LIMITS", "true"), ("RATE_ROOM_CREATE", "1/3600")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let connect = format!(r#"40{{"token":"{}"}}"#, register(&client, &cluster).await);
    for (room, outcome) in [("first", r#""success":true"#), ("second", r#""code":"RATE_LIMIT_EXCEEDED""#)] {
        let answer = ask(&client, &connect, &format!(r#"["room:create",{{"id":"{room}"}}]"#)).await;
        assert!(answer.contains(outcome), "{room}: {answer}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn passcode_attempts_over_sockets_have_the_same_rate_as_over_rest() {
    let mut cluster = start(&[("RATE_LIMITS", "true"), ("RATE_PASSCODE_PER_ADDRESS", "2/3600")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let token = register(&client, &cluster).await;
    let call = r#"{"title":"Locked","type":"public","passcode":"2468"}"#;
    let call = post(&client, &cluster, "video-calls", &token, call).await;
    let room = part(&call, r#""roomId":""#);
    // After too many attempts the right passcode is refused too.
    for (passcode, code) in
        [("1111", "INVALID_PASSCODE"), ("2222", "INVALID_PASSCODE"), ("2468", "RATE_LIMIT_EXCEEDED")]
    {
        let join = format!(r#"["room:join",{{"roomId":"{room}","guestName":"Eve","passcode":"{passcode}"}}]"#);
        let answer = ask(&client, "40{}", &join).await;
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{passcode}: {answer}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn turn_credentials_are_for_participants_with_a_seat_alone() {
    let mut cluster = start(&[
        ("STUN_SERVER", "stun:stun.test:3478"),
        ("TURN_SERVER_URL", "turn:turn.test:3478"),
        ("TURN_SECRET", "a-secret-of-the-cluster-and-coturn"),
    ])
    .await;
    let client = Client::at("127.0.0.1", &cluster);
    let register = format!("{}/api/auth/register", cluster.base_url());
    let form = serde_json::json!({ "name": "Ann", "email": "ann@example.org", "password": "correct horse battery" });
    let user: serde_json::Value = client.http.post(register).json(&form).send().await.unwrap().json().await.unwrap();
    let (id, token) = (user["data"]["user"]["id"].as_str().unwrap(), user["data"]["token"].as_str().unwrap());
    let sid = client.open("127.0.0.1").await.1.unwrap();
    client.send(&sid, &format!(r#"40{{"token":"{token}"}}"#)).await;
    let ask = async |packet: &str, event: &str| {
        client.send(&sid, packet).await;
        client.until(&sid, event).await
    };
    let first = client.until(&sid, "webrtc:ice-servers").await;
    let again = ask(r#"420["webrtc:get-ice-servers"]"#, "webrtc:ice-servers").await;
    for servers in [first, again] {
        assert!(servers.contains("stun:stun.test") && !servers.contains("turn:turn.test"), "no seat: {servers}");
    }
    let created = ask(r#"421["room:create",{"id":"TURNROOM"}]"#, "room:created").await;
    let renewed = ask(r#"422["webrtc:get-ice-servers"]"#, "webrtc:ice-servers").await;
    for servers in [created, renewed] {
        assert!(servers.contains("turn:turn.test") && servers.contains(r#""iceTtl":600"#), "a seat: {servers}");
        assert!(servers.contains(&format!(":TURNROOM.{id}\"")), "the name that coturn counts by: {servers}");
    }
    ask(r#"423["room:leave"]"#, r#"433[{"success":true"#).await;
    let left = ask(r#"424["webrtc:get-ice-servers"]"#, "webrtc:ice-servers").await;
    assert!(!left.contains("turn:turn.test"), "the seat was given up: {left}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn joins_over_sockets_have_a_rate_per_address_however_many_guests_come() {
    let mut cluster = start(&[("RATE_LIMITS", "true"), ("RATE_JOIN_PER_ADDRESS", "3/3600")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let token = register(&client, &cluster).await;
    let call = post(&client, &cluster, "video-calls", &token, r#"{"title":"Open","type":"public"}"#).await;
    let join = format!(r#"["room:join",{{"roomId":"{}","guestName":"Eve"}}]"#, part(&call, r#""roomId":""#));
    for _ in 0..3 {
        let answer = ask(&client, "40{}", &join).await;
        assert!(answer.contains(r#""success":true"#), "{answer}");
    }
    let answer = ask(&client, "40{}", &join).await;
    assert!(answer.contains(r#""code":"RATE_LIMIT_EXCEEDED""#), "{answer}");
    assert!(answer.contains(r#""retryAfter":"#), "{answer}");
    // Another address still joins.
    let answer = ask(&Client::at("127.0.0.3", &cluster), "40{}", &join).await;
    assert!(answer.contains(r#""success":true"#), "{answer}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_to_a_room_costs_by_its_participants_and_bytes_and_one_to_a_participant_does_not() {
    let mut cluster = start(&[("RATE_LIMITS", "true"), ("EVENTS_PER_ADDRESS", "40/3600")]).await;
    let host = Client::at("127.0.0.2", &cluster);
    let token = register(&host, &cluster).await;
    let call = r#"{"title":"Crowd","type":"public","maxParticipants":20}"#;
    let call = post(&host, &cluster, "video-calls", &token, call).await;
    let join = format!(r#"["room:join",{{"roomId":"{}","guestName":"Eve"}}]"#, part(&call, r#""roomId":""#));
    let mut peer = String::new();
    for n in 1..16 {
        // Each has an address of its own.
        let answer = ask(&Client::at(&format!("127.0.1.{n}"), &cluster), "40{}", &join).await;
        assert!(answer.contains(r#""success":true"#), "{answer}");
        part(&answer, r#""peerId":""#).clone_into(&mut peer);
    }
    let speaker = Client::at("127.0.0.3", &cluster);
    let sid = speaker.open("").await.1.unwrap();
    let ask = async |id: u32, event: String| {
        speaker.send(&sid, &format!("42{id}{event}")).await;
        speaker.until(&sid, &format!("43{id}[")).await
    };
    // CONNECT and join are 2 packets, and the join costs 8 tokens.
    speaker.send(&sid, "40{}").await;
    assert!(ask(10, join).await.contains(r#""success":true"#));
    // 2 x (1 + 4) tokens and the packet, twice.
    let message = "m".repeat(4000);
    for id in 11..13 {
        let answer = ask(id, format!(r#"["chat:message",{{"message":"{message}"}}]"#)).await;
        assert!(answer.contains(r#""success":true"#), "{answer}");
    }
    let answer = ask(13, format!(r#"["chat:message",{{"message":"{message}"}}]"#)).await;
    assert!(answer.contains("RATE_LIMIT_EXCEEDED") && answer.contains(r#""retryAfter":"#), "{answer}");
    let answer = ask(14, format!(r#"["chat:message",{{"message":"{message}","to":"{peer}"}}]"#)).await;
    assert!(answer.contains(r#""success":true"#), "a message to one participant costs its packet: {answer}");
    let answer = ask(15, r#"["webrtc:get-stats",{}]"#.to_owned()).await;
    assert!(answer.contains(r#""success":true"#), "{answer}");
    // The page of the history has about 8 KiB, which is more than is left.
    let answer = ask(16, r#"["chat:history",{}]"#.to_owned()).await;
    assert!(answer.contains(r#""success":true"#), "{answer}");
    let answer = ask(17, r#"["chat:history",{}]"#.to_owned()).await;
    assert!(answer.contains("RATE_LIMIT_EXCEEDED"), "{answer}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_replay_leaves_the_seat_in_a_call_until_the_access_token_expires() {
    let mut cluster = start(&[("ACCESS_TOKEN_TTL", "12"), ("PING_INTERVAL_MS", "200")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let post = async |path: &str, body: serde_json::Value| -> serde_json::Value {
        let url = format!("{}/api/auth/{path}", cluster.base_url());
        client.http.post(url).json(&body).send().await.unwrap().json().await.unwrap()
    };
    let form = serde_json::json!({ "name": "Ann", "email": "ann@example.org", "password": "correct horse battery" });
    let user = post("register", form).await;
    let sid = client.open("").await.1.unwrap();
    client.send(&sid, &format!(r#"40{{"token":{}}}"#, user["data"]["token"])).await;
    client.send(&sid, r#"420["room:create",{"id":"SEAT"}]"#).await;
    client.until(&sid, "room:created").await;

    let refresh = async |signed_in: &serde_json::Value| {
        post("refresh", serde_json::json!({ "refreshToken": signed_in["data"]["refreshToken"] })).await
    };
    let second = refresh(&user).await;
    let third = refresh(&second).await;
    assert_eq!(third["success"], true, "{third}");
    assert_eq!(refresh(&user).await["code"], "TOKEN_INVALID");
    client.send(&sid, r#"421["chat:message",{"message":"still here"}]"#).await;
    assert!(client.until(&sid, "431[").await.contains(r#""success":true"#));
    let packets = client.until_the_end(&sid).await;
    assert!(packets.iter().any(|packet| packet == "41"), "disconnected: {packets:?}");
    let metrics = format!("http://127.0.0.1:{}/metrics", cluster.ports().nodes[0].admin);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"switchboard_sockets_closed_total{reason="revoked"} 1"#), "{metrics}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_guest_who_tests_the_link_of_a_scheduled_call_does_not_end_it() {
    let mut cluster = start(&[("EMPTY_ROOM_SECONDS", "1")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let token = register(&client, &cluster).await;
    let call = r#"{"title":"At noon","type":"public","scheduledAt":"2099-01-01T12:00:00Z"}"#;
    let call = post(&client, &cluster, "video-calls", &token, call).await;
    let (id, room) = (part(&call, r#""_id":""#).to_owned(), part(&call, r#""roomId":""#).to_owned());
    let join = format!(r#"["room:join",{{"roomId":"{room}","guestName":"Early"}}]"#);
    let status = async || {
        let url = format!("{}/api/video-calls/{id}", cluster.base_url());
        let call: serde_json::Value = client.http.get(url).send().await.unwrap().json().await.unwrap();
        (call["data"]["status"].as_str().unwrap().to_owned(), call["data"]["startedAt"].clone())
    };
    let becomes = async |wanted: &str| {
        let waited = tokio::time::timeout(REQUEST_TIMEOUT, async {
            while status().await.0 != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(waited.await.is_ok(), "{wanted} is not {:?}", status().await);
    };
    // Each leaves, and the room closes a second later. With the host the call has taken place.
    for (connect, then) in [("40{}".to_owned(), "scheduled"), (format!(r#"40{{"token":"{token}"}}"#), "ended")] {
        let sid = client.open("").await.1.unwrap();
        client.send(&sid, &connect).await;
        client.send(&sid, &format!("420{join}")).await;
        client.until(&sid, "room:joined").await;
        becomes("live").await;
        client.send(&sid, r#"421["room:leave"]"#).await;
        becomes(then).await;
        let started = status().await.1;
        assert_eq!(started.is_null(), then == "scheduled", "{started}");
    }
    cluster.stop().await.unwrap();
}
