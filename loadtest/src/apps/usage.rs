//! Usage of an app while pods are killed: calls with joins, reloads, lost clients and leaves, and
//! the comparison of `GET /api/admin/apps/{id}/usage` with what the clients did.
//!
//! Each call has one participant whose node is never killed. It is there from the first moment to
//! the last, and writes down who came and went, by the clock of Redis. So the expected figures do
//! not depend on how the other clients saw the faults.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use devcluster::cluster::{Cluster, Options};
use devcluster::service::Service;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::keeper::Keeper;
use super::ledger::Deeds;
use crate::client::app::{AppClient, operator_variable};
use crate::client::behaviour::{Behaviour, ClientEnd, Incoming, drive};
use crate::client::guest::Guest;
use crate::client::socket::SendBuffer;
use crate::print_progress;
use crate::scenario::target::host_and_port;
use crate::scenario::{count, seconds};

/// Grace period of a seat without a socket. Short, so that the seats of lost clients end within the
/// call.
const RECONNECT_GRACE_MS: u64 = 2_000;
/// Time that a killed process is away.
const DOWNTIME: Duration = Duration::from_millis(500);
/// Longest time of one call. Longer than any stay, so that only a call that hangs ends by it.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Time in which all facts must be recorded after the last call.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause before a request or a join that failed is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Calls between two lines of progress.
const PROGRESS_CALLS: u64 = 500;

/// Command-line arguments of `usage`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Number of calls.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls: u32,
    /// Calls at the same time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrent: u16,
    /// Participants of each call, besides the one that writes down who came and went.
    #[arg(long, default_value = "3", value_parser = count)]
    participants: usize,
    /// Longest stay of a participant.
    #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
    stay: Duration,
    /// Time between two kills: the api, which records, and one of the nodes, in turn.
    #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
    kill_every: Duration,
    /// Number of signal-nodes. The last one is never killed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=20))]
    nodes: u8,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Kills and their consequences.
#[derive(Debug, Default)]
struct Counts {
    api_kills: AtomicU64,
    node_kills: AtomicU64,
    sockets_lost: AtomicU64,
    joins_repeated: AtomicU64,
    calls_done: AtomicU64,
}

