//! Connections to Redis, for the tests of recorder and webhooks.

use devcluster::redis::RedisServer;
use switchboard_core::domain::NodeId;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{RoomOptions, Rooms};

/// Connects as a node does, to seat participants.
pub(crate) async fn connect(redis: &RedisServer, partitions: u16) -> Rooms {
    let (url, options, node) = arguments(&redis.url(), partitions);
    Rooms::connect(&url, options, node).await.unwrap()
}

/// Connects as an api pod does.
pub(crate) async fn connect_pod(url: &str, partitions: u16) -> Rooms {
    let (url, options, node) = arguments(url, partitions);
    Rooms::connect_with_fred(&url, options, node).await.unwrap()
}

fn arguments(url: &str, partitions: u16) -> (RedisUrl, RoomOptions, NodeId) {
    let options = RoomOptions { partitions, ..RoomOptions::default() };
    (RedisUrl::parse(url).unwrap(), options, NodeId::parse("n1").unwrap())
}
