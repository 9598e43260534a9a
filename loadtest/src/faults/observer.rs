//! A new participant that lists the participants of a room.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::engine_session::EngineSession;
use crate::client::packet::{DISCONNECT, PONG, Packet};

const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Joins a room and returns the peer ids of its other participants from the join snapshot.
pub(crate) async fn participants(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    timeout(JOIN_TIMEOUT, observe(nodes, room)).await.context("the observer could not join in time")?
}

async fn observe(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let (mut session, reply) = join_room(nodes, room, "Observer").await?;
    session.send(DISCONNECT).await?;
    let own = reply["peerId"].clone();
    let peer_ids = reply["participants"].as_array().into_iter().flatten().map(|participant| &participant["peerId"]);
    Ok(peer_ids.filter(|peer| **peer != own).filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Joins a room as a new guest. Returns the session and the acknowledgement of the join.
pub(crate) async fn join_room(nodes: &[String], room: &str, name: &str) -> anyhow::Result<(EngineSession, Value)> {
    let mut session = None;
    for node in nodes {
        session = EngineSession::open(node).await.ok();
        if session.is_some() {
            break;
        }
    }
    let mut session = session.context("no node accepts the connection")?;
    session.send("40{}").await?;
    let join = json!(["room:join", { "roomId": room, "guestName": name }]);
    let mut participants = Value::Null;
    loop {
        match session.next().await? {
            Packet::Connected(_) => session.send(format!("420{join}")).await?,
            Packet::Ping => session.send(PONG).await?,
            Packet::Ack { reply, .. } if reply.is_success() => {
                let mut reply = reply.value()?;
                // The acknowledgement of a join of a large room has no list; the event has.
                if reply["participants"].is_null() {
                    reply["participants"] = participants;
                }
                return Ok((session, reply));
            }
            Packet::Event(event) if event.name() == "room:joined" => {
                participants = event.payload()?["participants"].take();
            }
            Packet::Ack { reply, .. } => bail!("the join was refused: {}", reply.code()),
            Packet::Refused(_) | Packet::Disconnected => bail!("CONNECT was refused"),
            Packet::Event(_) | Packet::Open(_) | Packet::Other => {}
        }
    }
}
