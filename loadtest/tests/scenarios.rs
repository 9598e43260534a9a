//! Runs each scenario against a real cluster and asserts that everything sent arrives. No test
//! asserts a duration.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::process::{Command, Output};

use devcluster::cluster::{Cluster, Options};
use devcluster::service::Service;
use serde_json::Value;

/// Runs `loadtest` with these arguments.
fn loadtest(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments.split(' ')).output().unwrap()
}

/// Runs a scenario that satisfies all its thresholds. Returns its JSON summary.
fn report(arguments: &str) -> Value {
    let output = loadtest(&format!("{arguments} --json"));
    let context = || format!("{arguments}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no summary: {}", context()));
    assert!(output.status.success(), "{}\n{report:#}", context());
    assert_eq!(report["lost"], 0, "{report:#}");
    report
}

/// Number of latencies under a name.
fn latencies(report: &Value, kind: &str) -> u64 {
    let all = report["latencies"].as_array().unwrap();
    all.iter().find(|latency| latency["name"] == kind).map_or(0, |latency| latency["count"].as_u64().unwrap())
}

fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_every_scenario_arrives() {
    let variables = [("PING_INTERVAL_MS", "500"), ("EVENTS_PER_SECOND", "0"), ("FRAMES_PER_SECOND", "0")];
    let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = Options { haproxy: false, env, ..Options::default() };
    let mut cluster = Cluster::start(&options).await.unwrap();
    let nodes: Vec<_> = cluster.nodes.iter().map(Service::url).collect();
    let addresses = format!(
        "--node {} --api {} --redis {} --mongo {} --duration 1 --warm-up 0.2",
        nodes.join(","),
        cluster.api.url(),
        cluster.redis.url(),
        cluster.mongodb_uri()
    );
    let run = |scenario: &str| tokio::task::block_in_place(|| report(&format!("{scenario} {addresses}")));

    let relay = run("relay --pairs 4 --rate 50");
    assert!(latencies(&relay, "offer and answer") > 0);
    assert_eq!(latencies(&relay, "offer and answer"), count(&relay, "offers sent"));
    assert_eq!(latencies(&relay, "offer"), count(&relay, "offers sent"));
    let watched: Vec<_> = relay["processes"].as_array().unwrap().iter().map(|process| &process["name"]).collect();
    assert_eq!(watched, ["node 1", "node 2", "api", "redis", "mongo", "loadtest"]);

    // Each answer triggers the next offer. Offers count by their start, so the last ones are
    // received after the window.
    let saturated = run("relay --pairs 4 --in-flight 2");
    assert!(latencies(&saturated, "offer and answer") > 8);
    assert_eq!(latencies(&saturated, "offer and answer"), count(&saturated, "offers sent"));

    let idle = run("idle --clients 20 --room-size 5 --large-message 20000");
    assert!(count(&idle, "heartbeats") > 0);
    assert_eq!((latencies(&idle, "seated"), latencies(&idle, "large message")), (20, 20));

    let join = run("join --rate 20 --rooms 3 --stay 0.1 --arrivals poisson");
    assert!(latencies(&join, "seated") > 0);
    assert_eq!(latencies(&join, "seated"), count(&join, "started"));

    let rooms = run("rooms --rate 4 --mix 2,4 --candidates 2 --stay 0.1");
    assert!(latencies(&rooms, "complete call") > 0);
    assert_eq!(latencies(&rooms, "complete call"), count(&rooms, "calls started"));
    assert_eq!(count(&rooms, "messages received"), count(&rooms, "messages expected"));

    let broadcast = run("broadcast --size 9 --rate 20");
    assert!(count(&broadcast, "sent") > 0);
    assert_eq!(latencies(&broadcast, "received"), count(&broadcast, "sent") * 8);

    let rest = run("rest --rate 20");
    assert!(latencies(&rest, "answered") > 0);
    assert_eq!(latencies(&rest, "answered"), count(&rest, "started"));

    let saturated = run("rest --connections 4");
    assert!(latencies(&saturated, "answered") > 4);
    assert_eq!(latencies(&saturated, "answered"), count(&saturated, "started"));

    for rate in ["--rate 20", "--connections 2"] {
        let nowhere = format!("rest --path /api/nowhere {rate} {addresses}");
        let output = tokio::task::block_in_place(|| loadtest(&nowhere));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains("threshold violated: refused"), "{shown}");
    }

    let page = tempfile::NamedTempFile::new().unwrap();
    let impossible = format!("relay --pairs 1 --rate 20 --max-p99-ms 0 --html {} {addresses}", page.path().display());
    let output = tokio::task::block_in_place(|| loadtest(&impossible));
    assert_eq!(output.status.code(), Some(1), "a violated threshold sets the exit status");
    assert!(String::from_utf8_lossy(&output.stdout).contains("threshold violated: 99th percentile"));
    assert!(std::fs::read_to_string(page.path()).unwrap().contains("Violated thresholds"));
    cluster.stop().await.unwrap();
}

