//! What is loaded: addresses that are given, or a cluster of its own.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use devcluster::cluster::{Cluster, Options};
use devcluster::service::Service;

use crate::client::api::Host;
use crate::measure::machine::Watched;

/// Where the servers are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TargetArgs {
    /// Addresses of signaling nodes, or of a load balancer in front of them; clients are spread over them. Without this and the
    /// addresses below, a throw-away cluster is started here.
    #[arg(long = "node", env = "NODE_URLS", value_delimiter = ',', value_name = "URL")]
    nodes: Vec<String>,
    /// The address of the api, which makes an account and the calls to meet in. Without it rooms are made up: only for servers that
    /// know no calls.
    #[arg(long, env = "API_URL", value_name = "URL")]
    api: Option<String>,
    /// The address of Redis: to find its process when it is on this machine, and for `floor`, which needs nothing else.
    #[arg(long, env = "REDIS_URL", value_name = "URL")]
    redis: Option<String>,
    /// The address of MongoDB: to find its process when it is on this machine.
    #[arg(long, env = "MONGODB_URI", value_name = "URL")]
    mongo: Option<String>,
    /// Nodes of the throw-away cluster.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    cluster: u8,
}

/// The addresses of what is beside the nodes, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) api: Option<String>,
    pub(crate) redis: Option<String>,
    pub(crate) mongo: Option<String>,
}

impl Beside {
    /// Of a cluster of this program's.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self { api: Some(cluster.api.url()), redis: Some(cluster.redis.url()), mongo: Some(cluster.mongodb_uri()) }
    }
}

/// The servers of a run.
#[derive(Debug)]
pub(crate) struct Target {
    /// `host:port` of each node.
    pub(crate) nodes: Arc<[String]>,
    /// Who makes the calls; nobody when rooms are made up.
    pub(crate) host: Option<Host>,
    /// `host:port` of Redis, if it is known and one server.
    pub(crate) redis: Option<String>,
    /// What is known of them on this machine.
    pub(crate) watched: Vec<Watched>,
    /// The throw-away cluster. It ends with this value.
    pub(crate) own: Option<Cluster>,
}

impl Target {
    /// Finds the servers, or starts them.
    pub(crate) async fn open(args: &TargetArgs) -> anyhow::Result<Self> {
        // Whoever names anything means that, and not a cluster of our own.
        let named = !args.nodes.is_empty() || [&args.api, &args.redis, &args.mongo].into_iter().any(Option::is_some);
        let own = if named { None } else { Some(start(args.cluster).await?) };
        let (nodes, beside) = match &own {
            Some(cluster) => (cluster.nodes.iter().map(Service::url).collect(), Beside::of(cluster)),
            None => {
                let TargetArgs { nodes, api, redis, mongo, .. } = args.clone();
                (nodes, Beside { api, redis, mongo })
            }
        };
        Ok(Self { own, ..Self::at(&nodes, &beside).await? })
    }

    /// The servers at these addresses.
    pub(crate) async fn at(nodes: &[String], beside: &Beside) -> anyhow::Result<Self> {
        let host = match &beside.api {
            Some(api) => Some(Host::register(api.trim_end_matches('/')).await.context("making an account")?),
            None => None,
        };
        Self::with(nodes, host, beside)
    }

    /// As `at`, with an account that is there already.
    pub(crate) fn with(nodes: &[String], host: Option<Host>, beside: &Beside) -> anyhow::Result<Self> {
        let nodes = nodes.iter().map(|url| address(url)).collect::<anyhow::Result<Vec<_>>>()?;
        let [api, redis, mongo] = [&beside.api, &beside.redis, &beside.mongo].map(|url| address(url.as_ref()?).ok());
        let watched = watched(&nodes, [("api", api), ("redis", redis.clone()), ("mongo", mongo)]);
        Ok(Self { nodes: nodes.into(), host, redis, watched, own: None })
    }

    /// A node for the client of this number: round robin.
    pub(crate) fn node(&self, client: usize) -> &str {
        &self.nodes[client % self.nodes.len()]
    }

    /// So many new rooms, each with a seat for so many.
    pub(crate) async fn rooms(&self, count: usize, seats: usize) -> anyhow::Result<Vec<String>> {
        ensure!(!self.nodes.is_empty(), "clients need nodes: say where they are with --node");
        match &self.host {
            Some(host) => host.calls(count, seats).await.context("making calls"),
            None => Ok((0..count).map(|_| format!("load-{:016x}", rand::random::<u64>())).collect()),
        }
    }

    /// Ends the throw-away cluster, if there is one.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        match &mut self.own {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }
}

/// The processes behind addresses of this machine, and this program.
fn watched(nodes: &[String], others: [(&str, Option<String>); 3]) -> Vec<Watched> {
    let nodes = (1..).zip(nodes).map(|(index, node): (usize, _)| Watched::behind(format!("node {index}"), node));
    let others = others.map(|(name, address)| Watched::behind(name, &address?));
    let found = nodes.chain(others).flatten();
    found.flat_map(|process| process.with_workers()).chain([Watched::this()]).collect()
}

async fn start(nodes: u8) -> anyhow::Result<Cluster> {
    // A few clients stand for many: no limit on what one may send.
    let env = vec![("EVENTS_PER_SECOND".to_owned(), "0".to_owned())];
    let options = Options { nodes: nodes.into(), haproxy: false, env, ..Options::default() };
    Cluster::start(&options).await.context("starting a throw-away cluster")
}

/// `host:port` of a plain address. TLS ends at a load balancer: what is behind it is what is to be measured.
fn address(url: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let default = match scheme {
        "http" | "ws" => 80,
        "redis" => 6379,
        "mongodb" => 27017,
        _ => bail!("{scheme}:// is not spoken here: give the plain address behind it"),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        bail!("{url:?} names no host");
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { host.to_owned() } else { format!("{host}:{default}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_urls() {
        for (url, expected) in [
            ("http://127.0.0.1:3002", "127.0.0.1:3002"),
            ("http://calls.example.org/", "calls.example.org:80"),
            ("localhost:3002", "localhost:3002"),
            ("redis://:secret@10.0.0.1/0", "10.0.0.1:6379"),
            ("mongodb://127.0.0.1:27020/db?replicaSet=rs0", "127.0.0.1:27020"),
            ("http://[::1]:80/x", "[::1]:80"),
        ] {
            assert_eq!(address(url).unwrap(), expected);
        }
        assert!(address("https://calls.example.org").is_err());
        assert!(address("http://").is_err());
    }
}
