//! Redis as operators run it: TLS with a private CA and client certificates, an ACL user with only
//! the rights that Switchboard needs, a cluster and Sentinels of such servers, one server for
//! several installations, and servers that refuse: the log says why.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devcluster::ports;
use devcluster::process::retry;
use devcluster::redis::{RedisOptions, RedisServer};
use devcluster::redis_sentinel::{RedisSentinel, SentinelOptions};
use switchboard_core::domain::NodeId;
use switchboard_rooms::conn::{ClientCertificate, ClientCertificateError, RedisUrl};
use switchboard_rooms::{BeatOutcome, Bus, BusEvent, CheckOutcome, Group, Partition, RoomOptions, Rooms};
use tls::visitor::{EXECUTORS, LONG, appears, visit, visit_with, visitor_program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

mod tls {
    pub(crate) mod visitor;
}

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
    certificates_for(dir, "IP:127.0.0.1,DNS:localhost");
}

/// Creates `ca.pem` and a certificate of it for these names.
fn certificates_for(dir: &Path, names: &str) {
    std::fs::write(dir.join("names"), format!("subjectAltName={names}")).unwrap();
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=own-ca -keyout ca.key -out ca.pem");
    openssl(dir, "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr");
    openssl(
        dir,
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem",
    );
}

/// Asserts that the program cannot use Redis, and that its log says `reason` once.
fn assert_refused(url: &str, ca: Option<&Path>, reason: &str) {
    std::thread::scope(|scope| {
        for executor in EXECUTORS {
            scope.spawn(move || {
                let visited = visit(executor, url, ca);
                let said = String::from_utf8_lossy(&visited.stdout).into_owned();
                assert!(!visited.status.success(), "{executor}: {said}");
                let lines: Vec<_> = said.lines().filter(|line| line.contains("redis connection failed")).collect();
                let naming = lines.iter().filter(|line| line.contains(reason)).count();
                assert_eq!(naming, 1, "{executor}, {reason}: {said}");
                assert_eq!(lines.len(), 1, "{executor}, each cause is logged once: {said}");
            });
        }
    });
}

