//! Switchboard beside Socket.IO on Node.js, and its api beside Express and mongoose: the same clients, the same Redis and MongoDB, the
//! same cores, in turn.
//!
//! Absolute figures are those of this machine at this moment. Each round measures every side once, and its ratios compare what stood side
//! by side; their spread over the rounds says how far to believe them.

mod ratios;
mod sides;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::measure::report::Report;
use crate::measure::schedule::Arrivals;
use crate::measure::threshold::{PER_SECOND, Thresholds};
use crate::scenario::target::{Target, TargetArgs};
use crate::scenario::{Load, floor, idle, join, relay, rest};
use crate::tell;
use ratios::{Better, Column, table};
use sides::{Side, Stand};

/// People a second, and the rooms they come into, for what a join costs.
const JOINS: f64 = 100.0;
const ROOMS: usize = 20;
/// Offers a second of the one pair: far from any limit.
const UNLOADED: f64 = 100.0;
/// Bytes of the message that each idle client sends once.
const LARGE: usize = 8192;

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Rounds; each measures every side once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each scenario measures.
    #[arg(long, default_value = "4", value_parser = crate::scenario::seconds, value_name = "SECONDS")]
    duration: Duration,
    /// Pairs of clients that relay as fast as it goes.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Connections that read as fast as it goes.
    #[arg(long, default_value_t = rest::CONNECTIONS)]
    connections: usize,
    /// Idle clients: so many that what each takes is more than what a node has free from its start.
    #[arg(long, default_value_t = 4000)]
    clients: usize,
    /// Sides to measure; all when none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Side>,
    /// Shows JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What is compared, and which way is better.
pub(crate) const METRICS: [(&str, &str, Better); 10] = [
    ("relays a second, as fast as it goes", "/s", Better::More),
    ("nodes' CPU for a relay", "us", Better::Less),
    ("Redis's CPU for a relay", "us", Better::Less),
    (ONE_PAIR, "ms", Better::Less),
    ("nodes' CPU for a join and a leave", "us", Better::Less),
    ("nodes' memory for a joined client", "KiB", Better::Less),
    ("the same, after it sent a large message", "KiB", Better::Less),
    (READS, "/s", Better::More),
    ("the service's CPU for an authenticated read", "us", Better::Less),
    ("MongoDB's CPU for an authenticated read", "us", Better::Less),
];
const ONE_PAIR: &str = "one pair, unloaded: median from offer to receipt";
/// The first of those that are not of sockets.
const READS: &str = "authenticated reads a second, as fast as it goes";

/// Figures of a side, by their names in [`METRICS`].
type Figures = Vec<(&'static str, f64)>;

/// All rounds of a side: for each metric its values, one a round.
#[derive(Debug, Serialize)]
struct Measured {
    side: Side,
    metrics: Vec<(&'static str, Vec<f64>)>,
}

/// Measures every side in turn; the text to show.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<String> {
    let sides = if settings.only.is_empty() { Side::ALL.to_vec() } else { settings.only.clone() };
    let mut stand = Stand::start(2).await?;
    let mut measured: Vec<_> = sides.iter().map(|side| Measured { side: *side, metrics: Vec::new() }).collect();
    for round in 1..=settings.rounds {
        for (side, column) in sides.iter().zip(&mut measured) {
            let target = stand.turn_to(*side).await.with_context(|| format!("starting {}", side.name()))?;
            let turn = turn(settings, *side, &target).await.with_context(|| side.name())?;
            let told: Vec<_> = turn.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
            tell(&format!("round {round}/{}: {}: {}", settings.rounds, side.name(), told.join("; ")));
            for (name, value) in turn {
                match column.metrics.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => values.push(value),
                    None => column.metrics.push((name, vec![value])),
                }
            }
        }
    }
    stand.stop().await?;
    if settings.json {
        return Ok(serde_json::to_string_pretty(&measured)?);
    }
    let columns = measured.iter().map(|it| Column {
        name: it.side.name(),
        is_floor: it.side == Side::Floor,
        metrics: &it.metrics,
    });
    Ok(table(&columns.collect::<Vec<_>>()))
}

