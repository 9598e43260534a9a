//! Complete calls: clients join, exchange offers, answers and ICE candidates, change their media
//! state, chat, stay and leave. Every event must reach each of its recipients.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::fleet::{NOT_STARTED, arrivals};
use super::relay::{CPU_OF_NODES, CPU_OF_REDIS};
use super::rest::{CPU_OF_API, CPU_OF_MONGO};
use super::run::Run;
use super::target::Target;
use super::{LoadArgs, seconds};
use crate::client::api::Account;
use crate::client::behaviour::{Behaviour, ClientEnd, Incoming, drive};
use crate::client::guest::Guest;
use crate::client::socket::SendBuffer;
use crate::measure::meter::MeterHandle;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::measure::timestamp;

const OFFER: &str = "offer";
const SEATED: &str = "seated";
const COMPLETE_CALL: &str = "complete call";
const EXPECTED: &str = "messages expected";
const RECEIVED: &str = "messages received";
const STARTED: &str = "calls started";
/// Figures of a whole call, and the processes whose CPU they count.
pub(crate) const CPU_OF_A_CALL: [(&str, &str); 4] =
    [(CPU_OF_NODES, "node"), (CPU_OF_REDIS, "redis"), (CPU_OF_API, "api"), (CPU_OF_MONGO, "mongo")];
/// Time limit of one step of a call. Slow steps are allowed; missing events fail.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an SDP with audio and video, and of a candidate.
const SDP_BYTES: usize = 2500;
const CANDIDATE_BYTES: usize = 180;

/// Command-line arguments of `rooms`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Calls started per second.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) rate: f64,
    /// Distribution of the calls over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Sizes of the calls and their weights, as SIZE:WEIGHT separated by commas.
    #[arg(long, default_value = "2:60,3:25,5:15", value_parser = Mix::parse)]
    pub(crate) mix: Mix,
    /// Candidates that each client sends to each other client.
    #[arg(long, default_value_t = 6)]
    pub(crate) candidates: usize,
    /// Time that the clients stay after the last message.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) stay: Duration,
    /// Concurrent calls above which no call starts.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) max_concurrent: usize,
}

/// Sizes of calls with their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix(Vec<(usize, u32)>);

impl Default for Mix {
    /// Calls of 2.7 people on average.
    fn default() -> Self {
        Self(vec![(2, 60), (3, 25), (5, 15)])
    }
}

impl Mix {
    fn parse(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (size, weight) = part.split_once(':').unwrap_or((part, "1"));
            let size = size.parse().ok().filter(|size| (2..=100).contains(size));
            let weight = weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight));
            size.zip(weight).ok_or_else(|| format!("{part:?} is not SIZE:WEIGHT with a size from 2 to 100"))
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the size for a point on the line of all weights; points beyond the total wrap
    /// around.
    fn at(&self, point: u32) -> usize {
        let mut rest = point % self.total();
        for (size, weight) in &self.0 {
            if rest < *weight {
                return *size;
            }
            rest -= weight;
        }
        self.0[0].0
    }

    fn total(&self) -> u32 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// Average size.
    pub(crate) fn mean(&self) -> f64 {
        let people: f64 = self.0.iter().map(|(size, weight)| f64::from(*weight) * *size as f64).sum();
        people / f64::from(self.total())
    }
}

/// Action of a client; the text is the recipient's peer id.
enum Action {
    Offer(String),
    Candidate(String),
    Media,
    Chat,
}

/// A client in a call.
struct Participant {
    meter: MeterHandle,
    /// Intended start of the call; all its events are recorded under this time.
    intended: u64,
    next_id: u64,
    /// Number of events that all clients of the call received together.
    received: watch::Sender<u64>,
}

