//! What Kubernetes does with a pod, by the numbers of the manifests in `k8s/`: probes, the preStop hook, the grace. They are
//! read from there, so that a test is of what operators get.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::service::{local, workspace};

/// How a pod is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    path: String,
    period: Duration,
    timeout: Duration,
    failures: u32,
}

/// What a Deployment says of its pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// When it is started again.
    pub liveness: Probe,
    /// When new work is sent to it.
    pub readiness: Probe,
    /// From the first word of going away to SIGTERM.
    pub pre_stop: Duration,
    /// From the first word of going away to SIGKILL.
    pub grace: Duration,
    /// How a node drains: its variables that begin with `DRAIN_`.
    pub drain: Vec<(String, String)>,
}

impl Workload {
    /// Reads the workload of a component (`api`, `node`) from `k8s/<profile>`.
    ///
    /// # Errors
    /// When there is none, or it lacks something.
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

    /// How long a pod may fail it before anything comes of it, at the least.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.period * self.failures.saturating_sub(1)
    }
}

/// The lines below this one, as far as they stand further in.
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

/// What the kubelet thinks of a pod.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Whether new work is sent to it.
    pub ready: bool,
    /// Why it was not, with the time since it was first asked; one for each change.
    pub unready: Vec<(Duration, String)>,
    /// Liveness probes that it failed.
    pub dead: u32,
    /// How often it would have been started again.
    pub restarts: u32,
}

/// Asks a pod how it is, as its workload says, until dropped. It only looks: it starts nothing again.
#[derive(Debug)]
pub struct Kubelet {
    condition: watch::Receiver<Condition>,
    asking: [JoinHandle<()>; 2],
}

impl Kubelet {
    /// Of the pod that answers probes on this port, and was ready a moment ago.
    #[must_use]
    pub fn watch(workload: &Workload, admin: u16) -> Self {
        let (told, condition) = watch::channel(Condition { ready: true, ..Condition::default() });
        let (begun, readiness) = (Instant::now(), workload.readiness.clone());
        let alive = told.clone();
        let asking = [
            tokio::spawn(ask(workload.liveness.clone(), admin, move |fails: u32, most, _| {
                alive.send_modify(|condition| {
                    condition.dead += u32::from(fails > 0);
                    condition.restarts += u32::from(fails == most);
                });
            })),
            tokio::spawn(ask(readiness, admin, move |fails, most, why| {
                told.send_modify(|condition| {
                    if fails == most {
                        condition.unready.push((begun.elapsed(), why));
                    }
                    condition.ready = fails < most && (condition.ready || fails == 0);
                });
            })),
        ];
        Self { condition, asking }
    }

    /// What it thinks now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.asking.iter().for_each(JoinHandle::abort);
    }
}

/// Asks for ever; tells after each answer how many in a row said no, how many are too many, and the last one's words.
async fn ask(probe: Probe, admin: u16, mut tell: impl FnMut(u32, u32, String)) {
    let client = reqwest::Client::new();
    let mut ticks = interval(probe.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = 0;
    loop {
        ticks.tick().await;
        let request = client.get(format!("{}{}", local(admin), probe.path)).timeout(probe.timeout).send();
        let (well, words) = match request.await {
            Ok(answer) => (answer.status().is_success(), answer.text().await.unwrap_or_default()),
            Err(error) => (false, error.to_string()),
        };
        fails = if well { 0 } else { fails + 1 };
        tell(fails, probe.failures, words);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_manifests_of_every_profile_tell_what_becomes_of_their_pods() {
        for profile in ["evaluation", "production"] {
            for component in ["api", "node"] {
                let workload = Workload::read(profile, component).unwrap();
                assert_eq!((&*workload.liveness.path, &*workload.readiness.path), ("/livez", "/readyz"));
                assert!(workload.pre_stop > Duration::ZERO && workload.pre_stop < workload.grace, "{workload:?}");
                assert_eq!(workload.drain.len(), if component == "node" { 2 } else { 0 }, "{workload:?}");
                assert!(workload.liveness.patience() > workload.readiness.patience(), "{workload:?}");
            }
        }
    }

    #[test]
    fn what_a_manifest_lacks_or_says_twice_is_named() {
        let text = "a:\n  livenessProbe:\n    path: /x\n    periodSeconds: 1\n    timeoutSeconds: 2\n    failureThreshold: 3\nb: 1\n";
        let error = Workload::parse(text).unwrap_err().to_string();
        assert_eq!(error, "no readinessProbe:");
        let lines = ["a: 1", "a: 2"];
        assert_eq!(value(&lines, "a").unwrap_err().to_string(), "a more than once");
    }
}