/// Starts a server with a TLS port beside its plain one, and with the ACL user `calls`. `clients`
/// is `yes` if clients must present a certificate.
async fn protected(dir: &Path, clients: &str, further: &[&str]) -> (RedisServer, u16) {
    let file = |name: &str| dir.join(name).display().to_string();
    retry(|| async {
        let port = ports::free()?;
        let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", clients].map(str::to_owned);
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
    for executor in EXECUTORS {
        let trusting = visit(executor, url, Some(&dir.join("ca.pem")));
        let said = String::from_utf8_lossy(&trusting.stdout).into_owned() + &String::from_utf8_lossy(&trusting.stderr);
        assert!(trusting.status.success(), "{executor}: {said}");
        assert!(said.contains("1 passed"), "the test ran: {said}");
    }
    assert!(!visit(EXECUTORS[0], url, None).status.success(), "a client without the CA must fail");
    let denied: redis::Value = server.query(redis::cmd("ACL").arg("LOG")).await.unwrap();
    assert_eq!(denied, redis::Value::Array(Vec::new()), "no command was denied");
}

#[tokio::test]
async fn commands_and_subscriptions_use_tls_with_the_trusted_ca_and_only_the_documented_rights() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (server, port) = protected(dir.path(), "no", &[]).await;
    assert_usable(&format!("rediss://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"), dir.path(), &server).await;
}

/// Starts a cluster of one member, whose TLS port and bus use TLS.
async fn protected_cluster(dir: &Path, further: &[&str]) -> (RedisServer, u16) {
    let cluster = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1"];
    let (server, port) = protected(dir, "no", &[&cluster, further].concat()).await;
    let _: () = server.query(redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await.unwrap();
    let end = Instant::now() + LONG;
    loop {
        let info: String = server.query(redis::cmd("CLUSTER").arg("INFO")).await.unwrap();
        if info.contains("cluster_state:ok") {
            return (server, port);
        }
        assert!(Instant::now() < end, "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_same_holds_on_a_redis_cluster() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (server, port) = protected_cluster(dir.path(), &[]).await;
    assert_usable(&format!("rediss+cluster://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"), dir.path(), &server).await;
}

#[tokio::test]
async fn members_of_a_cluster_that_announce_addresses_are_known_by_the_hostname_in_their_certificates() {
    let dir = tempfile::tempdir().unwrap();
    certificates_for(dir.path(), "DNS:localhost");
    for preferred in ["ip", "hostname", "unknown-endpoint"] {
        let announced = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", preferred];
        let (server, port) = protected_cluster(dir.path(), &announced).await;
        assert_usable(&format!("rediss+cluster://calls:pa%25ss@w:o/rd@localhost:{port}"), dir.path(), &server).await;
    }
    // Without the announcement, the address of the slot map is not in the certificate.
    let (_server, port) = protected_cluster(dir.path(), &[]).await;
    let ca = dir.path().join("ca.pem");
    let url = format!("rediss+cluster://calls:pa%25ss@w:o/rd@localhost:{port}");
    assert_refused(&url, Some(&ca), "TLS: the server's certificate names another host");
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_gets_the_configured_one() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_server, port) = protected(dir.path(), "yes", &[]).await;
    let (ca, url) = (dir.path().join("ca.pem"), format!("rediss://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"));
    for executor in EXECUTORS {
        let presented = visit_with(executor, &url, Some(&ca), Some(dir.path()));
        let said =
            String::from_utf8_lossy(&presented.stdout).into_owned() + &String::from_utf8_lossy(&presented.stderr);
        assert!(presented.status.success() && said.contains("1 passed"), "{executor}: {said}");
    }
    assert_refused(&url, Some(&ca), "the server may require a client certificate");
}

#[tokio::test]
async fn renewed_certificates_and_another_ca_are_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (mut server, port) = protected(dir.path(), "yes", &[]).await;
    let (ca, url) = (dir.path().join("ca.pem"), format!("rediss://calls:pa%25ss@w:o/rd@127.0.0.1:{port}"));
    let staying = EXECUTORS.map(|executor| {
        let mut program = visitor_program("tls::visitor::staying", executor, &url, Some(&ca), Some(dir.path()));
        program.stdout(std::process::Stdio::piped()).spawn().unwrap()
    });
    for executor in EXECUTORS {
        appears(&dir.path().join(executor)).await;
    }
    // The old certificates are worth nothing to the server that comes back.
    certificates(dir.path());
    server.restart().await.unwrap();
    std::fs::write(dir.path().join("renewed"), "").unwrap();
    for (executor, program) in EXECUTORS.into_iter().zip(staying) {
        let stayed = tokio::task::spawn_blocking(|| program.wait_with_output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&stayed.stdout).into_owned();
        assert!(stayed.status.success() && said.contains("1 passed"), "{executor}: {said}");
    }
}

#[test]
fn the_files_of_a_client_certificate_are_checked() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(dir.path());
    certificates(other.path());
    let (certificate, key) = (dir.path().join("redis.pem"), dir.path().join("redis.key"));
    let files = ClientCertificate::new(&certificate, &key).unwrap();
    let refused = RedisUrl::parse("redis://a").unwrap().with_client_certificate(files.clone()).unwrap_err();
    assert!(refused.to_string().contains("rediss"), "{refused}");
    RedisUrl::parse("rediss+sentinel://a/calls").unwrap().with_client_certificate(files).unwrap();
    let absent = dir.path().join("absent");
    for bad in [&absent, &key] {
        assert!(matches!(ClientCertificate::new(bad, &key), Err(ClientCertificateError::Certificate(_))));
    }
    for bad in [&absent, &certificate, &other.path().join("redis.key")] {
        assert!(matches!(ClientCertificate::new(&certificate, bad), Err(ClientCertificateError::Key(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn the_log_says_once_and_plainly_why_tls_fails() {
    let dir = tempfile::tempdir().unwrap();
    certificates_for(dir.path(), "DNS:localhost");
    let (server, port) = protected(dir.path(), "no", &[]).await;
    let ca = dir.path().join("ca.pem");
    let url = |host: &str, port: u16| format!("rediss://calls:pa%25ss@w:o/rd@{host}:{port}");
    assert_refused(&url("localhost", port), None, "TLS: no trusted CA signed the server's certificate");
    assert_refused(&url("127.0.0.1", port), Some(&ca), "TLS: the server's certificate names another host");
    assert_refused(&url("localhost", server.port()), Some(&ca), "does it speak TLS on this port?");
    let plain = format!("redis://calls:pa%25ss@w:o/rd@127.0.0.1:{port}");
    assert_refused(&plain, None, "the server closed the connection");
}

#[tokio::test]
async fn the_log_says_once_why_a_server_refuses_in_the_words_of_the_server() {
    let user = ["--user", "calls", "on", ">secret", "~*", "&*", "+@all", "-script|load"].map(str::to_owned);
    let options = RedisOptions { extra: user.to_vec(), ..RedisOptions::default() };
    let mut server = RedisServer::start_with(&options).await.unwrap();
    let port = server.port();
    assert_refused(&format!("redis://calls:secret@127.0.0.1:{port}"), None, "SCRIPT LOAD: NOPERM");
    assert_refused(&format!("redis://calls:wrong@127.0.0.1:{port}"), None, "AUTH: WRONGPASS");
    // A server that is full says so and closes the connection.
    let _: () = server.query(redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(1)).await.unwrap();
    let held = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_refused(&format!("redis://127.0.0.1:{port}"), None, "ERR max number of clients reached");
    drop(held);
    let (more, end) = (redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(100).clone(), Instant::now() + LONG);
    while server.query::<()>(&more).await.is_err() {
        assert!(Instant::now() < end, "the held connection is not closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A server that loads its data.
    let fill = "for i = 1, 10000 do redis.call('SET', i, 'v') end";
    let _: () = server.query(redis::cmd("EVAL").arg(fill).arg(0)).await.unwrap();
    let _: () = server.query(&redis::cmd("SAVE")).await.unwrap();
    let slow = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"].map(str::to_owned);
    let options = RedisOptions { dir: Some(server.dir().to_owned()), extra: slow.to_vec(), ..RedisOptions::default() };
    server.process().kill().unwrap();
    let (port, start) = (ports::free().unwrap(), Instant::now());
    let starting = tokio::spawn(async move {
        let _given_up_by_the_end_of_the_test =
            RedisServer::start_with(&RedisOptions { port: Some(port), ..options }).await;
    });
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < LONG, "the server does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("redis://127.0.0.1:{port}");
    tokio::task::spawn_blocking(move || assert_refused(&url, None, "LOADING Redis is loading")).await.unwrap();
    starting.abort();
}

#[tokio::test]
async fn sentinels_and_servers_may_have_different_credentials() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let options = SentinelOptions {
        server: [words("--user calls on >pa%ss@w:o/rd"), acl()].concat(),
        sentinel: vec![
            "user asker on >ask%ing &+switch-master -@all +sentinel|get-master-addr-by-name +subscribe".to_owned(),
        ],
        ..SentinelOptions::default()
    };
    let redis = RedisSentinel::start_with(&options).await.unwrap();
    let hosts = redis.hosts();
    let url = format!("redis+sentinel://calls:pa%25ss@w:o/rd@{hosts}/calls/0");
    let usable = format!("{url}?sentinel_username=asker&sentinel_password=ask%25ing");
    // The first Sentinel is down.
    let nobody = ports::free().unwrap();
    for executor in EXECUTORS {
        let visited = visit(executor, &usable.replace("@127.0.0.1", &format!("@127.0.0.1:{nobody},127.0.0.1")), None);
        let said = String::from_utf8_lossy(&visited.stdout).into_owned() + &String::from_utf8_lossy(&visited.stderr);
        assert!(visited.status.success() && said.contains("1 passed"), "{executor}: {said}");
    }
    let wrong = visit(EXECUTORS[1], &format!("{url}?sentinel_username=asker&sentinel_password=guessed"), None);
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(!wrong.status.success(), "{said}");
    let lines = said.lines().filter(|line| line.contains("redis connection failed")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 3, "one line for each Sentinel: {said}");
    assert!(lines.iter().all(|line| line.contains("sentinel") && line.contains("AUTH: WRONGPASS")), "{lines:?}");
    let unknown = visit(EXECUTORS[1], &usable.replace("/calls/0", "/games/0"), None);
    let said = String::from_utf8_lossy(&unknown.stdout).into_owned();
    assert!(!unknown.status.success() && said.contains("it knows no master named games"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_names_a_replica_is_passed_over() {
    let mut redis = RedisSentinel::start().await.unwrap();
    let replica = redis.servers()[1].port().to_string();
    // A Sentinel that was cut off before the last failover.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stale = listener.local_addr().unwrap();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{replica}\r\n", replica.len());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut command = [0; 1024];
                while stream.read(&mut command).await.is_ok_and(|length| length > 0) {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let url = redis.url().replace("://", &format!("://{stale},"));
    for executor in EXECUTORS {
        let visited = visit(executor, &url, None);
        let said = String::from_utf8_lossy(&visited.stdout).into_owned() + &String::from_utf8_lossy(&visited.stderr);
        assert!(visited.status.success() && said.contains("1 passed"), "{executor}: {said}");
        assert_eq!(said.matches("ROLE: the server is a replica").count(), 1, "{executor}: {said}");
    }
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
        let CheckOutcome::Registered(check) = one.check_node(Partition(0), "r", counter == 1).await.unwrap() else {
            panic!("swept")
        };
        assert_eq!(check.receivers, 1, "only its own subscription");
        let BeatOutcome::Beat(beat) = one.beat(Group(0), counter, counter == 1, 3).await.unwrap() else {
            panic!("swept")
        };
        assert_eq!(beat.size, 1);
    }
    let CheckOutcome::Registered(check) = two.check_node(Partition(0), "r", true).await.unwrap() else {
        panic!("swept")
    };
    assert_eq!(check.receivers, 1, "only its own subscription");
    let BeatOutcome::Beat(beat) = two.beat(Group(0), 1, true, 3).await.unwrap() else { panic!("swept") };
    assert_eq!((beat.size, beat.following), (1, Vec::new()), "only its own ring");
    let wait = async |hears: &mut mpsc::UnboundedReceiver<()>| {
        tokio::time::timeout(LONG, hears.recv()).await.unwrap().unwrap();
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
