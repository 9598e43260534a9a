//! Simulator of a cluster in one thread. Nodes, sockets and clients are simulated; the room scripts
//! and Redis are real.
//!
//! | file | content |
//! |---|---|
//! | `audit` | rules that every run must keep |
//! | `client` | actions of clients, and what the transport of a node sees of them |
//! | `faults` | faults, and the cluster's reaction to them |
//! | `node` | lane, subscription and sessions of a node |
//! | `rng` | repeatable random numbers |
//! | `settle` | the end of a run, without faults |
//! | `store` | the scripts in Redis, and a full copy of every log |
//! | `world` | the state of the cluster, and one random step |
//!
//! The seed decides a run, except for the ids that Redis gives, so a failed run can be repeated.

mod audit;
mod client;
mod faults;
mod node;
mod rng;
mod settle;
mod store;
mod world;

use switchboard_core::domain::RoomId;

pub(crate) use store::Patch;
pub(crate) use world::{Rules, Tally};

/// Maximum length of a log that no run reaches.
const LONG_LOG: usize = 100_000;
/// Maximum length of a log that trims clients' offsets away.
const SHORT_LOG: usize = 8;
/// Number of faults in 1,000 steps: few and many.
const FAULTS: [usize; 2] = [15, 60];

/// Runs a seed for some steps, lets the cluster settle, and returns the violations. Every third
/// seed has short logs, every second one many faults; in every fifth one Redis loses its data
/// sometimes.
pub(crate) fn run(port: u16, seed: u64, steps: usize, rules: Rules, patches: &[Patch]) -> (Vec<String>, Tally) {
    let rooms = ["A", "B"].map(|room| RoomId::parse(room).unwrap());
    let log_length = if seed % 3 == 2 { SHORT_LOG } else { LONG_LOG };
    let store = store::Store::new(port, &rooms, patches, log_length);
    let mut world = world::World::new(seed, rules, store);
    world.faults = FAULTS[usize::from(seed % 2 == 1)];
    world.lossy = seed % 5 == 4;
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    world.audit()
}
