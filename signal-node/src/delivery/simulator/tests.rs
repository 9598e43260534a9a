//! Delivery and the room scripts under kills, pauses, false sweeps, gaps, lost answers, lost data
//! and half-open sockets. No acknowledged event is lost, duplicated or reordered, and no ghost
//! stays. `SIM_FIRST`, `SIM_SEEDS` and `SIM_STEPS` select other or longer runs.

#![allow(clippy::print_stdout, reason = "shows the schedule that finds a violation")]

use std::time::{SystemTime, UNIX_EPOCH};

use devcluster::redis::RedisServer;

use super::store::Patch;
use super::world::{Rules, Tally};
use super::{Outcome, Schedule};
use crate::delivery::mutation::Rule;

/// Steps of a run.
const STEPS: u64 = 1_500;
/// Runs whose seeds are the same each time, and runs with seeds of their own.
const SEEDS: (u64, u64) = (100, 10);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Shows a failed run as the shortest schedule that fails.
fn report(schedule: &Schedule) -> String {
    let (short, Outcome { violations, trace, .. }) = schedule.shrunk();
    let (seed, steps, trace) = (short.seed, &short.steps, trace.join("\n"));
    format!("seed {seed}, {} steps {steps:?}\n{trace}\nviolations:\n{}", steps.len(), violations.join("\n"))
}

#[tokio::test]
async fn no_event_is_lost_duplicated_or_reordered_and_no_ghost_stays() {
    let server = RedisServer::start().await.unwrap();
    let (first, seeds, steps) = (setting("SIM_FIRST", 0), setting("SIM_SEEDS", SEEDS.0), setting("SIM_STEPS", STEPS));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut total = Tally::default();
    for seed in (first..first + seeds).chain(now..now + SEEDS.1) {
        let schedule = Schedule::new(server.port(), seed, 0..steps);
        let Outcome { violations, tally, .. } = schedule.run();
        assert!(violations.is_empty(), "{}", report(&schedule));
        for (what, count) in tally.0 {
            *total.0.entry(what).or_default() += count;
        }
    }
    // Each kind of event that a run must cover has happened.
    for what in [
        "acknowledged",
        "acknowledged again",
        "delivered",
        "joined",
        "resumed",
        "fresh",
        "ticked",
        "gaps",
        "cut",
        "paused",
        "killed",
        "swept",
        "fenced",
        "expired",
        "lost",
        "reseated",
    ] {
        assert!(total.0.contains_key(what), "{what} never happened in {total:?}");
    }
}

/// Rules of the scripts: the text of the rule, and the text without it.
const SCRIPT_RULES: [(&str, Patch); 10] = [
    (
        "a stale seat's operations are refused",
        Patch { from: "if state ~= 'connected' or current ~= gen then return {'STALE'} end", to: "" },
    ),
    (
        "a repeated operation has no second effect",
        Patch { from: "if ahead < 1 then return earlier_outcome(peer .. ':' .. gen .. ':' .. op, dedupe) end", to: "" },
    ),
    ("a repeated join finds its seat", Patch { from: "if own_peer then", to: "if false then" }),
    (
        "an unregistered node gives no seats",
        Patch { from: "if redis.call('HEXISTS', KEYS[6], node) == 0 then return {'FENCED'} end", to: "" },
    ),
    (
        "a late detach does not change a seat that was taken over",
        Patch {
            from: "if not seat or seat.gen ~= gen or seat.node == '-' then return {'STALE'} end",
            to: "if not seat or seat.node == '-' then return {'STALE'} end",
        },
    ),
    (
        "the seats of a dead node are renamed before they are swept",
        Patch { from: "redis.call('RENAME', KEYS[2], KEYS[3])", to: "" },
    ),
    ("a seat that ends leaves the order of succession", Patch { from: "redis.call('ZREM', order, peer)", to: "" }),
    (
        "a seat with a new role gets its new place in the order",
        Patch { from: "set_place(seat)\n  local found", to: "local found" },
    ),
    (
        "a seat that is put back gets its place in the order",
        Patch { from: "put_seat(seat)\nset_place(seat)\nredis.call('HSET'", to: "put_seat(seat)\nredis.call('HSET'" },
    ),
    (
        "an event goes to the log before it goes out",
        Patch { from: "if state == 'connected' then publish_to_session(node, handle, id, event) end", to: "" },
    ),
];

/// Rules of a node: all rules except one.
const NODE_RULES: [(&str, Rules); 10] = [
    ("no event is delivered twice", Rules { without: Some(Rule::Newer), ..Rules::ALL }),
    (
        "events that overtake the reply of a session's script are buffered",
        Rules { without: Some(Rule::Overtaking), ..Rules::ALL },
    ),
    (
        "a session whose script was sent before a gap catches up",
        Rules { without: Some(Rule::GapDuringScript), ..Rules::ALL },
    ),
    (
        "no session is live while the subscription is lost",
        Rules { without: Some(Rule::LostSubscription), ..Rules::ALL },
    ),
    ("a gap begins where the first of several began", Rules { without: Some(Rule::GapBegins), ..Rules::ALL }),
    (
        "events stay buffered when another gap begins during a read",
        Rules { without: Some(Rule::GapWhileReading), ..Rules::ALL },
    ),
    ("after a gap the log is read", Rules { catch_up: false, ..Rules::ALL }),
    ("a log that was trimmed while it was read is not used", Rules { whole: false, ..Rules::ALL }),
    ("seats that Redis lost are put back", Rules { reseat: false, ..Rules::ALL }),
    ("after a gap the seat is checked", Rules { seat: false, ..Rules::ALL }),
];

/// Maximum number of runs for each missing rule. Most are found in the first few.
const RUNS_MAX: u64 = 800;

#[tokio::test]
async fn the_audit_finds_each_missing_rule() {
    let server = RedisServer::start().await.unwrap();
    let missing_scripts = SCRIPT_RULES.iter().map(|(rule, patch)| (*rule, Rules::ALL, vec![*patch]));
    let missing_nodes = NODE_RULES.iter().map(|(rule, rules)| (*rule, *rules, Vec::new()));
    let mut not_found = Vec::new();
    for (rule, rules, patches) in missing_scripts.chain(missing_nodes) {
        let found = (0..RUNS_MAX).find_map(|number| {
            let seed = 2 * number + 1; // odd seeds have more faults
            let schedule = Schedule { rules, patches: patches.clone(), ..Schedule::new(server.port(), seed, 0..STEPS) };
            let violation = schedule.run().violations.first().cloned()?;
            Some((schedule, violation))
        });
        let Some((schedule, violation)) = found else {
            not_found.push(rule);
            continue;
        };
        println!("without \"{rule}\", seed {}: {violation}", schedule.seed);
        if setting("SIM_SHRINK", 0) == 1 {
            println!("{}", report(&schedule));
        }
    }
    assert!(not_found.is_empty(), "no run failed without: {not_found:?}");
}
