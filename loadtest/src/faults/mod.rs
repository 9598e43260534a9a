//! Fault tests: a cluster, pairs of clients on different nodes, one fault per round, and the audit.
//!
//! | file | content |
//! |---|---|
//! | `fault` | the faults, and the effects that each may have |
//! | `fleet` | which faults run, and the clusters on which they run |
//! | `inject` | faults of nodes and of Redis |
//! | `abuse` | faults by misbehaving clients |
//! | `rollout` | rolling restart and rotation of keys, under REST load |
//! | `two_versions` | rollout of another version and rollback, with a mixed cluster in between |
//! | `client_pairs` | the clients of a round, in pairs |
//! | `reconnecting_client` | a client that reconnects and resends as the official client does |
//! | `record` | events and incidents of one client |
//! | `audit` | lost, duplicated and reordered events; pure |
//! | `conversation` | a call of two people on nodes of two versions |
//! | `observer` | a new participant that lists the participants of a room |
//! | `report` | results of a fault and their table |

mod abuse;
mod audit;
mod client_pairs;
mod conversation;
mod fault;
mod fleet;
mod inject;
mod observer;
mod reconnecting_client;
mod record;
mod report;
mod rollout;
mod two_versions;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use devcluster::cluster::Cluster;
use devcluster::service::Service;
use tokio::time::{Instant, sleep};

pub(crate) use fault::Fault;
use fleet::Fleet;

use crate::client::api::Account;
use crate::print_progress;
use client_pairs::{ClientPairs, TrafficProfile, wait_for};
use report::{FaultResult, seconds};

/// Maximum time until a dead node is detected (6 s), its seats are detached and their grace period
/// ends (8 s). The rest is a reserve for a busy machine.
const DEAD_NODE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time from the end of a fault until every client has an event acknowledged. Much longer
/// than needed, so that a slow machine does not fail a round.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(45);
/// Maximum time until all sent events are acknowledged and received. Much longer than needed, so
/// that a slow machine does not fail a round.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest allowed time without a socket when nodes stop on purpose: the client's first back-off of
/// at most 1.5 s, plus a reserve.
const PLANNED_OUTAGE_MAX: Duration = Duration::from_secs(2);
/// Longest allowed time from the moment that the Sentinels name the new master until every client
/// has an event acknowledged.
const FAILOVER_RECOVERY_MAX: Duration = Duration::from_secs(2);
/// Pairs of a round of [`Fault::Rebalance`]: nodes do not move clients for a difference of a few.
const REBALANCE_PAIRS: usize = 60;
/// Pairs of a round of [`Fault::LargeRoom`], at least. Their number is squared in the events of a
/// cut, so that more of them need a release build and a machine of their own.
const LARGE_ROOM_PAIRS: usize = 50;
/// The same at most: a room has 500 seats, and an observer takes some.
const LARGE_ROOM_PAIRS_MAX: usize = 245;
/// Pairs in a room of [`Fault::SlowLink`].
const SLOW_LINK_PAIRS_PER_ROOM: usize = 25;
/// Events per second of all clients of [`Fault::SlowLink`], at most: a third of what the link
/// carries.
const SLOW_LINK_EVENTS: u32 = 400;
/// The same for [`Fault::ScaleOut`], which is about the number of sockets.
const SCALE_OUT_EVENTS: u32 = 750;
/// Maximum resident memory of a node that serves a large room, in bytes.
const LARGE_ROOM_MEMORY_MAX: u64 = 512 << 20;
/// Duration of the traffic before a fault, and of the traffic after it.
const TRAFFIC_DURATION: Duration = Duration::from_secs(1);

/// Count of the clients that a node closed because they read too slowly.
const SLOW_CONSUMERS: &str = r#"switchboard_sockets_closed_total{reason="slow_consumer"} "#;

