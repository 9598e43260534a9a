//! Abuse tests: strangers attack a cluster with the settings of production, beside honest load.
//!
//! | file | content |
//! |---|---|
//! | `attack` | the table of attacks, their stage, and counts of what they achieve |
//! | `attacks` | the attacks, one file for each group |
//! | `connection` | connections of strangers |
//! | `strangers` | the thread on which strangers run |
//! | `entrance` | how honest clients come into calls |
//! | `honest` | honest load and its figures |
//! | `usage` | CPU time and memory of the servers |
//! | `report` | result of an attack, its verdict, and the table |

pub(crate) mod attack;
mod attacks;
pub(crate) mod connection;
mod entrance;
pub(crate) mod honest;
pub(crate) mod report;
mod strangers;
mod usage;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::PossibleValuesParser;
use devcluster::cluster::{Cluster, Options};
use tokio::time::{Instant, sleep};

use crate::print_progress;
use crate::scenario::{count, seconds};
use attack::{ATTACKS, Attack, Stage, Tally};
use entrance::Entrance;
use honest::{HonestLoad, HonestProfile};
use report::AttackResult;
use strangers::Strangers;
use usage::Watch;

/// Length of a short attack, and of the quiet time before it.
const SHORT_WINDOW: Duration = Duration::from_millis(1200);
/// Pause after an attack, in which the servers notice closed connections.
const PAUSE: Duration = Duration::from_millis(200);

/// Command-line arguments of `abuse`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Length of each attack, and of the quiet time before it.
    #[arg(long, default_value = "20", value_parser = seconds, value_name = "SECONDS")]
    seconds: Duration,
    /// Attack for 1.2 s each, all on one cluster. Otherwise each attack has a cluster of its own.
    #[arg(long)]
    short: bool,
    /// Number of strangers, each with one address.
    #[arg(long, default_value = "4", value_parser = count)]
    strangers: usize,
    /// Pairs of honest clients.
    #[arg(long, default_value = "50", value_parser = count)]
    pairs: usize,
    /// Relays per second of each honest pair.
    #[arg(long, default_value_t = 4.0)]
    relays: f64,
    /// Joins per second of honest guests.
    #[arg(long, default_value_t = 5.0)]
    joins: f64,
    /// Number of signal-nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=20))]
    nodes: u8,
    /// Memory in MiB by which a node or the api may grow during an attack.
    #[arg(long, default_value_t = 64.0, value_name = "MIB")]
    max_growth: f64,
    /// Attacks to run, separated by commas; all by default.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(ATTACKS.iter().map(|it| it.name)))]
    only: Vec<String>,
    /// List all attacks and exit.
    #[arg(long)]
    list: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs all attacks. Returns the text to print, and whether all guarantees held.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    if settings.list {
        let lines: Vec<_> = ATTACKS.iter().map(|it| format!("{:<12} {}", it.name, it.sentence)).collect();
        return Ok((lines.join("\n"), true));
    }
    let selected = (1..)
        .zip(ATTACKS)
        .filter(|(_, it)| settings.only.is_empty() || settings.only.iter().any(|name| name == it.name));
    let mut results = Vec::new();
    let mut target: Option<Target> = None;
    for (number, attack) in selected {
        let mut ready = match target.take() {
            Some(target) => target,
            None => Target::start(settings.fleet(), None).await?,
        };
        let stay = (settings.window(), settings.strangers);
        let mut result = ready.attack(attack, number, stay, &[]).await.with_context(|| attack.name)?;
        result.judge(settings.max_growth);
        print_progress(&report::table(std::slice::from_ref(&result)));
        let unhurt = result.violations.is_empty();
        results.push(result);
        if settings.short && unhurt {
            sleep(PAUSE).await;
            target = Some(ready);
        } else {
            if !unhurt {
                ready.print_logs();
            }
            ready.stop().await?;
        }
    }
    if let Some(target) = target {
        target.stop().await?;
    }
    let text = if settings.json { serde_json::to_string_pretty(&results)? } else { report::table(&results) };
    Ok((text, results.iter().all(|result| result.violations.is_empty())))
}

impl Settings {
    /// Length of each attack, and of the quiet time before it.
    fn window(&self) -> Duration {
        if self.short { SHORT_WINDOW } else { self.seconds }
    }

    fn fleet(&self) -> Fleet {
        let profile = HonestProfile { pairs: self.pairs, relays: self.relays, joins: self.joins };
        Fleet { nodes: self.nodes, profile }
    }
}

