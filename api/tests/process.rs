//! The process as an operator sees it: exit codes, probes, clean stop.

#![allow(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, doc};
use tokio::process::Command;

fn api() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Returns the program as a service in development, on the ports of clients and of probes.
fn service(dir: &Path, (port, admin): (u16, u16), uri: &str, redis: &RedisServer) -> Spec {
    Spec::new("api", env!("CARGO_BIN_EXE_api"), dir)
        .env("NODE_ENV", "development")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", uri)
        .env("REDIS_URL", redis.url())
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
async fn a_start_that_fails_names_its_cause_and_the_exit_code_is_1() {
    let output = api()
        .env("NODE_ENV", "development")
        .env("API_PORT", ports::free().unwrap().to_string())
        .env("METRICS_PORT", ports::free().unwrap().to_string())
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/calls?authMechanism=NONE")
        .output()
        .await
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("service failed") && log.contains("MONGODB_URI"), "{log}");
    assert!(!log.contains("ended early"), "{log}");
}

#[tokio::test]
async fn the_process_is_ready_when_redis_and_mongodb_answer_and_stops_cleanly_on_a_signal() {
    let mut mongo = Mongo::start().await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let uri = mongo.uri("process");
    mongo.process().kill().unwrap();
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let spec = service(dir.path(), (port, admin), &uri, &redis).env("MONGODB_TIMEOUT_MS", 500);
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

/// Runs `api admin` with the settings of a service. Returns what it prints as JSON, or the text of
/// its error.
async fn administer(uri: &str, master_key: &str, arguments: &[&str]) -> Result<serde_json::Value, String> {
    let mut command = api();
    command.env("NODE_ENV", "development").env("MONGODB_URI", uri).env("APP_MASTER_KEY", master_key);
    let output = command.arg("admin").args(arguments).output().await.unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn the_command_line_creates_an_app_and_its_keys_and_encrypts_secrets_again_after_a_rotation() {
    let mongo = Mongo::start().await.unwrap();
    let uri = mongo.uri("commands");
    let run = async |arguments: &[&str]| administer(&uri, "master-key-one", &[&["app"], arguments].concat()).await;
    let app = run(&["create", "Acme"]).await.unwrap()["id"].as_str().unwrap().to_owned();
    let key = run(&["key", "add", &app, "--scopes", "tokens:mint,calls:read"]).await.unwrap();
    assert_eq!(key["scopes"], serde_json::json!(["tokens:mint", "calls:read"]));
    assert!(key["secret"].as_str().unwrap().starts_with("sbs_"), "{key}");
    assert_eq!(run(&["list"]).await.unwrap()[0]["keys"][0]["keyId"], key["keyId"]);
    let keys = run(&["key", "list", &app]).await.unwrap();
    assert_eq!((&keys[0]["keyId"], keys[0].get("lastUsedAt")), (&key["keyId"], None), "never used");
    assert_eq!(run(&["reseal"]).await.unwrap()["resealed"], 0, "the current key encrypted it");

    let limits = run(&["limits", &app, "--max-concurrent-calls", "5", "--max-events-per-second", "7"]).await.unwrap();
    assert_eq!((&limits["maxConcurrentCalls"], &limits["maxEventsPerSecond"]), (&5.into(), &7.into()));
    let limits = run(&["limits", &app, "--max-concurrent-calls", "none"]).await.unwrap();
    assert_eq!(limits, run(&["get", &app]).await.unwrap()["limits"]);
    assert!(limits["maxConcurrentCalls"].is_null() && limits["maxEventsPerSecond"] == 7, "{limits}");
    assert!(run(&["limits", &app, "--max-requests-per-second", "0"]).await.unwrap_err().contains("1 to 1000000"));
    let origins = run(&["origins", &app, "https://app.example", "https://*.app.example"]).await.unwrap();
    assert_eq!(origins, serde_json::json!(["https://app.example", "https://*.app.example"]));
    assert!(run(&["origins", &app, "https://a.example", "app.example"]).await.unwrap_err().contains("entry 2"));
    assert_eq!(run(&["origins", &app]).await.unwrap(), origins);
    assert_eq!(run(&["origins", &app, "--none"]).await.unwrap(), serde_json::json!([]));
    let usage = run(&["usage", &app, "--from", "2026-11-01", "--to", "2026-11-30"]).await.unwrap();
    assert_eq!((&usage["from"], &usage["days"]), (&"2026-11-01".into(), &serde_json::json!([])));

    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let write = |sources: serde_json::Value| std::fs::write(path, sources.to_string()).unwrap();
    let source = serde_json::json!({
        "kind": "oidc", "issuer": "https://login.example", "audience": "calls", "jwksUri": "https://login.example/jwks",
    });
    write(serde_json::json!([source]));
    let set = run(&["identity-sources", &app, "--set", path]).await.unwrap();
    assert_eq!((&set[0], &run(&["identity-sources", &app]).await.unwrap()), (&source, &set));
    write(serde_json::json!([{ "kind": "oidc", "issuer": "https://login.example", "jwksUri": "https://a.example/" }]));
    let refused = run(&["identity-sources", &app, "--set", path]).await.unwrap_err();
    assert!(refused.contains("identitySources.0.audience"), "{refused}");
    write(serde_json::json!([]));
    assert_eq!(run(&["identity-sources", &app, "--set", path]).await.unwrap(), serde_json::json!([]));
    let webhook = run(&["webhook", "add", &app, "https://a.test/hook", "--events", "call.ended"]).await.unwrap();
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"), "{webhook}");
    let id = webhook["webhookId"].as_str().unwrap();
    let rotated = run(&["webhook", "rotate", &app, id, "--previous-seconds", "60"]).await.unwrap();
    assert!(rotated["secret"] != webhook["secret"] && rotated["previousSecretUntil"].is_string(), "{rotated}");
    let changed = run(&["webhook", "change", &app, id, "--url", "https://b.test/"]).await.unwrap();
    assert_eq!(run(&["webhook", "list", &app]).await.unwrap()[0], changed);
    assert_eq!(run(&["webhook", "deliveries", id]).await.unwrap(), serde_json::json!({ "deliveries": [] }));
    assert_eq!(run(&["webhook", "resend", id]).await.unwrap()["count"], 0);

    // Rotate the master key: the secret is encrypted with the next one, and then needs that alone.
    let mut rotate = api();
    rotate.env("NODE_ENV", "development").env("MONGODB_URI", &uri);
    rotate.env("APP_MASTER_KEY", "master-key-two").env("APP_MASTER_KEY_PREVIOUS", "master-key-one");
    let rotated = rotate.args(["admin", "app", "reseal"]).output().await.unwrap();
    assert!(
        String::from_utf8(rotated.stdout).unwrap().contains("\"resealed\": 3"),
        "a key, and two secrets of a webhook"
    );
    let again = administer(&uri, "master-key-two", &["app", "reseal"]).await.unwrap();
    assert_eq!(again["resealed"], 0);

    run(&["webhook", "remove", &app, id]).await.unwrap();
    assert!(run(&["webhook", "remove", &app, id]).await.unwrap_err().contains("WEBHOOK_NOT_FOUND"));
    let id = key["keyId"].as_str().unwrap();
    run(&["key", "revoke", &app, id]).await.unwrap();
    assert!(run(&["get", &app]).await.unwrap()["keys"][0]["revokedAt"].is_string());
    assert!(run(&["key", "revoke", &app, "sbk_00000000000000000000"]).await.unwrap_err().contains("KEY_NOT_FOUND"));
    assert!(administer(&uri, "", &["app", "create", "Other"]).await.unwrap_err().contains("APPS_NOT_CONFIGURED"));
    assert!(run(&["create"]).await.unwrap_err().contains("Usage"));
}

#[tokio::test]
async fn restored_records_that_are_too_new_or_have_duplicates_are_named_by_the_readiness_and_settled() {
    let (mongo, redis) = (Mongo::start().await.unwrap(), RedisServer::start().await.unwrap());
    let uri = mongo.uri("restored");
    let account = |id: &str, created: i64| {
        doc! {
            "_id": ObjectId::parse_str(id).unwrap(), "name": "Ann", "email": "ann@example.org", "password": "",
            "createdAt": DateTime::from_millis(created), "updatedAt": DateTime::from_millis(created),
        }
    };
    let (old, new) = ("65a000000000000000000002", "65a000000000000000000001");
    mongo.insert("restored", "users", vec![account(new, 2_000), account(old, 1_000)]).await.unwrap();
    mongo.set_schema_version("restored", 99).await.unwrap();
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let process = Process::spawn(service(dir.path(), (port, admin), &uri, &redis)).unwrap();
    let readiness = async || match reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap()),
        Err(_) => (0, String::new()),
    };
    let unready = async |named: &[&str]| {
        let (status, text) = readiness().await;
        status == 503 && named.iter().all(|part| text.contains(part))
    };
    until("the readiness names the schema", async || unready(&["schema version 99", "restore a backup"]).await).await;
    let has = async |line: &str| {
        let metrics = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await.unwrap().text().await.unwrap();
        metrics.lines().any(|found| found == line)
    };
    assert!(has("switchboard_schema_version 99").await);
    let not_recording = "switchboard_recorder_partitions_owned 0";
    assert!(has(not_recording).await, "a program that is too old for the records writes them");
    mongo.set_schema_version("restored", 1).await.unwrap();

    let named = ["restored.users", "email_1", "ann@example.org"];
    until("the readiness names the duplicates", async || unready(&named).await).await;
    until("facts are recorded", async || !has(not_recording).await).await;
    let found = administer(&uri, "", &["records", "duplicates"]).await.unwrap();
    let expected = serde_json::json!([{
        "collection": "users", "field": "email", "value": "ann@example.org", "ids": [old, new], "changed": [],
    }]);
    assert_eq!(found, expected);
    let settled = administer(&uri, "", &["records", "duplicates", "--settle"]).await.unwrap();
    assert_eq!(settled[0]["changed"], serde_json::json!([new]));
    until("the api is ready", async || readiness().await.0 == 200).await;
    assert_eq!(administer(&uri, "", &["records", "duplicates"]).await.unwrap(), serde_json::json!([]));
    drop(process);
}

