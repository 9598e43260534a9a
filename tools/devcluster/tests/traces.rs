//! A call that uses the api, two nodes and Redis is one trace at the collector.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use devcluster::cluster::{Cluster, Options};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for a message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client's socket on one node.
struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn connect(node: &str) -> Self {
        let url = format!("{}/socket.io/?EIO=4&transport=websocket", node.replacen("http", "ws", 1));
        let stream = TcpStream::connect(node.trim_start_matches("http://")).await.unwrap();
        let mut socket = Self(client_async(url, stream).await.unwrap().0);
        socket.send("40{}").await;
        socket.until("40{").await;
        socket
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Reads until a message starts with `beginning`. Returns it.
    async fn until(&mut self, beginning: &str) -> String {
        let read = async {
            loop {
                let message = self.0.next().await.unwrap().unwrap();
                let text = message.to_text().unwrap().to_owned();
                if text.starts_with(beginning) {
                    return text;
                }
            }
        };
        tokio::time::timeout(MESSAGE_TIMEOUT, read)
            .await
            .unwrap_or_else(|_| panic!("no message starts with {beginning}"))
    }
}

/// Starts a collector. Returns its address and the bodies of its requests, in OpenTelemetry's
/// encoding, which holds ids and texts unchanged.
async fn collector() -> (String, Arc<Mutex<Vec<Bytes>>>) {
    let sent: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let kept = Arc::clone(&sent);
    let take = post(move |body: Bytes| async move { kept.lock().unwrap().push(body) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", take)).await });
    (address, sent)
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_one_trace_from_rest_over_both_nodes() {
    let (address, sent) = collector().await;
    let env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), address)];
    let mut cluster = Cluster::start(&Options { haproxy: false, env, ..Options::default() }).await.unwrap();

    let http = reqwest::Client::new();
    let api = cluster.api.url();
    let post = async |path: &str, token: &str, fields: Value| -> Value {
        let request = http.post(format!("{api}/api/{path}")).bearer_auth(token).json(&fields);
        request.send().await.unwrap().json().await.unwrap()
    };
    let account = json!({ "name": "Ann", "email": "ann@example.com", "password": "a quiet line, please" });
    let account = post("auth/register", "", account).await;
    let token = account["data"]["token"].as_str().unwrap().to_owned();
    let call = post("video-calls", &token, json!({ "title": "Traced", "type": "public" })).await;
    let data = &call["data"];
    let room = data["roomId"].as_str().or(data["call"]["roomId"].as_str()).unwrap().to_owned();
    let joined = post("video-calls/join", &token, json!({ "roomId": room })).await;
    assert_eq!(joined["success"], true, "{joined}");

    let [mut a, mut b] =
        [Socket::connect(&cluster.nodes[0].url()).await, Socket::connect(&cluster.nodes[1].url()).await];
    for socket in [&mut a, &mut b] {
        socket.send(&format!(r#"421["room:join",{}]"#, json!({ "roomId": room, "guestName": "Bea" }))).await;
        let answer = socket.until("431[").await;
        assert!(answer.contains(r#""success":true"#), "{answer}");
    }
    a.send(&format!(r#"422["webrtc:data-channel",{}]"#, json!({ "message": "hello", "type": "text" }))).await;
    b.until(r#"42["webrtc:data-channel""#).await;
    // The services send their remaining spans when they stop.
    cluster.stop().await.unwrap();

    let trace = &Sha256::digest(&room)[..16];
    let bodies = sent.lock().unwrap().clone();
    for (service, span) in
        [("api", "rest join"), ("signal-node", "join"), ("signal-node", "relay"), ("signal-node", "deliver")]
    {
        let found = bodies.iter().any(|body| {
            has(body, service.as_bytes())
                && has(body, trace)
                && has(body, &[&[u8::try_from(span.len()).unwrap()], span.as_bytes()].concat())
        });
        assert!(found, "{service} sent no span {span:?} of the trace");
    }
    assert!(!bodies.iter().any(|body| has(body, b"hello")), "a client's message is in a trace");
}