#[test]
fn clients_of_a_killed_node_resume_without_losing_messages() {
    let report = report("storm --clients 20 --rate 40 --duration 6 --warm-up 0.2");
    assert_eq!(latencies(&report, "resumed"), 20);
    assert_eq!(count(&report, "new sessions"), 0);
    assert_eq!(count(&report, "duplicated or out of order"), 0);
    assert!(count(&report, "messages acknowledged") > 0);
}

#[test]
fn an_attack_is_measured_beside_honest_load() {
    let output = loadtest("abuse --short --only handshakes,passcode --pairs 4 --json");
    let context = String::from_utf8_lossy(&output.stderr);
    let results: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no results: {context}"));
    let names: Vec<_> = results.iter().map(|result| &result["attack"]).collect();
    assert_eq!(names, ["handshakes", "passcode"]);
    for result in &results {
        assert!(result["achieved"]["attempts"].as_u64() > Some(0), "{result:#}");
        for window in ["quiet", "during"] {
            assert!(result[window]["relays"].as_u64() > Some(0), "{result:#}");
            assert_eq!(result[window]["relays_lost"], 0, "{result:#}");
        }
        let watched: Vec<_> = result["processes"].as_array().unwrap().iter().map(|process| &process["name"]).collect();
        assert_eq!(watched, ["node 1", "node 2", "api", "redis", "mongo", "loadtest"]);
    }
    assert!(results[1]["during"]["action_p99"].as_f64() > Some(0.0), "people who know the passcode join");
    assert!(output.status.success(), "{context}");
}

/// Runs a command that holds all its guarantees. Returns its JSON.
fn held(arguments: &str) -> Value {
    let output = loadtest(arguments);
    let context = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no result: {context}"));
    assert!(output.status.success(), "{context}\n{result:#}");
    result
}

#[test]
fn the_usage_of_an_app_is_what_its_clients_did_while_pods_are_killed() {
    let result = held("usage --calls 20 --concurrent 20 --stay 1 --kill-every 0.3 --nodes 2 --json");
    assert_eq!(result["clients"]["calls"], 20, "{result:#}");
    for counted in ["joins", "recordedMessages"] {
        assert!(result["clients"][counted].as_u64() > Some(20), "{result:#}");
        assert_eq!(result["clients"][counted], result["usage"][counted], "{result:#}");
    }
    assert!(result["apiKills"].as_u64() > Some(0), "{result:#}");
}

#[test]
fn an_app_at_its_limits_costs_a_quiet_app_nothing_that_it_asked_for() {
    let result = held("noisy --seconds 3 --pairs 4 --json");
    for window in ["quiet", "during"] {
        assert!(
            result[window]["relays"].as_u64() > Some(0) && result[window]["joins"].as_u64() > Some(0),
            "{result:#}"
        );
        assert_eq!((&result[window]["relays_lost"], &result[window]["troubles"]), (&0.into(), &serde_json::json!({})));
    }
    for outcome in ["connect ok", "event ok", "request 429 RATE_LIMIT_EXCEEDED", "join APP_LIMIT_REACHED"] {
        assert!(result["achieved"]["outcomes"][outcome].as_u64() > Some(0), "{outcome}: {result:#}");
    }
}

#[test]
fn every_attack_is_listed_with_a_sentence() {
    let output = loadtest("abuse --list");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.lines().count() >= 20, "{text}");
    assert!(text.lines().all(|line| line.ends_with('.')), "{text}");
}
