//! A cluster in one thread: nodes, sockets and clients are simulated, the room scripts are the real ones on a real Redis.
//!
//! A run is decided by its seed (but for the ids that Redis gives), so one that went wrong can be looked at again.

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

/// Entries of a room's log: more than any run has.
const LONG_LOG: usize = 100_000;
/// So few that clients find their offsets trimmed away.
const SHORT_LOG: usize = 8;
/// Of a thousand steps, those that are faults: in fair weather and in foul.
const FAULTS: [usize; 2] = [15, 60];

/// Runs a seed for some steps, lets the cluster come to rest, and says what is wrong. Every third seed has short logs,
/// every second foul weather; in every fifth Redis loses its data now and then.
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
