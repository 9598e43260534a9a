//! CPU time and memory of the servers in a window.

use std::time::{Duration, Instant};

use anyhow::Context;
use devcluster::cluster::Cluster;
use redis::cmd;
use tokio::time::sleep;

use super::nodes;
use super::report::ProcessCost;
use crate::measure::machine::{Usage, WatchedProcess, mib};
use crate::scenario::target::host_and_port;

/// Time between two readings of the resident memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time that strangers may take to begin.
const EXTENSION_MAX: Duration = Duration::from_secs(20);

/// The watched processes.
#[derive(Debug)]
pub(super) struct Watch(Vec<WatchedProcess>);

/// Readings at the start of a window.
#[derive(Debug)]
pub(super) struct Sample {
    at: Instant,
    usages: Vec<Usage>,
    /// `used_memory` of Redis in bytes.
    pub(super) redis_memory: u64,
}

/// Usage of one process in a window.
#[derive(Clone, Debug)]
pub(super) struct WindowUsage {
    name: String,
    /// CPU time as a percentage of one core.
    cpu_percent: f64,
    /// Resident memory in bytes: at the start, and at most.
    rss_before: u64,
    rss_max: u64,
}

impl Watch {
    /// Finds the processes of a cluster.
    pub(super) fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut addresses: Vec<_> = (1..).map(|index: usize| format!("node {index}")).zip(nodes(cluster)).collect();
        for (name, url) in
            [("api", cluster.api.url()), ("redis", cluster.redis.url()), ("mongo", cluster.mongodb_uri())]
        {
            addresses.push((name.to_owned(), host_and_port(&url)?));
        }
        let found = addresses.into_iter().map(|(name, address)| {
            WatchedProcess::listening_on(name.as_str(), &address).with_context(|| format!("cannot find {name}"))
        });
        let mut watched = found.collect::<anyhow::Result<Vec<_>>>()?;
        watched.push(WatchedProcess::current());
        Ok(Self(watched))
    }

    /// Reads all processes and the memory of Redis.
    pub(super) async fn sample(&self, cluster: &mut Cluster) -> anyhow::Result<Sample> {
        let redis_memory = self.redis_memory(cluster).await?;
        let usages = self.0.iter().map(WatchedProcess::usage).collect();
        Ok(Sample { at: Instant::now(), usages, redis_memory })
    }

    /// Observes the processes for the length of a window. On a busy machine the window is longer,
    /// by at most [`EXTENSION_MAX`], until `has_begun` returns true.
    pub(super) async fn observe(
        &self,
        window: Duration,
        before: Sample,
        has_begun: impl Fn() -> bool,
    ) -> Vec<WindowUsage> {
        let mut highest: Vec<_> = before.usages.iter().map(|usage| usage.rss).collect();
        let mut latest = before.usages.clone();
        let goes_on = || {
            let elapsed = before.at.elapsed();
            elapsed < window || (elapsed < window + EXTENSION_MAX && !has_begun())
        };
        while goes_on() {
            sleep(SAMPLE_INTERVAL).await;
            latest = self.0.iter().map(WatchedProcess::usage).collect();
            highest.iter_mut().zip(&latest).for_each(|(highest, usage)| *highest = usage.rss.max(*highest));
        }
        let seconds = before.at.elapsed().as_secs_f64();
        let usages = before.usages.iter().zip(latest).zip(highest);
        let windows = self.0.iter().zip(usages).map(|(process, ((before, after), rss_max))| WindowUsage {
            name: process.name.clone(),
            cpu_percent: after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0,
            rss_before: before.rss,
            rss_max,
        });
        windows.collect()
    }

    /// `used_memory` of Redis in bytes.
    pub(super) async fn redis_memory(&self, cluster: &mut Cluster) -> anyhow::Result<u64> {
        let mut info = cmd("INFO");
        let text: String = cluster.redis.servers()[0].query(info.arg("memory")).await?;
        used_memory(&text).context("Redis does not tell its memory")
    }
}

/// `used_memory` in the reply to `INFO`.
fn used_memory(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok())
}

/// Compares the quiet window and the attack.
pub(super) fn costs(quiet: &[WindowUsage], during: &[WindowUsage]) -> Vec<ProcessCost> {
    let pairs = quiet.iter().zip(during);
    let costs = pairs.map(|(quiet, during)| ProcessCost {
        name: during.name.clone(),
        cpu_quiet: quiet.cpu_percent,
        cpu_during: during.cpu_percent,
        growth_mib: mib_between(during.rss_before, during.rss_max),
    });
    costs.collect()
}

/// Growth in MiB; 0 when memory shrank.
pub(super) fn mib_between(before: u64, after: u64) -> f64 {
    mib(after.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_read_from_the_reply_to_info() {
        assert_eq!(used_memory("# Memory\r\nused_memory:1234\r\nused_memory_human:1K\r\n"), Some(1234));
        assert_eq!(used_memory("used_memory_rss:9\r\n"), None);
    }

    #[test]
    fn growth_is_that_of_the_attack_at_its_highest() {
        let window = |cpu_percent, rss_before, rss_max| {
            vec![WindowUsage { name: "node 1".into(), cpu_percent, rss_before, rss_max }]
        };
        let costs = costs(&window(5.0, 1 << 20, 2 << 20), &window(50.0, 2 << 20, 6 << 20));
        assert_eq!((costs[0].cpu_quiet, costs[0].cpu_during, costs[0].growth_mib), (5.0, 50.0, 4.0));
    }
}
