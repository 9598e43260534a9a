//! `devcluster up`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use devcluster::cluster::{Cluster, Options};
use devcluster::service::Backend;
use devcluster::settings::Ports;

use crate::{Interrupts, report, say};

/// Starts everything, prints its logs until an interrupt, and stops everything. Fails when a
/// process does not start or ends by itself.
pub(crate) async fn up(nodes: usize, data: PathBuf) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    // Ports are checked before anything starts, so that a port in use leaves nothing to undo.
    let ports = Ports::from_env(nodes, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    let data = std::path::absolute(&data).with_context(|| format!("no such folder: {}", data.display()))?;
    let options = Options {
        nodes,
        ports: Some(ports),
        data: Some(data),
        verbose: true,
        env: drain_variables(),
        ..Options::default()
    };
    // Dropping an interrupted start ends the processes that it has started.
    let mut cluster = tokio::select! {
        cluster = Cluster::start(&options) => cluster?,
        () = interrupts.received() => return Ok(ExitCode::SUCCESS),
    };
    print_addresses(&cluster);
    let ended = tokio::select! {
        ended = first_exit(&mut cluster) => Some(ended),
        () = interrupts.received() => None,
    };
    if let Some(exit) = &ended {
        report(&format!("{exit} by itself; stopping the rest"));
    } else {
        say("\nstopping");
    }
    cluster.stop().await?;
    say("everything is stopped");
    Ok(if ended.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes the nodes drain quickly. Ctrl-C stops all of them at the same time, so clients have no
/// other node to move to.
fn drain_variables() -> Vec<(String, String)> {
    let defaults = [("DRAIN_DELAY_MS", "0"), ("DRAIN_DEADLINE_MS", "2000")];
    let unset = defaults.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    unset.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn first_exit(cluster: &mut Cluster) -> String {
    loop {
        if let Some((name, status)) = cluster.ended() {
            return format!("{name} ended ({status})");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn print_addresses(cluster: &Cluster) {
    let ports = cluster.ports();
    let address = |name: &str, Backend { port, admin }: Backend| {
        format!("  {name:<8} http://127.0.0.1:{port}   metrics and health http://127.0.0.1:{admin}/metrics /readyz")
    };
    let rule = "-".repeat(88);
    say(&rule);
    say(&format!("  Open     http://localhost:{}", ports.http));
    if !ports.bind.is_loopback() {
        say(&format!("  Network  {}", ports.bind_url(ports.http)));
        say("           Browsers give cameras and microphones to localhost or https only: put https before");
        say("           this address to use them from another machine or a phone.");
    }
    say(&rule);
    say(&address("api", ports.api));
    for (index, node) in (1..).zip(&ports.nodes) {
        say(&address(&format!("n{index}"), *node));
    }
    say(&format!("  redis    {}", cluster.redis.url()));
    say(&format!("  mongo    {}", cluster.mongodb_uri()));
    say(&format!("{rule}\n  Ctrl-C stops everything; the data stays until `make clean-data`.\n{rule}"));
}