/// Command-line arguments of `faults`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Rounds per fault.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Number of signal-nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=50))]
    nodes: u8,
    /// Number of client pairs.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Events per second of each client.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=90))]
    rate: u32,
    /// Use shorter pauses and, unless faults are named, a selection of faults.
    #[arg(long)]
    short: bool,
    /// Faults to inject, separated by commas; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Folder of the programs `api` and `signal-node` of another version, for `two-versions`.
    #[arg(long)]
    other_programs: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs all rounds of every fault. Returns the text to print, and whether all guarantees held.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let results = run_faults(settings).await?;
    let text = if settings.json { serde_json::to_string_pretty(&results)? } else { report::table(&results) };
    Ok((text, results.iter().all(|result| result.violations.is_empty())))
}

/// Returns one result for each fault.
async fn run_faults(settings: &Settings) -> anyhow::Result<Vec<FaultResult>> {
    let mut results = Vec::new();
    for fleet in Fleet::select(settings)? {
        let mut cluster = Cluster::start(&fleet.options(settings)?).await?;
        let account = Account::register(&cluster.base_url()).await?;
        for fault in fleet.faults {
            let mut sum = FaultResult { fault: fault.name(), ..FaultResult::default() };
            for index in 0..settings.rounds {
                let result = run_round(&mut cluster, &account, fault, index, settings).await;
                if result.is_err() {
                    print_logs(&mut cluster);
                }
                let result = result.with_context(|| format!("{}, round {}", fault.name(), index + 1))?;
                print_progress(&format!(
                    "{} {}/{}: {}",
                    fault.name(),
                    index + 1,
                    settings.rounds,
                    progress_text(&result)
                ));
                if !result.violations.is_empty() {
                    print_logs(&mut cluster);
                }
                sum.add(result);
            }
            results.push(sum);
        }
        cluster.stop().await?;
    }
    Ok(results)
}

