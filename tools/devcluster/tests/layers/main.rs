//! The import rules of docs/ARCHITECTURE.md that Cargo does not already hold: modules within a
//! crate, crates that must not depend on a library, and circles of files.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::path::{Path, PathBuf};

use circles::Graph;
use imports::{Import, imports};

mod circles;
mod imports;

/// A rule for source files: files in `within` name none of `forbidden`.
struct Rule {
    within: &'static [&'static str],
    forbidden: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        within: &["common/core/src", "signal-node/rules/src"],
        forbidden: &["std::fs", "std::net::TcpStream", "std::thread", "std::time::Instant", "std::time::SystemTime"],
        why: "pure code decides over values: no files, no sockets, no threads, no clock",
    },
    Rule { within: &["common/core/src/domain"], forbidden: &["crate::wire"], why: "the domain is the lowest layer" },
    // The layers of the API, bottom to top; `api/src/lib.rs` has the table.
    Rule {
        within: &[
            "api/src/clock",
            "api/src/audit",
            "api/src/address_bounds",
            "api/src/limits",
            "api/src/app",
            "api/src/recorder",
            "api/src/webhooks",
            "api/src/stale_calls",
            "api/src/erasure",
        ],
        forbidden: &["crate::http", "crate::openapi", "crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the parts of the API and its background tasks know no HTTP",
    },
    Rule {
        within: &["api/src/http"],
        forbidden: &["crate::openapi", "crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the HTTP parts of the API know no route",
    },
    Rule {
        within: &["api/src/openapi"],
        forbidden: &["crate::routes", "crate::router", "crate::config", "crate::run"],
        why: "the OpenAPI document is made from a list of routes that is passed in",
    },
    Rule {
        within: &["api/src/routes"],
        forbidden: &["crate::router", "crate::config", "crate::run", "crate::recorder", "crate::webhooks"],
        why: "handlers know the parts of the API, not its startup or its background tasks",
    },
];

/// A rule for manifests: these crates have none of `forbidden` among their dependencies. Their
/// tests may use them.
struct Dependencies {
    of: &'static [&'static str],
    forbidden: &'static [&'static str],
    why: &'static str,
}

const DEPENDENCIES: &[Dependencies] = &[
    Dependencies {
        of: &["common/core", "signal-node/rules"],
        forbidden: &["tokio", "redis", "fred", "mongodb", "axum", "hyper", "tracing", "metrics"],
        why: "pure code decides over values: no runtime, no store, no server",
    },
    Dependencies {
        of: &["common/core", "common/auth", "common/calls", "common/rooms", "common/runtime", "api", "signal-node"],
        forbidden: &["mongodb"],
        why: "records alone knows MongoDB",
    },
    Dependencies {
        of: &["common/core", "common/auth", "common/calls", "common/records", "common/runtime", "api", "signal-node"],
        forbidden: &["redis", "fred"],
        why: "rooms alone sends commands to Redis",
    },
    Dependencies {
        of: &["signal-node/socketio"],
        forbidden: &[
            "redis",
            "mongodb",
            "axum",
            "switchboard-rooms",
            "switchboard-records",
            "switchboard-rules",
            "switchboard-auth",
            "switchboard-runtime",
        ],
        why: "the Socket.IO server is for any application",
    },
    Dependencies { of: &["api"], forbidden: &["switchboard-signal-node"], why: "the services share common/ alone" },
    Dependencies { of: &["signal-node"], forbidden: &["switchboard-api"], why: "the services share common/ alone" },
];

