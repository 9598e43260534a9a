//! Probes, preStop hooks and grace periods of the manifests in `k8s/`, and a stand-in for the
//! kubelet. Tests read the manifests so that they test the values that operators deploy.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::programs::workspace;
use crate::service::local;

/// A liveness or readiness probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    path: String,
    period: Duration,
    timeout: Duration,
    failures: u32,
}

/// Settings of a Deployment's pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Probe whose failure restarts the pod.
    pub liveness: Probe,
    /// Probe whose failure takes the pod out of its Service.
    pub readiness: Probe,
    /// Time from the pod's termination to SIGTERM.
    pub pre_stop: Duration,
    /// Time from the pod's termination to SIGKILL.
    pub grace: Duration,
    /// Variables of the pod that begin with `DRAIN_`.
    pub drain: Vec<(String, String)>,
}

impl Workload {
    /// Reads the workload of a component (`api`, `node`) from `k8s/<profile>`.
    ///
    /// # Errors
    /// When the file or a setting is missing.
    pub fn read(profile: &str, component: &str) -> anyhow::Result<Self> {
        let file = workspace().join("k8s").join(profile).join(format!("{component}-workload.yaml"));
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let settings = lines.iter().filter_map(|line| line.trim().split_once(": "));
        let drain = settings.filter(|(name, _)| name.starts_with("DRAIN_"));
        Ok(Self {
            liveness: Probe::parse(block(&lines, "livenessProbe:")?)?,
            readiness: Probe::parse(block(&lines, "readinessProbe:")?)?,
            pre_stop: seconds(block(block(&lines, "preStop:")?, "sleep:")?, "seconds")?,
            grace: seconds(&lines, "terminationGracePeriodSeconds")?,
            drain: drain.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect(),
        })
    }
}

impl Probe {
    fn parse(lines: &[&str]) -> anyhow::Result<Self> {
        Ok(Self {
            path: value(lines, "path")?.to_owned(),
            period: seconds(lines, "periodSeconds")?,
            timeout: seconds(lines, "timeoutSeconds")?,
            failures: value(lines, "failureThreshold")?.parse()?,
        })
    }

    /// Shortest time of failures before Kubernetes acts.
    #[must_use]
    pub fn failure_time(&self) -> Duration {
        self.period * self.failures.saturating_sub(1)
    }
}

/// Lines below `heading` that are indented more than it.
fn block<'l, 't>(lines: &'l [&'t str], heading: &str) -> anyhow::Result<&'l [&'t str]> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let at = lines.iter().position(|line| line.trim() == heading).with_context(|| format!("no {heading}"))?;
    let below = &lines[at + 1..];
    let end = below.iter().position(|line| depth(line) <= depth(lines[at])).unwrap_or(below.len());
    Ok(&below[..end])
}

fn value<'t>(lines: &[&'t str], name: &str) -> anyhow::Result<&'t str> {
    let pairs = lines.iter().filter_map(|line| line.trim().split_once(": "));
    let mut found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => bail!("no {name}"),
        (Some(_), Some(_)) => bail!("{name} more than once"),
    }
}

fn seconds(lines: &[&str], name: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(value(lines, name)?.parse()?))
}

/// Result of the probes of a pod.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Whether the pod is in its Service.
    pub ready: bool,
    /// Each change to unready: the time since the first probe, and the probe's answer.
    pub unready: Vec<(Duration, String)>,
    /// Number of failed liveness probes.
    pub dead: u32,
    /// Number of restarts that Kubernetes would have made.
    pub restarts: u32,
}

/// Probes a pod as its workload says, until dropped. It restarts nothing.
#[derive(Debug)]
pub struct Kubelet {
    condition: watch::Receiver<Condition>,
    probing: [JoinHandle<()>; 2],
}

impl Kubelet {
    /// Starts to probe the pod with this admin port. The pod is taken for ready at the start.
    #[must_use]
    pub fn watch(workload: &Workload, admin: u16) -> Self {
        let (sender, condition) = watch::channel(Condition { ready: true, ..Condition::default() });
        let (begun, readiness) = (Instant::now(), workload.readiness.clone());
        let alive = sender.clone();
        let probing = [
            tokio::spawn(probe(workload.liveness.clone(), admin, move |fails: u32, most, _| {
                alive.send_modify(|condition| {
                    condition.dead += u32::from(fails > 0);
                    condition.restarts += u32::from(fails == most);
                });
            })),
            tokio::spawn(probe(readiness, admin, move |fails, most, why| {
                sender.send_modify(|condition| {
                    if fails == most {
                        condition.unready.push((begun.elapsed(), why));
                    }
                    condition.ready = fails < most && (condition.ready || fails == 0);
                });
            })),
        ];
        Self { condition, probing }
    }

    /// Current result.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.probing.iter().for_each(JoinHandle::abort);
    }
}

/// Probes until aborted. Calls `report` after each probe with the number of consecutive failures,
/// the failure threshold, and the response.
async fn probe(probe: Probe, admin: u16, mut report: impl FnMut(u32, u32, String)) {
    // A kubelet opens a connection for each probe.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("no setting can be invalid");
    let mut ticks = interval(probe.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = 0;
    loop {
        ticks.tick().await;
        let request = client.get(format!("{}{}", local(admin), probe.path)).timeout(probe.timeout).send();
        let (healthy, text) = match request.await {
            Ok(answer) => (answer.status().is_success(), answer.text().await.unwrap_or_default()),
            Err(error) => (false, error.to_string()),
        };
        fails = if healthy { 0 } else { fails + 1 };
        report(fails, probe.failures, text);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn the_manifests_of_every_profile_have_probes_hooks_and_grace_periods() {
        for profile in ["evaluation", "production"] {
            for component in ["api", "node"] {
                let workload = Workload::read(profile, component).unwrap();
                assert_eq!((&*workload.liveness.path, &*workload.readiness.path), ("/livez", "/readyz"));
                assert!(workload.pre_stop > Duration::ZERO && workload.pre_stop < workload.grace, "{workload:?}");
                assert_eq!(workload.drain.len(), if component == "node" { 2 } else { 0 }, "{workload:?}");
                assert!(workload.liveness.failure_time() > workload.readiness.failure_time(), "{workload:?}");
            }
        }
    }

    #[test]
    fn a_setting_that_is_missing_or_there_twice_is_named() {
        let text = "a:\n  livenessProbe:\n    path: /x\n    periodSeconds: 1\n    timeoutSeconds: 2\n    failureThreshold: 3\nb: 1\n";
        let error = Workload::parse(text).unwrap_err().to_string();
        assert_eq!(error, "no readinessProbe:");
        let lines = ["a: 1", "a: 2"];
        assert_eq!(value(&lines, "a").unwrap_err().to_string(), "a more than once");
    }
}
