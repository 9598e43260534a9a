//! Whole calls: people come, offer to each other, answer, trickle candidates, change their media, chat, stay, and leave. Everything that
//! somebody sends is to be heard by those whom it is for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::crowd::{NOT_BEGUN, arrivals};
use super::stage::Stage;
use super::target::Target;
use super::{Load, seconds};
use crate::client::api::Host;
use crate::client::behaviour::{Behaviour, Ended, Heard, play};
use crate::client::guest::Guest;
use crate::client::socket::Outbox;
use crate::measure::meter::Pen;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::stamp;
use crate::measure::threshold::PER_SECOND;

const OFFER: &str = "offer";
const SEATED: &str = "seated";
const CALL: &str = "whole call";
const EXPECTED: &str = "messages expected";
const HEARD: &str = "messages heard";
const BEGUN: &str = "calls begun";
/// How long a step of a call may take; nothing here fails for being slow, only for never coming.
const BOUND: Duration = Duration::from_secs(10);
/// Bytes of an SDP with audio and video, and of a candidate.
const SDP: usize = 2500;
const CANDIDATE: usize = 180;

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Calls that begin in a second.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) rate: f64,
    /// How they are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// How many people are in a call: sizes and their weights.
    #[arg(long, default_value = "2:60,3:25,5:15", value_parser = Mix::parse)]
    pub(crate) mix: Mix,
    /// Candidates that each sends to each other.
    #[arg(long, default_value_t = 6)]
    pub(crate) candidates: usize,
    /// How long they stay when all is said.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) talk: Duration,
    /// Calls at the same time, beyond which none begins.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) most: usize,
}

/// Sizes of calls, and how often each comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix(Vec<(usize, u32)>);

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

    /// The size at this point of all weights laid end to end.
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
}

/// What somebody in a call is to say; to the one of this peer id, or to all.
enum Say {
    Offer(String),
    Candidate(String),
    Media,
    Chat,
}

/// Somebody in a call.
struct Member {
    pen: Pen,
    /// When the call was meant to begin: everything in it counts, or nothing.
    meant: u64,
    asked: u64,
    /// How much everybody in the call has heard, together.
    heard: watch::Sender<u64>,
}

