//! A rolling restart as Kubernetes does it: the api's pods and the nodes at the same time, and of
//! each Deployment one pod at a time.
//!
//! The new pod is ready before the old one is asked to end. The load balancer removes the old pod
//! one second later. After its preStop hook the old pod gets SIGTERM. A pod that outlives its grace
//! period would get SIGKILL, which is a failure here. The next pod starts as soon as the old one is
//! ending, because Kubernetes does not count terminating pods.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;
use crate::haproxy::{Pool, RuntimeApi};
use crate::kubernetes::Workload;
use crate::ports;
use crate::process::retry;
use crate::service::{Backend, Service};

/// Time until the load balancer removes a pod that is ending. Shorter than every preStop hook,
/// which exists to cover it.
const PROPAGATION_DELAY: Duration = Duration::from_secs(1);

/// Replaces every pod of a cluster, with the hooks and grace periods of a profile in `k8s/`.
///
/// # Errors
/// When a new pod does not become ready, or an old one has to be killed or exits with a failure.
pub async fn roll(cluster: &mut Cluster, profile: &str) -> anyhow::Result<()> {
    let (apis, nodes) = rollouts(cluster, profile)?;
    tokio::try_join!(apis.of(std::slice::from_mut(&mut cluster.api)), nodes.of(&mut cluster.nodes))?;
    Ok(())
}

/// A rollout in its middle: more than half of the nodes are new, and a new api pod serves beside
/// the old one.
pub struct HalfRollout {
    apis: Rollout,
    nodes: Rollout,
    next_api: Service,
    /// Number of new nodes, which are the first ones of the cluster.
    done: usize,
}

impl HalfRollout {
    /// Rolls as [`roll`] does, and stops in the middle.
    ///
    /// # Errors
    /// As [`roll`].
    pub async fn begin(cluster: &mut Cluster, profile: &str) -> anyhow::Result<Self> {
        let (apis, nodes) = rollouts(cluster, profile)?;
        let done = cluster.nodes.len().div_ceil(2);
        let (next_api, ()) = tokio::try_join!(apis.start(&cluster.api), nodes.of(&mut cluster.nodes[..done]))?;
        Ok(Self { apis, nodes, next_api, done })
    }

    /// The new api pod.
    #[must_use]
    pub fn next_api(&self) -> &Service {
        &self.next_api
    }

    /// The new nodes.
    #[must_use]
    pub fn next_nodes<'c>(&self, cluster: &'c Cluster) -> &'c [Service] {
        &cluster.nodes[..self.done]
    }

    /// Replaces the other pods.
    ///
    /// # Errors
    /// As [`roll`].
    pub async fn finish(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let Self { apis, nodes, next_api, done } = self;
        let old = std::mem::replace(&mut cluster.api, next_api);
        tokio::try_join!(apis.end(old), nodes.of(&mut cluster.nodes[done..]))?;
        Ok(())
    }
}

/// Rollouts of the api and of the nodes.
fn rollouts(cluster: &Cluster, profile: &str) -> anyhow::Result<(Rollout, Rollout)> {
    let balancer = cluster.balancer().context("the cluster has no HAProxy with a Runtime API")?;
    let rollout = |component, pool| {
        let workload = Workload::read(profile, component)?;
        if workload.pre_stop <= PROPAGATION_DELAY {
            bail!("the {component}'s preStop hook must be longer than {PROPAGATION_DELAY:?}");
        }
        Ok(Rollout { workload, pool, balancer: balancer.clone() })
    };
    Ok((rollout("api", Pool::Api)?, rollout("node", Pool::Nodes)?))
}

/// Rolling restart of one Deployment.
#[derive(Clone)]
struct Rollout {
    workload: Workload,
    pool: Pool,
    balancer: RuntimeApi,
}

impl Rollout {
    async fn of(&self, pods: &mut [Service]) -> anyhow::Result<()> {
        // Dropping a task kills the pod that it waits for.
        let mut ending = JoinSet::new();
        for pod in pods {
            let new = self.start(pod).await?;
            let (old, rollout) = (std::mem::replace(pod, new), self.clone());
            ending.spawn(async move { rollout.end(old).await });
        }
        while let Some(ended) = ending.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Starts the pod that replaces `pod`, and sends requests to it too.
    async fn start(&self, pod: &Service) -> anyhow::Result<Service> {
        let (name, port, new) = retry(|| self.next(pod)).await?;
        self.balancer.add(self.pool, &name, port).await?;
        Ok(new)
    }

    /// Starts the pod that replaces `pod`. It is ready when this returns.
    async fn next(&self, pod: &Service) -> anyhow::Result<(String, u16, Service)> {
        let ports = ports::several(3)?;
        let (port, admin, internal) = (ports[0], ports[1], ports[2]);
        // `n1`, `n1-2`, `n1-3`, ...
        let (first, generation) = pod.name().split_once('-').unwrap_or((pod.name(), "1"));
        let name = format!("{first}-{}", generation.parse::<u32>()? + 1);
        let variables = [
            ("API_PORT", port.to_string()),
            ("SIGNALING_PORT", port.to_string()),
            ("METRICS_PORT", admin.to_string()),
            ("INTERNAL_PORT", internal.to_string()),
            ("NODE_ID", name.clone()),
        ];
        let new = pod.successor(&name, &variables, Backend { port, admin }).await?;
        Ok((name, port, new))
    }

    /// Ends a pod as the kubelet does.
    async fn end(&self, mut pod: Service) -> anyhow::Result<()> {
        let (began, name) = (Instant::now(), pod.name().to_owned());
        sleep(PROPAGATION_DELAY).await;
        self.balancer.remove(self.pool, &name).await?;
        sleep_until(began + self.workload.pre_stop).await;
        pod.process().terminate()?;
        let left = self.workload.grace.saturating_sub(began.elapsed());
        let status = pod.process().wait_exit(left).await.with_context(|| format!("{name} had to be killed"))?;
        if !status.success() {
            bail!("{name} ended with {status}:\n{}", pod.process().log_tail(20));
        }
        Ok(())
    }
}
