//! The load balancer: everything on one port, round robin over the nodes with no stickiness.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::process::{Echo, Spec};
use crate::programs::find_program;
use crate::service::{Backend, Service, local};

/// Starts HAProxy on `bind`; its configuration and log go to `dir`. It is ready when a `GET` of the
/// path `probe` succeeds through it.
///
/// # Errors
/// When `haproxy` is missing, refuses its configuration or its port, or no server answers `probe`.
pub async fn start(
    dir: &Path,
    bind: SocketAddrV4,
    api: Backend,
    nodes: &[Backend],
    probe: &str,
    echo: Echo,
) -> anyhow::Result<Service> {
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config(bind, api, nodes, RuntimeApi::of(dir).as_ref()))
        .context("cannot write HAProxy's configuration")?;
    let arguments = ["-db".as_ref(), "-f".as_ref(), file.as_os_str()];
    let spec = Spec::new("haproxy", find_program("haproxy")?, dir).args(arguments).echo(echo);
    // An unspecified address takes connections to loopback too.
    let address = if bind.ip().is_unspecified() { local(bind.port()) } else { format!("http://{bind}") };
    let probe = format!("{address}{probe}");
    Service::start_at(spec, address, probe).await
}

/// Longest path that a Unix socket may have, less the suffix that HAProxy appends while it binds.
const SOCKET_PATH_MAX: usize = 90;

/// A group of servers in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The api's pods.
    Api,
    /// The signal-nodes.
    Nodes,
}

impl Pool {
    /// The names of its `backend` sections, see [`config`].
    fn backends(self) -> &'static [&'static str] {
        match self {
            Self::Api => &["api"],
            Self::Nodes => &["handshakes", "nodes"],
        }
    }
}

/// Runtime API of a running HAProxy: adds and removes servers, as Kubernetes does when the
/// endpoints of a Service change.
#[derive(Clone, Debug)]
pub struct RuntimeApi(PathBuf);

impl RuntimeApi {
    /// Of the HAProxy that was started in `dir`. `None` if the path is too long for a Unix socket.
    #[must_use]
    pub fn of(dir: &Path) -> Option<Self> {
        let socket = dir.join("haproxy.sock");
        (socket.as_os_str().len() <= SOCKET_PATH_MAX).then_some(Self(socket))
    }

    /// Sends new requests to this port too. There is no health check, because Kubernetes adds only
    /// endpoints that it has found ready.
    ///
    /// # Errors
    /// When HAProxy does not answer or refuses the command.
    pub async fn add(&self, pool: Pool, name: &str, port: u16) -> anyhow::Result<()> {
        for backend in pool.backends() {
            self.command(&format!("add server {backend}/{name} 127.0.0.1:{port}")).await?;
            self.command(&format!("enable server {backend}/{name}")).await?;
        }
        Ok(())
    }

    /// Sends no new request to this server. Its open connections stay.
    ///
    /// # Errors
    /// When HAProxy cannot be reached or refuses the command.
    pub async fn remove(&self, pool: Pool, name: &str) -> anyhow::Result<()> {
        for backend in pool.backends() {
            self.command(&format!("set server {backend}/{name} state maint")).await?;
        }
        Ok(())
    }

    async fn command(&self, command: &str) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(&self.0).await.context("cannot connect to HAProxy's Runtime API")?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.trim() {
            "" | "New server registered." => Ok(()),
            refused => bail!("HAProxy refuses \"{command}\": {refused}"),
        }
    }
}

/// Text of the configuration file.
///
/// A client on long polling makes a handshake and then an even number of requests before its
/// upgrade. One round robin over all of them would send every handshake to the same one of two
/// nodes. Handshakes therefore have a round robin of their own: successive sessions open on
/// successive nodes.
#[must_use]
pub fn config(bind: SocketAddrV4, api: Backend, nodes: &[Backend], runtime_api: Option<&RuntimeApi>) -> String {
    let server = |name: &str, port: u16| format!("    server {name} 127.0.0.1:{port}");
    let names: Vec<(String, Backend)> =
        (1..).map(|index: usize| format!("n{index}")).zip(nodes.iter().copied()).collect();
    let checked = |name: &str, Backend { port, admin }| format!("{} check port {admin}\n", server(name, port));
    let tracked = |name: &str, Backend { port, .. }| format!("{} track nodes/{name}\n", server(name, port));
    let handshakes: String = names.iter().map(|(name, node)| tracked(name, *node)).collect();
    let nodes: String = names.iter().map(|(name, node)| checked(name, *node)).collect();
    let api = checked("api", api);
    let connections = connections();
    let stats = runtime_api.map_or(String::new(), |RuntimeApi(path)| {
        format!("    stats socket {} mode 600 level admin\n", path.display())
    });
    format!(
        "\
global
    # Without this two HAProxys share a port, and each takes half of the connections.
    noreuseport
    maxconn {connections}
    log stdout format raw local0 notice
{stats}
defaults
    mode http
    log global
    option forwardfor
    # When a client gives up a long poll, its session's node must see the request end.
    option abortonclose
    timeout connect 2s
    # Above the 25 s that a long poll may wait.
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    # Idle connections of clients, and of a balancer in front. Without it, 10 s as a request's head.
    timeout http-keep-alive 130s
    timeout tunnel 1h
    # A server that refused the connection has not seen the request, so another server may have it.
    retries 3
    option redispatch 1
    retry-on conn-failure
    option httpchk GET /readyz
    default-server inter 500ms fall 2 rise 1

frontend public
    bind {bind}
    acl sockets path /socket.io
    acl sockets path_beg /socket.io/
    acl session urlp(sid) -m found
    use_backend nodes if sockets session
    use_backend handshakes if sockets
    default_backend api

backend api
{api}
# Requests that open a session have a round robin of their own: two clients that open a session one
# after the other get two nodes, however many requests each of them makes.
backend handshakes
    balance roundrobin
{handshakes}
# Requests of open sessions: to any node, which hands them over to the session's node.
backend nodes
    balance roundrobin
{nodes}"
    )
}

/// Limit of connections. Each takes two file descriptors. HAProxy refuses to start with more than
/// the system allows. Without a limit it allocates for as many as the system allows, and some
/// systems allow 10^9.
fn connections() -> u64 {
    getrlimit(Resource::Nofile).maximum.map_or(20_000, |limit| (limit.saturating_sub(200) / 2).clamp(100, 20_000))
}
