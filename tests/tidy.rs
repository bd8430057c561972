//! Holds what no compiler holds: the order of the modules, the size of files, words that must not be committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the ground up: each may use only what stands before it. ARCHITECTURE.md says why.
const ORDER: &[&str] = &[
    "dense",
    "model",
    "limits",
    // Test builds only.
    "next_version",
    "config",
    "wire",
    "process",
    "metrics",
    "shutdown",
    "telemetry",
    "listen",
    "client",
    // What the seams' Redis implementations share; the seams that use it follow.
    "redis_link",
    "channel_layer",
    "store",
    "sessions",
    "control_log",
    "presence",
    "media",
    "throttle",
    "fanout",
    "rooms",
    "conn",
    "http",
    "admin",
    "app",
    "commands",
    "cli",
];

/// The seams' implementations, which only the composition root and tests may name.
const IMPLEMENTATIONS: &[&str] = &[
    "channel_layer::local",
    "channel_layer::nats",
    "store::scylla",
    "store::sqlite",
    "sessions::sqlite",
    "sessions::redis",
    "control_log::local",
    "control_log::redis",
    "presence::local",
    "presence::redis",
    "throttle::redis",
    "media::local",
];

/// Lines in one source file.
const LINES_MAX: usize = 450;

/// Folders of build results and of what was fetched.
const NOT_OURS: &[&str] = &[
    ".git",
    ".services",
    "artifacts",
    "corpus",
    "data",
    "dist",
    "node_modules",
    "target",
    "test-results",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !NOT_OURS.iter().any(|skip| name == *skip) {
                walk(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Every file of the project below this folder, with its path from the root and its text; binary files are left out.
fn files(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root().join(below), &mut found);
    found.sort();
    let text = |path: PathBuf| {
        let name = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
        Some((name, fs::read_to_string(path).ok()?))
    };
    found.into_iter().filter_map(text).collect()
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
}

/// Whether a file of `src` holds tests only.
fn is_test(name: &str) -> bool {
    let stem = Path::new(name)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    ["tests", "properties", "conformance"].contains(&stem) || name.contains("/tests/") || name.contains("/conformance/")
}

/// A file's code without comments and without its test module, which by custom stands at the end.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    before_tests
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths below `crate::` that a text names, groups in braces taken apart one level deep.
fn used(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        paths.insert(std::mem::take(&mut item));
                        continue;
                    }
                    _ => {}
                }
                if !letter.is_whitespace() {
                    item.push(letter);
                }
            }
            paths.insert(item);
        } else {
            let end = after.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'));
            paths.insert(after[..end.unwrap_or(after.len())].to_owned());
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// The top-level module that a file of `src` belongs to.
fn module(name: &str) -> &str {
    let inner = name.strip_prefix("src/").unwrap_or(name);
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

fn fail_with(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut faults = Vec::new();
    for (name, text) in files("src") {
        let module = module(&name);
        if ["lib", "main", "bin"].contains(&module) || is_test(&name) {
            continue;
        }
        let Some(own) = place(module) else {
            faults.push(format!(
                "{name}: give the module `{module}` its place in ORDER in tests/tidy.rs"
            ));
            continue;
        };
        for path in used(&code(&text)) {
            let other = path.split("::").next().unwrap_or_default();
            if place(other).is_some_and(|other| other > own) {
                faults.push(format!(
                    "{name}: `{module}` stands before `{other}` and may not use crate::{path}"
                ));
            }
        }
    }
    fail_with(&faults);
}

#[test]
fn only_the_composition_root_names_implementations() {
    let mut faults = Vec::new();
    for (name, text) in files("src") {
        let module = module(&name);
        // The commands that work on stored data without a server put together what they need.
        if ["app", "commands", "main"].contains(&module) || is_test(&name) {
            continue;
        }
        for path in used(&code(&text)) {
            for implementation in IMPLEMENTATIONS {
                let seam = implementation.split("::").next().unwrap_or_default();
                // Implementations of several seams may share what one of them has, as the SQLite ones share an engine.
                let kin = implementation
                    .rsplit("::")
                    .next()
                    .is_some_and(|kind| name.contains(kind));
                if path.starts_with(implementation) && module != seam && !kin {
                    faults.push(format!(
                        "{name}: names crate::{path}; only app.rs may choose an implementation"
                    ));
                }
            }
        }
    }
    fail_with(&faults);
}

#[test]
fn every_source_file_says_what_it_owns() {
    let silent = files("src")
        .into_iter()
        .filter(|(name, text)| name.ends_with(".rs") && !text.starts_with("//!"));
    fail_with(
        &silent
            .map(|(name, _)| format!("{name}: begins without a `//!` line"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn files_stay_readable_in_a_sitting() {
    let mut faults = Vec::new();
    for (name, text) in files("") {
        // What a program has written is not read by people.
        let generated = name.contains("/generated/") || name.contains(".gen.") || name.ends_with(".d.ts");
        let lines = text.lines().count();
        if has_extension(&name, &["rs", "ts", "tsx"]) && !generated && lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines; split it, {LINES_MAX} is the most"));
        }
    }
    fail_with(&faults);
}

#[test]
fn nothing_unfinished_or_local_is_committed() {
    // Each is put together here, so that this file does not find itself.
    let unfinished = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("FIX", "ME"),
    ];
    let local = [concat!("/ro", "ot/"), concat!("/ho", "me/"), env!("CARGO_MANIFEST_DIR")];
    let mut faults = Vec::new();
    for (name, text) in files("") {
        if name.ends_with(".lock") || name.ends_with(".log") || name.ends_with("package-lock.json") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in unfinished.iter().chain(&local).filter(|word| line.contains(**word)) {
                faults.push(format!("{name}:{}: `{word}` must not be committed", number + 1));
            }
        }
    }
    fail_with(&faults);
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let roots = files("src")
        .into_iter()
        .filter(|(name, _)| ["src/lib.rs", "src/main.rs"].contains(&name.as_str()));
    let missing = roots.filter(|(_, text)| !text.contains("#![forbid(unsafe_code)]"));
    fail_with(
        &missing
            .map(|(name, _)| format!("{name}: lacks #![forbid(unsafe_code)]"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_reader_of_paths_reads_what_code_has() {
    let code =
        code("use crate::{model::{Id, Name}, store};\n// crate::http\nlet x = crate::wire::close::CloseCode::Left;");
    let expected = ["model::{Id,Name}", "store", "wire::close::CloseCode::Left"];
    assert_eq!(used(&code).into_iter().collect::<Vec<_>>(), expected);
}
