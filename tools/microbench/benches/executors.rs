//! Time and CPU time of one script call through each executor: the lanes of nodes and the `fred` of
//! api pods, one call at a time and 100 at once. Both take turns on one Redis: `cargo bench -p
//! switchboard-microbench --bench executors`.

#![allow(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::{Duration, Instant};

use devcluster::redis::RedisServer;
use switchboard_core::domain::NodeId;
use switchboard_microbench::cpu_time;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Rate, RoomOptions, Rooms};
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
/// Calls of one measurement.
const CALLS: usize = 50_000;
/// Numbers of calls in flight.
const IN_FLIGHT: [usize; 2] = [1, 100];

/// Microseconds for one call.
struct Cost {
    /// From its start to its reply, on average.
    time: f64,
    /// Of this process.
    cpu: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let redis = RedisServer::start().await.expect("redis-server");
    let url = RedisUrl::parse(&redis.url()).expect("an address");
    let node = || NodeId::parse("n1").expect("an id");
    let lanes = Rooms::connect(&url, RoomOptions::default(), node()).await.expect("a connection");
    let fred = Rooms::connect_with_fred(&url, RoomOptions::default(), node()).await.expect("a connection");

    println!("| in flight | executor | us for a call | us of CPU for a call |\n|---|---|---|---|");
    for in_flight in IN_FLIGHT {
        let (mut by_lanes, mut by_fred) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            by_lanes.push(measure(&lanes, in_flight).await);
            by_fred.push(measure(&fred, in_flight).await);
        }
        let (by_lanes, by_fred) = (median(by_lanes), median(by_fred));
        for (name, Cost { time, cpu }) in [("lanes", &by_lanes), ("fred", &by_fred)] {
            println!("| {in_flight} | {name} | {time:.1} | {cpu:.2} |");
        }
        let (time, cpu) = (by_fred.time / by_lanes.time, by_fred.cpu / by_lanes.cpu);
        println!("| {in_flight} | fred / lanes | {time:.2} | {cpu:.2} |");
    }
}

/// Makes the calls, always as many in flight.
async fn measure(rooms: &Rooms, in_flight: usize) -> Cost {
    let (cpu, started) = (cpu_time(), Instant::now());
    let mut tasks = JoinSet::new();
    for task in 0..in_flight {
        let rooms = rooms.clone();
        tasks.spawn(async move {
            let rate = Rate { requests: 1_000_000, period: Duration::from_secs(1) };
            let subject = format!("subject-{task}");
            for _ in 0..CALLS / in_flight {
                rooms.spend("bench", &subject, rate).await.expect("a reply");
            }
        });
    }
    tasks.join_all().await;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (calls, in_flight) = (CALLS as f64, in_flight as f64);
    let time = started.elapsed().as_secs_f64() * 1e6 / calls * in_flight;
    Cost { time, cpu: (cpu_time() - cpu).as_secs_f64() * 1e6 / calls }
}

/// Returns the medians of the costs.
fn median(costs: Vec<Cost>) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { time: middle(|cost| cost.time), cpu: middle(|cost| cost.cpu) }
}
