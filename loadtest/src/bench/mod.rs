//! Benchmark of Switchboard against Socket.IO on Node.js and against Centrifugo, and of its api
//! against Express and mongoose: the same clients, Redis, MongoDB and cores, in turn.
//!
//! Absolute figures are valid only for this machine at this time. Each round measures every
//! contender once, and the ratios compare figures of the same round. The spread of the ratios over
//! the rounds shows their reliability.
//!
//! | file | content |
//! |---|---|
//! | `contenders` | start and stop of each contender |
//! | `ratios` | ratios, their spread and the table; pure |

mod contenders;
mod ratios;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::measure::schedule::Arrivals;
use crate::measure::summary::RunSummary;
use crate::measure::threshold::{PER_SECOND, Thresholds};
use crate::print_progress;
use crate::scenario::target::{Target, TargetArgs};
use crate::scenario::{LoadArgs, baseline, idle, join, relay, rest, rooms};
use crate::size::costs::Costs;
use contenders::{Contender, TestBed};
use ratios::{Better, Column, Spread, table};

/// Joins per second, and the number of rooms, for the cost of a join.
const JOIN_RATE: f64 = 100.0;
const JOIN_ROOMS: usize = 20;
/// Offers per second of a single pair, far below any limit.
const UNLOADED_RATE: f64 = 100.0;
/// How many times longer runs at a fixed rate are measured: the kernel counts CPU time in
/// hundredths of a second, and few relays take little of it.
const FIXED_RATE_TIMES: u32 = 2;
/// Bytes of the large message of each idle client.
const LARGE_MESSAGE_BYTES: usize = 8192;

/// Command-line arguments of `bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Rounds; each measures every contender once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of each scenario.
    #[arg(long, default_value = "4", value_parser = crate::scenario::seconds, value_name = "SECONDS")]
    duration: Duration,
    /// Client pairs of the closed-loop relay.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Connections of the closed-loop reads.
    #[arg(long, default_value_t = rest::CONNECTIONS)]
    connections: usize,
    /// Idle clients. The number must be high enough that their memory exceeds the free memory that
    /// a node has at its start.
    #[arg(long, default_value_t = 4000)]
    clients: usize,
    /// Contenders to measure, separated by commas; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Write the costs of Switchboard to this file, from which `loadtest size` is built.
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
}

