//! What a relay costs at the least: the same script on the same Redis with a bare subscription, and a bare WebSocket echo, since a message
//! takes a WebSocket's way once to the sender's node and once from the receiver's. Nothing parses, authorises, resumes or acknowledges.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use redis::cmd;
use switchboard_core::domain::RoomId;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::{Hashes, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::channel;
use tokio::time::timeout;

use super::Load;
use super::crowd::NOT_BEGUN;
use super::stage::Stage;
use super::target::Target;
use crate::client::socket::{Frame, Outbox, Socket};
use crate::measure::pacer::Pacer;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::stamp;
use crate::measure::threshold::PER_SECOND;

const SCRIPT: &str = "script and subscription";
const ECHO: &str = "WebSocket echo";
/// One script, its message, and an echo; nothing here fails for being slow, only for never coming.
const BOUND: Duration = Duration::from_secs(10);
/// How long what it writes stays in Redis.
const WINDOW_MS: u32 = 10_000;

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Messages a second.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// Bytes of an SDP.
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("floor", &settings.load, target);
    stage.setting("rate", format!("{}/s", settings.rate));
    stage.setting("bytes", settings.bytes);
    let redis = target.redis.as_deref().context("the floor needs the address of Redis")?;
    let mut bare = Bare::open(redis).await?;
    let mut echo = Echo::open().await?;
    let (sender, mut begun) = channel(1);
    let (pen, late) = (stage.meter.pen(0), stage.meter.pen(0));
    let pacer = Pacer::start(&stage.meter, Schedule::new(settings.rate, Arrivals::Even), move |_, meant| {
        // One at a time: this is the floor of an unloaded pair.
        if sender.try_send(meant).is_err() {
            late.count(NOT_BEGUN, meant);
        }
    });
    let bytes = settings.bytes;
    let task = tokio::spawn(async move {
        while let Some(meant) = begun.recv().await {
            let body = stamp::body(meant, bytes);
            if timeout(BOUND, bare.relay(&body)).await.is_ok_and(|relayed| relayed.is_ok()) {
                pen.time(SCRIPT, meant);
            }
            let since = pen.now();
            if timeout(BOUND, echo.echo(&body)).await.is_ok_and(|echoed| echoed.is_ok()) {
                pen.took(ECHO, meant, pen.now() - since);
            }
        }
    });
    stage.run(SCRIPT).await;
    drop(pacer);
    stage.finishing(task).await;

    let mut report = stage.report(&[SCRIPT, ECHO]);
    let floor = report.latencies.iter().map(|latency| latency.p50).sum();
    report.figure("floor: both medians", floor, "ms");
    conclude(&mut report);
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let done = report.latencies.first().map_or(0, |latency| latency.count);
    report.figure(PER_SECOND, done as f64 / report.seconds, "relays/s");
}

/// Two bare connections to Redis: one runs the relay's script, the other is subscribed to where it publishes.
struct Bare {
    commands: TcpStream,
    messages: TcpStream,
    /// The parts of the script's call before the operation's number.
    before: Vec<String>,
    number: u64,
}

impl Bare {
    /// A room of two, under a prefix of its own, that vanishes by itself.
    async fn open(address: &str) -> anyhow::Result<Self> {
        let keys = Keys::new(&format!("floor-{:08x}", rand::random::<u32>()), 1);
        let room = RoomId::parse("FLOOR").map_err(|_| anyhow::anyhow!("a room id that is none"))?;
        let p = keys.partition_of(&room);
        let (hash, log) = (keys.room(p, &room), keys.log(p, &room));
        let mut redis = redis::Client::open(format!("redis://{address}"))?.get_multiplexed_async_connection().await?;
        for (field, seat) in
            [("s:a", "connected 1 floor 1 guest 0-1 x u"), ("s:b", "connected 1 floor 2 guest 0-1 y v")]
        {
            cmd("HSET").arg(&hash).arg(field).arg(seat).exec_async(&mut redis).await?;
        }
        cmd("EXPIRE").arg(&hash).arg(600).exec_async(&mut redis).await?;
        cmd("SCRIPT").arg("LOAD").arg(Script::Relay.source()).exec_async(&mut redis).await?;
        let window = WINDOW_MS.to_string();
        let hashes = Hashes::compute();
        let before = ["EVALSHA", hashes.of(Script::Relay), "2", &hash, &log, &keys.channels(p), room.as_str(), &window];
        let before = before.into_iter().chain(["10000", "a", "1"]).map(str::to_owned).collect();
        let mut messages = TcpStream::connect(address).await?;
        messages.set_nodelay(true)?;
        messages.write_all(&call(&["SSUBSCRIBE", &keys.channel(p, "floor")])).await?;
        read_until(&mut messages, b":1\r\n").await?;
        let commands = TcpStream::connect(address).await?;
        commands.set_nodelay(true)?;
        Ok(Self { commands, messages, before, number: 0 })
    }

    /// One relay, until its message is there. The script's answer is read after that.
    async fn relay(&mut self, sdp: &str) -> anyhow::Result<()> {
        self.number += 1;
        let number = self.number.to_string();
        let event = format!(r#""webrtc:offer",{{"from":"a","to":"b","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#);
        let mut parts: Vec<&str> = self.before.iter().map(String::as_str).collect();
        parts.extend([number.as_str(), "b", &event]);
        self.commands.write_all(&call(&parts)).await?;
        read_until(&mut self.messages, b"}}\r\n").await?;
        let answer = read_until(&mut self.commands, b"\r\n").await?;
        ensure!(answer.starts_with(b"*2\r\n$2\r\nOK"), "the script refused");
        Ok(())
    }
}

/// A command as Redis reads it.
fn call(parts: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
    bytes
}

/// Reads what there is until it ends so.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    while !bytes.ends_with(end) {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("Redis closed the connection");
        }
    }
    Ok(bytes)
}

/// A WebSocket to a server on another thread that sends back what it gets.
struct Echo {
    socket: Socket,
    outbox: Outbox,
}

impl Echo {
    async fn open() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // It ends with the socket.
        std::thread::spawn(move || runtime.block_on(serve(listener)));
        Ok(Self { socket: Socket::open(&address, "/").await?, outbox: Outbox::default() })
    }

    async fn echo(&mut self, text: &str) -> anyhow::Result<()> {
        self.outbox.text(text);
        self.outbox.flush(&self.socket).await?;
        loop {
            while let Some(frame) = self.socket.frame()? {
                if frame == Frame::Text(text) {
                    return Ok(());
                }
            }
            self.socket.fill().await?;
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
