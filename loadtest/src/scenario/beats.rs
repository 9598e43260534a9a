//! Cost of an idle cluster of many nodes for one Redis, and the time until a death is noticed.
//!
//! Each simulated node does the idle work of a node, with the code of a node: heartbeats, checks
//! with canaries, its subscriptions, its address, the exchange of loads, the deadlines of its
//! partitions, pings, and the list of revoked sign-ins. Redis runs alone, with an append-only file
//! as in production.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use devcluster::redis::{RedisOptions, RedisServer};
use futures_util::future::{join, join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::cmd;
use serde::Serialize;
use switchboard_core::domain::NodeId;
use switchboard_rooms::check_turns::checked_in;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::failure_detector::{FailureDetector, PROMPT_REPLY_MAX};
use switchboard_rooms::{BeatOutcome, Bus, Group, Loads, Partition, Revocations, RoomOptions, Rooms};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::seconds;

/// Nodes that start at the same time.
const STARTS_MAX: usize = 32;
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Pings of Redis in each round.
const PINGS: usize = 2;
const ADDRESS_TTL: Duration = Duration::from_secs(6);
/// Time within which a death must be noticed.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(60);
/// Rounds of all nodes before the measurement, so that each watches living nodes.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Command-line arguments of `beats`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Simulated nodes.
    #[arg(long, default_value_t = 100, value_parser = super::count)]
    pub(crate) nodes: usize,
    /// Duration of the measurement.
    #[arg(long, default_value = "20", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) duration: Duration,
    /// Nodes that are killed after the measurement, one after the other.
    #[arg(long, default_value_t = 3)]
    pub(crate) deaths: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Result of a run.
#[derive(Debug, Serialize)]
struct Outcome {
    nodes: usize,
    /// CPU time of Redis as a share of one core.
    redis_cores: f64,
    /// Share of it in the kernel, for its connections.
    redis_kernel_cores: f64,
    commands_per_second: f64,
    /// Seconds from each death until it was declared in every group.
    noticed_after_seconds: Vec<f64>,
    /// Nodes that were declared dead and lived.
    false_deaths: usize,
}

/// Runs the simulation. Returns its result as text, and whether every death was noticed and no node
/// declared dead that lived.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let redis = RedisServer::start_with(&RedisOptions { appendonly: true, ..RedisOptions::default() }).await?;
    let url = RedisUrl::parse(&redis.url()).context("the address of Redis")?;
    let (deaths, mut declared) = mpsc::unbounded_channel();
    let starting = stream::iter(0..settings.nodes).map(|number| start_node(&url, number, deaths.clone()));
    let mut nodes: Vec<(String, JoinHandle<()>)> = starting.buffer_unordered(STARTS_MAX).try_collect().await?;
    sleep(SETTLE_TIME).await;
    let (before, started) = (Usage::read(&redis).await?, Instant::now());
    sleep(settings.duration).await;
    let (after, measured) = (Usage::read(&redis).await?, started.elapsed().as_secs_f64());
    let (mut noticed, mut false_deaths) = (Vec::new(), 0);
    let groups = usize::from(Group::count(RoomOptions::default().partitions));
    // One node must be left to notice.
    for _ in 0..settings.deaths.min(settings.nodes - 1) {
        let (name, task) = nodes.swap_remove(rand::random_range(0..nodes.len()));
        task.abort();
        let (died, mut declarations) = (Instant::now(), 0);
        // In each group, another node may be the first to notice.
        while declarations < groups {
            let dead = timeout(NOTICE_TIMEOUT, declared.recv()).await.ok().flatten();
            let dead = dead.with_context(|| format!("no node noticed the death of {name}"))?;
            if dead == name { declarations += 1 } else { false_deaths += 1 }
        }
        noticed.push(died.elapsed().as_secs_f64());
    }
    // Those declared since, and all of them when no node was killed.
    while declared.try_recv().is_ok() {
        false_deaths += 1;
    }
    let outcome = Outcome {
        nodes: settings.nodes,
        redis_cores: (after.cpu - before.cpu) / measured,
        redis_kernel_cores: (after.kernel - before.kernel) / measured,
        commands_per_second: (after.commands - before.commands) / measured,
        noticed_after_seconds: noticed,
        false_deaths,
    };
    nodes.iter().for_each(|(_, task)| task.abort());
    let text = if settings.json { serde_json::to_string_pretty(&outcome)? } else { outcome.text() };
    Ok((text, false_deaths == 0))
}

impl Outcome {
    fn text(&self) -> String {
        let noticed: Vec<String> = self.noticed_after_seconds.iter().map(|seconds| format!("{seconds:.1} s")).collect();
        format!(
            "{} nodes: Redis {:.3} cores, {:.3} of them in the kernel; {:.0} commands/s\ndeaths noticed after {}; {} \
             false deaths",
            self.nodes,
            self.redis_cores,
            self.redis_kernel_cores,
            self.commands_per_second,
            noticed.join(", "),
            self.false_deaths
        )
    }
}

