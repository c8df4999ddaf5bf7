//! What holds for all source files and no compiler checks: the layers, the opening words, the sizes, and that nothing is left for later.
//!
//! Each test names every file and line that breaks its rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, by layer. A module may use itself and those of the layers before its own: nothing later and nothing beside it.
const LAYERS: [&[&str]; 4] = [
    &["api", "inventory"],
    &["alert", "gate", "migration", "plan", "quarantine", "silence"],
    &["clock", "kubernetes", "openstack", "tail", "telemetry"],
    &["ctl", "operator", "sentinel", "simulator"],
];

/// What the modules beside it may use too: they date what they see, and time is read in one place.
const BESIDE: &str = "clock";

/// What the layers would allow and must not be: the program on the suspect host knows nothing of clouds and decisions on them.
const NEVER: [(&str, &[&str]); 1] = [("sentinel", &["gate", "migration", "openstack", "plan", "quarantine"])];

const LONGEST: usize = 500;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module of the crate that the file belongs to; nothing for the crate's root and the programs.
    fn module(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!["lib", "bin", "tidy"].contains(&name)).then_some(name)
    }

    /// The lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The number of lines before the tests, which stand last.
    fn length(&self) -> usize {
        self.text.rsplit_once("\n#[cfg(test)]\n").map_or(&self.text[..], |(before, _)| before).lines().count()
    }

    /// The files that this one declares to be tests.
    fn test_files(&self) -> Vec<String> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let marked = self.text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().find(|line| !line.starts_with("#[")));
        let declared = marked.filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod "));
        declared.map(|(_, name)| format!("{folder}/{name}.rs")).collect()
    }
}

/// The text files of this repository below these folders (or these files), but not recorded data.
fn files(roots: &[&str]) -> Vec<Source> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<PathBuf> = roots.iter().map(|root| repository.join(root)).collect();
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        let name = path.strip_prefix(repository).unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["fixtures", "recorded", "__pycache__"].iter().any(|data| name.ends_with(data)) {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(Source { path: name, text });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn rust() -> Vec<Source> {
    files(&["src", "tests"]).into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Why one module may not use the other, or nothing if it may.
fn objection(user: &str, used: &str) -> Option<String> {
    if NEVER.iter().any(|(module, never)| *module == user && never.contains(&used)) {
        return Some(format!("{user} never uses {used}"));
    }
    match (layer(user), layer(used)) {
        _ if user == used => None,
        (None, _) => Some(format!("{user} is in no layer: add it to LAYERS in src/tidy.rs")),
        (_, None) => Some(format!("crate::{used} is no module in LAYERS of src/tidy.rs: name one, in a line of its own")),
        (Some(own), Some(other)) if other < own || (other == own && used == BESIDE) => None,
        (Some(own), Some(other)) => Some(format!("{user} (layer {own}) uses {used} (layer {other})")),
    }
}

/// What follows each `crate::` of a line, up to the end of the name.
fn used_modules(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| rest.split(|next: char| !next.is_ascii_alphanumeric() && next != '_').next().unwrap_or_default())
}

#[test]
fn no_module_reaches_up_or_sideways() {
    let mut problems = Vec::new();
    for source in rust() {
        let Some(user) = source.module() else { continue };
        for (number, line) in source.code() {
            let objections = used_modules(line).filter_map(|used| objection(user, used));
            problems.extend(objections.map(|why| format!("{}:{number}: {why}", source.path)));
        }
    }
    assert_none(&problems);
}

#[test]
fn the_layers_allow_what_is_before_and_nothing_else() {
    assert_eq!(objection("operator", "gate"), None);
    assert_eq!(objection("tail", "tail"), None);
    assert_eq!(objection("openstack", "clock"), None);
    let objections = [
        ("gate", "quarantine"),
        ("inventory", "api"),
        ("alert", "clock"),
        ("sentinel", "operator"),
        ("sentinel", "openstack"),
        ("stars", "api"),
        ("operator", ""),
    ];
    for (user, used) in objections {
        assert!(objection(user, used).is_some(), "{user} may use {used}");
    }
    assert_eq!(used_modules("use crate::api::run; crate::clock::Clock").collect::<Vec<_>>(), ["api", "clock"]);
}

#[test]
fn every_module_of_the_crate_is_in_one_layer() {
    let declared: BTreeSet<String> =
        files(&["src/lib.rs"])[0].code().filter_map(|(_, line)| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned())).collect();
    let layered: BTreeSet<String> = LAYERS.iter().flat_map(|modules| modules.iter().map(|&name| name.to_owned())).collect();
    assert_eq!(declared, layered);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = rust().into_iter().filter(|source| !source.text.starts_with("//! "));
    let problems: Vec<String> = silent.map(|source| format!("{}:1: does not open with `//!`", source.path)).collect();
    assert_none(&problems);
}

#[test]
fn no_file_is_too_long() {
    let sources = files(&["src"]);
    let tests: BTreeSet<String> = sources.iter().flat_map(Source::test_files).collect();
    let long = sources.iter().filter(|source| source.path.ends_with(".rs") && !tests.contains(&source.path) && source.length() > LONGEST);
    let problems: Vec<String> = long.map(|source| format!("{}: {} lines without its tests, at most {LONGEST}", source.path, source.length())).collect();
    assert_none(&problems);
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts each, so that this file does not find itself.
    let words = [["to", "do!"], ["TO", "DO"], ["FIX", "ME"], ["for", " now"]].map(|parts| parts.concat());
    let mut problems = Vec::new();
    for source in files(&["src", "tests", "charts", "config", ".ci", "Makefile"]) {
        for (index, line) in source.text.lines().enumerate() {
            problems.extend(words.iter().filter(|word| line.contains(*word)).map(|word| format!("{}:{}: {word}", source.path, index + 1)));
        }
    }
    assert_none(&problems);
}
