//! Which faults run, and the clusters on which they run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use devcluster::cluster::Options;
use devcluster::kubernetes::Workload;

use super::fault::{Fault, RedisKind};
use super::{Settings, rollout};
use crate::print_progress;

/// Grace period of a seat without a socket. Shorter than the default of 20 s, so that a round can
/// wait for its end.
const RECONNECT_GRACE: Duration = Duration::from_secs(8);
/// Time between two Engine.IO pings. Short, so that a client of a paused node notices within
/// `PING_INTERVAL` and `PING_TIMEOUT` together that nothing arrives.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// How long a node waits for the pong of a client.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Faults that need the same cluster.
pub(super) struct Fleet {
    pub(super) faults: Vec<Fault>,
    redis: RedisKind,
    haproxy: bool,
    /// Folder of the programs with which it begins; `None` for those of this build.
    programs: Option<PathBuf>,
}

impl Fleet {
    /// Returns the clusters that the chosen faults need.
    ///
    /// # Errors
    /// A fault was named without the programs that it needs.
    pub(super) fn select(settings: &Settings) -> anyhow::Result<Vec<Self>> {
        let mut faults: Vec<Fault> = match (settings.only.as_slice(), settings.short) {
            ([], true) => Fault::SHORT.to_vec(),
            ([], false) => Fault::all().to_vec(),
            (only, _) => only.to_vec(),
        };
        if settings.other_programs.is_none() && faults.iter().any(|fault| fault.needs_other_programs()) {
            ensure!(settings.only.is_empty(), "two-versions needs --other-programs");
            print_progress("two-versions is skipped: it needs --other-programs");
            faults.retain(|fault| !fault.needs_other_programs());
        }
        let mut fleets: Vec<Self> = Vec::new();
        for fault in faults {
            let (redis, haproxy) = (fault.redis(), fault.needs_load_balancer());
            let programs = settings.other_programs.clone().filter(|_| fault.needs_other_programs());
            let same =
                |fleet: &&mut Self| (fleet.redis, fleet.haproxy) == (redis, haproxy) && fleet.programs == programs;
            match fleets.iter_mut().find(same) {
                Some(fleet) => fleet.faults.push(fault),
                None => fleets.push(Self { faults: vec![fault], redis, haproxy, programs }),
            }
        }
        Ok(fleets)
    }

    /// Returns the options of its cluster.
    pub(super) fn options(&self, settings: &Settings) -> anyhow::Result<Options> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let mut env = vec![
            variable("RECONNECT_GRACE_MS", milliseconds(RECONNECT_GRACE)),
            variable("PING_INTERVAL_MS", milliseconds(PING_INTERVAL)),
            variable("PING_TIMEOUT_MS", milliseconds(PING_TIMEOUT)),
            // One account creates the calls of all rounds, which may take hours.
            variable("ACCESS_TOKEN_TTL", "86400".into()),
        ];
        if self.haproxy {
            env.extend(Workload::read(rollout::PROFILE, "node")?.drain);
            env.push(variable("REBALANCE", "true".into()));
        } else {
            env.push(variable("DRAIN_DELAY_MS", "500".into()));
        }
        Ok(Options {
            nodes: settings.nodes.into(),
            haproxy: self.haproxy,
            redis_masters: if self.redis == RedisKind::Cluster { 3 } else { 0 },
            redis_replicas: 1,
            redis_sentinel: self.redis == RedisKind::Sentinel,
            redis_link: self.redis == RedisKind::Linked,
            env,
            programs: self.programs.clone().into_iter().collect(),
            ..Options::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn fleets(words: &[&str]) -> anyhow::Result<Vec<Fleet>> {
        Fleet::select(&Line::try_parse_from(["faults"].iter().chain(words)).unwrap().settings)
    }

    #[test]
    fn each_fault_has_one_cluster_and_two_versions_has_its_own_if_the_other_programs_are_named() {
        let chosen = |fleets: &[Fleet]| fleets.iter().flat_map(|fleet| fleet.faults.clone()).collect::<Vec<_>>();
        let all = chosen(&fleets(&["--other-programs", "/other"]).unwrap());
        assert!(Fault::all().iter().all(|fault| all.iter().filter(|chosen| *chosen == fault).count() == 1), "{all:?}");
        let with = fleets(&["--other-programs", "/other"]).unwrap();
        let other: Vec<Fleet> = with.into_iter().filter(|fleet| fleet.programs.is_some()).collect();
        assert_eq!(chosen(&other), [Fault::TwoVersions]);
        let without = chosen(&fleets(&[]).unwrap());
        assert_eq!(without.len(), all.len() - 1);
        assert!(!without.contains(&Fault::TwoVersions), "skipped");
        assert!(fleets(&["--only", "two-versions"]).is_err(), "a fault that is asked for is not skipped");
    }
}
