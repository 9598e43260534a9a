//! What receiving a message costs this process: by the bus, and by `fred`, which the bus was first built on. In turn, on one Redis that
//! publishes by itself: `cargo bench -p switchboard-microbench --bench subscription`.

#![allow(clippy::print_stdout, reason = "it shows its result")]

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
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::{Bus, BusEvent, Partition, RoomOptions};

const ROUNDS: usize = 5;
const MESSAGES: usize = 100_000;
/// As large as an offer.
const BYTES: usize = 1200;
/// What `fred` may buffer: its 32 lose two thirds of this.
const BUFFERED: usize = 2 * MESSAGES;
const BOUND: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let redis = RedisServer::start().await.expect("redis-server");
    let options = RoomOptions { partitions: 1, ..RoomOptions::default() };
    let channel = Keys::new(&options.prefix, options.partitions).channel(Partition(0), "n1");

    let received = Arc::new(AtomicUsize::new(0));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let count = Arc::clone(&received);
        let sink = Arc::new(move |event: BusEvent<'_>| {
            count.fetch_add(usize::from(matches!(event, BusEvent::Message { .. })), Ordering::Relaxed);
        });
        let (url, node) = (RedisUrl::parse(&redis.url()).expect("an address"), NodeId::parse("n1").expect("an id"));
        let bus = Bus::start(&url, &options, &node, sink).await.expect("a subscription");
        ours.push(cost(&redis, &channel, &received).await);
        drop(bus);

        let client = fred(&redis, &channel).await;
        let mut messages = client.message_rx();
        let count = Arc::clone(&received);
        let pump = tokio::spawn(async move {
            while messages.recv().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        theirs.push(cost(&redis, &channel, &received).await);
        pump.abort();
        client.quit().await.expect("a goodbye");
    }
    println!("| | us a message, best to worst of {ROUNDS} |\n|---|---|");
    for (name, values) in [("bus", &mut ours), ("fred", &mut theirs)] {
        values.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} to {:.2} |", values[0], values[ROUNDS - 1]);
    }
    println!("fred's median is {:.1} times the bus's", theirs[ROUNDS / 2] / ours[ROUNDS / 2]);
}

async fn fred(redis: &RedisServer, channel: &str) -> SubscriberClient {
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

/// Has Redis publish, waits until all is received, and says what that took of processor time, in us a message.
async fn cost(redis: &RedisServer, channel: &str, received: &AtomicUsize) -> f64 {
    const PUBLISH: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('SPUBLISH', KEYS[1], ARGV[2]) end";
    received.store(0, Ordering::Relaxed);
    let (before, begun) = (cpu(), Instant::now());
    let mut publish = cmd("EVAL");
    publish.arg(PUBLISH).arg(1).arg(channel).arg(MESSAGES).arg("v".repeat(BYTES));
    redis.query::<()>(&publish).await.expect("messages");
    while received.load(Ordering::Relaxed) < MESSAGES {
        assert!(begun.elapsed() < BOUND, "{received:?} of {MESSAGES} came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
    let messages = MESSAGES as f64;
    (cpu() - before).as_secs_f64() * 1e6 / messages
}

/// What this process has spent, in hundredths of a second as the kernel counts.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
