//! The servers under load: given addresses or a throw-away cluster.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use devcluster::cluster::{Cluster, Options};
use devcluster::service::Service;

use crate::client::api::Account;
use crate::client::protocol::Protocol;
use crate::measure::machine::WatchedProcess;

/// Addresses of the servers.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TargetArgs {
    /// Addresses of signaling nodes, or of a load balancer in front of them; clients are spread
    /// over them. Without any address loadtest starts a throw-away cluster.
    #[arg(long = "node", env = "NODE_URLS", value_delimiter = ',', value_name = "URL")]
    nodes: Vec<String>,
    /// Address of the api, which registers an account and creates the calls. Without it, loadtest
    /// invents room ids; use this only with servers that accept unknown rooms.
    #[arg(long, env = "API_URL", value_name = "URL")]
    api: Option<String>,
    /// Address of Redis: to find its process on this machine, and for `baseline`, which needs no
    /// other address.
    #[arg(long, env = "REDIS_URL", value_name = "URL")]
    redis: Option<String>,
    /// Address of MongoDB: to find its process on this machine.
    #[arg(long, env = "MONGODB_URI", value_name = "URL")]
    mongo: Option<String>,
    /// Nodes of the throw-away cluster.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    cluster: u8,
}

/// Known addresses of the services other than nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    pub(crate) api: Option<String>,
    pub(crate) redis: Option<String>,
    pub(crate) mongo: Option<String>,
}

impl Services {
    /// Addresses of a throw-away cluster.
    pub(crate) fn of_cluster(cluster: &Cluster) -> Self {
        Self { api: Some(cluster.api.url()), redis: Some(cluster.redis.url()), mongo: Some(cluster.mongodb_uri()) }
    }
}

/// The servers of a run.
#[derive(Debug)]
pub(crate) struct Target {
    /// `host:port` of each node.
    pub(crate) nodes: Arc<[String]>,
    /// Protocol of the nodes.
    pub(crate) protocol: Protocol,
    /// Account that creates the calls; `None` when room ids are invented.
    pub(crate) account: Option<Account>,
    /// `host:port` of Redis; `None` when unknown or a Redis Cluster.
    pub(crate) redis: Option<String>,
    /// Server processes on this machine, and this process.
    pub(crate) watched: Vec<WatchedProcess>,
    /// The throw-away cluster. It stops when this value is dropped.
    pub(crate) cluster: Option<Cluster>,
}

impl Target {
    /// Connects to the given servers, or starts a throw-away cluster.
    pub(crate) async fn open(args: &TargetArgs) -> anyhow::Result<Self> {
        // One given address is enough to use given servers instead of a throw-away cluster.
        let has_addresses =
            !args.nodes.is_empty() || [&args.api, &args.redis, &args.mongo].into_iter().any(Option::is_some);
        let cluster = if has_addresses { None } else { Some(start_cluster(args.cluster).await?) };
        let (nodes, services) = match &cluster {
            Some(cluster) => (cluster.nodes.iter().map(Service::url).collect(), Services::of_cluster(cluster)),
            None => {
                let TargetArgs { nodes, api, redis, mongo, .. } = args.clone();
                (nodes, Services { api, redis, mongo })
            }
        };
        Ok(Self { cluster, ..Self::connect(&nodes, &services).await? })
    }

    /// Uses the servers at these addresses and registers an account.
    pub(crate) async fn connect(nodes: &[String], services: &Services) -> anyhow::Result<Self> {
        let account = match &services.api {
            Some(api) => {
                Some(Account::register(api.trim_end_matches('/')).await.context("cannot register an account")?)
            }
            None => None,
        };
        Self::with_account(nodes, account, services)
    }

    /// Uses the servers at these addresses with an existing account.
    pub(crate) fn with_account(
        nodes: &[String],
        account: Option<Account>,
        services: &Services,
    ) -> anyhow::Result<Self> {
        let nodes = nodes.iter().map(|url| host_and_port(url)).collect::<anyhow::Result<Vec<_>>>()?;
        let [api, redis, mongo] =
            [&services.api, &services.redis, &services.mongo].map(|url| host_and_port(url.as_ref()?).ok());
        let watched = watched_processes(&nodes, [("api", api), ("redis", redis.clone()), ("mongo", mongo)]);
        Ok(Self { nodes: nodes.into(), protocol: Protocol::SocketIo, account, redis, watched, cluster: None })
    }

    /// `host:port` of the node for a client, round robin.
    pub(crate) fn node(&self, client: usize) -> &str {
        &self.nodes[client % self.nodes.len()]
    }

    /// Creates `count` rooms with `seats` seats each and returns their ids.
    pub(crate) async fn rooms(&self, count: usize, seats: usize) -> anyhow::Result<Vec<String>> {
        ensure!(!self.nodes.is_empty(), "clients need signaling nodes: set --node");
        match &self.account {
            Some(account) => account.create_calls(count, seats).await.context("cannot create calls"),
            None => Ok((0..count).map(|_| format!("load-{:016x}", rand::random::<u64>())).collect()),
        }
    }

    /// Stops the throw-away cluster, if any.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        match &mut self.cluster {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }
}

/// Processes on this machine that listen on these addresses, and this process.
fn watched_processes(nodes: &[String], others: [(&str, Option<String>); 3]) -> Vec<WatchedProcess> {
    let nodes =
        (1..).zip(nodes).map(|(index, node): (usize, _)| WatchedProcess::listening_on(format!("node {index}"), node));
    let others = others.map(|(name, address)| WatchedProcess::listening_on(name, &address?));
    let found = nodes.chain(others).flatten();
    found.flat_map(|process| process.and_children()).chain([WatchedProcess::current()]).collect()
}

async fn start_cluster(nodes: u8) -> anyhow::Result<Cluster> {
    // A few clients stand for many, so the rates of a client are unlimited.
    let rates = ["EVENTS_PER_SECOND", "FRAMES_PER_SECOND"];
    let env = rates.map(|name| (name.to_owned(), "0".to_owned())).to_vec();
    let options = Options { nodes: nodes.into(), haproxy: false, env, ..Options::default() };
    Cluster::start(&options).await.context("cannot start a throw-away cluster")
}

/// `host:port` of a URL without TLS. TLS ends at a load balancer; the measurement needs the plain
/// address behind it.
pub(crate) fn host_and_port(url: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let default = match scheme {
        "http" | "ws" => 80,
        "redis" => 6379,
        "mongodb" => 27017,
        _ => bail!("{scheme}:// is not supported: give the plain address behind the TLS endpoint"),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        bail!("{url:?} has no host");
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { host.to_owned() } else { format!("{host}:{default}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_from_urls() {
        for (url, expected) in [
            ("http://127.0.0.1:3002", "127.0.0.1:3002"),
            ("http://calls.example.org/", "calls.example.org:80"),
            ("localhost:3002", "localhost:3002"),
            ("redis://:secret@10.0.0.1/0", "10.0.0.1:6379"),
            ("mongodb://127.0.0.1:27020/db?replicaSet=rs0", "127.0.0.1:27020"),
            ("http://[::1]:80/x", "[::1]:80"),
        ] {
            assert_eq!(host_and_port(url).unwrap(), expected);
        }
        assert!(host_and_port("https://calls.example.org").is_err());
        assert!(host_and_port("http://").is_err());
    }
}
