//! Connections of strangers and of honest joiners: REST with keep-alive, and Socket.IO requests
//! with acknowledgements.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::attack::OK;
use crate::client::engine_session::EngineSession;
use crate::client::http_client::HttpClient;
use crate::client::packet::{PONG, Packet};
use crate::client::route::Route;

/// Time limit of one request. The api answers each request within 15 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Outcome of a request whose connection was refused, or ended before the response.
const CUT: &str = "connection cut";

/// REST connection from one source address. It dials again when it was closed.
#[derive(Debug)]
pub(crate) struct Rest {
    from: Ipv4Addr,
    to: String,
    client: Option<HttpClient>,
}

/// Response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status; 0 when there was no response.
    pub(crate) status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// Outcome for a report: `ok`, or status and refusal code.
    pub(crate) fn outcome(&self) -> String {
        match self.status {
            0 => CUT.to_owned(),
            200..=299 => OK.to_owned(),
            status => match self.json()["code"].as_str() {
                Some(code) => format!("{status} {code}"),
                None => status.to_string(),
            },
        }
    }

    /// Body as JSON; `null` when it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Rest {
    /// Connects to `host:port` at the first request.
    pub(crate) fn new(from: Ipv4Addr, to: &str) -> Self {
        Self { from, to: to.to_owned(), client: None }
    }

    /// Sends a request with JSON.
    pub(crate) async fn json(&mut self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.send(method, path, token, &body.to_string()).await
    }

    /// Reads a path.
    pub(crate) async fn get(&mut self, path: &str, token: Option<&str>) -> Answer {
        self.send("GET", path, token, "").await
    }

    /// Sends a request; an empty body is not sent.
    pub(crate) async fn send(&mut self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let text = request_text(method, path, token, body);
        self.exchange(&text).await.unwrap_or_else(|_| {
            self.client = None;
            Answer { status: 0, body: Vec::new() }
        })
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<Answer> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => timeout(REQUEST_TIMEOUT, HttpClient::dial(Route::new(self.from, &self.to))).await??,
        };
        let status = timeout(REQUEST_TIMEOUT, client.exchange(request.as_bytes())).await??;
        let body = client.body().to_vec();
        self.client = client.is_reusable().then_some(client);
        Ok(Answer { status, body })
    }
}

/// Text of an HTTP request; an empty body is not sent.
pub(crate) fn request_text(method: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let content = match body.as_bytes().first() {
        None => String::new(),
        Some(b'{') => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        Some(_) => format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n", body.len()),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: abuse.example.com\r\n{authorization}{content}\r\n{body}")
}

/// Socket.IO client that waits for the acknowledgement of each event.
#[derive(Debug)]
pub(crate) struct Client {
    session: EngineSession,
    next_id: u64,
}

impl Client {
    /// Opens a socket and sends CONNECT with these credentials.
    pub(crate) async fn open(route: Route<'_>, auth: &Value) -> anyhow::Result<Self> {
        let mut session = EngineSession::open(route).await?;
        session.send(format!("40{auth}")).await?;
        timeout(REQUEST_TIMEOUT, async {
            loop {
                match session.next().await? {
                    Packet::Connected(_) => return Ok(()),
                    Packet::Refused(reason) => bail!("CONNECT was refused: {reason}"),
                    Packet::Ping => session.send(PONG).await?,
                    _ => {}
                }
            }
        })
        .await
        .context("no answer to CONNECT")??;
        Ok(Self { session, next_id: 1 })
    }

    /// Opens a socket and joins a room as a guest.
    pub(crate) async fn join(route: Route<'_>, room: &str, name: &str) -> anyhow::Result<Self> {
        let mut client = Self::open(route, &json!({})).await?;
        let reply = client.ask("room:join", &json!({ "roomId": room, "guestName": name })).await?;
        match outcome(&reply).as_str() {
            OK => Ok(client),
            code => bail!("{code}"),
        }
    }

    /// Sends an event and waits for its acknowledgement.
    ///
    /// # Errors
    /// When the socket ends, or after 20 s. The text has the server's close reason, if any.
    pub(crate) async fn ask(&mut self, name: &str, payload: &Value) -> anyhow::Result<Value> {
        self.ask_text(&json!([name, payload]).to_string()).await
    }

