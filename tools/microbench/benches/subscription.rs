//! CPU time to receive a message through the bus and through `fred`, the library that the bus
//! replaced. Both take turns on one Redis that publishes by a script: `cargo bench -p
//! switchboard-microbench --bench subscription`.

#![allow(clippy::print_stdout, reason = "a bench prints its result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devcluster::redis::RedisServer;
use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Builder;
use fred::types::config::{Config, Server, ServerConfig};
use redis::cmd;
use switchboard_core::domain::NodeId;
use switchboard_microbench::cpu_time;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::{Bus, BusEvent, Partition, RoomOptions};

const ROUNDS: usize = 5;
const MESSAGES: usize = 100_000;
/// Size of an offer.
const BYTES: usize = 1200;
/// Channel capacity of `fred`; the default of 32 loses two thirds of the messages here.
const BUFFERED: usize = 2 * MESSAGES;
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let redis = RedisServer::start().await.expect("redis-server");
    let options = RoomOptions { partitions: 1, ..RoomOptions::default() };
    let channel = Keys::new(&options.prefix, options.partitions).channel(Partition(0), "n1");

    let received = Arc::new(AtomicUsize::new(0));
    let (mut bus_costs, mut fred_costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let count = Arc::clone(&received);
        let sink = Arc::new(move |event: BusEvent<'_>| {
            count.fetch_add(usize::from(matches!(event, BusEvent::Message { .. })), Ordering::Relaxed);
        });
        let (url, node) = (RedisUrl::parse(&redis.url()).expect("an address"), NodeId::parse("n1").expect("an id"));
        let bus = Bus::start(&url, &options, &node, sink).await.expect("a subscription");
        bus_costs.push(cpu_per_message(&redis, &channel, &received).await);
        drop(bus);

        let client = subscribe_with_fred(&redis, &channel).await;
        let mut messages = client.message_rx();
        let count = Arc::clone(&received);
        let receiver = tokio::spawn(async move {
            while messages.recv().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        fred_costs.push(cpu_per_message(&redis, &channel, &received).await);
        receiver.abort();
        client.quit().await.expect("a goodbye");
    }
    println!("| | us per message, best to worst of {ROUNDS} rounds |\n|---|---|");
    for (name, values) in [("bus", &mut bus_costs), ("fred", &mut fred_costs)] {
        values.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} to {:.2} |", values[0], values[ROUNDS - 1]);
    }
    println!("the median of fred is {:.1} times that of the bus", fred_costs[ROUNDS / 2] / bus_costs[ROUNDS / 2]);
}

async fn subscribe_with_fred(redis: &RedisServer, channel: &str) -> SubscriberClient {
    let address = redis.url();
    let (host, port) = address.trim_start_matches("redis://").rsplit_once(':').expect("an address");
    let server = Server::new(host, port.parse().expect("a port"));
    let config = Config { server: ServerConfig::Centralized { server }, ..Config::default() };
    let mut builder = Builder::from_config(config);
    builder.with_performance_config(|config| config.broadcast_channel_capacity = BUFFERED);
    let client = builder.build_subscriber_client().expect("a client");
    client.init().await.expect("a connection");
    client.ssubscribe(channel).await.expect("a subscription");
    client
}

/// Publishes the messages and waits for their receipt. Returns the CPU time of this process per
/// message in microseconds.
async fn cpu_per_message(redis: &RedisServer, channel: &str, received: &AtomicUsize) -> f64 {
    const PUBLISH: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('SPUBLISH', KEYS[1], ARGV[2]) end";
    received.store(0, Ordering::Relaxed);
    let (before, started) = (cpu_time(), Instant::now());
    let mut publish = cmd("EVAL");
    publish.arg(PUBLISH).arg(1).arg(channel).arg(MESSAGES).arg("v".repeat(BYTES));
    redis.query::<()>(&publish).await.expect("messages");
    while received.load(Ordering::Relaxed) < MESSAGES {
        assert!(started.elapsed() < RECEIVE_TIMEOUT, "received {received:?} of {MESSAGES} messages");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
    let messages = MESSAGES as f64;
    (cpu_time() - before).as_secs_f64() * 1e6 / messages
}