/// Runs one round: start clients, send, inject, recover, send, audit.
async fn run_round(
    cluster: &mut Cluster,
    account: &Account,
    fault: Fault,
    index: usize,
    settings: &Settings,
) -> anyhow::Result<FaultResult> {
    let mut result = FaultResult { fault: fault.name(), rounds: 1, ..FaultResult::default() };
    let nodes = if fault.needs_load_balancer() { vec![address(&cluster.base_url())] } else { addresses(cluster) };
    let victim = index % cluster.nodes.len();
    let is_large_room = fault == Fault::LargeRoom;
    inject::prepare(fault, cluster).await?;
    let vanishing = fault.has_vanishing_clients().then_some(victim);
    let joining_since = Instant::now();
    let pairs = ClientPairs::start(account, &nodes, traffic(fault, settings), vanishing).await?;
    let started_at = Instant::now();
    result.join_seconds = seconds(started_at - joining_since);
    sleep(TRAFFIC_DURATION).await;

    let pids = processes(cluster);
    let injected_at = Instant::now();
    let violations = if fault.is_abuse() {
        abuse::run(fault, &nodes, account, settings.short).await?
    } else if fault == Fault::Rollout {
        rollout::rollout(cluster, account).await?
    } else if let (Fault::TwoVersions, Some(other)) = (fault, &settings.other_programs) {
        two_versions::run(cluster, account, &pairs, other).await?
    } else if fault == Fault::KeyRotation {
        rollout::rotate_keys(cluster, account).await?
    } else {
        inject::inject(fault, cluster, &pairs, victim, settings.short).await?;
        Vec::new()
    };
    result.violations.extend(violations);
    let ended_at = Instant::now();
    match pairs.wait_acknowledged_since(ended_at, RECOVERY_TIMEOUT).await {
        Some(last) => result.recovery_seconds = seconds(last - ended_at),
        None => result.violations.push(format!("not all clients recovered within {RECOVERY_TIMEOUT:?}")),
    }
    sleep(TRAFFIC_DURATION).await;
    let settled = pairs.settle(SETTLE_TIMEOUT).await;
    result.count(pairs.audit());
    if !settled && (result.lost == 0 || !fault.may_lose_data()) {
        result.violations.push(format!("not all events were acknowledged and received within {SETTLE_TIMEOUT:?}"));
    }
    result.detection_seconds = seconds(detection_time(&pairs, injected_at).await.unwrap_or_else(|| {
        result.violations.push(format!("a client was not notified of a vanished peer within {DEAD_NODE_TIMEOUT:?}"));
        Duration::ZERO
    }));
    // The second half is left out, because the fault can delay the acknowledgement of its events.
    result.p99_before_ms = pairs.p99_ms(&(started_at..started_at + TRAFFIC_DURATION / 2));
    result.p99_during_ms = pairs.p99_ms(&(injected_at..ended_at));
    if is_large_room {
        result.violations.extend(check_large_room(cluster, &pairs).await?);
    }
    result.ghosts = pairs.ghosts(DEAD_NODE_TIMEOUT).await?;

    result.sockets_lost = pairs.sum(|record| record.socket_losses.len());
    result.resumed = pairs.sum(|record| record.resumed);
    result.new_sessions = pairs.sum(|record| record.new_sessions);
    result.longest_outage_seconds =
        pairs.clients().map(|client| seconds(client.record().longest_outage)).fold(0.0, f64::max);
    check(&mut result, fault);
    let failed_dials = pairs.sum(|record| record.failed_dials);
    if fault.needs_load_balancer() && failed_dials > 0 {
        result.violations.push(format!("{failed_dials} dials failed while reconnecting"));
    }
    // A short run shares its machine with other tests, so the length of an outage says nothing.
    if fault.is_planned() && !settings.short && result.longest_outage_seconds > seconds(PLANNED_OUTAGE_MAX) {
        result.violations.push(format!("a client had no socket for {} s", result.longest_outage_seconds));
    }
    if fault == Fault::SentinelFailover && !settings.short && result.recovery_seconds > seconds(FAILOVER_RECOVERY_MAX) {
        result.violations.push(format!("relays went on only {} s after the failover", result.recovery_seconds));
    }
    result.violations.extend(pairs.violations().into_iter().map(|(text, times)| format!("{text} ({times} times)")));
    if processes(cluster) != pids && !fault.restarts_nodes() {
        result.violations.push("a node or the api exited or restarted without being part of the fault".into());
    }
    for client in pairs.clients().filter(|_| !result.violations.is_empty()) {
        let record = client.record();
        let Some(reason) = record.socket_losses.first() else { continue };
        print_progress(&format!(
            "  {} lost {} sockets: {reason}; refused: {:?}",
            client.name,
            record.socket_losses.len(),
            record.refused
        ));
    }
    pairs.leave();
    Ok(result)
}

/// Returns the traffic of a round.
fn traffic(fault: Fault, settings: &Settings) -> TrafficProfile {
    let (mut pairs, mut rate, mut pairs_per_room) = (settings.pairs, settings.rate, 1);
    match fault {
        Fault::Rebalance => pairs = pairs.max(REBALANCE_PAIRS),
        Fault::ScaleOut => (pairs, rate) = (pairs.max(REBALANCE_PAIRS), 1),
        Fault::LargeRoom => {
            (pairs, rate) = (pairs.clamp(LARGE_ROOM_PAIRS, LARGE_ROOM_PAIRS_MAX), 1);
            pairs_per_room = pairs;
        }
        Fault::SlowLink => pairs_per_room = SLOW_LINK_PAIRS_PER_ROOM.min(pairs),
        _ => {}
    }
    // Many clients send few events each.
    let events_max = match fault {
        Fault::SlowLink => SLOW_LINK_EVENTS,
        Fault::ScaleOut => SCALE_OUT_EVENTS,
        _ => u32::MAX,
    };
    let clients = u32::try_from(2 * pairs).unwrap_or(u32::MAX);
    let send_interval = Duration::from_secs(1) / rate;
    let send_interval = send_interval.max(Duration::from_secs(1) * clients / events_max);
    TrafficProfile { pairs, send_interval, pairs_per_room, long_names: fault == Fault::LargeRoom }
}

