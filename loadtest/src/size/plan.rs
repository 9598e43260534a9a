//! How many pods, shards and cores a load needs. Pure.

use switchboard_core::socket_memory::sockets_that_fit;

use super::costs::Costs;

/// Fewest pods of each kind, so that one can be lost.
const PODS_MIN: u64 = 2;
/// Processor time of a joined socket that sends nothing, in microseconds a second: heartbeats.
const SOCKET_NODE_MICROS: f64 = 1.6;
/// Processor time of Redis for an event to all of a room, in microseconds: the script and its log
/// entry, and what each further node adds to the publication.
const BROADCAST_REDIS_MICROS: f64 = 13.0;
const BROADCAST_REDIS_MICROS_PER_NODE: f64 = 2.2;
/// Memory of Redis for a participant in a room of two, in bytes, with what the room itself takes.
const PARTICIPANT_REDIS_BYTES: f64 = 4_400.0;
/// Memory of Redis for a logged event, in bytes: an SDP of 2.5 KB, and a candidate.
const SDP_REDIS_BYTES: f64 = 3_300.0;
const CANDIDATE_REDIS_BYTES: f64 = 320.0;
/// Time that events stay in Redis, in seconds: the recovery window and a quarter.
const LOG_SECONDS: f64 = 119.0;
/// Memory of Redis that is not room state, in bytes, and how much of the rest may be in use before
/// a rewrite of its append-only file copies pages.
const REDIS_BASE_BYTES: f64 = 64.0 * MIB;
const REDIS_FILL: f64 = 0.5;

const MIB: f64 = 1024.0 * 1024.0;

/// An expected load, and the pods that shall serve it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Participants at the same time.
    pub(super) sockets: u64,
    pub(super) calls_per_second: f64,
    /// Participants of a call.
    pub(super) room: u32,
    /// ICE candidates that each participant sends to each other.
    pub(super) candidates: u32,
    /// Events to all of a room in a second: chat, raised hands, mutes.
    pub(super) broadcasts_per_second: f64,
    /// Cores and MiB of memory of a node.
    pub(super) node_cores: f64,
    pub(super) node_memory_mib: u32,
    /// Share of a core that may be in use, from 0 to 1.
    pub(super) utilization: f64,
}

/// What a load needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) nodes: u64,
    /// Cores that all nodes together use, and the sockets for which one node has memory.
    pub(super) node_load: f64,
    pub(super) node_sockets: u64,
    pub(super) apis: u64,
    pub(super) api_load: f64,
    pub(super) shards: u64,
    pub(super) redis_load: f64,
    /// `maxmemory` of a shard.
    pub(super) shard_memory_mib: u64,
    pub(super) mongodb_load: f64,
    pub(super) relays_per_second: f64,
}

impl Plan {
    /// Returns what a load needs. One node and one api pod may be lost: the others carry the load.
    pub(super) fn new(load: &Load, costs: &Costs) -> Self {
        let people = f64::from(load.room);
        let joins = load.calls_per_second * people;
        // Each pair of a mesh has an offer, an answer, and candidates in both directions.
        let directions = load.calls_per_second * people * (people - 1.0);
        let relays = directions * (1.0 + f64::from(load.candidates));

        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let sockets = load.sockets as f64;
        let node_load =
            cores(joins * costs.join_nodes_micros + relays * costs.relay_nodes_micros + sockets * SOCKET_NODE_MICROS);
        let node_sockets = sockets_that_fit(u64::from(load.node_memory_mib) << 20);
        let by_memory = load.sockets.div_ceil(node_sockets.max(1));
        let nodes = (pods(node_load, load.node_cores * load.utilization).max(by_memory) + 1).max(PODS_MIN);

        let api_load = cores(joins * costs.participant_api_micros);
        let apis = (pods(api_load, load.utilization) + 1).max(PODS_MIN);

        #[expect(clippy::cast_precision_loss, reason = "a few nodes")]
        let receivers = people.min(nodes as f64);
        let broadcast = BROADCAST_REDIS_MICROS + BROADCAST_REDIS_MICROS_PER_NODE * receivers;
        let redis_load = cores(
            joins * costs.join_redis_micros
                + relays * costs.relay_redis_micros
                + load.broadcasts_per_second * broadcast,
        );
        let shards = pods(redis_load, load.utilization);
        let logged = directions * (SDP_REDIS_BYTES + f64::from(load.candidates) * CANDIDATE_REDIS_BYTES)
            + load.broadcasts_per_second * CANDIDATE_REDIS_BYTES;
        let state = sockets * PARTICIPANT_REDIS_BYTES + logged * LOG_SECONDS;
        #[expect(clippy::cast_precision_loss, reason = "a few shards")]
        let shard_bytes = REDIS_BASE_BYTES + state / REDIS_FILL / shards as f64;

        Self {
            nodes,
            node_load,
            node_sockets,
            apis,
            api_load,
            shards,
            redis_load,
            shard_memory_mib: whole(shard_bytes / MIB),
            mongodb_load: cores(joins * costs.participant_mongodb_micros),
            relays_per_second: relays,
        }
    }
}

