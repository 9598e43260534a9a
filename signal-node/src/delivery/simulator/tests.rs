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
        "shared calls",
        "shared entries",
        "delivered",
        "joined",
        "resumed",
        "fresh",
        "ticked",
        "gaps",
        "cut",
        "paused",
        "killed",
        "abandoned",
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
const SCRIPT_RULES: [(&str, Patch); 11] = [
    (
        "a stale seat's operations are refused",
        Patch { from: "if state ~= 'connected' or current ~= gen then return {'STALE'} end", to: "" },
    ),
    (
        "a repeated operation has no second effect",
        Patch {
            from: "if ahead < 1 then return earlier_outcome(peer .. ':' .. gen .. ':', op, dedupe, refused) end",
            to: "",
        },
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
        "no other event has an id of an entry's events",
        Patch {
            from: "redis.pcall('XSETID', log_key, ms .. '-' .. string.format('%.0f', seq + last - number))",
            to: "true",
        },
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

/// Schedules that once failed for want of a rule: its name, the seed, and the steps. They are what
/// [`report`] printed.
const KEPT: &[(&str, u64, &[u64])] = &[
    (
        "a stale seat's operations are refused",
        7,
        &[224, 225, 266, 271, 277, 279, 292, 293, 294, 295, 367, 456, 511, 534, 575, 587, 602],
    ),
    (
        "a repeated operation has no second effect",
        7,
        &[938, 945, 1151, 1153, 1163, 1165, 1205, 1206, 1257, 1283, 1284, 1288, 1290, 1303, 1307, 1316, 1318],
    ),
    ("a repeated join finds its seat", 41, &[189, 1141, 1145, 1199, 1203, 1207, 1212, 1217, 1238, 1242, 1256]),
    ("an unregistered node gives no seats", 75, &[379, 423, 1191, 1194, 1196, 1204, 1217]),
    (
        "a late detach does not change a seat that was taken over",
        13,
        &[750, 766, 769, 821, 834, 839, 841, 890, 909, 911, 914, 1171, 1222, 1243, 1267],
    ),
    ("the seats of a dead node are renamed before they are swept", 1, &[760, 770, 795, 824, 829, 830, 835, 940, 941]),
    ("a seat that ends leaves the order of succession", 3, &[854, 886, 1151, 1153, 1177, 1188]),
    (
        "a seat with a new role gets its new place in the order",
        13,
        &[57, 58, 81, 87, 91, 766, 769, 772, 778, 782, 786, 787, 813, 909, 924, 977, 978, 993, 997, 998, 1002],
    ),
    ("a seat that is put back gets its place in the order", 39, &[561, 938, 954, 962, 965, 1037, 1040, 1041, 1046]),
    (
        "no other event has an id of an entry's events",
        29,
        &[
            464, 466, 467, 479, 480, 854, 856, 914, 928, 958, 959, 965, 966, 1245, 1246, 1247, 1259, 1266, 1268, 1273,
            1277, 1278, 1279, 1283, 1284, 1415, 1433,
        ],
    ),
    ("no event is delivered twice", 1, &[1403]),
    (
        "events that overtake the reply of a session's script are buffered",
        87,
        &[25, 26, 34, 569, 570, 571, 772, 777, 907, 922, 936, 954, 955, 956, 968, 970, 1006, 1011, 1013],
    ),
    (
        "a session whose script was sent before a gap catches up",
        1465,
        &[376, 383, 923, 970, 971, 1079, 1148, 1149, 1382, 1388, 1414, 1471, 1474, 1480, 1481],
    ),
    (
        "no session is live while the subscription is lost",
        23,
        &[
            21, 35, 69, 76, 77, 79, 80, 82, 83, 84, 133, 137, 161, 165, 168, 169, 173, 176, 182, 208, 215, 217, 224,
            231, 233, 250,
        ],
    ),
    (
        "after a gap the log is read",
        3,
        &[
            965, 966, 967, 1021, 1024, 1087, 1093, 1094, 1317, 1318, 1319, 1320, 1321, 1324, 1339, 1340, 1344, 1347,
            1463, 1470,
        ],
    ),
    (
        "a log that was trimmed while it was read is not used",
        5,
        &[
            27, 66, 124, 137, 162, 197, 198, 208, 215, 223, 225, 259, 297, 298, 464, 482, 491, 525, 559, 561, 572, 574,
            575, 576, 586, 587, 591, 644, 645, 659, 660, 683, 736, 830, 834, 918, 1041, 1059, 1063, 1089, 1101, 1117,
            1119, 1120, 1121,
        ],
    ),
    ("seats that Redis lost are put back", 79, &[849, 851, 853, 867, 873, 1376, 1407, 1416, 1417, 1418]),
    (
        "after a gap the seat is checked",
        115,
        &[
            531, 532, 541, 553, 618, 632, 633, 636, 637, 646, 666, 676, 677, 687, 688, 781, 782, 848, 849, 852, 872,
            918, 976, 986, 1116, 1120, 1135, 1137, 1143, 1149, 1153, 1182, 1184,
        ],
    ),
];

/// Maximum number of runs for each missing rule. Most are found in the first few.
const RUNS_MAX: u64 = 800;

#[tokio::test]
async fn schedules_that_failed_without_a_rule_hold_with_it() {
    let server = RedisServer::start().await.unwrap();
    for (rule, seed, steps) in KEPT {
        let schedule = Schedule { steps: steps.to_vec(), ..Schedule::new(server.port(), *seed, 0..0) };
        let violations = schedule.run().violations;
        assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
    }
}

#[tokio::test]
async fn the_audit_finds_each_missing_rule() {
    let server = RedisServer::start().await.unwrap();
    let missing_scripts = SCRIPT_RULES.iter().map(|(rule, patch)| (*rule, Rules::ALL, vec![*patch]));
    let missing_nodes = NODE_RULES.iter().map(|(rule, rules)| (*rule, *rules, Vec::new()));
    let mut not_found = Vec::new();
    for (rule, rules, patches) in missing_scripts.chain(missing_nodes) {
        let kept = KEPT.iter().filter(|(name, ..)| *name == rule).map(|(_, seed, steps)| (*seed, steps.to_vec()));
        // Odd seeds have more faults.
        let random = (0..RUNS_MAX).map(|number| (2 * number + 1, (0..STEPS).collect()));
        let found = kept.chain(random).find_map(|(seed, steps)| {
            let schedule = Schedule { port: server.port(), seed, steps, rules, patches: patches.clone() };
            let violation = schedule.run().violations.first().cloned()?;
            Some((schedule, violation))
        });
        let Some((schedule, violation)) = found else {
            not_found.push(rule);
            continue;
        };
        println!("without \"{rule}\", seed {}, {} steps: {violation}", schedule.seed, schedule.steps.len());
        if setting("SIM_SHRINK", 0) == 1 {
            println!("{}", report(&schedule));
        }
    }
    assert!(not_found.is_empty(), "no run failed without: {not_found:?}");
}
