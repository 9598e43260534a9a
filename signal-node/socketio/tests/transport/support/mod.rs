//! Servers on free ports, and clients that return each frame.

pub(crate) mod echo;
pub(crate) mod poller;
pub(crate) mod probe;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use switchboard_core::{ClusterKey, KeyRing, Secret};
use switchboard_socketio::workers::Workers;
use switchboard_socketio::{CloseReason, PeerDirectory, Peers, Service, SocketIo, SocketServer, TransportConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Error, Message};
use tokio_util::sync::CancellationToken;

use probe::Probe;

/// Maximum time that a test waits for an event.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Query that opens a WebSocket.
pub(crate) const QUERY: &str = "EIO=4&transport=websocket";

/// Running server, which stops accepting when dropped.
pub(crate) struct Running {
    pub(crate) server: SocketServer,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Returns settings with long heartbeats and without a rate limit. Each test sets the values that
/// it tests.
pub(crate) fn config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.limits.events_per_second = 0;
    config.timeouts.close = Duration::from_millis(200);
    config
}

pub(crate) async fn start(config: TransportConfig, service: Arc<dyn Service>) -> Running {
    start_routes(config, vec![("/socket.io/".into(), service)]).await
}

pub(crate) async fn start_routes(config: TransportConfig, routes: Vec<(String, Arc<dyn Service>)>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = SocketServer::new(config, routes, Workers::start(2).unwrap());
    let stop = CancellationToken::new();
    let (running, stopped) = (server.clone(), stop.clone());
    tokio::spawn(async move { running.run(listener, stopped).await });
    Running { server, address, stop }
}

/// Nodes that hand over requests to each other.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Running>,
    /// Internal addresses by node: `n1`, `n2`, ...
    pub(crate) book: Arc<AddressBook>,
    /// Health of each node, in their order.
    pub(crate) healthy: Vec<Arc<AtomicBool>>,
}

/// Directory in memory, in place of Redis.
#[derive(Default)]
pub(crate) struct AddressBook(pub(crate) Mutex<HashMap<String, String>>);

impl PeerDirectory for AddressBook {
    fn address<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async { self.0.lock().unwrap().get(node).cloned() })
    }

    fn is_alive<'a>(&'a self, node: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async { self.0.lock().unwrap().contains_key(node) })
    }

    fn mark_suspect(&self, _: &str) {}
}

/// Starts the nodes `n1` to `n<count>`, all with this service.
pub(crate) async fn start_nodes(count: usize, config: &TransportConfig, service: &Arc<dyn Service>) -> Nodes {
    let book = Arc::new(AddressBook::default());
    let (mut nodes, mut healthy) = (Vec::new(), Vec::new());
    for number in 1..=count {
        healthy.push(Arc::new(AtomicBool::new(true)));
        let name = format!("n{number}");
        let directory = Arc::clone(&book) as Arc<dyn PeerDirectory>;
        // The nodes are in the middle of a rotation: neighbours sign with different keys.
        let (current, previous) =
            if number % 2 == 1 { ("a secret", "the next secret") } else { ("the next secret", "a secret") };
        let key = ClusterKey::derive(KeyRing::new(Secret::new(current), [Secret::new(previous)]));
        let peers = Some(Peers::new(&name, key, directory, Arc::clone(&healthy[number - 1])));
        let running = start(TransportConfig { peers, ..config.clone() }, Arc::clone(service)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        book.0.lock().unwrap().insert(name, listener.local_addr().unwrap().to_string());
        let (server, stop) = (running.server.clone(), running.stop.clone());
        tokio::spawn(async move { server.run_handovers(listener, stop).await });
        nodes.push(running);
    }
    Nodes { nodes, book, healthy }
}

pub(crate) async fn start_echo(config: TransportConfig) -> Running {
    start(config, Arc::new(SocketIo::new(Arc::new(echo::Echo::default())))).await
}

/// WebSocket client.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Opens a WebSocket with this query and headers.
    pub(crate) async fn dial(
        address: SocketAddr,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> tungstenite::Result<Self> {
        Self::dial_path(address, "/socket.io/", query, headers).await
    }

    /// Opens a WebSocket at a path, with this query and headers.
    pub(crate) async fn dial_path(
        address: SocketAddr,
        path: &str,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> tungstenite::Result<Self> {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}{path}?{query}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) =
            timeout(TIMEOUT, tokio_tungstenite::client_async(request, stream)).await.expect("an answer")?;
        Ok(Self { socket })
    }

    /// Opens a WebSocket and reads the open packet.
    pub(crate) async fn open(address: SocketAddr) -> (Self, Value) {
        let mut client = Self::dial(address, "EIO=4&transport=websocket", &[]).await.unwrap();
        let open = client.text().await;
        assert_eq!(&open[..1], "0");
        let open = serde_json::from_str(&open[1..]).unwrap();
        (client, open)
    }

    /// Opens a WebSocket, connects to the main namespace and reads the CONNECT reply.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (mut client, _) = Self::open(address).await;
        client.send("40").await;
        let reply = client.text().await;
        assert!(reply.starts_with("40{\"sid\":\""), "{reply}");
        client
    }

    /// Splits the connection, so that a test can send and receive at the same time.
    pub(crate) fn split(
        self,
    ) -> (SplitSink<WebSocketStream<TcpStream>, Message>, SplitStream<WebSocketStream<TcpStream>>) {
        self.socket.split()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Returns the next message; `None` after the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        timeout(TIMEOUT, self.socket.next()).await.expect("a message or the end").and_then(Result::ok)
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("expected a binary message, got {other:?}"),
        }
    }

    /// Reads until the server closes, and returns the reason in its close frame.
    pub(crate) async fn closed(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return frame.reason.to_string(),
                Some(Message::Close(None)) | None => return String::new(),
                Some(_) => {}
            }
        }
    }

    /// Asserts that the socket works: sends an event and waits for its acknowledgement.
    pub(crate) async fn assert_alive(&mut self) {
        self.send(r#"4299["message-with-ack","alive"]"#).await;
        loop {
            if self.text().await == r#"4399["alive"]"# {
                return;
            }
        }
    }
}

pub(crate) async fn start_probe(config: TransportConfig) -> (Running, Arc<Probe>, UnboundedReceiver<CloseReason>) {
    let (probe, endings) = Probe::new();
    let running = start(config, Arc::new(SocketIo::new(Arc::clone(&probe)))).await;
    (running, probe, endings)
}

pub(crate) async fn ending(endings: &mut UnboundedReceiver<CloseReason>) -> CloseReason {
    timeout(TIMEOUT, endings.recv()).await.expect("a close reason in time").expect("the application is alive")
}

/// Waits until this number of sockets is open.
pub(crate) async fn open_sockets(running: &Running, count: usize) {
    let closed = async {
        while running.server.open_sockets() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, closed).await.expect("the number of open sockets");
}

pub(crate) async fn refused(running: &Running, query: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    match Client::dial(running.address, query, headers).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Sends a request and returns the whole response.
pub(crate) async fn http(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}
