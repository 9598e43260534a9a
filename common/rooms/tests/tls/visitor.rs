//! Programs that connect in a process of their own, because an environment variable names the
//! trusted certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchboard_core::domain::NodeId;
use switchboard_rooms::conn::{ClientCertificate, RedisUrl};
use switchboard_rooms::{Bus, BusEvent, CheckOutcome, EvictionPolicy, Partition, RoomOptions, Rooms};
use tokio::sync::mpsc;

/// Longer than any step takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// Set only by the test that starts this program again.
const URL: &str = "REDIS_TLS_TEST_URL";
/// Folder of `redis.pem` and `redis.key`, if the program is to present a certificate.
const CLIENT: &str = "REDIS_TLS_TEST_CLIENT";
/// Name of the executor.
const EXECUTOR: &str = "REDIS_TLS_TEST_EXECUTOR";
/// The executors: that of nodes, and that of api pods.
pub(crate) const EXECUTORS: [&str; 2] = ["lanes", "fred"];

/// Runs the visitor below.
pub(crate) fn visit(executor: &str, url: &str, ca: Option<&Path>) -> Output {
    visit_with(executor, url, ca, None)
}

/// Does the same and presents the certificate in the folder `client`.
pub(crate) fn visit_with(executor: &str, url: &str, ca: Option<&Path>, client: Option<&Path>) -> Output {
    visitor_program("tls::visitor::visitor", executor, url, ca, client).output().unwrap()
}

/// Returns the program that runs one of the tests below.
pub(crate) fn visitor_program(
    test: &str,
    executor: &str,
    url: &str,
    ca: Option<&Path>,
    client: Option<&Path>,
) -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", test, "--ignored", "--nocapture"]).env(URL, url).env_remove("SSL_CERT_FILE");
    program.env(EXECUTOR, executor);
    if let Some(ca) = ca {
        program.env("SSL_CERT_FILE", ca);
    }
    if let Some(client) = client {
        program.env(CLIENT, client);
    }
    program
}

/// Waits for a file.
pub(crate) async fn appears(file: &Path) {
    let end = Instant::now() + LONG;
    while !file.exists() {
        assert!(Instant::now() < end, "{}", file.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connects as the environment says, with the executor that it names.
async fn visiting_store() -> (Rooms, RedisUrl, RoomOptions, NodeId) {
    tracing_subscriber::fmt().with_ansi(false).init();
    let mut url = RedisUrl::parse(&std::env::var(URL).unwrap()).unwrap();
    if let Some(dir) = std::env::var_os(CLIENT).map(PathBuf::from) {
        let files = ClientCertificate::new(&dir.join("redis.pem"), &dir.join("redis.key")).unwrap();
        url = url.with_client_certificate(files).unwrap();
    }
    let options = RoomOptions { partitions: 4, ..RoomOptions::default() };
    let node = NodeId::parse("visitor").unwrap();
    let rooms = if std::env::var(EXECUTOR).unwrap() == "fred" {
        Rooms::connect_with_fred(&url, options.clone(), node.clone()).await.unwrap()
    } else {
        Rooms::connect(&url, options.clone(), node.clone()).await.unwrap()
    };
    (rooms, url, options, node)
}

/// Connects a node, registers it, and receives its own canary.
#[tokio::test]
#[ignore = "run by the other tests in a process of its own"]
async fn visitor() {
    let (rooms, url, options, node) = visiting_store().await;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let sink = Arc::new(move |event: BusEvent<'_>| {
        if matches!(event, BusEvent::Message { .. }) {
            let _nobody_listens_at_the_end = heard.send(());
        }
    });
    let _bus = Bus::start(&url, &options, &node, sink).await.unwrap();
    assert!(matches!(rooms.check_node(Partition(0), "r", true).await.unwrap(), CheckOutcome::Registered(_)));
    assert_eq!(rooms.eviction_policy().await.unwrap(), EvictionPolicy::NoEviction);
    let message = tokio::time::timeout(LONG, hears.recv()).await.unwrap();
    assert_eq!(message, Some(()), "its own canary");
}

/// Stays connected until the server has come back with other certificates, and connects again.
#[tokio::test]
#[ignore = "run by the other tests in a process of its own"]
async fn staying() {
    let (rooms, ..) = visiting_store().await;
    let dir = PathBuf::from(std::env::var_os(CLIENT).unwrap());
    std::fs::write(dir.join(std::env::var(EXECUTOR).unwrap()), "").unwrap();
    appears(&dir.join("renewed")).await;
    let end = Instant::now() + LONG;
    while rooms.ping().await.is_err() {
        assert!(Instant::now() < end, "the renewed certificates are not used");
    }
}
