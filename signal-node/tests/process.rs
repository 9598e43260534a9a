//! Start of the program while Redis is not reachable, or the documents are too new.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::time::{Duration, Instant};

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::{RedisOptions, RedisServer};

fn node(dir: &Path, redis: u16, admin: u16) -> Process {
    node_on(dir, &format!("redis://127.0.0.1:{redis}"), admin)
}

fn node_on(dir: &Path, redis: &str, admin: u16) -> Process {
    Process::spawn(spec(dir, redis, admin)).unwrap()
}

fn spec(dir: &Path, redis: &str, admin: u16) -> Spec {
    Spec::new("signal-node", env!("CARGO_BIN_EXE_signal-node"), dir)
        .env("NODE_ENV", "development")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("SIGNALING_PORT", 0)
        .env("INTERNAL_PORT", ports::free().unwrap())
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/nobody")
        .env("DRAIN_DELAY_MS", 0)
        .env("REDIS_URL", redis)
}

async fn until(admin: u16, path: &str, wanted: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = reqwest::get(format!("http://127.0.0.1:{admin}{path}")).await;
        if answer.is_ok_and(|answer| answer.status() == wanted) {
            return;
        }
        assert!(Instant::now() < end, "{path} never answered {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_node_is_alive_and_not_ready_until_redis_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let (redis, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let mut process = node(dir.path(), redis, admin);
    until(admin, "/livez", 200).await;
    until(admin, "/readyz", 503).await;
    let options = RedisOptions { port: Some(redis), ..RedisOptions::default() };
    let _redis = RedisServer::start_with(&options).await.unwrap();
    until(admin, "/readyz", 200).await;
    assert!(process.exit_status().is_none(), "the process must not have restarted: {}", process.log_tail(20));
}

#[tokio::test]
async fn a_node_that_waits_for_redis_stops_cleanly_on_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let admin = ports::free().unwrap();
    let mut process = node(dir.path(), ports::free().unwrap(), admin);
    until(admin, "/readyz", 503).await;
    process.terminate().unwrap();
    let status = process.wait_exit(Duration::from_secs(60)).await.unwrap();
    assert!(status.success(), "{status}: {}", process.log_tail(20));
}

#[tokio::test]
async fn a_node_is_ready_on_a_redis_that_denies_optional_commands_and_says_what_it_cannot_know() {
    let user = "--user calls on >secret ~* &* +@all -@admin -@dangerous --rename-command CONFIG";
    let extra = user.split(' ').chain([""]).map(str::to_owned).collect();
    let redis = RedisServer::start_with(&RedisOptions { extra, ..RedisOptions::default() }).await.unwrap();
    let (dir, admin) = (tempfile::tempdir().unwrap(), ports::free().unwrap());
    let mut process = node_on(dir.path(), &format!("redis://calls:secret@127.0.0.1:{}", redis.port()), admin);
    until(admin, "/readyz", 200).await;
    let read = async |path: &str| reqwest::get(format!("http://127.0.0.1:{admin}/{path}")).await.unwrap().text().await;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (ready, metrics) = (read("readyz").await.unwrap(), read("metrics").await.unwrap());
        let denied = |command: &str| metrics.contains(&format!("switchboard_redis_denied{{command=\"{command}\"}} 1"));
        if ready.contains("unknown: Redis denies INFO memory") && denied("info_memory") && denied("client_kill") {
            break;
        }
        assert!(Instant::now() < end, "{ready}: {}", process.log_tail(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.terminate().unwrap();
    process.wait_exit(Duration::from_secs(60)).await.unwrap();
    let log = std::fs::read_to_string(dir.path().join("signal-node.log")).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("redis denies an optional command")).collect();
    assert_eq!(lines.len(), 2, "each is logged once: {log}");
    assert!(lines.iter().all(|line| line.contains("NOPERM")), "{lines:?}");
}

#[tokio::test]
async fn a_node_that_is_too_old_for_the_documents_is_not_ready_until_it_can_read_them() {
    let (mongo, redis) = (Mongo::start().await.unwrap(), RedisServer::start().await.unwrap());
    mongo.set_schema_version("newer", 99).await.unwrap();
    let (dir, admin) = (tempfile::tempdir().unwrap(), ports::free().unwrap());
    let spec = spec(dir.path(), &redis.url(), admin).env("MONGODB_URI", mongo.uri("newer"));
    let mut process = Process::spawn(spec).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await;
        if let Ok(answer) = answer
            && answer.status() == 503
            && answer.text().await.unwrap().contains("schema version 99")
        {
            break;
        }
        assert!(Instant::now() < end, "the readiness never names the schema: {}", process.log_tail(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mongo.set_schema_version("newer", 1).await.unwrap();
    until(admin, "/readyz", 200).await;
    process.terminate().unwrap();
    let status = process.wait_exit(Duration::from_secs(60)).await.unwrap();
    assert!(status.success(), "{status}: {}", process.log_tail(20));
}