impl Member {
    fn say(&mut self, event: &str, fields: &str, out: &mut Outbox) {
        out.text(&format!(r#"42{}["{event}",{{{fields}}}]"#, self.asked));
        self.asked += 1;
    }

    fn answer(&mut self, from: &str, out: &mut Outbox) {
        let sdp = stamp::body(self.pen.now(), SDP);
        self.say("webrtc:answer", &format!(r#""to":"{from}","answer":{{"type":"answer","sdp":"{sdp}"}}"#), out);
    }
}

impl Behaviour for Member {
    type Order = Say;

    fn told(&mut self, say: Say, out: &mut Outbox) {
        let now = self.pen.now();
        match say {
            Say::Offer(to) => {
                let sdp = stamp::body(now, SDP);
                self.say("webrtc:offer", &format!(r#""to":"{to}","offer":{{"type":"offer","sdp":"{sdp}"}}"#), out);
            }
            Say::Candidate(to) => {
                let text = stamp::body(now, CANDIDATE);
                let fields = format!(r#""to":"{to}","candidate":{{"candidate":"{text}","sdpMLineIndex":0}}"#);
                self.say("webrtc:ice-candidate", &fields, out);
            }
            Say::Media => {
                self.say("participant:update-media-state", r#""videoEnabled":true,"audioEnabled":false"#, out);
            }
            Say::Chat => self.say("chat:message", &format!(r#""message":"{}""#, stamp::body(now, 60)), out),
        }
    }

    fn heard(&mut self, heard: &Heard<'_>, out: &mut Outbox) {
        let event = match heard {
            Heard::Event(event) => event,
            Heard::Ack { answer, .. } if !answer.is_success() => return self.pen.count("refused", self.meant),
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
        if let Some(sent) = stamp::read(event.text()).filter(|_| !kind.is_empty()) {
            self.pen.took(kind, self.meant, self.pen.now().saturating_sub(sent));
        }
        if kind == OFFER {
            let payload = event.payload().unwrap_or_default();
            self.answer(payload["from"].as_str().unwrap_or_default(), out);
        }
        self.pen.count(HEARD, self.meant);
        self.heard.send_modify(|heard| *heard += 1);
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("rooms", &settings.load, target);
    stage.setting("rate", format!("{} calls/s", settings.rate));
    let mix: Vec<_> = settings.mix.0.iter().map(|(size, weight)| format!("{size}:{weight}")).collect();
    stage.setting("mix", mix.join(","));
    stage.setting("candidates", settings.candidates);
    let host = target.host.clone().context("whole calls need an api")?;
    let (nodes, meter, shape) = (Arc::clone(&target.nodes), Arc::clone(&stage.meter), settings.clone());
    let begin = move |number, meant| {
        let size = shape.mix.at(rand::random());
        let call = Call { host: host.clone(), nodes: Arc::clone(&nodes), number, size, candidates: shape.candidates };
        let (pen, talk) = (meter.pen(number), shape.talk);
        async move {
            pen.count(BEGUN, meant);
            match call.hold(talk, &pen, meant).await {
                Ok(()) => pen.time(CALL, meant),
                Err(_) => pen.count("calls failed", meant),
            }
        }
    };
    arrivals(&mut stage, Schedule::new(settings.rate, settings.arrivals), OFFER, settings.most, begin).await;

    let mut report = stage.report(&[OFFER, "answer", "candidate", "chat", SEATED, CALL]);
    conclude(&mut report);
    Ok(report)
}

/// A call that is to be held.
struct Call {
    host: Host,
    nodes: Arc<[String]>,
    number: usize,
    size: usize,
    candidates: usize,
}

/// Somebody who plays in a call.
struct Seated {
    peer: String,
    orders: Sender<Say>,
    task: JoinHandle<Ended>,
}

impl Call {
    async fn hold(&self, talk: Duration, pen: &Pen, meant: u64) -> anyhow::Result<()> {
        let room = self.host.call(self.size).await?;
        let (heard, mut watched) = watch::channel(0);
        let mut seated: Vec<Seated> = Vec::new();
        for index in 0..self.size {
            let node = &self.nodes[(self.number + index) % self.nodes.len()];
            let since = pen.now();
            let mut guest = Guest::enter(node, &room, "Caller").await?;
            pen.took(SEATED, meant, pen.now().saturating_sub(since));
            let mut member = Member { pen: pen.clone(), meant, asked: 1, heard: heard.clone() };
            let (orders, mut told) = channel(256);
            let peer = guest.peer.clone();
            let task = tokio::spawn(async move { play(&mut guest, &mut member, &mut told).await });
            seated.push(Seated { peer, orders, task });
        }
        for (index, one) in seated.iter().enumerate() {
            for (other, theirs) in seated.iter().enumerate().filter(|(other, _)| *other != index) {
                if index < other {
                    one.orders.send(Say::Offer(theirs.peer.clone())).await?;
                }
                for _ in 0..self.candidates {
                    one.orders.send(Say::Candidate(theirs.peer.clone())).await?;
                }
            }
            one.orders.send(Say::Media).await?;
            one.orders.send(Say::Chat).await?;
        }
        let directions = self.size * (self.size - 1);
        // Who comes is seen by those who were there. Then offers and answers, candidates, a media state, and a chat message.
        let said = (directions / 2 + directions + directions * self.candidates + directions * 2) as u64;
        pen.add(EXPECTED, meant, said);
        timeout(BOUND, watched.wait_for(|heard| *heard >= said)).await??;
        sleep(talk).await;
        // Who leaves is seen by those who stay.
        let all = said + (directions / 2) as u64;
        pen.add(EXPECTED, meant, all - said);
        for (left, Seated { orders, task, .. }) in (1..).zip(seated) {
            drop(orders);
            let ended = task.await?;
            anyhow::ensure!(ended == Ended::Left, "a socket was lost");
            let seen: usize = (0..left).map(|earlier| self.size - 1 - earlier).sum();
            timeout(BOUND, watched.wait_for(|heard| *heard >= said + seen as u64)).await??;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let done = report.latencies.iter().find(|latency| latency.name == CALL).map_or(0, |latency| latency.count);
    report.lost = report.count(EXPECTED).saturating_sub(report.count(HEARD))
        + report.count(BEGUN).saturating_sub(done)
        + report.count(NOT_BEGUN);
    report.figure(PER_SECOND, done as f64 / report.seconds, "calls/s");
    report.figure("heard", report.count(HEARD) as f64 / report.seconds, "messages/s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_hands_out_its_sizes_by_weight() {
        let mix = Mix::parse("2:60,3:25,5:15").unwrap();
        let count = |size| (0..1000).filter(|point| mix.at(*point) == size).count();
        assert_eq!((count(2), count(3), count(5)), (600, 250, 150));
        assert_eq!(Mix::parse("4").unwrap(), Mix(vec![(4, 1)]));
        for wrong in ["", "1:2", "2:0", "a", "2:1,,3:1"] {
            assert!(Mix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
