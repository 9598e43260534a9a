//! Rolling restarts of api and nodes as in a Kubernetes rollout, under REST load through the load
//! balancer. A rotation of keys is two of them.

use std::collections::BTreeMap;
use std::time::Duration;

use devcluster::cluster::Cluster;
use devcluster::rollout::roll;
use devcluster::settings::Secrets;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::api::Account;
use crate::print_progress;

/// Kubernetes overlay (`k8s/production`) that provides the probes and grace periods.
pub(super) const PROFILE: &str = "production";

/// REST clients during the rollout, and the interval between two requests of each.
const USERS: usize = 4;
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);
/// Requests per created call, and requests per refresh of the tokens; all other requests are reads.
const REQUESTS_PER_CREATE: usize = 10;
const REQUESTS_PER_REFRESH: usize = 15;

/// Results of one REST client.
#[derive(Default)]
struct Requests {
    answered: usize,
    created: Vec<String>,
    /// Failed requests, by error.
    failed: BTreeMap<String, usize>,
}

/// Rotates the keys of all tokens and of hand-overs: all pods are replaced by pods that also accept
/// the next keys, and those by pods that sign with them and accept the previous ones. Two sets of
/// keys alternate, so that tokens of earlier rounds stay valid. The first round changes from the
/// secret of access tokens to a private key, the second to the next private key, the third back to
/// a secret. Returns one text for each violated guarantee.
pub(super) async fn rotate_keys(cluster: &mut Cluster, account: &Account) -> anyhow::Result<Vec<String>> {
    let current = cluster.secrets.clone();
    let mut next = cluster.previous_secrets.clone().unwrap_or_else(Secrets::random);
    next.is_eddsa = !(current.is_eddsa && next.is_eddsa);
    let before = Account::register(&cluster.base_url()).await?;
    cluster.set_keys(current.clone(), next.clone());
    let mut violations = rollout(cluster, account).await?;
    cluster.set_keys(next, current);
    violations.extend(rollout(cluster, account).await?);
    let mut after = before.clone();
    after.refresh().await?;
    // The header names the key.
    let header = |account: &Account| account.token().split('.').next().map(str::to_owned);
    if header(&before) == header(&after) {
        violations.push("tokens are signed by the same key as before the rotation".into());
    }
    for (when, account) in [("before", before), ("after", after)] {
        let status = account.get("/api/auth/profile").await?;
        if status != 200 {
            violations.push(format!("a token of {when} the rotation is answered {status}"));
        }
    }
    Ok(violations)
}

/// Replaces all pods under REST load. Returns one text for each violated guarantee.
pub(super) async fn rollout(cluster: &mut Cluster, account: &Account) -> anyhow::Result<Vec<String>> {
    let load = RestLoad::start(cluster).await?;
    roll(cluster, PROFILE).await?;
    load.finish(account).await
}

/// Users that read and write by REST, through the load balancer.
pub(super) struct RestLoad {
    finished: watch::Sender<bool>,
    users: JoinSet<Requests>,
}

impl RestLoad {
    pub(super) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let (finished, watched) = watch::channel(false);
        let mut users = JoinSet::new();
        for _ in 0..USERS {
            // A sign-in of its own, because refresh tokens are single-use.
            users.spawn(use_rest(Account::register(&cluster.base_url()).await?, watched.clone()));
        }
        Ok(Self { finished, users })
    }

    /// Ends the load. Returns one text for each violated guarantee.
    pub(super) async fn finish(self, account: &Account) -> anyhow::Result<Vec<String>> {
        let Self { finished, mut users } = self;
        finished.send_replace(true);
        let mut violations = Vec::new();
        let (mut answered, mut created) = (0, Vec::new());
        while let Some(requests) = users.join_next().await {
            let requests = requests?;
            answered += requests.answered;
            created.extend(requests.created);
            let failed = requests.failed.into_iter();
            violations.extend(failed.map(|(error, times)| format!("REST: {error} ({times} times)")));
        }
        // A call whose creation was acknowledged must exist.
        for room in &created {
            let status = account.get(&format!("/api/video-calls/room/{room}")).await?;
            if status != 200 {
                violations.push(format!("GET of a created call returned {status}"));
            }
        }
        if created.is_empty() {
            violations.push("no call was created during the rollout".into());
        }
        print_progress(&format!("  REST during the rollout: {answered} responses, {} calls created", created.len()));
        Ok(violations)
    }
}

async fn use_rest(mut account: Account, finished: watch::Receiver<bool>) -> Requests {
    let mut requests = Requests::default();
    let mut ticks = interval(REQUEST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_usize.. {
        ticks.tick().await;
        if *finished.borrow() {
            break;
        }
        let failed = if number % REQUESTS_PER_CREATE == 0 {
            account.create_call(2).await.map(|room| requests.created.push(room)).err().map(|error| format!("{error:#}"))
        } else if number % REQUESTS_PER_REFRESH == 1 {
            account.refresh().await.err().map(|error| format!("{error:#}"))
        } else {
            match account.get("/api/auth/profile").await {
                Ok(200) => None,
                Ok(status) => Some(format!("status {status}")),
                Err(error) => Some(format!("{error:#}")),
            }
        };
        match failed {
            None => requests.answered += 1,
            Some(error) => *requests.failed.entry(error).or_default() += 1,
        }
    }
    requests
}
