//! Lowest possible cost of a relay: the relay script with a plain subscription, and a plain
//! WebSocket echo. A relayed message crosses one WebSocket to the sender's node and one from the
//! receiver's node. No step parses, authorizes, resumes or acknowledges.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use redis::cmd;
use switchboard_core::domain::RoomId;
use switchboard_core::wire::EventKind;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::{Hashes, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::channel;
use tokio::time::timeout;

use super::LoadArgs;
use super::fleet::NOT_STARTED;
use super::run::Run;
use super::target::Target;
use crate::client::socket::{Frame, SendBuffer, Socket};
use crate::measure::pacer::Pacer;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::measure::timestamp;

const SCRIPT: &str = "script and subscription";
const ECHO: &str = "WebSocket echo";
/// Time limit of one script with its message, and of one echo. Slow results are allowed; missing
/// results fail.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Lifetime of the written log entries in Redis, in milliseconds.
const LOG_WINDOW_MS: u32 = 10_000;

/// Command-line arguments of `baseline`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Messages per second.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// Bytes per SDP.
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("baseline", &settings.load, target);
    run.add_setting("rate", format!("{}/s", settings.rate));
    run.add_setting("bytes", settings.bytes);
    let redis = target.redis.as_deref().context("the baseline scenario needs the address of Redis: set --redis")?;
    let mut relay = BareRelay::open(redis).await?;
    let mut echo = EchoClient::open().await?;
    let (sender, mut started) = channel(1);
    let (meter, late) = (run.meter.handle(0), run.meter.handle(0));
    let pacer = Pacer::start(&run.meter, Schedule::new(settings.rate, Arrivals::Even), move |_, intended| {
        // One operation at a time, because the baseline is that of an unloaded pair.
        if sender.try_send(intended).is_err() {
            late.count(NOT_STARTED, intended);
        }
    });
    let bytes = settings.bytes;
    let task = tokio::spawn(async move {
        while let Some(intended) = started.recv().await {
            let body = timestamp::body(intended, bytes);
            if timeout(OPERATION_TIMEOUT, relay.run(&body)).await.is_ok_and(|relayed| relayed.is_ok()) {
                meter.record_since(SCRIPT, intended);
            }
            let since = meter.now();
            if timeout(OPERATION_TIMEOUT, echo.echo(&body)).await.is_ok_and(|echoed| echoed.is_ok()) {
                meter.record(ECHO, intended, meter.now() - since);
            }
        }
    });
    run.measure(SCRIPT).await;
    drop(pacer);
    run.wait_task(task).await;

    let mut summary = run.finish(&[SCRIPT, ECHO]);
    let sum = summary.latencies.iter().map(|latency| latency.p50).sum();
    summary.add_figure("baseline: sum of both medians", sum, "ms");
    summarize(&mut summary);
    Ok(summary)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary) {
    let completed = summary.latencies.first().map_or(0, |latency| latency.count);
    summary.add_figure(PER_SECOND, completed as f64 / summary.seconds, "relays/s");
}

/// Two plain connections to Redis: one runs the relay script, the other subscribes to its channel.
struct BareRelay {
    commands: TcpStream,
    messages: TcpStream,
    /// Arguments of the script before the operation's number.
    prefix: Vec<String>,
    number: u64,
}

impl BareRelay {
    /// Creates a room of two participants under its own key prefix; its keys expire.
    async fn open(address: &str) -> anyhow::Result<Self> {
        let keys = Keys::new(&format!("baseline-{:08x}", rand::random::<u32>()), 1);
        let room = RoomId::parse("BASELINE").map_err(|_| anyhow::anyhow!("the room id is malformed"))?;
        let p = keys.partition_of(&room);
        let (hash, log) = (keys.room(p, &room), keys.log(p, &room));
        let mut redis = redis::Client::open(format!("redis://{address}"))?.get_multiplexed_async_connection().await?;
        for (field, seat) in
            [("s:a", "connected 1 baseline 1 guest 0-1 x u"), ("s:b", "connected 1 baseline 2 guest 0-1 y v")]
        {
            cmd("HSET").arg(&hash).arg(field).arg(seat).exec_async(&mut redis).await?;
        }
        cmd("EXPIRE").arg(&hash).arg(600).exec_async(&mut redis).await?;
        cmd("SCRIPT").arg("LOAD").arg(Script::Relay.source()).exec_async(&mut redis).await?;
        let window = LOG_WINDOW_MS.to_string();
        let hashes = Hashes::compute();
        let prefix = ["EVALSHA", hashes.of(Script::Relay), "2", &hash, &log, &keys.channels(p), room.as_str(), &window];
        let prefix = prefix.into_iter().chain(["10000", "a", "1"]).map(str::to_owned).collect();
        let mut messages = TcpStream::connect(address).await?;
        messages.set_nodelay(true)?;
        messages.write_all(&encode_command(&["SSUBSCRIBE", &keys.channel(p, "baseline")])).await?;
        read_until(&mut messages, b":1\r\n").await?;
        let commands = TcpStream::connect(address).await?;
        commands.set_nodelay(true)?;
        Ok(Self { commands, messages, prefix, number: 0 })
    }

    /// Runs one relay and waits for its message, then reads the script's reply.
    async fn run(&mut self, sdp: &str) -> anyhow::Result<()> {
        self.number += 1;
        let number = self.number.to_string();
        let event = format!(r#""webrtc:offer",{{"from":"a","to":"b","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#);
        let event = EventKind::Offer.prefix(&event);
        let mut parts: Vec<&str> = self.prefix.iter().map(String::as_str).collect();
        parts.extend([number.as_str(), "b", &event]);
        self.commands.write_all(&encode_command(&parts)).await?;
        read_until(&mut self.messages, b"}}\r\n").await?;
        let reply = read_until(&mut self.commands, b"\r\n").await?;
        ensure!(reply.starts_with(b"*2\r\n$2\r\nOK"), "the relay script returned an error");
        Ok(())
    }
}

/// Encodes a Redis command in RESP.
fn encode_command(parts: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
    bytes
}

/// Reads until the received bytes end with `end`.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    while !bytes.ends_with(end) {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("Redis closed the connection");
        }
    }
    Ok(bytes)
}

/// A WebSocket to an echo server on another thread.
struct EchoClient {
    socket: Socket,
    send_buffer: SendBuffer,
}

impl EchoClient {
    async fn open() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // The thread ends with the socket.
        std::thread::spawn(move || runtime.block_on(serve(listener)));
        Ok(Self { socket: Socket::open(&address, "/").await?, send_buffer: SendBuffer::default() })
    }

    async fn echo(&mut self, text: &str) -> anyhow::Result<()> {
        self.send_buffer.text(text);
        self.send_buffer.flush(&self.socket).await?;
        loop {
            while let Some(frame) = self.socket.frame()? {
                if frame == Frame::Text(text) {
                    return Ok(());
                }
            }
            self.socket.receive().await?;
        }
    }
}

async fn serve(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let (stream, _) = TcpListener::from_std(listener)?.accept().await?;
    stream.set_nodelay(true)?;
    let mut stream = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = stream.next().await {
        let message = message?;
        if message.is_text() {
            stream.send(message).await?;
        }
    }
    Ok(())
}
