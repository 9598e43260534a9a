//! A rolling restart of api and nodes, as Kubernetes does it, while REST is used through the load balancer.

use std::collections::BTreeMap;
use std::time::Duration;

use devcluster::cluster::Cluster;
use devcluster::rollout::roll;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::api::Host;
use crate::tell;

/// Whose numbers a rollout goes by: those of `k8s/production`.
pub(super) const PROFILE: &str = "production";

/// Who read and make calls meanwhile, and how often each.
const USERS: usize = 4;
const PACE: Duration = Duration::from_millis(50);
/// Of so many requests one makes a call, and the others read.
const MAKES: usize = 10;

/// What came of the requests of one user.
#[derive(Default)]
struct Requests {
    answered: usize,
    made: Vec<String>,
    /// By what they came to instead.
    failed: BTreeMap<String, usize>,
}

/// Rolls, while REST is used; what did not hold, one text each.
pub(super) async fn rollout(cluster: &mut Cluster, host: &Host) -> anyhow::Result<Vec<String>> {
    let (over, watched) = watch::channel(false);
    let mut users = JoinSet::new();
    for _ in 0..USERS {
        users.spawn(work(host.clone(), watched.clone()));
    }
    roll(cluster, PROFILE).await?;
    over.send_replace(true);
    let mut violations = Vec::new();
    let (mut answered, mut made) = (0, Vec::new());
    while let Some(requests) = users.join_next().await {
        let requests = requests?;
        answered += requests.answered;
        made.extend(requests.made);
        violations.extend(requests.failed.into_iter().map(|(why, times)| format!("REST: {why} ({times} times)")));
    }
    // An answer that something is made is a promise.
    for room in &made {
        let status = host.get(&format!("/api/video-calls/room/{room}")).await?;
        if status != 200 {
            violations.push(format!("a call that was made is answered {status}"));
        }
    }
    if made.is_empty() {
        violations.push("nothing was asked of REST".into());
    }
    tell(&format!("  REST meanwhile: {answered} answers, {} calls made", made.len()));
    Ok(violations)
}

async fn work(host: Host, over: watch::Receiver<bool>) -> Requests {
    let mut requests = Requests::default();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_usize.. {
        ticks.tick().await;
        if *over.borrow() {
            break;
        }
        let failed = if number % MAKES == 0 {
            host.call(2).await.map(|room| requests.made.push(room)).err().map(|error| format!("{error:#}"))
        } else {
            match host.get("/api/auth/profile").await {
                Ok(200) => None,
                Ok(status) => Some(format!("answered {status}")),
                Err(error) => Some(format!("{error:#}")),
            }
        };
        match failed {
            None => requests.answered += 1,
            Some(why) => *requests.failed.entry(why).or_default() += 1,
        }
    }
    requests
}