/// Compared metrics: name, unit, and the better direction.
pub(crate) const METRICS: [(&str, &str, Better); 23] = [
    (RELAYS, "/s", Better::More),
    (RELAY_NODES, "us", Better::Less),
    (RELAY_REDIS, "us", Better::Less),
    (FIXED_RATES[0].1, "us", Better::Less),
    (FIXED_RATES[0].2, "us", Better::Less),
    (FIXED_RATES[1].1, "us", Better::Less),
    (FIXED_RATES[1].2, "us", Better::Less),
    (ONE_PAIR, "ms", Better::Less),
    (JOIN_NODES, "us", Better::Less),
    (JOIN_REDIS, "us", Better::Less),
    (IDLE, "KiB", Better::Less),
    (IDLE_AFTER_MESSAGE, "KiB", Better::Less),
    (CALL_RATES[0].1[0], "ms", Better::Less),
    (CALL_RATES[0].1[1], "ms", Better::Less),
    (CALL_RATES[0].1[2], "ms", Better::Less),
    (CALL_RATES[0].1[3], "ms", Better::Less),
    (CALL_RATES[1].1[0], "ms", Better::Less),
    (CALL_RATES[1].1[1], "ms", Better::Less),
    (CALL_RATES[1].1[2], "ms", Better::Less),
    (CALL_RATES[1].1[3], "ms", Better::Less),
    (READS, "/s", Better::More),
    ("CPU of the service per read", "us", Better::Less),
    ("CPU of MongoDB per read", "us", Better::Less),
];
const RELAYS: &str = "relays per second, closed loop";
const RELAY_NODES: &str = "CPU of nodes per relay, closed loop";
const RELAY_REDIS: &str = "CPU of Redis per relay, closed loop";
/// Relays per second, and the metrics of their cost for the nodes and Redis. A pair makes two
/// relays of each offer: the offer and its answer.
const FIXED_RATES: [(f64, &str, &str); 2] = [
    (2_000.0, "CPU of nodes per relay, 2,000 a second", "CPU of Redis per relay, 2,000 a second"),
    (6_000.0, "CPU of nodes per relay, 6,000 a second", "CPU of Redis per relay, 6,000 a second"),
];
const JOIN_NODES: &str = "CPU of nodes per join and leave";
const JOIN_REDIS: &str = "CPU of Redis per join and leave";
const IDLE: &str = "memory of nodes per idle client";
const IDLE_AFTER_MESSAGE: &str = "the same, after a large message";
/// Whole calls that begin in a second, and their metrics in the order of [`rooms::CPU_OF_A_CALL`].
/// The lower rate is one that every contender can do; costs are those of the higher one.
const CALL_RATES: [(f64, [&str; 4]); 2] = [
    (
        10.0,
        [
            "CPU of nodes per whole call of 2.7 people, 10 a second",
            "CPU of Redis per whole call, 10 a second",
            "CPU of the api per whole call, 10 a second",
            "CPU of MongoDB per whole call, 10 a second",
        ],
    ),
    (
        40.0,
        [
            "CPU of nodes per whole call of 2.7 people, 40 a second",
            "CPU of Redis per whole call, 40 a second",
            "CPU of the api per whole call, 40 a second",
            "CPU of MongoDB per whole call, 40 a second",
        ],
    ),
];
const ONE_PAIR: &str = "median latency of an offer, one pair, unloaded";
/// The first metric of the REST reads.
const READS: &str = "authenticated reads per second, closed loop";

/// Figures of a contender, by their names in [`METRICS`].
type Figures = Vec<(&'static str, f64)>;

/// All rounds of a contender: each metric with one value per round.
#[derive(Debug, Serialize)]
struct Results {
    contender: Contender,
    metrics: Vec<(&'static str, Vec<f64>)>,
}

/// Measures all contenders in turn and returns the text to print.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<String> {
    let contenders = if settings.only.is_empty() { installed_contenders() } else { settings.only.clone() };
    let mut test_bed = TestBed::start(2).await?;
    let mut results: Vec<_> =
        contenders.iter().map(|contender| Results { contender: *contender, metrics: Vec::new() }).collect();
    for round in 1..=settings.rounds {
        for (contender, column) in contenders.iter().zip(&mut results) {
            let target =
                test_bed.switch_to(*contender).await.with_context(|| format!("cannot start {}", contender.name()))?;
            let figures = measure(settings, *contender, &target).await.with_context(|| contender.name())?;
            let shown: Vec<_> = figures.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
            print_progress(&format!("round {round}/{}: {}: {}", settings.rounds, contender.name(), shown.join("; ")));
            for (name, value) in figures {
                match column.metrics.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => values.push(value),
                    None => column.metrics.push((name, vec![value])),
                }
            }
        }
    }
    test_bed.stop().await?;
    if let Some(file) = &settings.costs {
        let ours =
            results.iter().find(|it| it.contender == Contender::Switchboard).context("--costs needs Switchboard")?;
        std::fs::write(file, costs(ours)?.to_json()?)?;
    }
    if settings.json {
        return Ok(serde_json::to_string_pretty(&results)?);
    }
    let columns = results.iter().map(|it| Column {
        name: it.contender.name(),
        is_baseline: it.contender == Contender::Baseline,
        metrics: &it.metrics,
    });
    Ok(table(&columns.collect::<Vec<_>>()))
}

