//! The room scripts under kills, pauses, false sweeps, gaps, cut connections and half-open sockets: nothing acknowledged is lost, doubled
//! or reordered, and no ghost stays. `SIM_SEEDS` and `SIM_STEPS` make it longer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod simulator;

use devcluster::redis::RedisServer;
use simulator::{Patch, Rules, Tally, run};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered_and_no_ghost_stays() {
    let server = RedisServer::start().await.unwrap();
    let (first, seeds) = (setting("SIM_FIRST", 0), setting("SIM_SEEDS", 100));
    let steps = usize::try_from(setting("SIM_STEPS", 1_500)).unwrap();
    let mut total = Tally::default();
    for seed in first..first + seeds {
        let (wrongs, tally) = run(server.port(), seed, steps, Rules::ALL, &[]);
        assert!(wrongs.is_empty(), "seed {seed}, {steps} steps:\n{}", wrongs.join("\n"));
        for (what, count) in tally.0 {
            *total.0.entry(what).or_default() += count;
        }
    }
    // All that a run is there for has happened.
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

/// A rule of the scripts, as it stands in them, and what is there without it.
const SCRIPT_RULES: [(&str, Patch); 7] = [
    (
        "a stale seat's operations are refused",
        Patch { from: "if state ~= 'connected' or current ~= gen then return {'STALE'} end", to: "" },
    ),
    (
        "an operation that comes again is not done again",
        Patch { from: "if ahead < 1 then return outcome(peer .. ':' .. gen .. ':' .. op, dedupe) end", to: "" },
    ),
    ("a join that comes again finds its seat", Patch { from: "if found[6] then", to: "if false then" }),
    (
        "a node that is not registered seats nobody",
        Patch { from: "if redis.call('HEXISTS', KEYS[5], node) == 0 then return {'FENCED'} end", to: "" },
    ),
    (
        "a late detach does not touch a seat that was taken over",
        Patch {
            from: "if not seat or seat.gen ~= gen or seat.node == '-' then return {'STALE'} end",
            to: "if not seat or seat.node == '-' then return {'STALE'} end",
        },
    ),
    (
        "a dead node's seats are set aside before they are swept",
        Patch { from: "redis.call('RENAME', KEYS[2], KEYS[3])", to: "" },
    ),
    (
        "an event goes to the log before it goes out",
        Patch { from: "if state == 'connected' then tell_one(node, handle, id, event) end", to: "" },
    ),
];

/// The rules of a node, each with all but it.
const NODE_RULES: [(&str, Rules); 7] = [
    ("nothing is delivered twice", Rules { seen: false, ..Rules::ALL }),
    ("what overtakes a session's script is kept for it", Rules { buffer: false, ..Rules::ALL }),
    ("a gap is made up for from the log", Rules { catch_up: false, ..Rules::ALL }),
    ("what was trimmed while it was read is not used", Rules { whole: false, ..Rules::ALL }),
    ("seats that Redis lost are taken again", Rules { reseat: false, ..Rules::ALL }),
    ("after a gap a session makes sure of its seat", Rules { seat: false, ..Rules::ALL }),
    ("a session whose script was sent before a gap catches up", Rules { epochs: false, ..Rules::ALL }),
];

/// Runs tried before a missing rule counts as not noticed; most are noticed in the first few.
const TRIES: u64 = 800;

#[tokio::test]
async fn without_any_one_rule_some_run_goes_wrong() {
    let server = RedisServer::start().await.unwrap();
    let missing_scripts = SCRIPT_RULES.iter().map(|(rule, patch)| (*rule, Rules::ALL, vec![*patch]));
    let missing_nodes = NODE_RULES.iter().map(|(rule, rules)| (*rule, *rules, Vec::new()));
    let mut unnoticed = Vec::new();
    for (rule, rules, patches) in missing_scripts.chain(missing_nodes) {
        let noticed = (0..TRIES).find_map(|number| {
            let seed = 2 * number + 1; // in foul weather
            let (wrongs, _) = run(server.port(), seed, 1_500, rules, &patches);
            wrongs.first().map(|wrong| (seed, wrong.clone()))
        });
        match noticed {
            Some((seed, wrong)) => println!("without \"{rule}\", seed {seed}: {wrong}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "nothing went wrong without: {unnoticed:?}");
}