/// Plays all calls. Returns the text to print, and whether the usage is what the clients did.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let variable = |name: &str, value: String| (name.to_owned(), value);
    let env = vec![
        operator_variable(),
        variable("RECONNECT_GRACE_MS", RECONNECT_GRACE_MS.to_string()),
        // The client that writes down must not be moved to a node that started again.
        variable("REBALANCE", "false".to_owned()),
    ];
    let options = Options { nodes: settings.nodes.into(), haproxy: false, env, ..Options::default() };
    let mut cluster = Cluster::start(&options).await.context("cannot start a throw-away cluster")?;
    let first_day = OffsetDateTime::from(SystemTime::now()).date().to_string();
    let app = AppClient::create(&cluster.api.url(), "Usage", &json!({})).await?;
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| host_and_port(&node.url())).collect::<Result<_, _>>()?;
    let play = Arc::new(Play {
        ledger_token: app.token("ledger", "host").await?,
        tokens: app.tokens(settings.participants).await?,
        app,
        nodes,
        stay: settings.stay,
        counts: Counts::default(),
    });

    let calls = stream::iter(0..settings.calls).map(|number| Arc::clone(&play).call(number));
    let mut calls = calls.buffer_unordered(settings.concurrent.into());
    let all = async {
        let (mut deeds, mut problems) = (Deeds::default(), Vec::new());
        while let Some(call) = calls.next().await {
            match call {
                Ok(of_call) => deeds.add(of_call),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        (deeds, problems)
    };
    let (deeds, problems) = tokio::select! {
        done = all => done,
        failed = kill(&mut cluster, &play.counts, settings.kill_every) => return Err(failed),
    };
    // The last facts are recorded by a process that has seen none of them.
    for service in cluster.nodes.iter_mut().chain([&mut cluster.api]) {
        service.restart().await?;
    }
    let usage = recorded(&play.app, &first_day, deeds).await?;
    cluster.stop().await?;
    let outcome = Outcome { deeds, usage, problems };
    let text = if settings.json {
        serde_json::to_string_pretty(&outcome.json(&play.counts))?
    } else {
        outcome.table(&play.counts)
    };
    Ok((text, outcome.violations().is_empty()))
}

/// Kills the api and one of the nodes in turn, and starts them again, until it is dropped. Returns
/// the failure of a start.
async fn kill(cluster: &mut Cluster, counts: &Counts, every: Duration) -> anyhow::Error {
    let (victims, mut round) = (cluster.nodes.len() - 1, 0);
    loop {
        sleep(every).await;
        let (service, counter): (&mut Service, _) = if round % 2 == 0 {
            (&mut cluster.api, &counts.api_kills)
        } else {
            (&mut cluster.nodes[round / 2 % victims], &counts.node_kills)
        };
        let killed = async {
            service.process().kill()?;
            counter.fetch_add(1, Ordering::Relaxed);
            sleep(DOWNTIME).await;
            service.restart().await
        };
        if let Err(error) = killed.await {
            return error;
        }
        round += 1;
    }
}

/// Waits until everything that the clients did is recorded. Returns the usage then, or as it is
/// when the time is over.
async fn recorded(app: &AppClient, first_day: &str, expected: Deeds) -> anyhow::Result<Deeds> {
    let deadline = Instant::now() + RECORDING_TIMEOUT;
    loop {
        let usage = app.usage(first_day).await?;
        let figure = |name: &str| usage[name].as_u64().with_context(|| format!("the usage has no {name}"));
        let usage = Deeds {
            calls: figure("calls")?,
            joins: figure("joins")?,
            participant_ms: figure("participantMs")?,
            messages: figure("recordedMessages")?,
        };
        if usage.participant_ms >= expected.participant_ms || Instant::now() >= deadline {
            // A fact that is counted twice comes a moment later than its first time.
            sleep(Duration::from_secs(1)).await;
            if usage.participant_ms >= expected.participant_ms {
                let again = app.usage(first_day).await?["participantMs"].as_u64().unwrap_or_default();
                return Ok(Deeds { participant_ms: again, ..usage });
            }
            return Ok(usage);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// What all calls share.
struct Play {
    app: AppClient,
    /// `host:port` of each node; the last one is never killed.
    nodes: Vec<String>,
    ledger_token: String,
    tokens: Vec<String>,
    stay: Duration,
    counts: Counts,
}

impl Play {
    /// Plays one call. Returns what its clients did.
    async fn call(self: Arc<Self>, number: u32) -> anyhow::Result<Deeds> {
        let room = format!("call-{number}");
        let deeds = timeout(CALL_TIMEOUT, self.play_call(&room)).await.context("the call did not end in time");
        let done = self.counts.calls_done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS_CALLS) {
            print_progress(&format!("{done} calls"));
        }
        deeds.and_then(|deeds| deeds).with_context(|| room.clone())
    }

    async fn play_call(&self, room: &str) -> anyhow::Result<Deeds> {
        // The api may be away at this moment.
        while let Err(error) = self.app.create_call(room, &json!({ "chatRecordingEnabled": true })).await {
            if error.downcast_ref::<reqwest::Error>().is_none() && !error.to_string().contains("UNAVAILABLE") {
                return Err(error.context("creating a call"));
            }
            sleep(RETRY_PAUSE).await;
        }
        let spared = self.nodes.last().context("no nodes")?;
        let mut keeper = Keeper::join(spared, &self.ledger_token, room).await?;
        let (finish, finished) = oneshot::channel();
        let participants = async {
            let stays = (0..self.tokens.len()).map(|participant| self.participate(participant, room));
            futures_util::future::join_all(stays).await;
            // The keeper waits for this.
            let _ = finish.send(());
        };
        let (deeds, ()) = tokio::join!(keeper.keep(finished), participants);
        deeds
    }

    /// Takes part in a call for a random time. If the socket is lost, comes back or not.
    async fn participate(&self, participant: usize, room: &str) {
        let random = |most: Duration| most.mul_f64(rand::random::<f64>());
        sleep(random(self.stay / 4)).await;
        let until = Instant::now() + random(self.stay);
        let auth = json!({ "token": self.tokens[participant] });
        let fields = json!({ "roomId": room });
        loop {
            let node = &self.nodes[rand::random::<u32>() as usize % self.nodes.len()];
            match Guest::join_with(node, &auth, &fields).await {
                Ok(guest) => {
                    if stay(guest, until).await == ClientEnd::Left {
                        return;
                    }
                    self.counts.sockets_lost.fetch_add(1, Ordering::Relaxed);
                    // Half of the clients are gone for good: their seats end after the grace
                    // period.
                    if rand::random() {
                        return;
                    }
                }
                Err(_) if Instant::now() < until => {
                    self.counts.joins_repeated.fetch_add(1, Ordering::Relaxed);
                    sleep(RETRY_PAUSE).await;
                }
                Err(_) => return,
            }
        }
    }
}

/// Says one thing, stays until this time and leaves.
async fn stay(mut guest: Guest, until: Instant) -> ClientEnd {
    /// A participant who says one thing.
    struct Talker;
    impl Behaviour for Talker {
        type Command = ();
        fn on_command(&mut self, (): (), out: &mut SendBuffer) {
            out.text(r#"421["chat:message",{"message":"hello"}]"#);
        }
        fn on_message(&mut self, _: &Incoming<'_>, _: &mut SendBuffer) {}
    }
    let (commands, mut queue) = channel(1);
    // The queue is open and empty.
    let _ = commands.try_send(());
    let mut talker = Talker;
    tokio::select! {
        end = drive(&mut guest, &mut talker, &mut queue) => return end,
        () = sleep_until(until) => {}
    }
    // The client leaves when its queue closes.
    drop(commands);
    drive(&mut guest, &mut talker, &mut queue).await
}

/// Figures of a run.
struct Outcome {
    deeds: Deeds,
    usage: Deeds,
    problems: Vec<String>,
}

impl Outcome {
    /// Names of the figures, with that of the clients and that of the usage.
    fn figures(&self) -> [(&'static str, u64, u64); 4] {
        let (deeds, usage) = (&self.deeds, &self.usage);
        [
            ("calls", deeds.calls, usage.calls),
            ("joins", deeds.joins, usage.joins),
            ("recorded messages", deeds.messages, usage.messages),
            ("participant time, ms", deeds.participant_ms, usage.participant_ms),
        ]
    }

    /// One text for each guarantee that does not hold. Counts are equal. Times differ by 1 ms a
    /// stay at most, because a stay's end has its event and its fact, which Redis may give two
    /// milliseconds that follow each other.
    fn violations(&self) -> Vec<String> {
        let mut violations = self.problems.clone();
        for (name, clients, usage) in self.figures() {
            let allowed = if name.ends_with("ms") { self.deeds.joins } else { 0 };
            if clients.abs_diff(usage) > allowed {
                violations.push(format!("{name}: the clients have {clients}, the usage has {usage}"));
            }
        }
        if self.deeds.joins == 0 {
            violations.push("no client joined".to_owned());
        }
        violations
    }

    fn table(&self, counts: &Counts) -> String {
        let mut text = "| figure | clients | usage | difference |\n|---|---|---|---|\n".to_owned();
        for (name, clients, usage) in self.figures() {
            let difference = i128::from(usage) - i128::from(clients);
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "| {name} | {clients} | {usage} | {difference} |");
        }
        let [api, nodes, lost, repeated] = numbers(counts);
        let _infallible = writeln!(
            text,
            "\nkilled: the api {api} times, nodes {nodes} times; {lost} sockets lost, {repeated} joins repeated"
        );
        for violation in self.violations() {
            let _infallible = writeln!(text, "violated: {violation}");
        }
        text
    }

    fn json(&self, counts: &Counts) -> Value {
        let of = |deeds: &Deeds| {
            json!({
                "calls": deeds.calls, "joins": deeds.joins, "participantMs": deeds.participant_ms,
                "recordedMessages": deeds.messages,
            })
        };
        let [api, nodes, lost, repeated] = numbers(counts);
        json!({
            "clients": of(&self.deeds), "usage": of(&self.usage), "apiKills": api, "nodeKills": nodes,
            "socketsLost": lost, "joinsRepeated": repeated, "violations": self.violations(),
        })
    }
}

fn numbers(counts: &Counts) -> [u64; 4] {
    [&counts.api_kills, &counts.node_kills, &counts.sockets_lost, &counts.joins_repeated]
        .map(|count| count.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_be_equal_and_times_to_a_millisecond_a_stay() {
        let deeds = Deeds { calls: 2, joins: 10, participant_ms: 5_000, messages: 7 };
        let violations = |usage: Deeds| Outcome { deeds, usage, problems: Vec::new() }.violations().len();
        assert_eq!(violations(deeds), 0);
        assert_eq!(violations(Deeds { participant_ms: 5_010, ..deeds }), 0);
        assert_eq!(violations(Deeds { participant_ms: 5_011, ..deeds }), 1);
        assert_eq!(violations(Deeds { joins: 11, messages: 6, ..deeds }), 2);
        let nothing = Outcome { deeds: Deeds::default(), usage: Deeds::default(), problems: Vec::new() };
        assert_eq!(nothing.violations(), ["no client joined"]);
    }
}
