//! `devcluster up`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use devcluster::cluster::{Cluster, Options};
use devcluster::haproxy::Backend;
use devcluster::settings::Ports;

use crate::{Interrupts, report, say};

/// Starts everything, shows its logs until it is asked to end, and stops everything. Fails when something does not
/// start, and when a process ends by itself.
pub(crate) async fn up(nodes: usize, data: PathBuf) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    // Every port is looked at before anything starts: a taken one is told at once, and nothing has to be undone.
    let ports = Ports::from_env(nodes, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    let data = std::path::absolute(&data).with_context(|| format!("no such place: {}", data.display()))?;
    let options =
        Options { nodes, ports: Some(ports), data: Some(data), verbose: true, env: drain(), ..Options::default() };
    // Dropping a start that was interrupted ends what it had started.
    let mut cluster = tokio::select! {
        cluster = Cluster::start(&options) => cluster?,
        () = interrupts.asked() => return Ok(ExitCode::SUCCESS),
    };
    show(&cluster);
    let ended = tokio::select! {
        ended = one_ends(&mut cluster) => Some(ended),
        () = interrupts.asked() => None,
    };
    if let Some(what) = &ended {
        report(&format!("{what} by itself; stopping the rest"));
    } else {
        say("\nstopping");
    }
    cluster.stop().await?;
    say("everything is stopped");
    Ok(if ended.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Ctrl-C stops all nodes at once: there is no other node to move anybody to, so nobody waits for it.
fn drain() -> Vec<(String, String)> {
    let defaults = [("DRAIN_DELAY_MS", "0"), ("DRAIN_DEADLINE_MS", "2000")];
    let unset = defaults.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    unset.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn one_ends(cluster: &mut Cluster) -> String {
    loop {
        if let Some((name, status)) = cluster.ended() {
            return format!("{name} ended ({status})");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn show(cluster: &Cluster) {
    let ports = cluster.ports();
    let served = |name: &str, Backend { port, admin }: Backend| {
        format!("  {name:<8} http://127.0.0.1:{port}   metrics and health http://127.0.0.1:{admin}/metrics /readyz")
    };
    let rule = "-".repeat(88);
    say(&rule);
    say(&format!("  Open     http://localhost:{}", ports.http));
    say(&rule);
    say(&served("api", ports.api));
    for (index, node) in (1..).zip(&ports.nodes) {
        say(&served(&format!("n{index}"), *node));
    }
    say(&format!("  redis    {}", cluster.redis.url()));
    say(&format!("  mongo    {}", cluster.mongodb_uri()));
    say(&format!("{rule}\n  Ctrl-C stops everything; the data stays until `make clean-data`.\n{rule}"));
}
