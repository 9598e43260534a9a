//! The graph of a crate's files: which file uses an item of which other file.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Import, declared_modules, imports};

/// A module's path from the crate's root; the root's is empty.
type Module = Vec<String>;

/// The files of one crate.
pub(crate) struct Graph {
    files: BTreeMap<Module, File>,
}

struct File {
    path: String,
    imports: Vec<Import>,
}

impl Graph {
    /// Reads the files of a crate, each with its path from the crate's `src` folder. Tests and the
    /// binary of a crate that has a library are left out.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut texts: BTreeMap<Module, (String, String)> = BTreeMap::new();
        let files: Vec<(String, String)> = files.into_iter().collect();
        let library = files.iter().any(|(path, _)| path == "lib.rs");
        for (path, text) in files {
            if !(library && path == "main.rs") {
                texts.insert(module(&path), (path, text));
            }
        }
        // A module that only `#[cfg(test)]` declares is a test.
        let mut kept = BTreeSet::from([Module::new()]);
        let mut next = vec![Module::new()];
        while let Some(parent) = next.pop() {
            let Some((_, text)) = texts.get(&parent) else { continue };
            for name in declared_modules(text) {
                let child = [parent.as_slice(), &[name]].concat();
                if kept.insert(child.clone()) {
                    next.push(child);
                }
            }
        }
        texts.retain(|module, _| kept.contains(module));
        let files = texts.into_iter().map(|(module, (path, text))| (module, File { path, imports: imports(&text) }));
        Self { files: files.collect() }
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The shortest circle of files, with the first file again at the end.
    pub(crate) fn circle(&self) -> Option<Vec<String>> {
        let edges = self.edges();
        let circles = edges.keys().filter_map(|start| shortest_way_back(&edges, start));
        circles.min_by_key(Vec::len).map(|circle| circle.iter().map(|module| self.files[module].path.clone()).collect())
    }

    /// The files of which each file uses an item. A re-export is no use: it is resolved where its
    /// name is used.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let used = |module: &Module, file: &File| {
            let uses = file.imports.iter().filter(|import| !import.exported);
            uses.filter_map(|import| self.resolve(module, &import.path, 0)).filter(|other| other != module).collect()
        };
        self.files.iter().map(|(module, file)| (module.clone(), used(module, file))).collect()
    }

    /// The file that defines what `path` names in `module`. `None` outside of this crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Module> {
        // A chain of re-exports that long is one that returns to itself.
        if depth > 8 {
            return None;
        }
        let mut current = module.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                current.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    current.pop()?;
                    rest = &rest[1..];
                }
            }
            first if !self.files.contains_key(&[module, &[first.to_owned()]].concat()) => return None,
            _ => {}
        }
        while let Some((first, after)) = rest.split_first() {
            let child = [current.as_slice(), std::slice::from_ref(first)].concat();
            if self.files.contains_key(&child) {
                current = child;
                rest = after;
                continue;
            }
            return self.reexported(&current, first, after, depth).or(Some(current));
        }
        Some(current)
    }

    /// The file that defines a name which `module` re-exports.
    fn reexported(&self, module: &[String], name: &str, after: &[String], depth: usize) -> Option<Module> {
        let exports = self.files.get(module)?.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        let mut paths = exports.map(|import| [import.path.as_slice(), after].concat());
        paths.find_map(|path| self.resolve(module, &path, depth + 1))
    }
}

fn shortest_way_back(edges: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in edges.get(way.last()?).into_iter().flatten() {
                if next == start {
                    return Some([way.as_slice(), std::slice::from_ref(start)].concat());
                }
                if seen.insert(next.clone()) {
                    longer.push([way.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`; `lib.rs` and `main.rs` the root.
pub(crate) fn module(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { Module::new() } else { path.split('/').map(str::to_owned).collect() }
}