/// Returns the violations of a large room: each participant knows all others, no client was cut off
/// because it reads slowly, and the nodes' memory is bounded.
async fn check_large_room(cluster: &mut Cluster, pairs: &ClientPairs) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    if !pairs.see_each_other(SETTLE_TIMEOUT).await {
        violations.push(format!("not every participant knows all others within {SETTLE_TIMEOUT:?}"));
    }
    for node in cluster.ports().nodes.clone() {
        let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", node.admin)).await?.text().await?;
        // The count is missing until it is above 0.
        if let Some(closed) = metrics.lines().find_map(|line| line.strip_prefix(SLOW_CONSUMERS)) {
            violations.push(format!("{closed} clients were cut off as slow consumers"));
        }
    }
    for node in &mut cluster.nodes {
        let status = std::fs::read_to_string(format!("/proc/{}/statm", node.id()))?;
        let pages: u64 = status.split(' ').nth(1).context("no resident memory")?.parse()?;
        let bytes = pages * rustix::param::page_size() as u64;
        if bytes > LARGE_ROOM_MEMORY_MAX {
            violations.push(format!("a node has {} MiB", bytes >> 20));
        }
    }
    Ok(violations)
}

/// Adds a violation for each guarantee that does not hold after this fault.
fn check(result: &mut FaultResult, fault: Fault) {
    let counts = [
        ("acknowledged events lost", result.lost, !fault.may_lose_data()),
        ("events delivered twice", result.duplicated, !fault.may_duplicate()),
        ("events reordered", result.reordered, true),
        ("ghosts or missing participants", result.ghosts, true),
        ("sockets lost", result.sockets_lost, !fault.may_lose_sockets()),
        ("sessions not resumed", result.new_sessions, true),
    ];
    let violated = counts.into_iter().filter(|(_, count, checked)| *checked && *count > 0);
    result.violations.extend(violated.map(|(name, count, _)| format!("{count} {name}")));
}

/// Time until every client that shares a room with a vanished client is notified. `None` if a
/// client is not notified within [`DEAD_NODE_TIMEOUT`].
async fn detection_time(pairs: &ClientPairs, injected_at: Instant) -> Option<Duration> {
    wait_for(DEAD_NODE_TIMEOUT, || {
        let observed = pairs.vanishing().flat_map(|(pair_room, vanishing)| {
            let peer = vanishing.record().peer_id.clone();
            pair_room.pair.iter().map(move |observer| {
                let record = observer.record();
                record
                    .reconnecting_peers
                    .iter()
                    .find(|(reconnecting, _)| peer.as_deref() == Some(reconnecting))
                    .map(|(_, at)| *at - injected_at)
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

/// Process ids of the nodes and the api; 0 for a process that exited.
fn processes(cluster: &mut Cluster) -> Vec<u32> {
    let id = |service: &mut Service| if service.process().exit_status().is_some() { 0 } else { service.id() };
    cluster.nodes.iter_mut().chain([&mut cluster.api]).map(id).collect()
}

fn print_logs(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        let log = node.process().log_tail(15);
        print_progress(&format!("---- {}\n{log}", node.process().name()));
    }
}

fn progress_text(result: &FaultResult) -> String {
    let FaultResult {
        acknowledged,
        lost,
        duplicated,
        reordered,
        ghosts,
        sockets_lost,
        resumed,
        new_sessions,
        join_seconds,
        detection_seconds,
        recovery_seconds,
        longest_outage_seconds,
        p99_before_ms,
        p99_during_ms,
        violations,
        ..
    } = result;
    let outcome = if violations.is_empty() { "passed".to_owned() } else { violations.join("; ") };
    format!(
        "{acknowledged} acknowledged, {lost} lost, {duplicated} duplicated, {reordered} reordered, {ghosts} ghosts, \
         {sockets_lost} sockets lost, {resumed} resumed, {new_sessions} new sessions, joined in {join_seconds} s, \
         detected in {detection_seconds} s, recovered in {recovery_seconds} s, longest outage {longest_outage_seconds} s, \
         p99 {p99_before_ms} ms before and {p99_during_ms} ms during the fault: {outcome}"
    )
}