/// Returns all contenders that are installed, and says which are not.
fn installed_contenders() -> Vec<Contender> {
    let (installed, others): (Vec<_>, Vec<_>) = Contender::ALL.into_iter().partition(|it| it.is_installed());
    for contender in others {
        print_progress(&format!("{} is left out, because it is not installed", contender.name()));
    }
    installed
}

/// Returns the medians of the rounds as costs.
fn costs(results: &Results) -> anyhow::Result<Costs> {
    let median = |name: &str| {
        let values = results.metrics.iter().find(|(known, _)| *known == name).map(|(_, values)| values.iter().copied());
        values.and_then(Spread::of).map(|spread| spread.median).with_context(|| format!("no figure: {name}"))
    };
    let people = rooms::Mix::default().mean();
    let [_, _, api, mongodb] = CALL_RATES[1].1;
    Ok(Costs {
        relay_nodes_micros: median(RELAY_NODES)?,
        relay_redis_micros: median(RELAY_REDIS)?,
        join_nodes_micros: median(JOIN_NODES)?,
        join_redis_micros: median(JOIN_REDIS)?,
        participant_api_micros: median(api)? * 1e3 / people,
        participant_mongodb_micros: median(mongodb)? * 1e3 / people,
    })
}

/// Measures all metrics of a contender.
async fn measure(settings: &Settings, contender: Contender, target: &Target) -> anyhow::Result<Figures> {
    match contender {
        Contender::Switchboard => {
            let mut figures = measure_sockets(settings, target).await?;
            figures.extend(measure_calls(settings, target).await?);
            figures.extend(measure_reads(settings, target).await?);
            Ok(figures)
        }
        Contender::Centrifugo | Contender::RedisAdapter | Contender::StreamsAdapter => {
            measure_sockets(settings, target).await
        }
        Contender::Express => {
            let mut figures = measure_calls(settings, target).await?;
            figures.extend(measure_reads(settings, target).await?);
            Ok(figures)
        }
        Contender::Baseline => measure_baseline(settings, target).await,
    }
}

/// Measures the latency of the baseline.
async fn measure_baseline(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let load = load_args(settings.duration);
    let baseline = baseline::Settings { load, rate: UNLOADED_RATE, bytes: 1024 };
    let summary = baseline::run(&baseline, target).await?;
    Ok(vec![(ONE_PAIR, summary.latencies.iter().map(|latency| latency.p50).sum())])
}

/// Measures throughput and cost of authenticated reads.
async fn measure_reads(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let rest = rest::Settings {
        load: load_args(settings.duration),
        rate: None,
        arrivals: Arrivals::Even,
        path: rest::PROFILE.to_owned(),
        max_concurrent: settings.connections,
        connections: settings.connections,
    };
    let summary = require_no_loss(rest::run(&rest, target).await?)?;
    let values = [PER_SECOND, rest::CPU_OF_API, rest::CPU_OF_MONGO].map(|name| figure(&summary, name));
    let names = METRICS.iter().map(|(name, ..)| *name).skip_while(|name| *name != READS);
    Ok(names.zip(values).collect())
}

/// Measures the cost of a whole call, begun, held and ended.
async fn measure_calls(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let mut figures = Vec::new();
    for (rate, names) in CALL_RATES {
        let rooms = rooms::Settings {
            load: load_args(settings.duration * FIXED_RATE_TIMES),
            rate,
            arrivals: Arrivals::Even,
            mix: rooms::Mix::default(),
            candidates: 6,
            stay: Duration::from_secs(1),
            max_concurrent: 2_000,
        };
        if let Some(summary) = within_capacity(rooms::run(&rooms, target).await?) {
            figures.extend(names.into_iter().zip(rooms::CPU_OF_A_CALL.map(|(name, _)| figure(&summary, name))));
        }
    }
    Ok(figures)
}

