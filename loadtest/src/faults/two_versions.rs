//! A cluster of another version that becomes one of this version, and back: a rollout and a
//! rollback. Each stops in the middle, so that both versions serve the same rooms for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, ensure};
use devcluster::cluster::Cluster;
use devcluster::programs;
use devcluster::rollout::HalfRollout;
use devcluster::service::Service;
use tokio::time::{Instant, sleep};

use super::client_pairs::{ClientPairs, PairRoom, wait_for};
use super::conversation::converse;
use super::reconnecting_client::ReconnectingClient;
use super::rollout::{PROFILE, RestLoad};
use super::{RECOVERY_TIMEOUT, TRAFFIC_DURATION, address};
use crate::client::api::Account;
use crate::print_progress;

/// Rolls this version out over the other one and back, under REST load. Returns one text for each
/// violated guarantee.
pub(super) async fn run(
    cluster: &mut Cluster,
    account: &Account,
    pairs: &ClientPairs,
    other: &Path,
) -> anyhow::Result<Vec<String>> {
    let load = RestLoad::start(cluster).await?;
    let mut violations = Vec::new();
    let own = programs::folder()?;
    for (programs, name) in [(&*own, "rollout"), (other, "rollback")] {
        cluster.set_programs(programs)?;
        let half = HalfRollout::begin(cluster, PROFILE).await?;
        let found = mixed(cluster, &half, pairs).await?;
        violations.extend(found.into_iter().map(|violation| format!("in the middle of the {name}: {violation}")));
        half.finish(cluster).await?;
        sleep(TRAFFIC_DURATION).await;
    }
    violations.extend(load.finish(account).await?);
    Ok(violations)
}

/// Lets clients talk across the versions. Returns one text for each violated guarantee, and for
/// each way between the versions that no client took.
async fn mixed(cluster: &Cluster, half: &HalfRollout, pairs: &ClientPairs) -> anyhow::Result<Vec<String>> {
    let new: BTreeSet<&str> = half.next_nodes(cluster).iter().map(Service::name).collect();
    let mut violations = Vec::new();
    // The clients of the pods that ended may still be on their way.
    if pairs.wait_acknowledged_since(Instant::now(), RECOVERY_TIMEOUT).await.is_none() {
        violations.push(format!("not all clients moved within {RECOVERY_TIMEOUT:?}"));
    }
    let resumed = resume_all(pairs, &new).await;
    let count = |from: Version, to: Version| resumed.get(&(from, to)).copied().unwrap_or_default();
    let across = pairs.rooms.iter().filter(|room| is_across(room, &new)).count();
    let ways = [
        ("socket resumed from the old version to the new one", count(Version::Old, Version::New)),
        ("socket resumed from the new version to the old one", count(Version::New, Version::Old)),
        ("pair has its ends on different versions", across),
    ];
    violations.extend(ways.iter().filter(|(_, times)| *times == 0).map(|(way, _)| format!("no {way}")));
    print_progress(&format!(
        "  both versions: {} sockets resumed from old to new, {} from new to old, {across} pairs across",
        ways[0].1, ways[1].1
    ));
    if pairs.wait_acknowledged_since(Instant::now(), RECOVERY_TIMEOUT).await.is_none() {
        violations.push(format!("not all clients had an event acknowledged within {RECOVERY_TIMEOUT:?}"));
    }

    let old_api = (cluster.api.url(), cluster.nodes.last().context("no node")?.url());
    let new_api = (half.next_api().url(), half.next_nodes(cluster).first().context("no new node")?.url());
    for ((first_api, first_node), (second_api, second_node)) in [(&old_api, &new_api), (&new_api, &old_api)] {
        if let Err(error) = use_both_apis(first_api, second_api).await {
            violations.push(format!("REST of both versions: {error:#}"));
        }
        let nodes = [address(first_node), address(second_node)];
        if let Err(error) = converse(&nodes, [first_api, second_api]).await {
            violations.push(format!("a call across the versions: {error:#}"));
        }
    }
    sleep(TRAFFIC_DURATION).await;
    Ok(violations)
}

/// Version of a node in a rollout or a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// That of the nodes that are replaced.
    Old,
    /// That of their successors.
    New,
}

impl Version {
    /// Version of the node with this id: the name of its pod, `-`, and a random number.
    fn of(node: &str, new: &BTreeSet<&str>) -> Self {
        let pod = node.rsplit_once('-').map_or(node, |(pod, _)| pod);
        if new.contains(pod) { Self::New } else { Self::Old }
    }
}

/// Cuts all sockets, and waits until all clients are back. Returns how many resumed from each
/// version to each.
async fn resume_all(pairs: &ClientPairs, new: &BTreeSet<&str>) -> BTreeMap<(Version, Version), usize> {
    let before: Vec<usize> = pairs.clients().map(|client| client.record().nodes.len()).collect();
    pairs.clients().for_each(ReconnectingClient::cut);
    // A client that is not back fails the wait for acknowledgements that follows.
    let _ = wait_for(RECOVERY_TIMEOUT, || {
        let is_back = |(client, before): (&ReconnectingClient, &usize)| client.record().nodes.len() > *before;
        pairs.clients().zip(&before).all(is_back).then_some(())
    })
    .await;
    let mut resumed = BTreeMap::new();
    for (client, before) in pairs.clients().zip(before) {
        let record = client.record();
        let sockets = record.nodes.get(before.saturating_sub(1)..).unwrap_or_default();
        for pair in sockets.windows(2) {
            let [(from, _), (to, is_resumed)] = pair else { continue };
            if *is_resumed {
                *resumed.entry((Version::of(from, new), Version::of(to, new))).or_default() += 1;
            }
        }
    }
    resumed
}

/// Whether the two clients of a pair are on nodes of different versions.
fn is_across(room: &PairRoom, new: &BTreeSet<&str>) -> bool {
    let version = |client: &ReconnectingClient| client.record().nodes.last().map(|(node, _)| Version::of(node, new));
    version(&room.pair[0]) != version(&room.pair[1])
}

/// Uses accounts, tokens and calls of one api at the other one.
async fn use_both_apis(first: &str, second: &str) -> anyhow::Result<()> {
    let user = Account::register(first).await?;
    let room = user.create_call(2).await?;
    let mut there = user.with_base_url(second);
    let path = format!("/api/video-calls/room/{room}");
    there.refresh().await.context("a refresh token of the other version")?;
    for path in ["/api/auth/profile", "/api/video-calls", &path] {
        let status = there.get(path).await?;
        ensure!(status == 200, "GET {path} is answered {status}");
    }
    let mut back = there.with_base_url(first);
    back.refresh().await.context("a refresh token that came back")?;
    let status = back.get(&path).await?;
    ensure!(status == 200, "GET {path} is answered {status}");
    Ok(())
}
