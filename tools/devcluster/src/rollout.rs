//! A rolling restart as Kubernetes does it: of the api's pods and of the nodes' at the same time, each Deployment one pod at a
//! time. The new pod is ready before an old one is told to go; the balancer forgets the old one a moment later; after the preStop
//! hook it gets SIGTERM, and SIGKILL if it is still there when its grace is over, which is a failure here. The next pod is begun
//! as soon as the old one is on its way: pods that go do not count.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;
use crate::haproxy::{Backend, Orders};
use crate::kubernetes::Workload;
use crate::ports;
use crate::process::retry;
use crate::service::Service;

/// Until the balancer knows of a pod that goes. Less than the shortest preStop hook, which is there for this.
const PROPAGATION: Duration = Duration::from_secs(1);

/// Replaces every pod of a cluster by a new one, with the numbers of a profile in `k8s/`.
///
/// # Errors
/// When a new pod does not become ready, or an old one has to be killed or ends in failure.
pub async fn roll(cluster: &mut Cluster, profile: &str) -> anyhow::Result<()> {
    let orders = cluster.orders().context("no load balancer that takes orders")?;
    let rollout = |component, backend| {
        let workload = Workload::read(profile, component)?;
        if workload.pre_stop <= PROPAGATION {
            bail!("the {component}'s preStop hook is shorter than the balancer takes to forget a pod");
        }
        Ok(Rollout { workload, backend, orders: orders.clone() })
    };
    let (apis, nodes) = (rollout("api", "api")?, rollout("node", "nodes")?);
    tokio::try_join!(apis.of(std::slice::from_mut(&mut cluster.api)), nodes.of(&mut cluster.nodes))?;
    Ok(())
}

/// One Deployment's.
struct Rollout {
    workload: Workload,
    backend: &'static str,
    orders: Orders,
}

impl Rollout {
    async fn of(&self, pods: &mut [Service]) -> anyhow::Result<()> {
        // Dropping them kills whom they wait for.
        let mut going = JoinSet::new();
        for pod in pods {
            let (name, port, new) = retry(|| self.next(pod)).await?;
            self.orders.add(self.backend, &name, port).await?;
            let old = std::mem::replace(pod, new);
            going.spawn(go(old, self.workload.clone(), self.backend, self.orders.clone()));
        }
        while let Some(gone) = going.join_next().await {
            gone??;
        }
        Ok(())
    }

    /// A new pod, ready, beside the one that it is to replace.
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
}

/// A pod's end.
async fn go(mut pod: Service, workload: Workload, backend: &str, orders: Orders) -> anyhow::Result<()> {
    let (told, name) = (Instant::now(), pod.name().to_owned());
    sleep(PROPAGATION).await;
    orders.remove(backend, &name).await?;
    sleep_until(told + workload.pre_stop).await;
    pod.process().terminate()?;
    let left = workload.grace.saturating_sub(told.elapsed());
    let status = pod.process().wait_exit(left).await.with_context(|| format!("{name} had to be killed"))?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{}", pod.process().log_tail(20));
    }
    Ok(())
}
