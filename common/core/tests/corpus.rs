//! Runs the fuzzer's properties on its corpus and on mutations of it.
//!
//! `make fuzz` searches for minutes. This test runs with every `cargo test`, takes seconds, and
//! uses a fixed seed, so that a failure can be reproduced.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "../../../tools/fuzz/src/properties.rs"]
#[allow(unreachable_pub, reason = "public in the crate of the fuzz targets")]
mod properties;
#[path = "../../../signal-node/src/delivery/simulator/rng.rs"]
#[allow(dead_code, reason = "the simulator uses more of it")]
mod rng;

use std::path::Path;

use rng::Rng;

/// Mutations per corpus file.
const MUTATIONS: usize = 20_000;

/// Tokens of the wire formats, for mutations.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "null",
    "-1",
    "9e999",
    "18446744073709551616",
    "/",
    "-",
    " ",
    "\n",
    "\u{1e}",
    "é",
    "\u{1F600}",
    "_placeholder",
    "!drop",
    "*",
    ".",
    "b",
    "2probe",
];

fn check_all(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 9, "the corpus of {target} has at least 9 files");
    let mut rng = Rng::new(1);
    for input in &corpus {
        property(input);
        for _ in 0..MUTATIONS {
            let mut mutated = input.clone();
            for _ in 0..=rng.below(3) {
                mutate(&mut mutated, &corpus, &mut rng);
            }
            property(&mutated);
        }
    }
}

/// Applies one mutation: replaces a byte, inserts a token, cuts, replaces or repeats a part, or
/// appends a part of another input.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    let end = at + rng.below(input.len() - at + 1);
    match rng.below(6) {
        0 if at < input.len() => input[at] = u8::try_from(rng.below(256)).unwrap(),
        1 | 0 => drop(input.splice(at..at, rng.pick(TOKENS).unwrap().bytes())),
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..end, rng.pick(TOKENS).unwrap().bytes())),
        4 => {
            let piece = input[at..end].to_vec();
            drop(input.splice(end..end, piece));
        }
        _ => {
            let other = rng.pick(corpus).unwrap();
            let from = rng.below(other.len() + 1);
            drop(input.splice(at.., other[from..].iter().copied()));
        }
    }
}

#[test]
fn any_engine_io_packet_parses_back_or_is_refused() {
    check_all("engine_io", properties::engine_io);
}

#[test]
fn any_socket_io_packet_parses_back_or_is_refused() {
    check_all("socket_io", properties::socket_io);
}

#[test]
fn any_client_event_is_within_the_limits_or_refused() {
    check_all("client_event", properties::client_event);
}

#[test]
fn any_envelope_or_offset_is_parsed_or_ignored() {
    check_all("envelope", properties::envelope);
}
