//! A call of two people on two nodes, from the lobby to the removal: each step must reach the other
//! person.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::api::Account;
use crate::client::engine_session::EngineSession;
use crate::client::packet::{DISCONNECT, PONG, Packet};

/// Time limit of each step.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Plays a call: the host is on the first node and uses the first api, the guest is on the second
/// node, and the second api changes the call.
///
/// # Errors
/// The step that failed.
pub(super) async fn converse(nodes: &[String; 2], apis: [&String; 2]) -> anyhow::Result<()> {
    let account = Account::register(apis[0]).await?;
    let fields = json!({ "title": "Two", "type": "public", "maxParticipants": 5,
        "settings": { "waitingRoomEnabled": true, "autoAdmitGuests": false } });
    let call = account.send(Method::POST, "/api/video-calls", &fields).await?;
    let call = if call["call"].is_object() { &call["call"] } else { &call };
    let (id, room) = (call["id"].as_str().context("no call id")?, call["roomId"].as_str().context("no room id")?);

    let mut host = Speaker::connect(&nodes[0], &json!({ "token": account.token() })).await?;
    host.ask("room:join", &json!({ "roomId": room })).await?;
    let mut guest = Speaker::connect(&nodes[1], &json!({})).await?;
    // The guest waits in the lobby, perhaps without an acknowledgement until then.
    guest.send("room:join", &json!({ "roomId": room, "guestName": "Guest" })).await?;
    let peer = host.hears("room:join-request").await?["participant"]["peerId"].clone();
    host.ask("room:admit", &json!({ "peerId": peer })).await?;
    let joined = guest.hears("room:joined").await?;
    ensure!(joined["peerId"] == peer, "the admitted guest is {}", joined["peerId"]);
    ensure!(joined["participants"].as_array().is_some_and(|all| all.len() == 2), "the guest sees {joined}");

    guest.ask("chat:message", &json!({ "message": "Hello" })).await?;
    ensure!(host.hears("chat:message").await?["message"] == "Hello", "another message");
    host.ask("webrtc:offer", &json!({ "to": peer, "offer": { "type": "offer", "sdp": "v=0" } })).await?;
    guest.hears("webrtc:offer").await?;
    guest.ask("participant:set-hand", &json!({ "raised": true })).await?;
    host.hears("participant:hand-changed").await?;
    guest.ask("participant:update-media-state", &json!({ "audioEnabled": true })).await?;
    host.hears("participant:media-state-changed").await?;
    host.ask("participant:mute", &json!({ "peerId": peer, "kind": "audio" })).await?;
    guest.hears("participant:muted").await?;
    host.ask("participant:set-role", &json!({ "peerId": peer, "role": "moderator" })).await?;
    ensure!(guest.hears("participant:role-changed").await?["role"] == "moderator", "another role");
    // A right of the new role.
    guest.ask("room:lock", &json!({ "locked": true })).await?;
    ensure!(host.hears("room:updated").await?["locked"] == true, "the room is not locked");
    let other_api = account.with_base_url(apis[1]);
    other_api.send(Method::PATCH, &format!("/api/video-calls/{id}"), &json!({ "title": "Renamed" })).await?;
    for speaker in [&mut host, &mut guest] {
        while speaker.hears("room:updated").await?["name"] != "Renamed" {}
    }
    guest.ask("participant:set-hand", &json!({ "raised": false })).await?;
    host.ask("participant:kick", &json!({ "peerId": peer })).await?;
    guest.hears("room:kicked").await?;
    host.hears("room:user-left").await?;
    other_api.send(Method::POST, &format!("/api/video-calls/{id}/end"), &json!({})).await?;
    host.hears("room:call-ended").await?;
    for mut speaker in [host, guest] {
        speaker.session.send(DISCONNECT).await?;
    }
    Ok(())
}

/// A person with a socket.
struct Speaker {
    session: EngineSession,
    requests: u64,
    /// Events that were read while an acknowledgement was awaited.
    heard: VecDeque<(String, Value)>,
}

impl Speaker {
    async fn connect(node: &str, auth: &Value) -> anyhow::Result<Self> {
        let session = EngineSession::open(node).await?;
        let mut speaker = Self { session, requests: 0, heard: VecDeque::new() };
        speaker.session.send(format!("40{auth}")).await?;
        timeout(STEP_TIMEOUT, speaker.read(None)).await.context("no answer to CONNECT")??;
        Ok(speaker)
    }

    /// Sends an event, and returns the id of its acknowledgement.
    async fn send(&mut self, name: &str, payload: &Value) -> anyhow::Result<u64> {
        self.requests += 1;
        self.session.send(format!("42{}{}", self.requests, json!([name, payload]))).await?;
        Ok(self.requests)
    }

    /// Sends an event, and waits until it is accepted.
    async fn ask(&mut self, name: &str, payload: &Value) -> anyhow::Result<()> {
        let id = self.send(name, payload).await?;
        let reply = timeout(STEP_TIMEOUT, self.read(Some(id))).await;
        let reply = reply.with_context(|| format!("{name} is not acknowledged"))??;
        ensure!(reply["success"] == true, "{name} is refused: {}", reply["code"]);
        Ok(())
    }

    /// Waits for the next event of this name, and returns its payload.
    async fn hears(&mut self, name: &str) -> anyhow::Result<Value> {
        if let Some(index) = self.heard.iter().position(|(heard, _)| heard == name) {
            return Ok(self.heard.remove(index).map(|(_, payload)| payload).unwrap_or_default());
        }
        let event = async {
            loop {
                if let Some(payload) = self.next_event(name).await? {
                    return anyhow::Ok(payload);
                }
            }
        };
        timeout(STEP_TIMEOUT, event).await.with_context(|| format!("{name} does not arrive"))?
    }

    async fn next_event(&mut self, wanted: &str) -> anyhow::Result<Option<Value>> {
        match self.session.next().await? {
            Packet::Event(event) if event.name() == wanted => return event.payload().map(Some),
            Packet::Event(event) => {
                let event = (event.name().to_owned(), event.payload()?);
                self.heard.push_back(event);
            }
            Packet::Ping => self.session.send(PONG).await?,
            _ => {}
        }
        Ok(None)
    }

    /// Reads until the acknowledgement with this id; `None`: until CONNECT is accepted.
    async fn read(&mut self, wanted: Option<u64>) -> anyhow::Result<Value> {
        loop {
            match self.session.next().await? {
                Packet::Connected(_) if wanted.is_none() => return Ok(Value::Null),
                Packet::Refused(reason) => anyhow::bail!("CONNECT was refused: {reason}"),
                Packet::Ack { id, reply } if Some(id) == wanted => return reply.value(),
                Packet::Event(event) => {
                    let event = (event.name().to_owned(), event.payload()?);
                    self.heard.push_back(event);
                }
                Packet::Ping => self.session.send(PONG).await?,
                _ => {}
            }
        }
    }
}
