//! `devcluster up` and `devcluster run` as their users start them.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use devcluster::ports;
use devcluster::process::{Process, Spec};

const PROGRAM: &str = env!("CARGO_BIN_EXE_devcluster");
const BOUND: Duration = Duration::from_secs(90);

/// The variables that name ports, each with a free one; there are as many in a row as two nodes need.
fn free_ports() -> Vec<(&'static str, u16)> {
    let row = || loop {
        let first = ports::free().unwrap();
        if (first..first + 3).all(ports::is_free) {
            return first;
        }
    };
    ["PORT_HTTP", "API_PORT", "SIGNALING_PORT", "METRICS_PORT", "INTERNAL_PORT", "REDIS_PORT", "MONGO_PORT"]
        .map(|name| (name, row()))
        .into()
}

fn up(dir: &Path, ports: &[(&'static str, u16)]) -> Process {
    let data = dir.join("data");
    let spec = Spec::new("up", PROGRAM, dir).args(["up".as_ref(), "--data".as_ref(), data.as_os_str()]);
    Process::spawn(ports.iter().fold(spec, |spec, (name, port)| spec.env(*name, port))).unwrap()
}

/// Waits until the log of `process` says `text`.
async fn says(process: &mut Process, text: &str) {
    let deadline = Instant::now() + BOUND;
    while !process.log_tail(10_000).contains(text) {
        assert!(process.exited().is_none() && Instant::now() < deadline, "{}", process.log_tail(100));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(url: String) -> String {
    let response = reqwest::get(url).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.text().await.unwrap()
}

/// The ids of all processes that have `text` in their command line.
fn processes_with(text: &str) -> Vec<String> {
    let ids = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = |id: &String| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).filter(names).collect()
}

/// Waits until nothing listens any more, and no server with its data in `dir` is left.
async fn nothing_left(dir: &Path, ports: &[(&'static str, u16)]) {
    let deadline = Instant::now() + BOUND;
    loop {
        let taken: Vec<_> = ports.iter().filter(|(_, port)| !(*port..port + 3).all(ports::is_free)).collect();
        let left = processes_with(dir.to_str().unwrap());
        if taken.is_empty() && left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "ports {taken:?}, processes {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn up_serves_the_page_the_api_and_sockets_on_one_port_and_an_interrupt_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up(dir.path(), &ports);
    says(&mut process, "Ctrl-C stops everything").await;

    let base = format!("http://127.0.0.1:{}", ports[0].1);
    assert!(get(format!("{base}/")).await.to_lowercase().contains("<!doctype html"));
    assert!(get(format!("{base}/api/health")).await.contains("healthy"));
    let nodes: Vec<u16> = (0..2).map(|index| ports[3].1 + 1 + index).collect();
    for node in &nodes {
        assert!(get(format!("http://127.0.0.1:{node}/metrics")).await.contains("switchboard_"));
    }
    assert!(!processes_with(dir.path().to_str().unwrap()).is_empty());

    process.interrupt().unwrap();
    let status = process.wait_exit(BOUND).await.unwrap();
    assert!(status.success(), "{status}: {}", process.log_tail(50));
    nothing_left(dir.path(), &ports).await;
}

#[tokio::test]
async fn up_that_is_killed_outright_leaves_no_process_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up(dir.path(), &ports);
    says(&mut process, "starting n1").await;
    process.kill().unwrap();
    nothing_left(dir.path(), &ports).await;
}

#[tokio::test]
async fn up_stops_all_and_fails_when_one_process_dies_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up(dir.path(), &ports);
    says(&mut process, "Ctrl-C stops everything").await;
    let (_, port) = ports.iter().find(|(name, _)| *name == "REDIS_PORT").unwrap();
    let redis = processes_with(&format!("127.0.0.1:{port}"));
    assert_eq!(redis.len(), 1);
    assert!(Command::new("kill").args(["-KILL", &redis[0]]).status().unwrap().success());
    let status = process.wait_exit(BOUND).await.unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(process.log_tail(500).contains("redis ended"), "{}", process.log_tail(50));
    nothing_left(dir.path(), &ports).await;
}

#[test]
fn a_taken_port_is_told_with_its_variable_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir.path()).arg("up").envs(free_ports().iter().map(|(name, port)| (name, port.to_string())));
    let Output { status, stderr, .. } = command.env("MONGO_PORT", port.to_string()).output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(told, format!("devcluster: port {port} (MongoDB) is in use: set MONGO_PORT to a free one\n"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Runs `script` beside a throw-away cluster of two nodes.
fn run(script: &str) -> (ExitStatus, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--nodes", "2", "--", "bash", "-ec", script]).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap())
}

#[test]
fn run_gives_a_command_the_clusters_addresses_and_faults_and_exits_with_its_status() {
    let (status, out) = run(r#"
        post() { (exec 3<>"/dev/tcp/127.0.0.1/${DEVCLUSTER_CONTROL##*:}"
            printf 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" >&3
            cat <&3); }
        alive() { kill -0 "${NODE_PIDS%%,*}" 2>/dev/null; }
        [[ $BASE_URL && $API_URL && $REDIS_URL && $MONGODB_URI && $METRICS_URLS == *,* && $NODE_URLS == *,* ]]
        alive && echo alive
        post /nodes/0/kill | head -1
        alive || echo dead
        post /nodes/0/start | head -1
        post /nodes/7/kill | head -1
        exit 7
    "#);
    assert_eq!(status.code(), Some(7), "{out}");
    let told: Vec<&str> = out.lines().map(str::trim_end).take(5).collect();
    assert_eq!(told, ["alive", "HTTP/1.1 200 OK", "dead", "HTTP/1.1 200 OK", "HTTP/1.1 409 Conflict"], "{out}");
    assert!(out.contains("the end of n1's log"), "{out}");
}