/// Measures throughput, latency and cost of sockets.
async fn measure_sockets(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let load = load_args(settings.duration);
    let pairs = relay::Settings {
        load: load.clone(),
        pairs: settings.pairs,
        rate: None,
        arrivals: Arrivals::Even,
        bytes: 1024,
        in_flight: 1,
        background_rooms: 0,
    };
    let one = relay::Settings { pairs: 1, rate: Some(UNLOADED_RATE), ..pairs.clone() };
    let join = join::Settings {
        load: load.clone(),
        rate: JOIN_RATE,
        arrivals: Arrivals::Even,
        rooms: JOIN_ROOMS,
        stay: Duration::from_secs(1),
        max_concurrent: 10_000,
    };
    let idle = idle::Settings { load, clients: settings.clients, room_size: 2, large_message: LARGE_MESSAGE_BYTES };
    // Memory comes first, because the servers have not done any other work yet.
    let idle = require_no_loss(idle::run(&idle, target).await?)?;
    let closed_loop = require_no_loss(relay::run(&pairs, target).await?)?;
    let one = require_no_loss(relay::run(&one, target).await?)?;
    let join = require_no_loss(join::run(&join, target).await?)?;
    let offer = one.latencies.iter().find(|latency| latency.name == relay::OFFER).map_or(f64::NAN, |it| it.p50);
    let mut figures = vec![
        (RELAYS, figure(&closed_loop, PER_SECOND)),
        (RELAY_NODES, figure(&closed_loop, relay::CPU_OF_NODES)),
        (RELAY_REDIS, figure(&closed_loop, relay::CPU_OF_REDIS)),
        (ONE_PAIR, offer),
        (JOIN_NODES, figure(&join, relay::CPU_OF_NODES)),
        (JOIN_REDIS, figure(&join, relay::CPU_OF_REDIS)),
        (IDLE, figure(&idle, idle::IDLE)),
        (IDLE_AFTER_MESSAGE, figure(&idle, idle::IDLE_AFTER_MESSAGE)),
    ];
    for (relays, nodes, redis) in FIXED_RATES {
        let load = load_args(settings.duration * FIXED_RATE_TIMES);
        let fixed = relay::Settings { load, rate: Some(relays / 2.0), ..pairs.clone() };
        if let Some(fixed) = within_capacity(relay::run(&fixed, target).await?) {
            figures.push((nodes, figure(&fixed, relay::CPU_OF_NODES)));
            figures.push((redis, figure(&fixed, relay::CPU_OF_REDIS)));
        }
    }
    Ok(figures)
}

fn figure(summary: &RunSummary, name: &str) -> f64 {
    summary.figure_of(name).unwrap_or(f64::NAN)
}

/// Returns the summary if it has no losses; a contender that loses messages is not comparable.
fn require_no_loss(summary: RunSummary) -> anyhow::Result<RunSummary> {
    let violations = Thresholds::default().violations(&summary);
    anyhow::ensure!(violations.is_empty(), "{}: {}", summary.scenario, violations.join("; "));
    Ok(summary)
}

/// Returns the summary of a run at a fixed rate if it has no losses. A rate that a contender cannot
/// do has empty cells, and its other figures stay comparable.
fn within_capacity(summary: RunSummary) -> Option<RunSummary> {
    require_no_loss(summary).inspect_err(|loss| print_progress(&format!("left out, beyond capacity: {loss}"))).ok()
}

fn load_args(duration: Duration) -> LoadArgs {
    LoadArgs {
        target: TargetArgs::default(),
        duration,
        // Long enough for the JIT compiler of Node.js.
        warm_up: Duration::from_secs(2),
        threads: 1,
        thresholds: Thresholds::default(),
        json: false,
        html: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_reads_come_after_metrics_of_sockets() {
        let at = METRICS.iter().position(|(name, ..)| *name == READS).unwrap();
        assert_eq!(METRICS.len() - at, 3);
        assert!(METRICS[at + 1..].iter().all(|(name, unit, _)| name.contains("read") && *unit == "us"));
    }

    #[test]
    fn each_metric_has_its_own_name() {
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), METRICS.len());
    }
}
