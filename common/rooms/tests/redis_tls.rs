//! Redis as operators run it: TLS with a private CA, an ACL user with only the rights that
//! Switchboard needs, a cluster of such servers, and one server for several installations.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devcluster::ports;
use devcluster::process::retry;
use devcluster::redis::{RedisOptions, RedisServer};
use switchboard_core::domain::NodeId;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{BeatOutcome, Bus, BusEvent, Partition, RoomOptions, Rooms};
use tokio::sync::mpsc;

/// Set only by the test that starts this program again.
const URL: &str = "REDIS_TLS_TEST_URL";

/// Returns the rights that `docs/OPERATIONS.md` gives to the user.
fn acl() -> Vec<String> {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("docs/OPERATIONS.md");
    let text = std::fs::read_to_string(manual).unwrap();
    let rule = text.split('`').find(|code| code.starts_with("~<prefix>:*")).unwrap();
    rule.replace("<prefix>", "sb").split(' ').map(Into::into).collect()
}

fn openssl(dir: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Creates `ca.pem` and a certificate of it for this machine.
fn certificates(dir: &Path) {
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=own-ca -keyout ca.key -out ca.pem");
    openssl(dir, "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr");
    openssl(
        dir,
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem",
    );
}

/// Runs the test below in a process of its own, because an environment variable names the trusted
/// certificates.
fn visit(url: &str, ca: Option<&Path>) -> Output {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "visitor", "--ignored", "--nocapture"]).env(URL, url).env_remove("SSL_CERT_FILE");
    if let Some(ca) = ca {
        program.env("SSL_CERT_FILE", ca);
    }
    program.output().unwrap()
}

/// Starts a server with a TLS port beside its plain one, and with the ACL user `calls`.
async fn protected(dir: &Path, further: &[&str]) -> (RedisServer, u16) {
    let file = |name: &str| dir.join(name).display().to_string();
    retry(|| async {
        let port = ports::free()?;
        let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"].map(str::to_owned);
        let files = [
            "--tls-cert-file",
            &file("redis.pem"),
            "--tls-key-file",
            &file("redis.key"),
            "--tls-ca-cert-file",
            &file("ca.pem"),
        ];
        let user = ["--user", "calls", "on", ">pa%ss@w:o/rd"].map(str::to_owned);
        let further = further.iter().map(|&argument| argument.to_owned());
        let extra = tls.into_iter().chain(files.map(str::to_owned)).chain(further).chain(user).chain(acl()).collect();
        Ok((RedisServer::start_with(&RedisOptions { extra, ..RedisOptions::default() }).await?, port))
    })
    .await
    .unwrap()
}

/// Asserts that a client that trusts the CA can use the server with the user's rights, and that a
/// client that does not trust it cannot.
async fn assert_usable(url: &str, dir: &Path, server: &RedisServer) {
    let trusting = visit(url, Some(&dir.join("ca.pem")));
    let said = String::from_utf8_lossy(&trusting.stdout).into_owned() + &String::from_utf8_lossy(&trusting.stderr);
    assert!(trusting.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the test ran: {said}");
    assert!(!visit(url, None).status.success(), "a client without the CA must fail");
    let denied: redis::Value = server.query(redis::cmd("ACL").arg("LOG")).await.unwrap();
    assert_eq!(denied, redis::Value::Array(Vec::new()), "no command was denied");
}

#[tokio::test]
async fn commands_and_subscriptions_use_tls_with_the_trusted_ca_and_only_the_documented_rights() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (server, port) = protected(dir.path(), &[]).await;
    assert_usable(&format!("rediss://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"), dir.path(), &server).await;
}