/// Source folders of crates without a circle of files.
const WITHOUT_CIRCLES: &[&str] = &[
    "api/src",
    "common/auth/src",
    "common/calls/src",
    "common/jwks/src",
    "common/runtime/src",
    "signal-node/rules/src",
    "signal-node/socketio/src",
    "tools/devcluster/src",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether `path` (from the workspace's folder) is `place`, its `.rs` file, or below it.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
}

/// Whether `path` names `forbidden` or something in it.
fn names(path: &[String], forbidden: &str) -> bool {
    let forbidden: Vec<&str> = forbidden.split("::").collect();
    path.len() >= forbidden.len() && path.iter().zip(&forbidden).all(|(segment, name)| segment == name)
}

/// The path of an import of the file `file` with `crate` in place of `self` and `super`.
fn absolute(file: &str, path: Vec<String>) -> Vec<String> {
    let relative = path.iter().take_while(|segment| ["self", "super"].contains(&segment.as_str())).count();
    if relative == 0 {
        return path;
    }
    let mut module = circles::module(file.split_once("/src/").map_or(file, |(_, file)| file));
    for segment in &path[..relative] {
        if segment == "super" {
            module.pop();
        }
    }
    ["crate".to_owned()].into_iter().chain(module).chain(path.into_iter().skip(relative)).collect()
}

/// The imports of `text`, the file `path`, that break a rule, one line each.
fn violations(path: &str, text: &str) -> Vec<String> {
    let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.within.iter().any(|place| is_in(path, place))).collect();
    let mut broken = Vec::new();
    for import in imports(text) {
        let import = Import { path: absolute(path, import.path), ..import };
        for rule in &rules {
            for name in rule.forbidden.iter().filter(|name| names(&import.path, name)) {
                broken.push(format!("{path}:{} names {name}: {}", import.line, rule.why));
            }
        }
    }
    broken
}

/// The names in `[dependencies]`, and in the same table of a target.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table == "dependencies" || table.ends_with(".dependencies");
            if let Some((_, name)) = table.split_once("dependencies.").filter(|(table, _)| !table.ends_with('-')) {
                names.push(name.to_owned());
            }
        } else if inside && !line.trim_start().starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.extend(Some(name.to_owned()).filter(|name| !name.is_empty()));
        }
    }
    names
}

fn undue_dependencies(of: &str, manifest: &str) -> Vec<String> {
    let names = dependencies(manifest);
    let rules = DEPENDENCIES.iter().filter(|rule| rule.of.contains(&of));
    let broken = rules.flat_map(|rule| {
        let undue = rule.forbidden.iter().filter(|forbidden| names.iter().any(|name| name == *forbidden));
        undue.map(|name| format!("{of} depends on {name}: {}", rule.why))
    });
    broken.collect()
}

/// Every source file below `dir`, with its path from there.
fn sources(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found
}

