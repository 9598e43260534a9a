//! The Redis servers that other tests use.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use devcluster::ports;
use devcluster::redis::{RedisCluster, RedisOptions, RedisServer};
use redis::cmd;

#[tokio::test]
async fn a_dropped_server_has_ended_and_its_port_is_free() {
    let server = RedisServer::start().await.unwrap();
    let port = server.port();
    assert_eq!(server.query::<String>(&cmd("PING")).await.unwrap(), "PONG");
    assert!(!ports::is_free(port));
    drop(server);
    assert!(ports::is_free(port));
}

#[tokio::test]
async fn data_survives_a_kill_with_appendonly_and_is_lost_without() {
    for appendonly in [true, false] {
        let options = RedisOptions { appendonly, ..RedisOptions::default() };
        let mut server = RedisServer::start_with(&options).await.unwrap();
        server.query::<()>(cmd("SET").arg("k").arg("v")).await.unwrap();
        server.process().kill().unwrap();
        assert!(server.query::<String>(&cmd("PING")).await.is_err());
        server.restart().await.unwrap();
        let value: Option<String> = server.query(cmd("GET").arg("k")).await.unwrap();
        assert_eq!(value.is_some(), appendonly);
    }
}

#[tokio::test]
async fn a_paused_server_answers_again_after_resume() {
    let mut server = RedisServer::start().await.unwrap();
    server.process().pause().unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(300), server.query::<String>(&cmd("PING"))).await;
    assert!(!matches!(silent, Ok(Ok(_))));
    server.process().resume().unwrap();
    assert_eq!(server.query::<String>(&cmd("PING")).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_cluster_serves_every_slot_and_moves_one_with_its_keys() {
    let mut cluster = RedisCluster::start(3).await.unwrap();
    assert!(cluster.url().starts_with("redis+cluster://127.0.0.1:"));
    let slot: u16 = cluster.servers()[0].query(cmd("CLUSTER").arg("KEYSLOT").arg("{b}")).await.unwrap();
    assert!(slot < 5461, "the key's slot starts on the first master");
    cluster.servers()[0].query::<()>(cmd("SET").arg("{b}").arg("v")).await.unwrap();
    cluster.move_slot(slot, 0, 2).await.unwrap();
    assert_eq!(cluster.servers()[2].query::<String>(cmd("GET").arg("{b}")).await.unwrap(), "v");
    let refused = cluster.servers()[0].query::<String>(cmd("GET").arg("{b}")).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("moved"), "{refused}");
}

#[tokio::test]
async fn a_replica_takes_over_when_its_master_is_killed() {
    let mut cluster = RedisCluster::start_with(3, 1).await.unwrap();
    cluster.servers()[0].process().kill().unwrap();
    let replica = &cluster.servers()[3];
    for _ in 0..600 {
        let role: Vec<redis::Value> = replica.query(&cmd("ROLE")).await.unwrap();
        if matches!(&role[0], redis::Value::BulkString(name) if name == b"master") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the replica never became master");
}
