//! The fault harness: a cluster, pairs of clients that talk across nodes, one fault a round, and the audit.

mod abuse;
mod audit;
mod fault;
mod look;
mod party;
mod record;
mod report;
mod rollout;
mod stock;
mod strike;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use devcluster::cluster::{Cluster, Options};
use devcluster::kubernetes::Workload;
use devcluster::service::Service;
use tokio::time::{Instant, sleep};

pub(crate) use fault::Fault;

use crate::client::api::Host;
use crate::tell;
use party::{Party, Size, until};
use report::{Line, seconds};

/// How long a seat outlives its socket here. Less than in production, so that a round can wait for it.
const GRACE: Duration = Duration::from_secs(8);
/// The heartbeat here: a client on a paused node finds out by its silence.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Until a dead node is noticed, its seats are detached, and their grace is over, with reserve for a busy machine.
const BURIED: Duration = Duration::from_secs(30);
/// Bounds for waiting; nothing here fails for being slow, only for never coming.
const BACK: Duration = Duration::from_secs(45);
const SETTLED: Duration = Duration::from_secs(20);
/// How long anybody may be without a socket when nodes go on purpose: the client's own back-off, 1.5 s at most, and a moment.
const WITHOUT: Duration = Duration::from_secs(2);
/// Talk before and after a fault.
const TALK: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Rounds of each fault.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Signal-nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=50))]
    nodes: u8,
    /// Pairs of clients.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Events a second that each client sends.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=90))]
    rate: u32,
    /// Shorter pauses, and only the most telling faults unless some are named.
    #[arg(long)]
    short: bool,
    /// Faults to inject, by name; all when none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Shows JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs every fault's rounds; the text to show, and whether everything held.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let lines = rounds(settings).await?;
    let text = if settings.json { serde_json::to_string_pretty(&lines)? } else { report::table(&lines) };
    Ok((text, lines.iter().all(|line| line.violations.is_empty())))
}

/// One line for each fault.
async fn rounds(settings: &Settings) -> anyhow::Result<Vec<Line>> {
    let faults: Vec<Fault> = match (settings.only.as_slice(), settings.short) {
        ([], true) => Fault::TELLING.to_vec(),
        ([], false) => Fault::all().to_vec(),
        (only, _) => only.to_vec(),
    };
    let of = |masters, haproxy| {
        let wanted = |fault: &&Fault| fault.wants_redis_cluster() == (masters > 0) && fault.wants_balancer() == haproxy;
        (faults.iter().filter(wanted).copied().collect::<Vec<_>>(), masters, haproxy)
    };
    let mut lines = Vec::new();
    for (faults, masters, haproxy) in [of(0, false), of(0, true), of(3, false)] {
        if faults.is_empty() {
            continue;
        }
        let mut cluster = Cluster::start(&options(settings, masters, haproxy)?).await?;
        let host = Host::register(&cluster.base_url()).await?;
        for fault in faults {
            let mut sum = Line { fault: fault.name(), ..Line::default() };
            for index in 0..settings.rounds {
                let line = round(&mut cluster, &host, fault, index, settings).await;
                let line = line.with_context(|| format!("{}, round {}", fault.name(), index + 1))?;
                tell(&format!("{} {}/{}: {}", fault.name(), index + 1, settings.rounds, summary(&line)));
                if !line.violations.is_empty() {
                    show_logs(&mut cluster);
                }
                sum.add(line);
            }
            lines.push(sum);
        }
        cluster.stop().await?;
    }
    Ok(lines)
}

fn options(settings: &Settings, redis_masters: usize, haproxy: bool) -> anyhow::Result<Options> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let variable = |name: &str, value: String| (name.to_owned(), value);
    let mut env = vec![
        variable("RECONNECT_GRACE_MS", milliseconds(GRACE)),
        variable("PING_INTERVAL_MS", milliseconds(PING_INTERVAL)),
        variable("PING_TIMEOUT_MS", milliseconds(PING_TIMEOUT)),
        // One account makes the calls of all rounds, which may take hours.
        variable("ACCESS_TOKEN_TTL", "86400".into()),
    ];
    if haproxy {
        env.extend(Workload::read(rollout::PROFILE, "node")?.drain);
    } else {
        env.push(variable("DRAIN_DELAY_MS", "500".into()));
    }
    let nodes = settings.nodes.into();
    Ok(Options { nodes, haproxy, redis_masters, redis_replicas: 1, env, ..Options::default() })
}

