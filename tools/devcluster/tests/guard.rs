//! Servers end with the program that started them, even if it does not drop them.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step fails the test; one test reads the output of another"
)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use devcluster::ports;
use devcluster::redis::RedisServer;

#[tokio::test]
#[ignore = "the other test runs this one as a program"]
async fn leak_a_server() {
    let server = RedisServer::start().await.unwrap();
    println!("port={} dir={}", server.port(), server.dir().display());
    std::mem::forget(server);
}

#[test]
fn a_server_that_is_never_dropped_ends_with_its_program_and_leaves_no_directory() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "leak_a_server", "--ignored", "--nocapture"];
    let output = Command::new(program).args(arguments).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let after = |key: &str| printed.split(key).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let port: u16 = after("port=").parse().unwrap();
    let dir = PathBuf::from(after("dir="));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ports::is_free(port) || dir.exists() {
        assert!(Instant::now() < deadline, "port {port} or {} is still there", dir.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
