//! `devcluster up` and `devcluster run`, started as programs.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use devcluster::ports;
use devcluster::process::{Process, Spec};

const PROGRAM: &str = env!("CARGO_BIN_EXE_devcluster");
const BOUND: Duration = Duration::from_secs(90);

/// The variables of ports, each with a free one that begins a row of three: two nodes and the api.
/// No two rows overlap.
fn free_ports() -> Vec<(&'static str, u16)> {
    let mut rows: Vec<(&str, u16)> = Vec::new();
    for name in ["PORT_HTTP", "API_PORT", "SIGNALING_PORT", "METRICS_PORT", "INTERNAL_PORT", "REDIS_PORT", "MONGO_PORT"]
    {
        let first = loop {
            let first = ports::free().unwrap();
            let is_apart = rows.iter().all(|(_, other)| first.abs_diff(*other) >= 3);
            if is_apart && (first..first + 3).all(ports::is_free) {
                break first;
            }
        };
        rows.push((name, first));
    }
    rows
}

fn up(dir: &Path, ports: &[(&'static str, u16)]) -> Process {
    up_with(dir, ports, &[])
}

fn up_with(dir: &Path, ports: &[(&'static str, u16)], variables: &[(&str, &str)]) -> Process {
    let data = dir.join("data");
    let spec = Spec::new("up", PROGRAM, dir).args(["up".as_ref(), "--data".as_ref(), data.as_os_str()]);
    let spec = ports.iter().fold(spec, |spec, (name, port)| spec.env(*name, port));
    Process::spawn(variables.iter().fold(spec, |spec, (name, value)| spec.env(*name, value))).unwrap()
}

/// Waits until the log of `process` contains `text`.
async fn logged(process: &mut Process, text: &str) {
    let deadline = Instant::now() + BOUND;
    while !process.log_tail(10_000).contains(text) {
        assert!(process.exit_status().is_none() && Instant::now() < deadline, "{}", process.log_tail(100));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(url: String) -> String {
    let response = reqwest::get(url).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.text().await.unwrap()
}

/// Runs a command about apps on the cluster. Returns what it prints.
fn administer(dir: &Path, ports: &[(&'static str, u16)], arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new(PROGRAM);
    command.args(["api".as_ref(), "--data".as_ref(), dir.join("data").as_os_str()]).args(["admin", "app"]);
    let output = command.args(arguments).envs(ports.iter().map(|(name, port)| (name, port.to_string()))).output();
    let Output { status, stdout, stderr } = output.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

/// Ids of all processes with `text` in their command line.
fn processes_with(text: &str) -> Vec<String> {
    let ids = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = |id: &String| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).filter(names).collect()
}

/// Waits until no port is in use and no server with its data in `dir` runs.
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
    logged(&mut process, "Ctrl-C stops everything").await;

    let base = format!("http://127.0.0.1:{}", ports[0].1);
    assert!(get(format!("{base}/")).await.to_lowercase().contains("<!doctype html"));
    assert!(get(format!("{base}/api/health")).await.contains("healthy"));
    let nodes: Vec<u16> = (0..2).map(|index| ports[3].1 + 1 + index).collect();
    for node in &nodes {
        assert!(get(format!("http://127.0.0.1:{node}/metrics")).await.contains("switchboard_"));
    }
    assert!(!processes_with(dir.path().to_str().unwrap()).is_empty());
    // An API key that the command line makes is one for the api that runs.
    let app = administer(dir.path(), &ports, &["create", "Acme"]);
    let key = administer(dir.path(), &ports, &["key", "add", app["id"].as_str().unwrap()]);
    let calls = reqwest::Client::new().get(format!("{base}/api/server/calls"));
    let answer = calls.basic_auth(key["keyId"].as_str().unwrap(), key["secret"].as_str()).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    process.interrupt().unwrap();
    let status = process.wait_exit(BOUND).await.unwrap();
    assert!(status.success(), "{status}: {}", process.log_tail(50));
    nothing_left(dir.path(), &ports).await;
}

/// The origin that may read the response to a request from `origin`.
async fn allowed(url: &str, origin: &str) -> Option<String> {
    let response = reqwest::Client::new().get(url).header("origin", origin).send().await.unwrap();
    response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn up_serves_another_address_other_origins_and_every_origin_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let variables = [("BIND", "127.0.0.2"), ("ALLOWED_ORIGINS", "https://front.example:8443")];
    let mut process = up_with(dir.path(), &ports, &variables);
    logged(&mut process, "Ctrl-C stops everything").await;
    let base = format!("http://127.0.0.2:{}", ports[0].1);
    for path in ["/api/health", "/socket.io/?EIO=4&transport=polling"] {
        let url = format!("{base}{path}");
        for origin in
            ["https://front.example:8443", &base, "http://localhost:5173", "http://127.0.0.1:3999", "http://localhost"]
        {
            assert_eq!(allowed(&url, origin).await.as_deref(), Some(origin), "{path}");
        }
        for origin in ["https://other.example", "http://localhost.example:5173", "http://localhost:x"] {
            assert_eq!(allowed(&url, origin).await, None, "{path} {origin}");
        }
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", ports[0].1)).is_err());
    process.interrupt().unwrap();
    assert!(process.wait_exit(BOUND).await.unwrap().success(), "{}", process.log_tail(50));
    nothing_left(dir.path(), &ports).await;
}

#[tokio::test]
async fn up_on_every_interface_names_the_network_address_and_the_need_for_https() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up_with(dir.path(), &ports, &[("BIND", "0.0.0.0")]);
    logged(&mut process, "Ctrl-C stops everything").await;
    let log = process.log_tail(10_000);
    let address = log.lines().find_map(|line| line.trim().strip_prefix("Network  ")).unwrap().to_owned();
    assert!(get(format!("{address}/")).await.to_lowercase().contains("<!doctype html"));
    assert!(log.contains("cameras and microphones to localhost or https only"), "{log}");
    process.interrupt().unwrap();
    assert!(process.wait_exit(BOUND).await.unwrap().success(), "{}", process.log_tail(50));
    nothing_left(dir.path(), &ports).await;
}

#[tokio::test]
async fn up_that_is_killed_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up(dir.path(), &ports);
    logged(&mut process, "starting n1").await;
    process.kill().unwrap();
    nothing_left(dir.path(), &ports).await;
}

#[tokio::test]
async fn up_stops_everything_and_fails_with_the_name_of_a_process_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let mut process = up(dir.path(), &ports);
    logged(&mut process, "Ctrl-C stops everything").await;
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
fn a_port_in_use_fails_with_its_variable_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir.path()).arg("up").envs(free_ports().iter().map(|(name, port)| (name, port.to_string())));
    let Output { status, stderr, .. } = command.env("MONGO_PORT", port.to_string()).output().unwrap();
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(message, format!("devcluster: port {port} (MongoDB) is in use: set MONGO_PORT to a free port\n"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Runs `script` beside a temporary cluster of two nodes.
fn run(script: &str) -> (ExitStatus, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--nodes", "2", "--", "bash", "-ec", script]).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap())
}

#[test]
fn run_gives_a_command_addresses_and_fault_injection_and_exits_with_its_status() {
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
    let printed: Vec<&str> = out.lines().map(str::trim_end).take(5).collect();
    assert_eq!(printed, ["alive", "HTTP/1.1 200 OK", "dead", "HTTP/1.1 200 OK", "HTTP/1.1 409 Conflict"], "{out}");
    assert!(out.contains("the end of n1's log"), "{out}");
}