/// One round: gather, talk, strike, recover, talk, audit.
async fn round(
    cluster: &mut Cluster,
    host: &Host,
    fault: Fault,
    index: usize,
    settings: &Settings,
) -> anyhow::Result<Line> {
    let mut line = Line { fault: fault.name(), rounds: 1, ..Line::default() };
    let nodes = if fault.wants_balancer() { vec![address(&cluster.base_url())] } else { addresses(cluster) };
    let victim = index % nodes.len();
    let size = Size { pairs: settings.pairs, pace: Duration::from_secs(1) / settings.rate };
    let party = Party::gather(host, &nodes, size, fault.dooms().then_some(victim)).await?;
    let gathered = Instant::now();
    sleep(TALK).await;

    let pids = processes(cluster);
    let struck = Instant::now();
    let seen = if fault.is_abuse() {
        abuse::abuse(fault, &nodes, host, settings.short).await?
    } else if fault == Fault::Rollout {
        rollout::rollout(cluster, host).await?
    } else {
        strike::strike(fault, cluster, &party, victim, settings.short).await?;
        Vec::new()
    };
    line.violations.extend(seen);
    let over = Instant::now();
    match party.answered_since(over, BACK).await {
        Some(last) => line.back = seconds(last - over),
        None => line.violations.push(format!("not everybody was back within {BACK:?}")),
    }
    sleep(TALK).await;
    let settled = party.settle(SETTLED).await;
    line.count(party.audit());
    if !settled && (line.lost == 0 || !fault.may_lose()) {
        line.violations.push("not everything was acknowledged and received in time".into());
    }
    line.told = seconds(told(&party, struck).await.unwrap_or_else(|| {
        line.violations.push("somebody was never told that a peer had vanished".into());
        Duration::ZERO
    }));
    // Only what was surely answered before the fault.
    line.p99_before = party.p99_ms(&(gathered..gathered + TALK / 2));
    line.p99_during = party.p99_ms(&(struck..over));
    line.ghosts = party.ghosts(BURIED).await?;

    line.dropped = party.sum(|record| record.dropped.len());
    line.resumed = party.sum(|record| record.resumed);
    line.fresh = party.sum(|record| record.fresh);
    line.without = party.clients().map(|client| seconds(client.record().longest_gap)).fold(0.0, f64::max);
    judge(&mut line, fault);
    let vain = party.sum(|record| record.vain);
    if fault.wants_balancer() && vain > 0 {
        line.violations.push(format!("{vain} attempts to come back came to nothing"));
    }
    // A short round runs on machines that are busy with other tests: only attempts are counted there.
    if fault.is_orderly() && !settings.short && line.without > seconds(WITHOUT) {
        line.violations.push(format!("somebody was without a socket for {} s", line.without));
    }
    line.violations.extend(party.complaints().into_iter().map(|(text, times)| format!("{text} ({times} times)")));
    if processes(cluster) != pids && !fault.restarts_nodes() {
        line.violations.push("a process ended or was started again".into());
    }
    for client in party.clients().filter(|_| !line.violations.is_empty()) {
        let record = client.record();
        let Some(why) = record.dropped.first() else { continue };
        tell(&format!("  {} lost {} sockets: {why}; refused: {:?}", client.name, record.dropped.len(), record.refused));
    }
    party.leave();
    Ok(line)
}

/// What must hold after this fault and does not.
fn judge(line: &mut Line, fault: Fault) {
    let counts = [
        ("acknowledged events lost", line.lost, !fault.may_lose()),
        ("events delivered twice", line.doubled, !fault.may_lose()),
        ("events reordered", line.reordered, true),
        ("ghosts or missing participants", line.ghosts, true),
        ("sockets lost", line.dropped, !fault.may_drop()),
        ("sessions not resumed", line.fresh, true),
    ];
    let broken = counts.into_iter().filter(|(_, count, matters)| *matters && *count > 0);
    line.violations.extend(broken.map(|(what, count, _)| format!("{count} {what}")));
}

/// How long it took until everybody in a room with somebody who vanished was told. `None`: somebody never was.
async fn told(party: &Party, struck: Instant) -> Option<Duration> {
    until(BURIED, || {
        let observed = party.doomed().flat_map(|(table, doomed)| {
            let peer = doomed.record().peer.clone();
            table.pair.iter().map(move |observer| {
                let record = observer.record();
                record.told.iter().find(|(who, _)| peer.as_deref() == Some(who)).map(|(_, when)| *when - struck)
            })
        });
        observed.collect::<Option<Vec<_>>>().map(|all| all.into_iter().max().unwrap_or_default())
    })
    .await
}

/// `host:port` of every node.
fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| address(&node.url())).collect()
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// The process ids of the nodes and the api; 0 for one that has ended.
fn processes(cluster: &mut Cluster) -> Vec<u32> {
    let id = |service: &mut Service| if service.process().exited().is_some() { 0 } else { service.id() };
    cluster.nodes.iter_mut().chain([&mut cluster.api]).map(id).collect()
}

fn show_logs(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        let log = node.process().log_tail(15);
        tell(&format!("---- {}\n{log}", node.process().name()));
    }
}

fn summary(line: &Line) -> String {
    let Line {
        acknowledged,
        lost,
        doubled,
        reordered,
        ghosts,
        dropped,
        resumed,
        fresh,
        told,
        back,
        without,
        p99_before,
        p99_during,
        violations,
        ..
    } = line;
    let verdict = if violations.is_empty() { "holds".to_owned() } else { violations.join("; ") };
    format!(
        "{acknowledged} acknowledged, {lost} lost, {doubled} doubled, {reordered} reordered, {ghosts} ghosts, {dropped} sockets lost, \
         {resumed} resumed, {fresh} fresh, told {told} s, back {back} s, without {without} s, p99 {p99_before} ms before and {p99_during} ms during it: {verdict}"
    )
}
