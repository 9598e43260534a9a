//! The fuzzer's corpus, and changes of it that repeat: what `make fuzz` looks into for minutes, a moment of it with every test run.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "../../../tools/fuzz/src/properties.rs"]
#[allow(unreachable_pub, reason = "public in the crate of the fuzz targets")]
mod properties;
#[path = "../../rooms/tests/simulator/rng.rs"]
#[allow(dead_code, reason = "made for more than is needed here")]
mod rng;

use std::path::Path;

use rng::Rng;

/// Changed inputs for each file of the corpus.
const CHANGES: usize = 20_000;

/// What the formats are made of.
const WORDS: &[&str] = &[
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

fn try_all(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 9, "the corpus of {target} is there");
    let mut rng = Rng::new(1);
    for input in &corpus {
        property(input);
        for _ in 0..CHANGES {
            let mut changed = input.clone();
            for _ in 0..=rng.below(3) {
                change(&mut changed, &corpus, &mut rng);
            }
            property(&changed);
        }
    }
}

/// One change: a byte, a word of the formats, a cut, a repetition, or a piece of another input.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    let end = at + rng.below(input.len() - at + 1);
    match rng.below(6) {
        0 if at < input.len() => input[at] = u8::try_from(rng.below(256)).unwrap(),
        1 | 0 => drop(input.splice(at..at, rng.pick(WORDS).unwrap().bytes())),
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..end, rng.pick(WORDS).unwrap().bytes())),
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
fn any_engine_io_packet_reads_back_or_is_refused() {
    try_all("engine_io", properties::engine_io);
}

#[test]
fn any_socket_io_packet_reads_back_or_is_refused() {
    try_all("socket_io", properties::socket_io);
}

#[test]
fn any_client_event_is_within_its_limits_or_refused() {
    try_all("client_event", properties::client_event);
}

#[test]
fn any_envelope_and_offset_is_read_or_ignored() {
    try_all("envelope", properties::envelope);
}
