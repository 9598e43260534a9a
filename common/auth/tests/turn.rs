//! A real coturn accepts the TURN credentials that clients get, until they expire.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use devcluster::ports;
use devcluster::process::{Process, Spec, retry};
use devcluster::programs::find_program;
use switchboard_auth::{IceConfig, IceServer};
use switchboard_core::domain::{RoomId, UserId};
use switchboard_runtime::config::{Env, IceSettings};

const SECRET: &str = "a-secret-of-coturn-and-the-cluster";
/// Another secret that coturn accepts, as during a rotation.
const NEXT_SECRET: &str = "the-next-secret-of-coturn-and-cluster";
const TTL: u64 = 600;

/// coturn on a free port. It allows relays to loopback addresses, because a test contacts this
/// machine only.
struct Coturn {
    _process: Process,
    _dir: tempfile::TempDir,
    port: u16,
}

impl Coturn {
    /// Starts with a quota of so many allocations for each user.
    async fn start(quota: u32) -> Self {
        retry(|| async {
            let (dir, port) = (tempfile::tempdir()?, ports::free()?);
            let file = |name: &str| dir.path().join(name).display().to_string();
            let spec = Spec::new("turnserver", find_program("turnserver")?, dir.path()).args([
                "-n".to_owned(),
                "--listening-ip=127.0.0.1".to_owned(),
                "--relay-ip=127.0.0.1".to_owned(),
                format!("--listening-port={port}"),
                "--realm=turn.test".to_owned(),
                "--use-auth-secret".to_owned(),
                format!("--static-auth-secret={SECRET}"),
                format!("--static-auth-secret={NEXT_SECRET}"),
                format!("--user-quota={quota}"),
                "--fingerprint".to_owned(),
                "--allow-loopback-peers".to_owned(),
                "--no-cli".to_owned(),
                "--no-tls".to_owned(),
                "--no-dtls".to_owned(),
                "--log-file=stdout".to_owned(),
                format!("--pidfile={}", file("pid")),
                format!("--userdb={}", file("users")),
            ]);
            let mut process = Process::spawn(spec)?;
            let answers = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
            process.wait_ready(Duration::from_secs(30), answers).await?;
            Ok(Self { _process: process, _dir: dir, port })
        })
        .await
        .unwrap()
    }

    /// Runs a client that allocates a relay with these credentials and sends itself two messages.
    fn relay(&self, server: &IceServer) -> Output {
        let (username, credential) = (server.username.as_deref().unwrap(), server.credential.as_deref().unwrap());
        let port = self.port.to_string();
        Command::new(find_program("turnutils_uclient").unwrap())
            .args(["-u", username, "-w", credential, "-p", &port, "-y", "-c", "-n", "2", "-m", "2", "127.0.0.1"])
            .output()
            .unwrap()
    }
}

/// Returns the TURN server entry that a client got `ago` seconds ago from a node with this secret.
fn issued(secret: &str, ago: u64) -> IceServer {
    let mut env = Env::new([
        ("TURN_SERVER_URL", "turn:127.0.0.1:3478"),
        ("TURN_SECRET", secret),
        ("TURN_TTL", &TTL.to_string()),
        ("STUN_SERVER", "none"),
    ]);
    let ice = IceConfig::from(&IceSettings::from_env(&mut env));
    env.finish().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (room, user) = (RoomId::parse("AB12CD34EF56"), UserId::parse("65a000000000000000000001"));
    ice.for_participant(&room.unwrap(), &user.unwrap(), now - ago).servers.pop().unwrap()
}

#[tokio::test]
async fn coturn_accepts_our_credentials_and_refuses_expired_foreign_and_altered_ones() {
    let coturn = Coturn::start(0).await;
    let fresh = coturn.relay(&issued(SECRET, 0));
    let output = String::from_utf8_lossy(&fresh.stdout).into_owned();
    assert!(fresh.status.success(), "{output}");
    assert!(output.contains("tot_send_msgs=4, tot_recv_msgs=4"), "two clients sent two messages each: {output}");

    let old = coturn.relay(&issued(SECRET, TTL - 60));
    assert!(old.status.success(), "valid for another minute: {}", String::from_utf8_lossy(&old.stdout));

    let next = coturn.relay(&issued(NEXT_SECRET, 0));
    assert!(next.status.success(), "by the next secret: {}", String::from_utf8_lossy(&next.stdout));

    let expired = coturn.relay(&issued(SECRET, TTL + 1));
    let foreign = coturn.relay(&issued("the-secret-of-another-cluster-altogether", 0));
    let altered =
        IceServer { username: Some(format!("{}9", issued(SECRET, 0).username.unwrap())), ..issued(SECRET, 0) };
    for (kind, refused) in [("expired", expired), ("foreign", foreign), ("altered", coturn.relay(&altered))] {
        assert!(!refused.status.success(), "{kind}");
        assert!(String::from_utf8_lossy(&refused.stdout).contains("Cannot complete Allocation"), "{kind}");
    }
}

#[tokio::test]
async fn coturn_counts_its_quota_of_a_participant_over_all_credentials() {
    // One run of the client makes four allocations.
    let coturn = Coturn::start(2).await;
    for ago in [0, 1] {
        let output = coturn.relay(&issued(SECRET, ago));
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("486"), "Allocation Quota Reached");
    }
}
