//! Every metric of the services is in their catalogues, so that it exists from the first scrape,
//! and in the operator's manual.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A crate's catalogue and its sources.
const CATALOGUES: [(&str, &str); 9] = [
    ("common/net/src/metric_catalog.rs", "common/net/src"),
    ("common/auth/src/metric_catalog.rs", "common/auth/src"),
    ("common/rooms/src/metric_catalog.rs", "common/rooms/src"),
    ("common/jwks/src/metric_catalog.rs", "common/jwks/src"),
    ("common/records/src/metric_catalog.rs", "common/records/src"),
    ("common/runtime/src/telemetry/declare.rs", "common/runtime/src"),
    ("signal-node/socketio/src/metric_catalog.rs", "signal-node/socketio/src"),
    ("signal-node/src/catalog.rs", "signal-node/src"),
    ("api/src/catalog.rs", "api/src"),
];
/// Code that writes a metric, before its name.
const WRITERS: [&str; 6] = ["counter!(", "gauge!(", "histogram!(", "Counts::new(", "open:", "replaced:"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Metrics that a catalogue lists: its strings that are names of metrics.
fn listed(text: &str) -> BTreeSet<String> {
    let names = text.split('"').skip(1).step_by(2);
    names.filter(|name| name.starts_with("switchboard_") || name.starts_with("process_")).map(Into::into).collect()
}

/// Metrics that code outside of tests writes.
fn written(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let after = WRITERS.iter().flat_map(|name| code.split(name).skip(1));
    after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next().map(Into::into)).collect()
}

#[test]
fn every_metric_is_in_its_services_catalogue_and_every_listed_one_is_written() {
    for (catalog, folder) in CATALOGUES {
        let (catalog, mut files) = (root().join(catalog), Vec::new());
        sources(&root().join(folder), &mut files);
        let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
        let used: BTreeSet<_> =
            files.iter().filter(|file| **file != catalog).flat_map(|file| written(&text(file))).collect();
        assert!(!used.is_empty(), "{folder} writes no metrics");
        assert_eq!(used, listed(&text(&catalog)), "{folder}: written metrics, and listed ones");
    }
}

#[test]
fn the_operators_manual_names_every_metric() {
    let manual = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    for (catalog, _) in CATALOGUES {
        for name in listed(&std::fs::read_to_string(root().join(catalog)).unwrap()) {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }
}