/// Waits until `condition` is true, for a minute at most: key files are read each 10 s.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn keys_in_a_file_are_rotated_without_a_restart_and_a_weak_one_is_refused() {
    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEXT: &str = "123456789abcdef0123456789abcdef0";
    const WEAK: &str = "a-weak-key";
    let (mongo, redis) = (Mongo::start().await.unwrap(), RedisServer::start().await.unwrap());
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access");
    std::fs::write(&file, format!("{OLD}\n")).unwrap();
    let spec = Spec::new("api", env!("CARGO_BIN_EXE_api"), dir.path())
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", mongo.uri("keys"))
        .env("REDIS_URL", redis.url())
        .env("JWT_ACCESS_SECRET_FILE", file.display())
        .env("JWT_REFRESH_SECRET", "fedcba9876543210fedcba9876543210");
    let mut process = Process::spawn(spec).unwrap();
    let client = reqwest::Client::new();
    let get = async |port: u16, path: &str, token: &str| {
        client.get(format!("http://127.0.0.1:{port}{path}")).bearer_auth(token).send().await
    };
    let sign_in = async |path: &str| {
        let form =
            serde_json::json!({ "name": "Ann", "email": "ann@example.org", "password": "correct horse battery" });
        let answer = client.post(format!("http://127.0.0.1:{port}/api/auth/{path}")).json(&form).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["data"]["token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
    };
    let profile = async |token: &str| get(port, "/api/auth/profile", token).await.unwrap().status().as_u16();
    let reloads = async |outcome: &str| {
        let metrics = get(admin, "/metrics", "").await.unwrap().text().await.unwrap();
        let name = format!("switchboard_key_reloads_total{{outcome=\"{outcome}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{metrics}"));
        count.parse::<u64>().unwrap()
    };
    // The header names the key.
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    until("the api is ready", async || get(admin, "/readyz", "").await.is_ok_and(|answer| answer.status() == 200))
        .await;
    let old = sign_in("register").await;

    std::fs::write(&file, format!("{NEXT}\n{OLD}\n")).unwrap();
    until("the next key is loaded", async || reloads("loaded").await == 1).await;
    let next = sign_in("login").await;
    assert_ne!(header(&old), header(&next));
    assert_eq!((profile(&old).await, profile(&next).await), (200, 200));

    std::fs::write(&file, WEAK).unwrap();
    until("the weak key is refused twice", async || reloads("refused").await >= 2).await;
    assert_eq!((profile(&old).await, profile(&next).await), (200, 200));
    assert_eq!(header(&sign_in("login").await), header(&next));

    std::fs::write(&file, NEXT).unwrap();
    until("the old key is removed", async || reloads("loaded").await == 2).await;
    assert_eq!((profile(&old).await, profile(&next).await), (401, 200));
    let exit = process.stop(Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{}", process.log_tail(20));
    let log = std::fs::read_to_string(dir.path().join("api.log")).unwrap();
    assert_eq!(log.matches("key file refused; the keys stay as they are").count(), 1, "each reason once: {log}");
    assert_eq!(log.matches("keys loaded").count(), 2, "{log}");
    for secret in [OLD, NEXT, WEAK] {
        assert!(!log.contains(secret), "{log}");
    }
}
