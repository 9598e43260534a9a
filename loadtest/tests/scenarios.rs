//! Each scenario against a real cluster: everything that is sent arrives. Nothing here looks at a time.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::process::{Command, Output};

use devcluster::cluster::{Cluster, Options};
use devcluster::service::Service;
use serde_json::Value;

/// Runs `loadtest` with these arguments.
fn loadtest(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments.split(' ')).output().unwrap()
}

/// Runs a scenario that keeps to all its thresholds; its report.
fn report(arguments: &str) -> Value {
    let output = loadtest(&format!("{arguments} --json"));
    let told = || format!("{arguments}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {}", told()));
    assert!(output.status.success(), "{}\n{report:#}", told());
    assert_eq!(report["lost"], 0, "{report:#}");
    report
}

/// How many times of a kind were noted.
fn timed(report: &Value, kind: &str) -> u64 {
    let all = report["latencies"].as_array().unwrap();
    all.iter().find(|latency| latency["name"] == kind).map_or(0, |latency| latency["count"].as_u64().unwrap())
}

fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_scenario_sends_arrives() {
    let variables = [("PING_INTERVAL_MS", "500"), ("EVENTS_PER_SECOND", "0")];
    let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = Options { haproxy: false, env, ..Options::default() };
    let mut cluster = Cluster::start(&options).await.unwrap();
    let nodes: Vec<_> = cluster.nodes.iter().map(Service::url).collect();
    let there = format!(
        "--node {} --api {} --redis {} --mongo {} --duration 1 --warm-up 0.2",
        nodes.join(","),
        cluster.api.url(),
        cluster.redis.url(),
        cluster.mongodb_uri()
    );
    let run = |scenario: &str| tokio::task::block_in_place(|| report(&format!("{scenario} {there}")));

    let relay = run("relay --pairs 4 --rate 50");
    assert!(timed(&relay, "offer and answer") > 0);
    assert_eq!(timed(&relay, "offer and answer"), count(&relay, "offers sent"));
    assert_eq!(timed(&relay, "offer"), count(&relay, "offers sent"));
    let watched: Vec<_> = relay["processes"].as_array().unwrap().iter().map(|process| &process["name"]).collect();
    assert_eq!(watched, ["node 1", "node 2", "api", "redis", "mongo", "loadtest"]);

    // Each answer begins the next offer: what counts began in the window, so the last ones are received after it.
    let saturated = run("relay --pairs 4 --in-flight 2");
    assert!(timed(&saturated, "offer and answer") > 8);
    assert_eq!(timed(&saturated, "offer and answer"), count(&saturated, "offers sent"));

    let idle = run("idle --clients 20 --room-size 5 --message 20000");
    assert!(count(&idle, "heartbeats") > 0);
    assert_eq!((timed(&idle, "seated"), timed(&idle, "large message")), (20, 20));

    let join = run("join --rate 20 --rooms 3 --stay 0.1 --arrivals poisson");
    assert!(timed(&join, "seated") > 0);
    assert_eq!(timed(&join, "seated"), count(&join, "begun"));

    let rooms = run("rooms --rate 4 --mix 2,4 --candidates 2 --talk 0.1");
    assert!(timed(&rooms, "whole call") > 0);
    assert_eq!(timed(&rooms, "whole call"), count(&rooms, "calls begun"));
    assert_eq!(count(&rooms, "messages heard"), count(&rooms, "messages expected"));

    let broadcast = run("broadcast --size 9 --rate 20");
    assert!(count(&broadcast, "sent") > 0);
    assert_eq!(timed(&broadcast, "received"), count(&broadcast, "sent") * 8);

    let rest = run("rest --rate 20");
    assert!(timed(&rest, "answered") > 0);
    assert_eq!(timed(&rest, "answered"), count(&rest, "begun"));

    let saturated = run("rest --connections 4");
    assert!(timed(&saturated, "answered") > 4);
    assert_eq!(timed(&saturated, "answered"), count(&saturated, "begun"));

    for rate in ["--rate 20", "--connections 2"] {
        let nowhere = format!("rest --path /api/nowhere {rate} {there}");
        let output = tokio::task::block_in_place(|| loadtest(&nowhere));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains("not kept: refused"), "{shown}");
    }

    let page = tempfile::NamedTempFile::new().unwrap();
    let impossible = format!("relay --pairs 1 --rate 20 --max-p99-ms 0 --html {} {there}", page.path().display());
    let output = tokio::task::block_in_place(|| loadtest(&impossible));
    assert_eq!(output.status.code(), Some(1), "a threshold that is not kept is the exit status");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not kept: 99th percentile"));
    assert!(std::fs::read_to_string(page.path()).unwrap().contains("Not kept"));
    cluster.stop().await.unwrap();
}

#[test]
fn the_clients_of_a_killed_node_come_back_and_miss_nothing() {
    let report = report("storm --clients 20 --rate 40 --duration 6 --warm-up 0.2");
    assert_eq!(timed(&report, "resumed"), 20);
    assert_eq!(count(&report, "fresh sessions"), 0);
    assert_eq!(count(&report, "doubled or out of order"), 0);
    assert!(count(&report, "messages accepted") > 0);
}
