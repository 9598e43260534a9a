//! Ports of a cluster's servers, and the secrets that they share.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::ports;
use crate::service::Backend;

/// Port of MongoDB, if `MONGO_PORT` does not name another one.
pub const MONGO_PORT: u16 = 27117;

/// Ports of a whole cluster. All but HAProxy's are on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Address on which HAProxy listens; 0.0.0.0 for every interface.
    pub bind: Ipv4Addr,
    /// Port of the page, the API and the sockets, through HAProxy.
    pub http: u16,
    /// Ports of the api.
    pub api: Backend,
    /// Ports of the signal-nodes, in their order.
    pub nodes: Vec<Backend>,
    /// Ports on which the nodes take handed-over requests from each other, in the same order.
    pub internal: Vec<u16>,
    /// Port of Redis.
    pub redis: u16,
    /// Port of MongoDB.
    pub mongo: u16,
}

impl Ports {
    /// Finds free ports for a cluster of `nodes` signal-nodes, all on 127.0.0.1.
    ///
    /// # Errors
    /// When there are too few.
    pub fn free(nodes: usize) -> anyhow::Result<Self> {
        let mut free = ports::several(5 + 3 * nodes)?.into_iter();
        let mut next = || free.next().context("too few ports");
        let http = next()?;
        let api = Backend { port: next()?, admin: next()? };
        let (redis, mongo) = (next()?, next()?);
        let backends = (0..nodes).map(|_| anyhow::Ok(Backend { port: next()?, admin: next()? }));
        let backends = backends.collect::<Result<_, _>>()?;
        let internal = (0..nodes).map(|_| next()).collect::<Result<_, _>>()?;
        Ok(Self { bind: Ipv4Addr::LOCALHOST, http, api, nodes: backends, internal, redis, mongo })
    }

    /// Default ports, which variables of the environment change: `PORT_HTTP`, `API_PORT`,
    /// `SIGNALING_PORT` (the first node's; the others follow), `METRICS_PORT` (the api's; the nodes
    /// follow), `INTERNAL_PORT` (the first node's), `REDIS_PORT`, `MONGO_PORT`. `BIND` changes the
    /// address of `PORT_HTTP` alone.
    ///
    /// # Errors
    /// One line for each value that is malformed, used twice, or in use by another program. It
    /// names the variable to change.
    pub fn from_env(nodes: usize, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut wrong = Vec::new();
        let mut used = Vec::new();
        let text = variable("BIND").unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
        let bind = text.parse().unwrap_or_else(|_| {
            wrong.push(format!("BIND must be an IPv4 address such as 0.0.0.0, not \"{text}\""));
            Ipv4Addr::LOCALHOST
        });
        let mut take = |name: &'static str, default: u16, count: usize, what: &str| {
            let address = if name == "PORT_HTTP" { bind } else { Ipv4Addr::LOCALHOST };
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
                    wrong.push(format!("port {port} ({what}) is also in {other}: set {name} to another port"));
                } else if TcpListener::bind((address, *port)).is_err() {
                    wrong.push(format!("port {port} ({what}) is in use: set {name} to a free port"));
                }
                used.push((*port, name));
            }
            range
        };
        let http = take("PORT_HTTP", 8080, 1, "the page");
        let api = take("API_PORT", 3001, 1, "the api");
        let sockets = take("SIGNALING_PORT", 3002, nodes, "a signal-node");
        let admin = take("METRICS_PORT", 9101, nodes + 1, "metrics and health");
        let internal = take("INTERNAL_PORT", 9202, nodes, "requests between nodes");
        let redis = take("REDIS_PORT", 6390, 1, "Redis");
        let mongo = take("MONGO_PORT", MONGO_PORT, 1, "MongoDB");
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        let nodes = sockets.iter().zip(&admin[1..]).map(|(port, admin)| Backend { port: *port, admin: *admin });
        Ok(Self {
            bind,
            http: http[0],
            api: Backend { port: api[0], admin: admin[0] },
            nodes: nodes.collect(),
            internal,
            redis: redis[0],
            mongo: mongo[0],
        })
    }

    /// Address of a server on `port` for a browser: `localhost` for loopback, the address of this
    /// machine in its network when HAProxy listens on every interface, else `bind`.
    #[must_use]
    pub fn bind_url(&self, port: u16) -> String {
        let host = match self.bind {
            Ipv4Addr::LOCALHOST => None,
            Ipv4Addr::UNSPECIFIED => lan_address(),
            other => Some(other),
        };
        host.map_or_else(|| format!("http://localhost:{port}"), |host| format!("http://{host}:{port}"))
    }
}

