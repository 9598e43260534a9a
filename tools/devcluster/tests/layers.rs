//! The import rules of docs/ARCHITECTURE.md: who may name which library or module.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::{Path, PathBuf};

/// A rule: files under `within` (and not under `except`) name none of `forbidden`.
struct Rule {
    within: &'static [&'static str],
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    why: &'static str,
}

const SERVICES: &[&str] = &["common", "api/src", "signal-node"];

const RULES: &[Rule] = &[
    Rule {
        within: &["common/core/src", "signal-node/rules/src"],
        except: &[],
        forbidden: &["std::fs", "std::net::TcpStream", "std::thread", "std::time::Instant", "std::time::SystemTime"],
        why: "pure code decides over values: no files, no sockets, no threads, no clock",
    },
    Rule {
        within: &["signal-node/src", "signal-node/rules/src"],
        except: &[],
        forbidden: &["redis", "fred", "mongodb"],
        why: "the stores are reached through rooms and records",
    },
    Rule {
        within: &["common/core/src/domain"],
        except: &[],
        forbidden: &["crate::wire"],
        why: "the domain is the bottom layer",
    },
    // The layers of the API, bottom to top; `api/src/lib.rs` has the table.
    Rule {
        within: &[
            "api/src/clock",
            "api/src/audit",
            "api/src/limits",
            "api/src/app",
            "api/src/recorder",
            "api/src/webhooks",
            "api/src/stale_calls",
            "api/src/erasure",
        ],
        except: &[],
        forbidden: &["crate::http", "crate::openapi", "crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the parts of the API and its background tasks know no HTTP",
    },
    Rule {
        within: &["api/src/http"],
        except: &[],
        forbidden: &["crate::openapi", "crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the HTTP parts of the API know no route",
    },
    Rule {
        within: &["api/src/openapi"],
        except: &[],
        forbidden: &["crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the OpenAPI document is made from a list of routes that is passed in",
    },
    Rule {
        within: &["api/src/routes"],
        except: &[],
        forbidden: &["crate::router", "crate::config", "crate::run", "crate::recorder", "crate::webhooks"],
        why: "handlers know the parts of the API, not its startup or its background tasks",
    },
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether `path` (from the workspace's folder) is `place`, its `.rs` file, or below it.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
}

/// Whether code names `path`: as `path::...` or in a `use path;`, not as the end of a longer name.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + path.len()..];
        let begins = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let imported = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        let ends = rest.starts_with("::") || (imported && rest.starts_with([';', ',', '}', ' ']));
        begins && ends
    })
}

/// What `text`, the file `path`, breaks, one line each.
fn violations(path: &str, text: &str) -> Vec<String> {
    let applies = |rule: &&Rule| {
        rule.within.iter().any(|place| is_in(path, place)) && !rule.except.iter().any(|place| is_in(path, place))
    };
    let rules: Vec<&Rule> = RULES.iter().filter(applies).collect();
    let mut broken = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default();
        for rule in &rules {
            for name in rule.forbidden.iter().filter(|name| names(code, name)) {
                broken.push(format!("{path}:{number} names {name}: {}", rule.why));
            }
        }
    }
    broken
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_source_file_keeps_to_the_import_rules() {
    let root = workspace();
    let mut files = Vec::new();
    for place in SERVICES {
        sources(&root.join(place), &mut files);
    }
    let relative = |file: &PathBuf| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    // A folder that was renamed would otherwise leave its rule without a file to look at.
    for place in RULES.iter().flat_map(|rule| rule.within) {
        assert!(files.iter().any(|file| is_in(&relative(file), place)), "no source file in {place}");
    }
    let broken: Vec<String> =
        files.iter().flat_map(|file| violations(&relative(file), &std::fs::read_to_string(file).unwrap())).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_planted_violation_of_every_rule_is_caught_and_look_alikes_are_not() {
    for rule in RULES {
        for place in rule.within {
            for name in rule.forbidden {
                let file = format!("{place}/planted.rs");
                for text in [format!("use {name}::thing;"), format!("    let x = {name}::thing();")] {
                    assert!(!violations(&file, &text).is_empty(), "{file}: {text}");
                }
            }
        }
        for place in rule.except {
            assert!(rule.forbidden.iter().all(|name| {
                let found = violations(&format!("{place}/fine.rs"), &format!("use {name}::thing;"));
                found.iter().all(|line| !line.contains(rule.why))
            }));
        }
    }
    for fine in ["// tokio::spawn", "let redis = 1;", "use crate::my_redis::x;"] {
        let found = violations("common/core/src/domain/planted.rs", fine);
        assert!(found.is_empty(), "{fine}: {found:?}");
    }
}
