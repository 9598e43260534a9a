//! Where the parts of a cluster listen, and the secrets they share.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::haproxy::Backend;
use crate::ports;

/// The ports of a whole cluster, all on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The page, the API and the sockets, through HAProxy.
    pub http: u16,
    /// The api.
    pub api: Backend,
    /// The signal-nodes, in order.
    pub nodes: Vec<Backend>,
    /// Where they take hand-overs from each other, in the same order.
    pub internal: Vec<u16>,
    /// Redis.
    pub redis: u16,
    /// MongoDB.
    pub mongo: u16,
}

impl Ports {
    /// Free ports for a cluster of `nodes` signal-nodes.
    ///
    /// # Errors
    /// When there are none left.
    pub fn free(nodes: usize) -> anyhow::Result<Self> {
        let mut free = ports::several(5 + 3 * nodes)?.into_iter();
        let mut next = || free.next().context("too few ports");
        let http = next()?;
        let api = Backend { port: next()?, admin: next()? };
        let (redis, mongo) = (next()?, next()?);
        let backends = (0..nodes).map(|_| anyhow::Ok(Backend { port: next()?, admin: next()? }));
        let backends = backends.collect::<Result<_, _>>()?;
        let internal = (0..nodes).map(|_| next()).collect::<Result<_, _>>()?;
        Ok(Self { http, api, nodes: backends, internal, redis, mongo })
    }

    /// The usual ports, each of which a variable of the environment can change: `PORT_HTTP`, `API_PORT`,
    /// `SIGNALING_PORT` (the first node's; the others follow), `METRICS_PORT` (the api's; the nodes' follow),
    /// `INTERNAL_PORT` (the first node's), `REDIS_PORT` and `MONGO_PORT`.
    ///
    /// # Errors
    /// One line for every port that is not a number, used twice, or taken, which names the variable to set.
    pub fn from_env(nodes: usize, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut wrong = Vec::new();
        let mut used = Vec::new();
        let mut take = |name: &'static str, default: u16, count: usize, what: &str| {
            let text = variable(name).unwrap_or_else(|| default.to_string());
            let Some(first) = text.parse::<u16>().ok().filter(|first| *first > 0) else {
                wrong.push(format!("{name} must be a port, 1 to 65535, not \"{text}\""));
                return vec![0; count];
            };
            let range: Vec<u16> = (first..=u16::MAX).take(count).collect();
            if range.len() < count {
                wrong.push(format!("{name}={first} leaves no room for {count} ports: set a lower one"));
                return vec![0; count];
            }
            for port in &range {
                if let Some((_, other)) = used.iter().find(|(taken, _)| taken == port) {
                    wrong.push(format!("port {port} is wanted for {what} and by {other}: set {name} to another one"));
                } else if !ports::is_free(*port) {
                    wrong.push(format!("port {port} ({what}) is in use: set {name} to a free one"));
                }
                used.push((*port, name));
            }
            range
        };
        let http = take("PORT_HTTP", 8080, 1, "the page");
        let api = take("API_PORT", 3001, 1, "the api");
        let sockets = take("SIGNALING_PORT", 3002, nodes, "a signal-node");
        let admin = take("METRICS_PORT", 9101, nodes + 1, "metrics and health");
        let internal = take("INTERNAL_PORT", 9202, nodes, "hand-overs between nodes");
        let redis = take("REDIS_PORT", 6390, 1, "Redis");
        let mongo = take("MONGO_PORT", 27117, 1, "MongoDB");
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        let nodes = sockets.iter().zip(&admin[1..]).map(|(port, admin)| Backend { port: *port, admin: *admin });
        Ok(Self {
            http: http[0],
            api: Backend { port: api[0], admin: admin[0] },
            nodes: nodes.collect(),
            internal,
            redis: redis[0],
            mongo: mongo[0],
        })
    }
}

/// The two keys that sign tokens.
#[derive(Clone)]
pub struct Secrets {
    /// `JWT_ACCESS_SECRET`.
    pub access: String,
    /// `JWT_REFRESH_SECRET`.
    pub refresh: String,
}

impl Secrets {
    /// New random ones.
    #[must_use]
    pub fn random() -> Self {
        let secret = || rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { access: secret(), refresh: secret() }
    }

    /// Those kept in `file`, made at the first use and readable by their owner alone: sign-ins survive a restart.
    ///
    /// # Errors
    /// When the file can be neither read nor written.
    pub fn kept(file: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = std::fs::read_to_string(file) {
            let mut lines = text.lines().map(str::to_owned);
            let pair = lines.next().zip(lines.next());
            let (access, refresh) = pair.with_context(|| format!("{} holds no two secrets", file.display()))?;
            return Ok(Self { access, refresh });
        }
        let secrets = Self::random();
        let mut options = OpenOptions::new();
        let mut out = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        writeln!(out, "{}\n{}", secrets.access, secrets.refresh)?;
        Ok(secrets)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_taken_or_wrong_port_is_named_with_its_variable() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let variable = |name: &str| match name {
            "REDIS_PORT" => Some(port.to_string()),
            "PORT_HTTP" => Some("eighty".into()),
            "SIGNALING_PORT" => Some("65535".into()),
            _ => Some(ports::free().unwrap().to_string()),
        };
        let text = Ports::from_env(2, variable).unwrap_err().to_string();
        assert!(text.contains("PORT_HTTP must be a port"), "{text}");
        assert!(text.contains("SIGNALING_PORT=65535 leaves no room"), "{text}");
        assert!(text.contains(&format!("port {port} (Redis) is in use: set REDIS_PORT")), "{text}");
        // The port after a free one may be somebody else's by now.
        let others = text.lines().filter(|line| line.contains("is in use") && !line.contains("REDIS_PORT")).count();
        assert_eq!(text.lines().count() - others, 3, "{text}");
    }

    #[test]
    fn kept_secrets_are_the_same_next_time_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets");
        let first = Secrets::kept(&file).unwrap();
        let second = Secrets::kept(&file).unwrap();
        assert_eq!((&first.access, &first.refresh), (&second.access, &second.refresh));
        assert_ne!(first.access, first.refresh);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
