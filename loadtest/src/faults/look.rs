//! Somebody new who looks at who is in a room.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::packet::{GOODBYE, PONG, Packet};
use crate::client::wire::Wire;

const BOUND: Duration = Duration::from_secs(15);

/// The peer ids of a room's other participants, as its snapshot tells them to who joins.
pub(crate) async fn participants(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    timeout(BOUND, look(nodes, room)).await.context("a newcomer could not join in time")?
}

async fn look(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let mut wire = seated(nodes, room, "Newcomer").await?;
    let answer = wire.1.take();
    wire.0.send(GOODBYE).await?;
    let own = answer["peerId"].clone();
    let peers = answer["participants"].as_array().into_iter().flatten().map(|participant| &participant["peerId"]);
    Ok(peers.filter(|peer| **peer != own).filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A new guest's socket in a room, and the answer to its join.
pub(crate) async fn seated(nodes: &[String], room: &str, name: &str) -> anyhow::Result<(Wire, Value)> {
    let mut wire = None;
    for node in nodes {
        wire = Wire::open(node).await.ok();
        if wire.is_some() {
            break;
        }
    }
    let mut wire = wire.context("no node takes a newcomer")?;
    wire.send("40{}").await?;
    let join = json!(["room:join", { "roomId": room, "guestName": name }]);
    loop {
        match wire.next().await? {
            Packet::Connected(_) => wire.send(format!("420{join}")).await?,
            Packet::Ping => wire.send(PONG).await?,
            Packet::Ack { answer, .. } if answer.is_success() => {
                let answer = answer.value()?;
                return Ok((wire, answer));
            }
            Packet::Ack { answer, .. } => bail!("a newcomer was refused: {}", answer.code()),
            Packet::Refused(_) | Packet::Disconnected => bail!("a newcomer was turned away"),
            Packet::Event(_) | Packet::Open(_) | Packet::Other => {}
        }
    }
}
