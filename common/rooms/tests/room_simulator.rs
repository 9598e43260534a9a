//! The room scripts under kills, pauses, false sweeps, gaps, cut connections and half-open sockets.
//! No acknowledged event is lost, duplicated or reordered, and no ghost stays. `SIM_SEEDS` and
//! `SIM_STEPS` make the test longer.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
#![allow(clippy::print_stdout, reason = "shows the seed that finds a violation")]

mod simulator;

use devcluster::redis::RedisServer;
use simulator::{Patch, Rules, Tally, run};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn no_event_is_lost_duplicated_or_reordered_and_no_ghost_stays() {
    let server = RedisServer::start().await.unwrap();
    let (first, seeds) = (setting("SIM_FIRST", 0), setting("SIM_SEEDS", 100));
    let steps = usize::try_from(setting("SIM_STEPS", 1_500)).unwrap();
    let mut total = Tally::default();
    for seed in first..first + seeds {
        let (violations, tally) = run(server.port(), seed, steps, Rules::ALL, &[]);
        assert!(violations.is_empty(), "seed {seed}, {steps} steps:\n{}", violations.join("\n"));
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
const NODE_RULES: [(&str, Rules); 7] = [
    ("no event is delivered twice", Rules { seen: false, ..Rules::ALL }),
    ("events that overtake the reply of a session's script are buffered", Rules { buffer: false, ..Rules::ALL }),
    ("after a gap the log is read", Rules { catch_up: false, ..Rules::ALL }),
    ("a log that was trimmed while it was read is not used", Rules { whole: false, ..Rules::ALL }),
    ("seats that Redis lost are put back", Rules { reseat: false, ..Rules::ALL }),
    ("after a gap the seat is checked", Rules { seat: false, ..Rules::ALL }),
    ("a session whose script was sent before a gap catches up", Rules { gap_during_script: false, ..Rules::ALL }),
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
            let (violations, _) = run(server.port(), seed, 1_500, rules, &patches);
            violations.first().map(|violation| (seed, violation.clone()))
        });
        match found {
            Some((seed, violation)) => println!("without \"{rule}\", seed {seed}: {violation}"),
            None => not_found.push(rule),
        }
    }
    assert!(not_found.is_empty(), "no run failed without: {not_found:?}");
}