/// Size of a cluster, and of the honest load on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: u8,
    pub(crate) profile: HonestProfile,
}

/// A cluster under honest load.
pub(crate) struct Target {
    cluster: Cluster,
    honest: HonestLoad,
    watch: Watch,
}

impl Target {
    /// Starts a cluster with the limits of production, and honest guests. With `app_variables`, it
    /// has these variables in place of the limits, and the honest clients are users of an app.
    pub(crate) async fn start(fleet: Fleet, app_variables: Option<Vec<(String, String)>>) -> anyhow::Result<Self> {
        let is_app = app_variables.is_some();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let production = || {
            vec![
                // As in production; other throw-away clusters have no rate limits.
                variable("RATE_LIMITS", "true"),
                // That of a pod with 512 MiB. The default is a part of this machine's memory, up to
                // which the nodes may then grow.
                variable("LARGE_MESSAGES", "64"),
                // A TURN server that does not exist: only its credentials are of interest.
                variable("TURN_SERVER_URL", "turn:127.0.0.1:3478"),
                variable("TURN_SECRET", "for-throw-away-clusters-only"),
                variable("STUN_SERVER", "none"),
            ]
        };
        let env = app_variables.unwrap_or_else(production);
        let options = Options { nodes: fleet.nodes.into(), haproxy: false, env, ..Options::default() };
        let cluster = Cluster::start(&options).await.context("cannot start a throw-away cluster")?;
        let watch = Watch::new(&cluster)?;
        let api = cluster.api.url();
        let entrance = if is_app { Entrance::of_new_app(&api).await? } else { Entrance::Guests };
        let honest = HonestLoad::start(&host(&api), &nodes(&cluster), fleet.profile, &entrance).await?;
        Ok(Self { cluster, honest, watch })
    }

    /// Runs an attack after a quiet time of the same length. On a busy machine it goes on until
    /// each outcome in `needed` was there, within a bound.
    pub(crate) async fn attack(
        &mut self,
        attack: &'static Attack,
        number: u8,
        (window, strangers): (Duration, usize),
        needed: &[&str],
    ) -> anyhow::Result<AttackResult> {
        let ports = self.cluster.ports();
        let admin = ports.nodes.iter().chain([&ports.api]).map(|backend| format!("127.0.0.1:{}", backend.admin));
        let stage = Stage {
            nodes: nodes(&self.cluster),
            api: host(&self.cluster.api.url()),
            admin: admin.collect(),
            strangers,
            window,
            number,
        };
        let mut result = AttackResult {
            attack: attack.name,
            sentence: attack.sentence,
            seconds: window.as_secs_f64(),
            ..AttackResult::default()
        };
        let tally = Tally::default();
        let (mut attackers, honest_action) = match Strangers::prepare(attack, stage, tally.clone()).await {
            Ok(prepared) => prepared,
            Err(error) => {
                result.violations.push(format!("cannot prepare: {error:#}"));
                return Ok(result);
            }
        };
        let _action = honest_action.map(|action| self.honest.repeat(action, window));

        let before = self.watch.sample(&mut self.cluster).await?;
        self.honest.open_window();
        let quiet = self.watch.observe(window, before, || true).await;
        self.honest.close_window();
        result.quiet = self.honest.settle().await;

        let before = self.watch.sample(&mut self.cluster).await?;
        let memory_before = before.redis_memory;
        self.honest.open_window();
        attackers.release();
        let started = Instant::now();
        let during = self.watch.observe(window, before, || tally.has_attempts(needed)).await;
        self.honest.close_window();
        result.seconds = started.elapsed().as_secs_f64();
        result.achieved = tally.take();
        let memory_after = self.watch.redis_memory(&mut self.cluster).await;
        attackers.stop().await;
        result.during = self.honest.settle().await;

        result.processes = usage::costs(&quiet, &during);
        match memory_after {
            Ok(after) => result.redis_growth_mib = usage::mib_between(memory_before, after),
            Err(error) => result.violations.push(format!("Redis does not answer: {error:#}")),
        }
        if let Some((name, status)) = self.cluster.ended() {
            result.violations.push(format!("{name} ended ({status})"));
        }
        Ok(result)
    }

    pub(crate) fn print_logs(&mut self) {
        for service in self.cluster.nodes.iter_mut().chain([&mut self.cluster.api]) {
            let log = service.process().log_tail(8);
            print_progress(&format!("---- {}\n{log}", service.process().name()));
        }
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.honest);
        self.cluster.stop().await
    }
}

/// `host:port` of every node.
fn nodes(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| host(&node.url())).collect()
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}
