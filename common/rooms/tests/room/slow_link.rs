//! A slow link to Redis: large answers and large pipelines arrive, however long they take.

use std::time::Duration;

use devcluster::link::{Link, Speed};
use switchboard_core::domain::NodeId;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::*;

use super::testbed::*;

/// Speed of the link.
const SPEED: Speed = Speed { bandwidth: 600_000, latency: Duration::ZERO };

/// Returns a store of the node `n1`, registered in every partition, behind a slow link. Its
/// requests wait for `queue_time`.
async fn behind_slow_link(bed: &mut TestBed, queue_time: Duration) -> (Rooms, Link) {
    drop(bed.node("n1").await);
    let link = Link::to(bed.servers()[0].port()).await.unwrap();
    link.set_speed(Some(SPEED));
    bed.options.lanes.queue_time = queue_time;
    let url = RedisUrl::parse(&format!("redis://{}", link.address())).unwrap();
    (Rooms::connect(&url, bed.options.clone(), NodeId::parse("n1").unwrap()).await.unwrap(), link)
}

pub(crate) async fn a_log_that_takes_longer_than_a_request_may_wait_is_read(mut bed: TestBed) {
    let near = bed.node("n1").await;
    near.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&near, "R", 1).await, sit(&near, "R", 2).await);
    let tally = Tally::default();
    // Four megabytes, which take the link six seconds.
    for number in 0..1300 {
        let text = format!("{number}{}", "x".repeat(3000));
        tally.submit(&near, &alice.seat, bob.seat.peer.clone(), text);
    }
    tally.wait_for(1300).await;
    let (far, _link) = behind_slow_link(&mut bed, Duration::from_secs(3)).await;
    let missed = far.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
    assert_eq!(missed.len(), 1300);
}

pub(crate) async fn a_pipeline_that_takes_longer_than_a_request_may_wait_is_sent(mut bed: TestBed) {
    let (far, _link) = behind_slow_link(&mut bed, Duration::from_secs(1)).await;
    far.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&far, "R", 1).await, sit(&far, "R", 2).await);
    let tally = Tally::default();
    // More than one pipeline, each of a megabyte, which takes the link 1.7 s.
    for number in 0..80 {
        let text = format!("{number}{}", "x".repeat(30_000));
        tally.submit(&far, &alice.seat, bob.seat.peer.clone(), text);
    }
    tally.wait_for(80).await;
    until("Redis serves again", async || far.peek(&room("R")).await.is_ok()).await;
    let near = bed.node("n1").await;
    let logged = near.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
    let numbers: Vec<usize> = logged
        .iter()
        .filter_map(|entry| entry.event().strip_prefix("\"chat:message\",{\"message\":\""))
        .map(|text| text.split('x').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "duplicated or reordered: {numbers:?}");
    for (text, reply) in tally.answers() {
        let number: usize = text.split('x').next().unwrap().parse().unwrap();
        match reply {
            Ok(OpReply::Logged { .. }) => assert!(numbers.contains(&number), "{number} was acknowledged and is lost"),
            Err(StoreError::Unavailable) => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(!numbers.is_empty(), "nothing arrived");
}