/// Figures of Redis at one time.
struct Usage {
    /// CPU time in seconds.
    cpu: f64,
    kernel: f64,
    commands: f64,
}

impl Usage {
    async fn read(redis: &RedisServer) -> anyhow::Result<Self> {
        let info: String = redis.query(cmd("INFO").arg("everything")).await?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let value = info.lines().find_map(|line| line.strip_prefix(name)).context("a field of INFO")?;
            Ok(value.trim().parse()?)
        };
        let kernel = field("used_cpu_sys:")?;
        let cpu = kernel + field("used_cpu_user:")?;
        Ok(Self { cpu, kernel, commands: field("total_commands_processed:")? })
    }
}

/// Starts a node. Returns its name and its task.
async fn start_node(
    url: &RedisUrl,
    number: usize,
    deaths: mpsc::UnboundedSender<String>,
) -> anyhow::Result<(String, JoinHandle<()>)> {
    let name = format!("node-{number}-{:08x}", rand::random::<u32>());
    let (node, options) = (NodeId::parse(&name).context("the name of a node")?, RoomOptions::default());
    let rooms = Rooms::connect(url, options.clone(), node.clone()).await?;
    let bus = Bus::start(url, &options, &node, std::sync::Arc::new(|_| {})).await?;
    let task = tokio::spawn(async move {
        let _subscribed = bus;
        // The nodes of a cluster do not send their heartbeats at the same moment.
        sleep(BEAT_INTERVAL.mul_f64(rand::random())).await;
        live(&rooms, deaths).await;
    });
    Ok((name, task))
}

/// State of a node in one group.
struct GroupState {
    group: Group,
    registered: bool,
    detector: FailureDetector,
}

/// Does what an idle node does, until the task is aborted.
async fn live(rooms: &Rooms, deaths: mpsc::UnboundedSender<String>) {
    let mut groups: Vec<GroupState> = rooms
        .groups()
        .map(|group| GroupState { group, registered: false, detector: FailureDetector::default() })
        .collect();
    let (registration, revocations) = (Rooms::new_registration(), Revocations::default());
    let mut exchanged: Option<(Instant, usize)> = None;
    let mut ticks = interval(BEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for counter in 1_u64.. {
        ticks.tick().await;
        let lanes = rooms.lanes();
        let beats = groups.iter_mut().map(|state| beat(rooms, state, &registration, counter, &lanes));
        let others = async {
            // Failures show in the figures of the nodes that watch this one.
            let _announced = rooms.publish_address("127.0.0.1:9202", ADDRESS_TTL).await;
            let _pinged = join_all((0..PINGS).map(|_| rooms.ping())).await;
            let _read = revocations.refresh(rooms).await;
            if exchanged.is_none_or(|(at, nodes)| at.elapsed() >= Loads::exchange_interval(nodes)) {
                let loads = rooms.exchange_loads(counter, 0).await.unwrap_or_default();
                exchanged = Some((Instant::now(), loads.nodes.len()));
            }
        };
        let (work, ()) = join(join_all(beats), others).await;
        for (group, dead, maintained) in work {
            let (rooms, deaths) = (rooms.clone(), deaths.clone());
            tokio::spawn(async move {
                for (node, beat) in dead {
                    if rooms.sweep(group, &node, beat).await.is_ok_and(|sweep| sweep.declared) {
                        let _run_ended = deaths.send(node);
                    }
                }
                let _expired_or_later = join_all(maintained.into_iter().map(|p| rooms.expire_due(p))).await;
            });
        }
    }
}

/// Work that a heartbeat found: dead nodes, and partitions whose deadlines this node handles.
type Work = (Group, Vec<(String, switchboard_rooms::LastBeat)>, Vec<Partition>);

async fn beat(rooms: &Rooms, state: &mut GroupState, registration: &str, counter: u64, lanes: &[usize]) -> Work {
    let group = state.group;
    let partitions: Vec<Partition> = group.partitions(rooms.partitions()).collect();
    let first = usize::from(group.lead().0);
    let (sent, registers) = (Instant::now(), !state.registered);
    let due = checked_in(counter, &lanes[first..first + partitions.len()]);
    let checked = partitions.iter().zip(due).filter(|(_, due)| *due || registers);
    let checks = join_all(checked.map(|(&p, _)| rooms.check_node(p, registration, registers)));
    let (reply, _checked) = join(rooms.beat(group, counter, registers, state.detector.watched()), checks).await;
    let mut work = (group, Vec::new(), Vec::new());
    match reply {
        Ok(BeatOutcome::Beat(beat)) if sent.elapsed() <= PROMPT_REPLY_MAX => {
            state.registered = true;
            work.2 = partitions.into_iter().filter(|p| u64::from(p.0) % beat.size.max(1) == beat.rank).collect();
            work.1 = state.detector.observe(Instant::now(), beat.following);
        }
        Ok(BeatOutcome::Beat(_)) => {
            state.registered = true;
            state.detector.reset();
        }
        Ok(BeatOutcome::Swept) => state.registered = false,
        Err(_) => state.detector.reset(),
    }
    work
}
