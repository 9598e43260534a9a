//! `devcluster run`.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use devcluster::cluster::{Cluster, Options};
use devcluster::programs::folder;
use devcluster::service::{Service, local};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::sync::Mutex;

use crate::{Interrupts, control, report, say};

/// Number of lines of each log that are printed when the command fails.
const TAIL_LINES: usize = 40;
/// Time that an interrupted command has to end before SIGKILL.
const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// Runs `command` beside a temporary cluster and exits with its status. With `other_programs` every
/// second node runs the programs of that folder.
pub(crate) async fn run(
    nodes: usize,
    redis_masters: usize,
    other_programs: Option<PathBuf>,
    command: &[String],
) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let programs = other_programs.map_or(Ok(Vec::new()), |other| folder().map(|own| vec![own, other]))?;
    let options = Options { nodes, redis_masters, programs, ..Options::default() };
    let cluster = tokio::select! {
        cluster = Cluster::start(&options) => cluster?,
        () = interrupts.received() => return Ok(ExitCode::FAILURE),
    };
    let environment = environment(&cluster);
    let cluster = Arc::new(Mutex::new(cluster));
    let control = control::start(Arc::clone(&cluster)).await?;
    let (program, arguments) = command.split_first().context("no command")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(environment)
        .env("DEVCLUSTER_CONTROL", control)
        // A process group of its own, so that its children can be ended with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        () = interrupts.received() => None,
    };
    if status.is_none() {
        end(&mut child).await?;
    }
    let mut cluster = cluster.lock().await;
    if status.is_none_or(|status| !status.success()) {
        for process in cluster.processes() {
            say(&format!("---- the end of {}'s log\n{}", process.name(), process.log_tail(TAIL_LINES)));
        }
    }
    cluster.stop().await?;
    Ok(status.map_or(ExitCode::FAILURE, code))
}

/// Variables that give the command the addresses of the cluster.
fn environment(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let ports = cluster.ports();
    let list = |values: Vec<String>| values.join(",");
    vec![
        ("BASE_URL", cluster.base_url()),
        ("API_URL", cluster.api.url()),
        ("NODE_URLS", list(cluster.nodes.iter().map(Service::url).collect())),
        ("NODE_PIDS", list(cluster.nodes.iter().map(|node| node.id().to_string()).collect())),
        ("METRICS_URLS", list(ports.nodes.iter().map(|node| format!("{}/metrics", local(node.admin))).collect())),
        ("API_METRICS_URL", format!("{}/metrics", local(ports.api.admin))),
        ("REDIS_URL", cluster.redis.url()),
        ("MONGODB_URI", cluster.mongodb_uri()),
        ("JWT_ACCESS_SECRET", cluster.secrets.access.clone()),
    ]
}

/// Ends the command and its children: SIGTERM, and SIGKILL after [`GRACE_PERIOD`].
async fn end(child: &mut Child) -> anyhow::Result<()> {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("the command has ended")?;
    kill_process_group(group, Signal::TERM)?;
    if tokio::time::timeout(GRACE_PERIOD, child.wait()).await.is_err() {
        kill_process_group(group, Signal::KILL)?;
        child.wait().await?;
    }
    Ok(())
}

/// Exit code as shells give it: 128 + signal for a command that a signal ended.
fn code(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        report(&format!("the command was ended by signal {signal}"));
    }
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