#[test]
fn no_source_file_breaks_an_import_rule() {
    let mut broken = Vec::new();
    for folder in ["common", "signal-node", "api"] {
        let files = sources(&workspace().join(folder));
        let files: Vec<_> = files.into_iter().map(|(path, text)| (format!("{folder}/{path}"), text)).collect();
        // A renamed folder would leave its rule without files.
        for place in RULES.iter().flat_map(|rule| rule.within).filter(|place| place.starts_with(folder)) {
            assert!(files.iter().any(|(path, _)| is_in(path, place)), "no source file in {place}");
        }
        broken.extend(files.iter().flat_map(|(path, text)| violations(path, text)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_crate_has_an_undue_dependency() {
    let mut broken = Vec::new();
    let mut crates: Vec<&str> = DEPENDENCIES.iter().flat_map(|rule| rule.of).copied().collect();
    crates.sort_unstable();
    crates.dedup();
    for of in crates {
        let manifest = std::fs::read_to_string(workspace().join(of).join("Cargo.toml")).unwrap();
        assert!(!dependencies(&manifest).is_empty(), "{of}");
        broken.extend(undue_dependencies(of, &manifest));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in WITHOUT_CIRCLES {
        let graph = Graph::new(sources(&workspace().join(folder)));
        assert!(graph.len() > 2, "{folder} has {} files", graph.len());
        let circle = graph.circle().unwrap_or_default();
        assert!(circle.is_empty(), "{folder}: {}", circle.join(" -> "));
    }
}

#[test]
fn a_planted_violation_of_every_rule_is_found() {
    for rule in RULES {
        for place in rule.within {
            for name in rule.forbidden {
                let file = format!("{place}/planted.rs");
                let (module, item) = name.rsplit_once("::").unwrap();
                for text in [
                    format!("use {name}::thing;"),
                    format!("use {name};"),
                    format!("use {name} as other;"),
                    format!("pub(crate) use {name}::*;"),
                    format!("fn f() {{ let x = {name}::thing(); }}"),
                    format!("use {module}::{{other, {item}}};"),
                    format!("use {module}::{{\n    other::{{a, b}},\n    {item}::{{self, c}},\n}};"),
                    format!("use {{other::x, {module}::{{{item}::{{c, d}}}}}};"),
                ] {
                    let found = violations(&file, &text);
                    assert!(!found.is_empty(), "{file}: {text}");
                }
            }
        }
    }
    let lines = "use crate::{\n    other,\n    wire::{\n        a,\n        b,\n    },\n};";
    let found = violations("common/core/src/domain/planted.rs", lines);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("common/core/src/domain/planted.rs:4 names crate::wire"), "{found:?}");
    for (file, text) in [
        ("common/core/src/domain/mod.rs", "use super::{wire::x, other};"),
        ("common/core/src/domain/call/mod.rs", "use super::super::wire;"),
        ("common/core/src/domain.rs", "mod inner {\n    use super::super::wire::x;\n}"),
    ] {
        assert_eq!(violations(file, text).len(), 1, "{file}: {text}");
    }
    for rule in DEPENDENCIES {
        for of in rule.of {
            for name in rule.forbidden {
                for text in [
                    format!("[dependencies]\nbytes.workspace = true\n{name}.workspace = true\n"),
                    format!("[dependencies]\n{name} = {{ version = \"1\" }}\n"),
                    format!("[dependencies.{name}]\nversion = \"1\"\n"),
                    format!("[target.'cfg(unix)'.dependencies]\n{name} = \"1\"\n"),
                ] {
                    assert!(!undue_dependencies(of, &text).is_empty(), "{of}: {text}");
                }
                let text = format!("[dependencies]\nbytes = \"1\"\n[dev-dependencies]\n{name} = \"1\"\n");
                assert_eq!(undue_dependencies(of, &text), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn names_that_only_look_like_a_violation_are_not_found() {
    for text in [
        "// use crate::wire::x;",
        "/* crate::wire /* nested */ crate::wire::x */",
        r##"let text = "crate::wire::x"; let raw = r#"use crate::wire::"x";"#; let c = '"'; "##,
        "use crate::wires::x;",
        "use crate::{other::wire, hardwire};",
        "let wire = 1;",
        "#[cfg(test)]\nmod tests {\n    use crate::wire::x;\n    fn f() { if true { } }\n}",
        "fn f<'a>(x: &'a str) -> char { '\\'' }",
    ] {
        let found = violations("common/core/src/domain/planted.rs", text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let after = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::wire::x;";
    assert_eq!(violations("common/core/src/domain/planted.rs", after).len(), 1);
    assert!(violations("common/core/src/wire/fine.rs", "use crate::wire::x;").is_empty());
}

/// The circle among files with these texts.
fn circle(files: &[(&str, &str)]) -> Option<Vec<String>> {
    Graph::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))).circle()
}

#[test]
fn a_planted_circle_is_printed_file_by_file() {
    let lib = ("lib.rs", "mod a; mod b; mod c; pub use a::A;");
    let found = circle(&[
        lib,
        ("a.rs", "use crate::{b::{self, B}, other};"),
        ("b.rs", "fn f() { super::c::g(); }"),
        ("c.rs", "use super::A;"),
    ]);
    assert_eq!(found.unwrap(), ["a.rs", "b.rs", "c.rs", "a.rs"]);
    let parent =
        circle(&[("lib.rs", "mod a;"), ("a/mod.rs", "mod b;\nuse b::B;\npub struct A;"), ("a/b.rs", "use super::A;")]);
    assert_eq!(parent.unwrap(), ["a/mod.rs", "a/b.rs", "a/mod.rs"]);
}

#[test]
fn tests_binaries_and_re_exports_make_no_circle() {
    assert_eq!(
        circle(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("main.rs", "use crate::a;"),
            ("a.rs", "use std::collections::BTreeMap;\n#[cfg(test)]\nmod tests {\n    use super::super::b::B;\n}"),
            ("b.rs", "use crate::A;\nmod inner {\n    use super::B;\n}\n#[cfg(test)]\nmod tests;"),
            ("b/tests.rs", "use super::*;"),
        ]),
        None
    );
    // The facade passes on what one child defines and another uses.
    assert_eq!(
        circle(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; pub(crate) use b::{B, Other as Another};"),
            ("a/b.rs", "pub struct B;"),
            ("a/c.rs", "use super::{Another, B};"),
        ]),
        None
    );
}