/// Everything that is measured of a side.
async fn turn(settings: &Settings, side: Side, target: &Target) -> anyhow::Result<Figures> {
    match side {
        Side::Switchboard => {
            let mut figures = sockets(settings, target).await?;
            figures.extend(reads(settings, target).await?);
            Ok(figures)
        }
        Side::Redis | Side::Streams => sockets(settings, target).await,
        Side::Express => reads(settings, target).await,
        Side::Floor => least(settings, target).await,
    }
}

/// The least that a relay can cost here.
async fn least(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let load = load(settings.duration);
    let floor = floor::Settings { load, rate: UNLOADED, bytes: 1024 };
    let report = floor::run(&floor, target).await?;
    Ok(vec![(ONE_PAIR, report.latencies.iter().map(|latency| latency.p50).sum())])
}

/// What accounts are read at, as fast as it goes.
async fn reads(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let rest = rest::Settings {
        load: load(settings.duration),
        rate: None,
        arrivals: Arrivals::Even,
        path: rest::PROFILE.to_owned(),
        most: settings.connections,
        connections: settings.connections,
    };
    let report = whole(rest::run(&rest, target).await?)?;
    let values = [PER_SECOND, rest::CPU_OF_API, rest::CPU_OF_MONGO].map(|name| figure(&report, name));
    let names = METRICS.iter().map(|(name, ..)| *name).skip_while(|name| *name != READS);
    Ok(names.zip(values).collect())
}

/// What sockets cost, and how fast they are.
async fn sockets(settings: &Settings, target: &Target) -> anyhow::Result<Figures> {
    let load = load(settings.duration);
    let pairs = relay::Settings {
        load: load.clone(),
        pairs: settings.pairs,
        rate: None,
        arrivals: Arrivals::Even,
        bytes: 1024,
        in_flight: 1,
        rooms_besides: 0,
    };
    let one = relay::Settings { pairs: 1, rate: Some(UNLOADED), ..pairs.clone() };
    let join = join::Settings {
        load: load.clone(),
        rate: JOINS,
        arrivals: Arrivals::Even,
        rooms: ROOMS,
        stay: Duration::from_secs(1),
        most: 10_000,
    };
    let idle = idle::Settings { load, clients: settings.clients, room_size: 2, message: LARGE };
    // Memory first: of servers that have done nothing else yet.
    let idle = whole(idle::run(&idle, target).await?)?;
    let pairs = whole(relay::run(&pairs, target).await?)?;
    let one = whole(relay::run(&one, target).await?)?;
    let join = whole(join::run(&join, target).await?)?;
    let offer = one.latencies.iter().find(|latency| latency.name == relay::OFFER).map_or(f64::NAN, |it| it.p50);
    let values = [
        figure(&pairs, PER_SECOND),
        figure(&pairs, relay::CPU_OF_NODES),
        figure(&pairs, relay::CPU_OF_REDIS),
        offer,
        figure(&join, relay::CPU_OF_NODES),
        figure(&idle, idle::IDLE),
        figure(&idle, idle::AFTER),
    ];
    Ok(METRICS.iter().map(|(name, ..)| *name).zip(values).collect())
}

fn figure(report: &Report, name: &str) -> f64 {
    report.figure_of(name).unwrap_or(f64::NAN)
}

/// A report of which nothing is missing: a side that loses messages is not compared.
fn whole(report: Report) -> anyhow::Result<Report> {
    let broken = Thresholds::default().broken_by(&report);
    anyhow::ensure!(broken.is_empty(), "{}: {}", report.scenario, broken.join("; "));
    Ok(report)
}

fn load(duration: Duration) -> Load {
    Load {
        target: TargetArgs::default(),
        duration,
        // Long enough for Node.js to have compiled what is hot.
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
    fn what_reads_are_measured_by_comes_after_what_sockets_are() {
        let at = METRICS.iter().position(|(name, ..)| *name == READS).unwrap();
        assert_eq!(METRICS.len() - at, 3);
        assert!(METRICS[at + 1..].iter().all(|(name, unit, _)| name.contains("read") && *unit == "us"));
    }
}