/// Returns microseconds a second as cores.
fn cores(micros: f64) -> f64 {
    micros / 1e6
}

/// Returns how many processes of this many usable cores carry a load; at least one.
fn pods(load: f64, usable: f64) -> u64 {
    whole(load / usable).max(1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, far below 2^53")]
fn whole(value: f64) -> u64 {
    value.ceil() as u64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Fixed, so that a new measurement changes no expectation.
    pub(in crate::size) const COSTS: Costs = Costs {
        relay_nodes_micros: 10.0,
        relay_redis_micros: 20.0,
        join_nodes_micros: 1_000.0,
        join_redis_micros: 500.0,
        participant_api_micros: 1_000.0,
        participant_mongodb_micros: 2_000.0,
    };
    pub(in crate::size) const LOAD: Load = Load {
        sockets: 50_000,
        calls_per_second: 100.0,
        room: 4,
        candidates: 8,
        broadcasts_per_second: 0.0,
        node_cores: 2.0,
        node_memory_mib: 1024,
        utilization: 0.7,
    };

    #[test]
    fn a_load_is_the_sum_of_its_joins_and_relays() {
        let plan = Plan::new(&LOAD, &COSTS);
        // 400 joins, and 1,200 directions with an SDP and eight candidates each.
        assert!((plan.relays_per_second - 10_800.0).abs() < 1e-6);
        assert!((plan.redis_load - (0.2 + 0.216)).abs() < 1e-9, "{plan:?}");
        assert!((plan.node_load - (0.4 + 0.108 + 0.08)).abs() < 1e-9, "{plan:?}");
        assert!((plan.api_load - 0.4).abs() < 1e-9 && (plan.mongodb_load - 0.8).abs() < 1e-9, "{plan:?}");
        // A node of 1 GiB has memory for 20,480 sockets, and one of four may be lost.
        assert_eq!((plan.node_sockets, plan.nodes, plan.apis, plan.shards), (20_480, 4, 2, 1));
    }

    #[test]
    fn the_smallest_load_still_has_two_pods_of_each_kind() {
        let plan = Plan::new(&Load { sockets: 1, calls_per_second: 0.0, ..LOAD }, &COSTS);
        assert_eq!((plan.nodes, plan.apis, plan.shards), (2, 2, 1));
    }

    #[test]
    fn more_of_anything_never_needs_less() {
        let plan = |load: Load| Plan::new(&load, &COSTS);
        let less = plan(LOAD);
        let more = [
            Load { sockets: 500_000, ..LOAD },
            Load { calls_per_second: 1_000.0, ..LOAD },
            Load { room: 8, ..LOAD },
            Load { candidates: 30, ..LOAD },
            Load { broadcasts_per_second: 50_000.0, ..LOAD },
            Load { utilization: 0.3, ..LOAD },
        ];
        for load in more {
            let more = plan(load);
            assert!(more.nodes >= less.nodes && more.apis >= less.apis && more.shards >= less.shards, "{load:?}");
            let memory = |plan: &Plan| plan.shard_memory_mib * plan.shards;
            assert!(memory(&more) + more.shards * 64 >= memory(&less), "{load:?}");
        }
    }
}