impl Participant {
    fn emit(&mut self, event: &str, fields: &str, out: &mut SendBuffer) {
        out.text(&format!(r#"42{}["{event}",{{{fields}}}]"#, self.next_id));
        self.next_id += 1;
    }

    fn answer(&mut self, from: &str, out: &mut SendBuffer) {
        let sdp = timestamp::body(self.meter.now(), SDP_BYTES);
        self.emit("webrtc:answer", &format!(r#""to":"{from}","answer":{{"type":"answer","sdp":"{sdp}"}}"#), out);
    }
}

impl Behaviour for Participant {
    type Command = Action;

    fn on_command(&mut self, action: Action, out: &mut SendBuffer) {
        let now = self.meter.now();
        match action {
            Action::Offer(to) => {
                let sdp = timestamp::body(now, SDP_BYTES);
                self.emit("webrtc:offer", &format!(r#""to":"{to}","offer":{{"type":"offer","sdp":"{sdp}"}}"#), out);
            }
            Action::Candidate(to) => {
                let text = timestamp::body(now, CANDIDATE_BYTES);
                let fields = format!(r#""to":"{to}","candidate":{{"candidate":"{text}","sdpMLineIndex":0}}"#);
                self.emit("webrtc:ice-candidate", &fields, out);
            }
            Action::Media => {
                self.emit("participant:update-media-state", r#""videoEnabled":true,"audioEnabled":false"#, out);
            }
            Action::Chat => self.emit("chat:message", &format!(r#""message":"{}""#, timestamp::body(now, 60)), out),
        }
    }

    fn on_message(&mut self, message: &Incoming<'_>, out: &mut SendBuffer) {
        let event = match message {
            Incoming::Event(event) => event,
            Incoming::Ack { reply, .. } if !reply.is_success() => return self.meter.count("refused", self.intended),
            _ => return,
        };
        let kind = match event.name() {
            "webrtc:offer" => OFFER,
            "webrtc:answer" => "answer",
            "webrtc:ice-candidate" => "candidate",
            "chat:message" => "chat",
            "participant:media-state-changed" | "room:user-joined" | "room:user-left" => "",
            _ => return,
        };
        if let Some(sent) = timestamp::read(event.text()).filter(|_| !kind.is_empty()) {
            self.meter.record(kind, self.intended, self.meter.now().saturating_sub(sent));
        }
        if kind == OFFER {
            let payload = event.payload().unwrap_or_default();
            self.answer(payload["from"].as_str().unwrap_or_default(), out);
        }
        self.meter.count(RECEIVED, self.intended);
        self.received.send_modify(|received| *received += 1);
    }
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("rooms", &settings.load, target);
    run.add_setting("rate", format!("{} calls/s", settings.rate));
    let mix: Vec<_> = settings.mix.0.iter().map(|(size, weight)| format!("{size}:{weight}")).collect();
    run.add_setting("mix", mix.join(","));
    run.add_setting("candidates", settings.candidates);
    let account = target.account.clone().context("the rooms scenario needs an api: set --api")?;
    let (nodes, meter, settings) = (Arc::clone(&target.nodes), Arc::clone(&run.meter), settings.clone());
    let start_call = move |number, intended| {
        let size = settings.mix.at(rand::random());
        let call =
            Call { account: account.clone(), nodes: Arc::clone(&nodes), number, size, candidates: settings.candidates };
        let (meter, stay) = (meter.handle(number), settings.stay);
        async move {
            meter.count(STARTED, intended);
            match call.run(stay, &meter, intended).await {
                Ok(()) => meter.record_since(COMPLETE_CALL, intended),
                Err(_) => meter.count("calls failed", intended),
            }
        }
    };
    arrivals(&mut run, Schedule::new(settings.rate, settings.arrivals), OFFER, settings.max_concurrent, start_call)
        .await;

    let mut summary = run.finish(&[OFFER, "answer", "candidate", "chat", SEATED, COMPLETE_CALL]);
    summarize(&mut summary);
    Ok(summary)
}

/// A call to run.
struct Call {
    account: Account,
    nodes: Arc<[String]>,
    number: usize,
    size: usize,
    candidates: usize,
}

/// A seated client whose task is running.
struct RunningClient {
    peer_id: String,
    commands: Sender<Action>,
    task: JoinHandle<ClientEnd>,
}

impl Call {
    async fn run(&self, stay: Duration, meter: &MeterHandle, intended: u64) -> anyhow::Result<()> {
        let room = self.account.create_call(self.size).await?;
        let (received, mut watched) = watch::channel(0);
        let mut clients: Vec<RunningClient> = Vec::new();
        for index in 0..self.size {
            let node = &self.nodes[(self.number + index) % self.nodes.len()];
            let since = meter.now();
            let mut guest = Guest::join(node, &room, "Caller").await?;
            meter.record(SEATED, intended, meter.now().saturating_sub(since));
            let mut participant =
                Participant { meter: meter.clone(), intended, next_id: 1, received: received.clone() };
            let (commands, mut receiver) = channel(256);
            let peer_id = guest.peer_id.clone();
            let task = tokio::spawn(async move { drive(&mut guest, &mut participant, &mut receiver).await });
            clients.push(RunningClient { peer_id, commands, task });
        }
        for (index, client) in clients.iter().enumerate() {
            for (other, peer) in clients.iter().enumerate().filter(|(other, _)| *other != index) {
                if index < other {
                    client.commands.send(Action::Offer(peer.peer_id.clone())).await?;
                }
                for _ in 0..self.candidates {
                    client.commands.send(Action::Candidate(peer.peer_id.clone())).await?;
                }
            }
            client.commands.send(Action::Media).await?;
            client.commands.send(Action::Chat).await?;
        }
        let directions = self.size * (self.size - 1);
        // Each join is seen by the clients that are already there. Then come offers and answers,
        // candidates, one media state and one chat message per client.
        let sent_before_leave = (directions / 2 + directions + directions * self.candidates + directions * 2) as u64;
        meter.add(EXPECTED, intended, sent_before_leave);
        timeout(STEP_TIMEOUT, watched.wait_for(|received| *received >= sent_before_leave)).await??;
        sleep(stay).await;
        // Each leave is seen by the clients that stay.
        let all = sent_before_leave + (directions / 2) as u64;
        meter.add(EXPECTED, intended, all - sent_before_leave);
        for (left, RunningClient { commands, task, .. }) in (1..).zip(clients) {
            drop(commands);
            let ended = task.await?;
            anyhow::ensure!(ended == ClientEnd::Left, "a socket was lost during the call");
            let seen: usize = (0..left).map(|earlier| self.size - 1 - earlier).sum();
            timeout(STEP_TIMEOUT, watched.wait_for(|received| *received >= sent_before_leave + seen as u64)).await??;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary) {
    let completed =
        summary.latencies.iter().find(|latency| latency.name == COMPLETE_CALL).map_or(0, |latency| latency.count);
    summary.lost = summary.count(EXPECTED).saturating_sub(summary.count(RECEIVED))
        + summary.count(STARTED).saturating_sub(completed)
        + summary.count(NOT_STARTED);
    summary.add_figure(PER_SECOND, completed as f64 / summary.seconds, "calls/s");
    summary.add_figure("received", summary.count(RECEIVED) as f64 / summary.seconds, "messages/s");
    for (name, process) in CPU_OF_A_CALL {
        let cpu = summary.cpu_of(process);
        if cpu > 0.0 && completed > 0 {
            summary.add_figure(name, cpu * 1e3 / completed as f64, "ms/call");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_parsed_and_gives_sizes_in_proportion_to_weights() {
        let mix = Mix::parse("2:60,3:25,5:15").unwrap();
        let count = |size| (0..1000).filter(|point| mix.at(*point) == size).count();
        assert_eq!((count(2), count(3), count(5)), (600, 250, 150));
        assert_eq!(Mix::parse("4").unwrap(), Mix(vec![(4, 1)]));
        for wrong in ["", "1:2", "2:0", "a", "2:1,,3:1"] {
            assert!(Mix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