#[tokio::test]
async fn the_same_holds_on_a_redis_cluster() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let cluster = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1"];
    let (server, port) = protected(dir.path(), &cluster).await;
    let _: () = server.query(redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await.unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let info: String = server.query(redis::cmd("CLUSTER").arg("INFO")).await.unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(Instant::now() < end, "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_usable(&format!("rediss+cluster://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"), dir.path(), &server).await;
}

/// Starts a node of an installation. Its receiver gets one value for each message.
async fn node(server: &RedisServer, prefix: &str) -> (Rooms, Bus, mpsc::UnboundedReceiver<()>) {
    let (url, node) = (RedisUrl::parse(&server.url()).unwrap(), NodeId::parse("n1").unwrap());
    let options = RoomOptions { partitions: 4, prefix: prefix.to_owned(), ..RoomOptions::default() };
    let rooms = Rooms::connect(&url, options.clone(), node.clone()).await.unwrap();
    let (heard, hears) = mpsc::unbounded_channel();
    let sink = Arc::new(move |event: BusEvent<'_>| {
        if matches!(event, BusEvent::Message { .. }) {
            let _nobody_listens_at_the_end = heard.send(());
        }
    });
    let bus = Bus::start(&url, &options, &node, sink).await.unwrap();
    (rooms, bus, hears)
}

#[tokio::test]
async fn installations_that_share_a_redis_are_isolated() {
    let server = RedisServer::start().await.unwrap();
    // Both installations use the same node names, as two releases may.
    let (one, _one, mut one_hears) = node(&server, "sb-one").await;
    let (two, _two, mut two_hears) = node(&server, "sb-two").await;
    for counter in 1..=5 {
        let BeatOutcome::Beat(beat) = one.beat(Partition(0), counter, counter == 1).await.unwrap() else {
            panic!("swept")
        };
        assert_eq!(beat.receivers, 1, "only its own subscription");
        assert_eq!(beat.nodes.len(), 1, "{:?}", beat.nodes);
    }
    let BeatOutcome::Beat(beat) = two.beat(Partition(0), 1, true).await.unwrap() else { panic!("swept") };
    assert_eq!((beat.receivers, &*beat.nodes), (1, &[("n1".to_owned(), 1)][..]), "only its own counter");
    let wait = async |hears: &mut mpsc::UnboundedReceiver<()>| {
        tokio::time::timeout(Duration::from_secs(30), hears.recv()).await.unwrap().unwrap();
    };
    // Messages come in order, so a message of the other installation would have come first.
    for _ in 1..=5 {
        wait(&mut one_hears).await;
    }
    wait(&mut two_hears).await;
    assert!(two_hears.try_recv().is_err() && one_hears.try_recv().is_err(), "only the canaries of its own heartbeats");
    let keys: Vec<String> = server.query(redis::cmd("KEYS").arg("*")).await.unwrap();
    let of = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert!(of("sb-one:") > 0 && of("sb-two:") > 0 && of("sb-one:") + of("sb-two:") == keys.len(), "{keys:?}");
}

/// Connects a node, registers it, and receives its own canary.
#[tokio::test]
#[ignore = "run by the other tests in a process of its own"]
async fn visitor() {
    let url = RedisUrl::parse(&std::env::var(URL).unwrap()).unwrap();
    let options = RoomOptions { partitions: 4, ..RoomOptions::default() };
    let node = NodeId::parse("visitor").unwrap();
    let rooms = Rooms::connect(&url, options.clone(), node.clone()).await.unwrap();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let sink = Arc::new(move |event: BusEvent<'_>| {
        if matches!(event, BusEvent::Message { .. }) {
            let _nobody_listens_at_the_end = heard.send(());
        }
    });
    let _bus = Bus::start(&url, &options, &node, sink).await.unwrap();
    assert!(matches!(rooms.beat(Partition(0), 1, true).await.unwrap(), BeatOutcome::Beat(_)));
    assert_eq!(rooms.policy().await.unwrap(), "noeviction");
    let message = tokio::time::timeout(Duration::from_secs(30), hears.recv()).await.unwrap();
    assert_eq!(message, Some(()), "its own canary");
}
