//! The process as an operator sees it: exit codes, probes, clean stop.

#![allow(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use tokio::process::Command;

fn api() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn all_invalid_settings_are_reported_together_and_the_exit_code_is_64() {
    let secret = "not-to-be-shown";
    // NODE_ENV is not set: development has to be asked for.
    let output = api()
        .env("API_PORT", "eighty")
        .env("REDIS_URL", format!("http://user:{secret}@redis"))
        .env("JWT_ACCESS_SECRET", secret)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    for name in ["API_PORT", "REDIS_URL", "JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"] {
        assert!(stderr.lines().any(|line| line.starts_with(name)), "{name} is missing in: {stderr}");
    }
    assert!(!stderr.contains(secret), "{stderr}");
}

#[tokio::test]
async fn the_process_is_ready_when_redis_and_mongodb_answer_and_stops_cleanly_on_a_signal() {
    let mut mongo = Mongo::start().await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let uri = mongo.uri("process");
    mongo.process().kill().unwrap();
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec::new("api", env!("CARGO_BIN_EXE_api"), dir.path())
        .env("NODE_ENV", "development")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", uri)
        .env("MONGODB_TIMEOUT_MS", 500)
        .env("REDIS_URL", redis.url());
    let mut process = Process::spawn(spec).unwrap();
    let status = async |port: u16, path: &str| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    };
    let until = async |port: u16, path: &str, wanted: u16| {
        let end = Instant::now() + Duration::from_secs(60);
        while status(port, path).await != wanted {
            assert!(Instant::now() < end, "{path} is never {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(admin, "/livez", 200).await;
    until(admin, "/readyz", 503).await;
    until(port, "/api/health", 503).await;
    mongo.restart().await.unwrap();
    until(admin, "/readyz", 200).await;
    until(port, "/api/health", 200).await;
    let metrics = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("switchboard_http_request_seconds"), "{metrics}");
    let exit = process.stop(Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{}", process.log_tail(20));
}