    /// As [`Client::ask`], with the JSON array of the event.
    pub(crate) async fn ask_text(&mut self, event: &str) -> anyhow::Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        self.session.send(format!("42{id}{event}")).await?;
        timeout(REQUEST_TIMEOUT, self.acknowledgement(id)).await.context("no acknowledgement")?
    }

    async fn acknowledgement(&mut self, wanted: u64) -> anyhow::Result<Value> {
        loop {
            match self.session.next().await? {
                Packet::Ack { id, reply } if id == wanted => return reply.value(),
                Packet::Ping => self.session.send(PONG).await?,
                Packet::Disconnected => bail!("closed: disconnected"),
                _ => {}
            }
        }
    }

    /// Answers heartbeats until the socket ends. Returns the reason.
    pub(crate) async fn idle(&mut self) -> String {
        loop {
            match self.session.next().await {
                Ok(Packet::Ping) => {
                    if let Err(error) = self.session.send(PONG).await {
                        return error.to_string();
                    }
                }
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// The session, to send what no event is.
    pub(crate) fn session(&mut self) -> &mut EngineSession {
        &mut self.session
    }
}

/// A client that answers heartbeats until it is needed.
#[derive(Debug)]
pub(crate) struct IdleClient {
    wake: oneshot::Sender<()>,
    task: JoinHandle<Client>,
}

impl IdleClient {
    /// Starts to answer heartbeats.
    pub(crate) fn keep(mut client: Client) -> Self {
        let (wake, woken) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = client.idle() => {}
                _ = woken => {}
            }
            client
        });
        Self { wake, task }
    }

    /// Returns the client; its socket may have ended.
    pub(crate) async fn take(self) -> Option<Client> {
        // The task has ended if the socket has.
        let _ = self.wake.send(());
        self.task.await.ok()
    }
}

/// Outcome of an acknowledged event: `ok` or the refusal code.
pub(crate) fn outcome(reply: &Value) -> String {
    if reply["success"] == true { OK.to_owned() } else { reply["code"].as_str().unwrap_or("?").to_owned() }
}

/// Outcome of a failed connection or socket, without the parts that differ from case to case.
pub(crate) fn failure(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    match text.split_once("closed: ") {
        Some((_, reason)) => format!("closed: {reason}"),
        None if text.contains("no upgrade: ") => text.replace("no upgrade: HTTP/1.1 ", ""),
        None if text.contains("CONNECT was refused") => {
            let code = text.split_once(r#""code":""#).and_then(|(_, rest)| rest.split('"').next());
            format!("CONNECT {}", code.unwrap_or("refused"))
        }
        None if text.contains("no open packet")
            || text.contains("no acknowledgement")
            || text.contains("no answer")
            || text.contains("heartbeat") =>
        {
            "no answer".to_owned()
        }
        // A refusal code.
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => text,
        None => CUT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_codes_without_details() {
        let answer = |status, body: &str| Answer { status, body: body.as_bytes().to_vec() }.outcome();
        assert_eq!(answer(201, ""), OK);
        assert_eq!(answer(429, r#"{"success":false,"code":"RATE_LIMIT_EXCEEDED"}"#), "429 RATE_LIMIT_EXCEEDED");
        assert_eq!(answer(503, "busy"), "503");
        assert_eq!(answer(0, ""), CUT);
        assert_eq!(outcome(&json!({ "success": true })), OK);
        assert_eq!(outcome(&json!({ "success": false, "code": "NOT_IN_ROOM" })), "NOT_IN_ROOM");
        for (error, expected) in [
            ("closed: flood", "closed: flood"),
            ("no upgrade: HTTP/1.1 429 Too Many Requests", "429 Too Many Requests"),
            (r#"CONNECT was refused: {"message":"m","data":{"code":"TOKEN_INVALID"}}"#, "CONNECT TOKEN_INVALID"),
            ("ROOM_FULL", "ROOM_FULL"),
            ("Connection reset by peer (os error 104)", CUT),
            ("no open packet within 2 s", "no answer"),
        ] {
            assert_eq!(failure(&anyhow::anyhow!(error)), expected);
        }
    }

    #[test]
    fn a_body_has_its_type_and_length() {
        let text = request_text("POST", "/x", Some("t"), "{}");
        assert!(
            text.contains("Authorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        );
        assert!(request_text("GET", "/x", None, "").ends_with("example.com\r\n\r\n"));
    }
}
