//! Simulator of a cluster in one thread. Delivery is the code of this node, the room scripts and
//! Redis are real; lanes, sockets, clients and time are simulated.
//!
//! | file | content |
//! |---|---|
//! | `audit` | rules that every run must keep |
//! | `client` | actions of clients, and what the transport of a node sees of them |
//! | `faults` | faults, and the cluster's reaction to them |
//! | `node` | a node: its lane, and the tasks of a dispatcher around delivery |
//! | `rng` | repeatable random numbers |
//! | `settle` | the end of a run, without faults |
//! | `shrink` | the shortest schedule that still fails |
//! | `store` | the scripts in Redis, and a full copy of every log |
//! | `subscription` | the subscription of a node |
//! | `tests` | random schedules, and proofs that a missing rule is found |
//! | `world` | the state of the cluster, and one random step |
//!
//! A seed and the numbers of its steps decide a run, except for the ids that Redis gives, so a
//! failed run can be repeated and shortened.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step fails the test")]

mod audit;
mod client;
mod faults;
mod node;
mod rng;
mod settle;
mod shrink;
mod store;
mod subscription;
mod tests;
mod world;

use std::ops::Range;

use switchboard_core::domain::RoomId;

use super::mutation;
use store::Patch;
use world::{Rules, Tally};

/// Maximum length of a log that no run reaches.
const LONG_LOG: usize = 100_000;
/// Maximum length of a log that trims clients' offsets away.
const SHORT_LOG: usize = 8;
/// Number of faults in 1,000 steps: few and many.
const FAULTS: [usize; 2] = [15, 60];

/// What a run does.
#[derive(Clone)]
struct Schedule {
    /// Port of Redis.
    port: u16,
    /// Every third seed has short logs, every second one many faults; in every fifth one Redis
    /// loses its data sometimes.
    seed: u64,
    /// Numbers of the steps.
    steps: Vec<u64>,
    rules: Rules,
    patches: Vec<Patch>,
}

/// What a run did.
struct Outcome {
    violations: Vec<String>,
    tally: Tally,
    trace: Vec<String>,
}

impl Schedule {
    fn new(port: u16, seed: u64, steps: Range<u64>) -> Self {
        Self { port, seed, steps: steps.collect(), rules: Rules::ALL, patches: Vec::new() }
    }

    /// Runs the steps, and lets the cluster settle.
    fn run(&self) -> Outcome {
        mutation::without(self.rules.without, || {
            let rooms = ["A", "B"].map(|room| RoomId::parse(room).unwrap());
            let log_length = if self.seed % 3 == 2 { SHORT_LOG } else { LONG_LOG };
            let store = store::Store::new(self.port, &rooms, &self.patches, log_length);
            let mut world = world::World::new(self.seed, self.rules, store);
            world.faults = FAULTS[usize::from(self.seed % 2 == 1)];
            world.lossy = self.seed % 5 == 4;
            for number in &self.steps {
                world.step(*number);
            }
            world.settle();
            world.audit()
        })
    }

    /// Returns the shortest schedule found that still fails, and its outcome.
    fn shrunk(&self) -> (Self, Outcome) {
        let with = |steps: &[u64]| Self { steps: steps.to_vec(), ..self.clone() };
        let steps = shrink::shrink(&self.steps, |steps| !with(steps).run().violations.is_empty());
        let shortest = with(&steps);
        let outcome = shortest.run();
        (shortest, outcome)
    }
}
