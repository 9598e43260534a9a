//! The load balancer: everything on one port, round robin over the nodes with no stickiness.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::process::{Echo, Spec, find_program};
use crate::service::{Service, local};

/// Where a server serves clients, and where it answers `/readyz`.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// The port that clients' requests go to.
    pub port: u16,
    /// The port of the health check.
    pub admin: u16,
}

/// Starts HAProxy on `port`; its configuration and log go to `dir`. Ready when `probe` (a path) succeeds through it.
///
/// # Errors
/// When `haproxy` is missing, refuses its configuration or its port, or nothing behind it answers.
pub async fn start(
    dir: &Path,
    port: u16,
    api: Backend,
    nodes: &[Backend],
    probe: &str,
    echo: Echo,
) -> anyhow::Result<Service> {
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config(port, api, nodes, Orders::of(dir).as_ref()))
        .context("cannot write HAProxy's configuration")?;
    let arguments = ["-db".as_ref(), "-f".as_ref(), file.as_os_str()];
    let spec = Spec::new("haproxy", find_program("haproxy")?, dir).args(arguments).echo(echo);
    Service::start(spec, port, format!("{}{probe}", local(port))).await
}

/// The longest path that a socket may have, less what HAProxy appends while it binds it.
const PATH_MAX: usize = 90;

/// A running HAProxy that is told which pods there are, as Kubernetes tells a balancer by the endpoints of a Service.
#[derive(Clone, Debug)]
pub struct Orders(PathBuf);

impl Orders {
    /// To the one that was started in `dir`. `None` where the path is too long for a socket.
    #[must_use]
    pub fn of(dir: &Path) -> Option<Self> {
        let socket = dir.join("haproxy.sock");
        (socket.as_os_str().len() <= PATH_MAX).then_some(Self(socket))
    }

    /// Sends new requests of `backend` (`api` or `nodes`) to this port too. No health check: an endpoint is one that Kubernetes found ready.
    ///
    /// # Errors
    /// When HAProxy does not answer, or refuses; so with [`Orders::remove`].
    pub async fn add(&self, backend: &str, name: &str, port: u16) -> anyhow::Result<()> {
        self.order(&format!("add server {backend}/{name} 127.0.0.1:{port}")).await?;
        self.order(&format!("enable server {backend}/{name}")).await
    }

    /// Sends no new request to this server. Connections that it has stay.
    ///
    /// # Errors
    /// See [`Orders::add`].
    pub async fn remove(&self, backend: &str, name: &str) -> anyhow::Result<()> {
        self.order(&format!("set server {backend}/{name} state maint")).await
    }

    async fn order(&self, order: &str) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(&self.0).await.context("HAProxy takes no orders")?;
        stream.write_all(format!("{order}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.trim() {
            "" | "New server registered." => Ok(()),
            refused => bail!("{order}: {refused}"),
        }
    }
}

/// The configuration file.
#[must_use]
pub fn config(port: u16, api: Backend, nodes: &[Backend], orders: Option<&Orders>) -> String {
    let server = |name: String, Backend { port, admin }: Backend| {
        format!("    server {name} 127.0.0.1:{port} check port {admin}\n")
    };
    let nodes: String = (1..).zip(nodes).map(|(index, node)| server(format!("n{index}"), *node)).collect();
    let api = server("api".into(), api);
    let connections = connections();
    let orders = orders
        .map_or(String::new(), |Orders(path)| format!("    stats socket {} mode 600 level admin\n", path.display()));
    format!(
        "\
global
    # Without this two HAProxys share a port, and each takes half of the connections.
    noreuseport
    maxconn {connections}
    log stdout format raw local0 notice
{orders}
defaults
    mode http
    log global
    option forwardfor
    # A client that gives up a long poll has gone; its session's node must learn it.
    option abortonclose
    timeout connect 2s
    # Above the 25 s for which a long poll may hang.
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout tunnel 1h
    # A server that refuses the connection has seen nothing of the request: another one can have it.
    retries 3
    option redispatch 1
    retry-on conn-failure
    option httpchk GET /readyz
    default-server inter 500ms fall 2 rise 1

frontend public
    bind 127.0.0.1:{port}
    acl sockets path_beg /socket.io/
    use_backend nodes if sockets
    default_backend api

backend api
{api}
backend nodes
    balance roundrobin
{nodes}"
    )
}

/// Each connection takes two descriptors. HAProxy refuses to start with more than the limit allows, and left to itself
/// it allocates for all of the limit, which some systems set to a thousand million.
fn connections() -> u64 {
    getrlimit(Resource::Nofile).maximum.map_or(20_000, |most| (most.saturating_sub(200) / 2).clamp(100, 20_000))
}
