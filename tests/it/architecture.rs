//! The structure of the source, as a test: which room may use which, and what every file has to look like.
//!
//! Rooms are the folders of `src` and the single files beside them. All arrows point down the table; there is no circle,
//! because a room may use only rooms that stand before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may use. Each room may use only rooms above it in this list.
const ARROWS: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("kv", &["sync"]),
    ("restore", &["kv", "sync"]),
    ("cachekv", &["kv", "sync"]),
    ("multiversion", &["kv", "sync"]),
    ("executor", &["multiversion", "kv", "sync"]),
    ("remote", &["executor", "multiversion", "kv", "sync"]),
    ("evm", &["remote", "executor", "multiversion", "kv", "sync"]),
    ("report", &["executor", "multiversion", "kv"]),
];

/// The longest file, tests at its end included.
const LINES: usize = 500;
/// The longest function of the library, as many as a screen shows.
const FUNCTION_LINES: usize = 70;

/// Names that only the facade may take from elsewhere.
const FACADE_ONLY: &[&str] = &[
    "parking_lot",
    "arc_swap",
    "boxcar",
    "crossbeam_skiplist",
    "std::sync::atomic",
    "std::sync::Mutex",
    "std::sync::RwLock",
];

struct Source {
    room: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What is generated, and what generates it, has a form of its own.
                if path.file_name().is_none_or(|name| name != "wire") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
                let room = first.trim_end_matches(".rs").to_owned();
                found.push(Source { room, text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    assert!(found.len() > 40, "the sources were not found");
    found
}

/// The code of a file without its comments, its docs and its test module.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The rooms that a file names by `crate::room`, in a list of imports too.
fn used_rooms(code: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let after = code.split("crate::").skip(1);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            None => vec![rest.split(|c| !is_name(c)).next().unwrap_or("").to_owned()],
            Some(list) => {
                let list = list.split("};").next().unwrap_or("");
                let top =
                    list.split(',').map(|item| item.trim().split(|c| !is_name(c)).next().unwrap_or("").to_owned());
                top.collect()
            }
        })
        .collect()
}

#[test]
fn arrows_run_down() {
    let rooms: Vec<_> = ARROWS.iter().map(|(room, _)| *room).collect();
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for (at, (room, uses)) in ARROWS.iter().enumerate() {
        assert!(uses.iter().all(|used| rooms[..at].contains(used)), "{room} may use a room that stands after it");
    }
    for source in sources() {
        let Some(allowed) = allowed.get(source.room.as_str()) else {
            assert!(matches!(source.room.as_str(), "lib" | "bin"), "{} is in no known room", source.path.display());
            continue;
        };
        for used in used_rooms(&code(&source.text)) {
            let inside = used == source.room || !rooms.contains(&used.as_str());
            assert!(inside || allowed.contains(&used.as_str()), "{} uses {used}", source.path.display());
        }
    }
}

#[test]
fn the_program_uses_the_library_by_its_public_names() {
    for source in sources().iter().filter(|source| source.room == "bin") {
        let inside = used_rooms(&code(&source.text));
        let rooms: Vec<_> = ARROWS.iter().map(|(room, _)| *room).collect();
        let own = ["report", "evm"]; // the program has files of these names
        let stray = inside.iter().find(|used| rooms.contains(&used.as_str()) && !own.contains(&used.as_str()));
        assert!(stray.is_none(), "{} reaches into {stray:?}", source.path.display());
    }
}

#[test]
fn locks_and_atomics_come_from_the_facade() {
    for source in sources().iter().filter(|source| !matches!(source.room.as_str(), "sync" | "bin")) {
        let code = code(&source.text);
        for name in FACADE_ONLY {
            assert!(!code.contains(name), "{} takes {name} from elsewhere than the facade", source.path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_holds_one_thing() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.text.starts_with("//!"), "{path} has no head comment");
        assert!(source.text.lines().count() <= LINES, "{path} has more than {LINES} lines");
        for word in ["TODO", "FIXME", "unimplemented!", "todo!"] {
            assert!(!source.text.contains(word), "{path} is unfinished by its own word");
        }
    }
}

#[test]
fn functions_fit_a_screen() {
    for source in sources() {
        let mut begun: Option<(usize, usize, String)> = None;
        for (at, line) in code(&source.text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let text = line.trim_start();
            let is_fn =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "].iter().any(|start| text.starts_with(start));
            if begun.is_none() && is_fn && !text.ends_with(';') && !text.ends_with('}') {
                begun = Some((at, indent, text.to_owned()));
            } else if let Some((from, depth, name)) = &begun
                && indent == *depth
                && (text == "}" || text.ends_with(';'))
            {
                assert!(at - from < FUNCTION_LINES, "{}: {name} has {} lines", source.path.display(), at - from + 1);
                begun = None;
            }
        }
    }
}

#[test]
fn benches_and_models_are_named_after_rooms() {
    let rooms: Vec<_> = ARROWS.iter().map(|(room, _)| *room).collect();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(path.is_dir() || rooms.contains(&name.as_str()), "{} is named after no room", path.display());
    }
}
