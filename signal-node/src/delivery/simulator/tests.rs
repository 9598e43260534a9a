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

/// Schedules that once failed for want of a rule: its name, the seed, and the steps. They are what
/// [`report`] printed.
const KEPT: &[(&str, u64, &[u64])] = &[
    (
        "a stale seat's operations are refused",
        7,
        &[225, 266, 279, 289, 290, 292, 293, 336, 338, 456, 511, 534, 575, 587, 602],
    ),
    (
        "a repeated operation has no second effect",
        7,
        &[938, 945, 1151, 1153, 1163, 1165, 1257, 1283, 1284, 1290, 1303, 1307, 1316, 1318],
    ),
    ("a repeated join finds its seat", 35, &[738, 1149, 1166, 1167, 1251, 1252, 1282, 1285]),
    ("an unregistered node gives no seats", 189, &[197, 203, 986, 987, 991, 1002, 1005, 1055, 1057, 1071, 1074]),
    (
        "a late detach does not change a seat that was taken over",
        13,
        &[750, 766, 769, 821, 834, 839, 890, 893, 909, 1171, 1222, 1243, 1267],
    ),
    ("the seats of a dead node are renamed before they are swept", 1, &[760, 770, 824, 830, 835, 940, 941]),
    (
        "a seat that ends leaves the order of succession",
        3,
        &[29, 49, 55, 101, 104, 119, 150, 152, 162, 164, 192, 216, 255, 275, 373, 400, 401],
    ),
    (
        "a seat with a new role gets its new place in the order",
        5,
        &[
            799, 820, 821, 834, 835, 918, 925, 929, 1041, 1089, 1102, 1117, 1119, 1313, 1316, 1319, 1344, 1359, 1360,
            1368, 1373, 1388, 1393,
        ],
    ),
    ("a seat that is put back gets its place in the order", 39, &[938, 954, 962, 1037, 1040, 1041, 1046]),
    ("no event is delivered twice", 1, &[1403]),
    (
        "events that overtake the reply of a session's script are buffered",
        37,
        &[491, 492, 500, 536, 544, 577, 581, 1433, 1434, 1440, 1449, 1461, 1462],
    ),
    (
        "a session whose script was sent before a gap catches up",
        45,
        &[486, 531, 543, 765, 767, 811, 841, 842, 1047, 1048, 1089, 1090, 1275],
    ),
    (
        "no session is live while the subscription is lost",
        23,
        &[21, 35, 69, 76, 77, 79, 80, 82, 83, 137, 161, 165, 167, 168, 172, 173, 208, 217, 224, 231, 233, 250],
    ),
    (
        "a gap begins where the first of several began",
        3,
        &[
            1031, 1132, 1133, 1136, 1137, 1140, 1141, 1142, 1143, 1144, 1147, 1149, 1207, 1208, 1224, 1225, 1226, 1232,
            1233, 1234, 1255, 1256, 1264, 1265, 1315, 1316, 1317, 1318, 1323, 1324, 1327, 1328, 1329, 1330, 1331, 1332,
            1337, 1338, 1346, 1347, 1375, 1376,
        ],
    ),
    (
        "events stay buffered when another gap begins during a read",
        133,
        &[
            111, 113, 796, 825, 942, 977, 978, 994, 1008, 1065, 1070, 1073, 1074, 1076, 1080, 1090, 1092, 1093, 1313,
            1316, 1317, 1375, 1426, 1427,
        ],
    ),
    (
        "after a gap the log is read",
        1,
        &[1329, 1347, 1355, 1367, 1368, 1377, 1380, 1427, 1429, 1431, 1432, 1476, 1478, 1483, 1487],
    ),
    (
        "a log that was trimmed while it was read is not used",
        5,
        &[
            17, 27, 66, 67, 124, 156, 157, 159, 160, 761, 763, 769, 833, 834, 835, 912, 916, 918, 924, 927, 998, 999,
            1000, 1003, 1007, 1012, 1019, 1020, 1046, 1047, 1055, 1071, 1075, 1089, 1095, 1096, 1097, 1099, 1103, 1106,
            1107, 1126, 1129, 1132, 1133, 1166, 1178, 1179, 1181, 1184, 1187, 1259, 1261, 1287, 1290, 1291, 1498,
        ],
    ),
    ("seats that Redis lost are put back", 79, &[853, 884, 1358, 1373, 1409, 1413, 1418]),
    (
        "after a gap the seat is checked",
        115,
        &[
            263, 265, 306, 386, 388, 389, 402, 415, 416, 491, 506, 518, 521, 522, 577, 688, 739, 976, 986, 987, 1008,
            1010, 1108, 1116, 1120, 1135, 1137, 1146,
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
        println!("without \"{rule}\", seed {}, {} steps: {violation}", schedule.seed, schedule.steps.len());
        if setting("SIM_SHRINK", 0) == 1 {
            println!("{}", report(&schedule));
        }
    }
    assert!(not_found.is_empty(), "no run failed without: {not_found:?}");
}