/// Address of this machine in the network of its default route. `None` without a network.
fn lan_address() -> Option<Ipv4Addr> {
    // Connecting a UDP socket chooses a route and sends nothing. The address is one of those that
    // are reserved for documentation (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// Keys that sign tokens.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// `JWT_ACCESS_SECRET`.
    pub access: String,
    /// `JWT_REFRESH_SECRET`.
    pub refresh: String,
    /// `JWT_ACCESS_PRIVATE_KEY`, which pods get with [`Cluster::set_keys`] alone.
    ///
    /// [`Cluster::set_keys`]: crate::cluster::Cluster::set_keys
    pub private_key: String,
    /// Whether the private key signs access tokens in place of the secret.
    pub is_eddsa: bool,
}

impl Secrets {
    /// Makes random secrets.
    #[must_use]
    pub fn random() -> Self {
        let secret = || hex::encode(rand::random::<[u8; 32]>());
        Self { access: secret(), refresh: secret(), private_key: private_key(), is_eddsa: false }
    }

    /// Reads the two secrets in `file`, or writes random ones to it, so that sign-ins survive a
    /// restart. Only the file's owner can read it.
    ///
    /// # Errors
    /// When the file can be neither read nor written, or does not hold two lines.
    pub fn kept(file: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = std::fs::read_to_string(file) {
            let mut lines = text.lines().map(str::to_owned);
            let pair = lines.next().zip(lines.next());
            let (access, refresh) = pair.with_context(|| {
                format!("{} must hold two lines, one for each secret; remove it to make new ones", file.display())
            })?;
            return Ok(Self { access, refresh, ..Self::random() });
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

/// Makes a random Ed25519 key in PEM, as `openssl genpkey -algorithm ed25519` does.
fn private_key() -> String {
    // PKCS #8 (RFC 8410): version, algorithm, and the 32 random bytes of the key.
    const HEAD: [u8; 16] = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32];
    let der = [&HEAD[..], &rand::random::<[u8; 32]>()].concat();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_port_that_is_in_use_or_malformed_is_named_with_its_variable() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let variable = |name: &str| match name {
            "REDIS_PORT" => Some(port.to_string()),
            "PORT_HTTP" => Some("eighty".into()),
            "SIGNALING_PORT" => Some("65535".into()),
            "BIND" => Some("everywhere".into()),
            _ => Some(ports::free().unwrap().to_string()),
        };
        let text = Ports::from_env(2, variable).unwrap_err().to_string();
        assert!(text.contains("PORT_HTTP must be a port"), "{text}");
        assert!(text.contains("SIGNALING_PORT=65535 leaves no room"), "{text}");
        assert!(text.contains("BIND must be an IPv4 address"), "{text}");
        assert!(text.contains(&format!("port {port} (Redis) is in use: set REDIS_PORT")), "{text}");
        // Another program may have taken the port after a free one.
        let others = text.lines().filter(|line| line.contains("is in use") && !line.contains("REDIS_PORT")).count();
        assert_eq!(text.lines().count() - others, 4, "{text}");
    }

    #[test]
    fn the_address_for_browsers_follows_the_address_that_haproxy_listens_on() {
        let mut ports = Ports::free(1).unwrap();
        assert_eq!(ports.bind_url(8080), "http://localhost:8080");
        ports.bind = Ipv4Addr::new(127, 0, 0, 2);
        assert_eq!(ports.bind_url(8080), "http://127.0.0.2:8080");
        ports.bind = Ipv4Addr::UNSPECIFIED;
        let host = lan_address().map_or("localhost".to_owned(), |address| address.to_string());
        assert_eq!(ports.bind_url(8080), format!("http://{host}:8080"));
    }

    #[test]
    fn secrets_in_a_file_are_the_same_at_the_next_start_and_only_their_owner_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets");
        let first = Secrets::kept(&file).unwrap();
        let second = Secrets::kept(&file).unwrap();
        assert_eq!((&first.access, &first.refresh), (&second.access, &second.refresh));
        assert_ne!(first.access, first.refresh);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
