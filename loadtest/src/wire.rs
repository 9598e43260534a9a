//! Socket.IO over a WebSocket: as much of it as a client needs, written apart from the server's codecs so that both cannot
//! be wrong in the same way.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// From dialling to Engine.IO's open packet. The stock client waits for 20 s; a load balancer in between has given up on a
/// dead node by then.
const OPEN: Duration = Duration::from_secs(2);

/// What a server sends.
#[derive(Debug)]
pub(crate) enum Packet {
    /// A heartbeat, to be answered with [`PONG`].
    Ping,
    /// CONNECT was accepted.
    Connected { pid: String },
    /// CONNECT was refused.
    Refused(Value),
    /// An event; `offset` is its last argument when that is a string.
    Event { name: String, payload: Value, offset: Option<String> },
    /// The answer to the event that asked with this id.
    Ack { id: u64, answer: Value },
    /// The server said goodbye: a stock client does not come back by itself.
    Disconnected,
    /// Nothing that matters here.
    Other,
}

/// The answer to a ping.
pub(crate) const PONG: &str = "3";

/// An open Engine.IO session.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: WebSocketStream<TcpStream>,
    /// Silence for this long means that the server is gone.
    patience: Duration,
    heard: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    ping_interval: u64,
    ping_timeout: u64,
}

impl Wire {
    /// Opens a session at `host:port`, within [`OPEN`].
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        timeout(OPEN, Self::handshake(address)).await.context("no open packet in time")?
    }

    async fn handshake(address: &str) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (mut stream, _) = tokio_tungstenite::client_async(url, tcp).await?;
        let first = stream.next().await.context("closed before its open packet")??;
        let text = first.to_text()?.strip_prefix('0').context("the first packet is not open")?;
        let open: Open = serde_json::from_str(text)?;
        let patience = Duration::from_millis(open.ping_interval + open.ping_timeout);
        Ok(Self { stream, patience, heard: Instant::now() })
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: impl Into<String>) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::text(packet.into())).await?)
    }

    /// Sends a binary frame.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::binary(bytes)).await?)
    }

    /// The next packet. May be dropped while it waits.
    ///
    /// # Errors
    /// The session is over; the text has the server's close reason, if it gave one.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Packet> {
        let next = timeout_at(self.heard + self.patience, self.stream.next()).await;
        let message = next.map_err(|_| anyhow!("the server went silent"))?.context("end of stream")??;
        self.heard = Instant::now();
        match message {
            Message::Text(text) => parse(&text),
            Message::Close(Some(frame)) => bail!("closed: {}", frame.reason),
            Message::Close(None) => bail!("closed without a reason"),
            _ => Ok(Packet::Other),
        }
    }

    /// Reads until the end; the reason that the server gave for it.
    pub(crate) async fn reason(&mut self) -> String {
        loop {
            if let Err(error) = self.next().await {
                return error.to_string();
            }
        }
    }
}

fn parse(text: &str) -> anyhow::Result<Packet> {
    let packet = match (text, text.get(..2).unwrap_or_default()) {
        ("2", _) => Packet::Ping,
        (_, "40") => {
            let body: Value = serde_json::from_str(&text[2..])?;
            Packet::Connected { pid: body["pid"].as_str().context("no pid")?.to_owned() }
        }
        (_, "44") => Packet::Refused(serde_json::from_str(&text[2..])?),
        (_, "41") => Packet::Disconnected,
        (_, "42") => {
            let mut arguments: Vec<Value> = serde_json::from_str(&text[2..])?;
            let offset = arguments.last().and_then(Value::as_str).map(str::to_owned);
            let payload = if arguments.len() > 1 { arguments.swap_remove(1) } else { Value::Null };
            let name = arguments.first().and_then(Value::as_str).context("an event without a name")?.to_owned();
            Packet::Event { name, payload, offset }
        }
        (_, "43") => {
            let start = text.find('[').context("an acknowledgement without arguments")?;
            let [answer]: [Value; 1] = serde_json::from_str(&text[start..])?;
            Packet::Ack { id: text[2..start].parse()?, answer }
        }
        _ => Packet::Other,
    };
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_string_of_an_event_is_its_offset() {
        let Packet::Event { name, payload, offset } = parse(r#"42["a",{"b":1},"5-0.R"]"#).unwrap() else { panic!() };
        assert_eq!((name.as_str(), &payload["b"], offset.as_deref()), ("a", &Value::from(1), Some("5-0.R")));
        let Packet::Event { offset, .. } = parse(r#"42["server:tick","6-0.R"]"#).unwrap() else { panic!() };
        assert_eq!(offset.as_deref(), Some("6-0.R"));
        let Packet::Event { offset, .. } = parse(r#"42["a",{"b":1}]"#).unwrap() else { panic!() };
        assert_eq!(offset, None);
    }

    #[test]
    fn an_acknowledgement_has_its_id() {
        let Packet::Ack { id, answer } = parse(r#"4317[{"success":true}]"#).unwrap() else { panic!() };
        assert_eq!((id, answer["success"].as_bool()), (17, Some(true)));
    }
}
