//! `--report` and `--trace`: which block they show, and what they do not overwrite.

use super::{good, run};
use serde_json::Value;
use std::fs;
use std::path::Path;

const SMALL: &str = "--blocks 3 --txns 100 --accounts 20 --work 1 --readers 0 --threads 2";

fn trace(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Runs what must be refused with this status, and returns what it said.
fn refused(dir: &Path, args: &str) -> String {
    let output = run(dir, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{args}: {said}");
    said
}

#[test]
fn the_slowest_block_is_shown_or_the_one_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| dir.path().join(name);
    good(dir.path(), &format!("{SMALL} --report page.html --trace trace.json"));
    let page = fs::read_to_string(file("page.html")).unwrap();
    let title = trace(&file("trace.json"))["otherData"]["title"].as_str().unwrap().to_owned();
    assert!(title.starts_with("transfers: block ") && title.ends_with(", the slowest of 3"), "{title}");
    assert!(page.starts_with("<!doctype html>") && page.contains(&format!("{{\"title\":\"{title}\"")));
    // Over files of its own, and of a store that has come further.
    good(dir.path(), &format!("{SMALL} --report page.html --trace trace.json --report-block 5"));
    let shown = trace(&file("trace.json"));
    assert_eq!(shown["otherData"]["title"], "transfers: block 5");
    let events = shown["traceEvents"].as_array().unwrap();
    let commits = events.iter().filter(|event| event["cat"] == "commit");
    assert_eq!(commits.count(), 100);
    assert!(fs::read_to_string(file("page.html")).unwrap().contains("{\"title\":\"transfers: block 5\""));
}

#[test]
fn what_is_not_a_picture_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), "Dear reader,\n").unwrap();
    for args in ["--report letter", "--trace letter", "--report .", "--report nowhere/page.html"] {
        let said = refused(dir.path(), args);
        assert!(said.contains("name a"), "{said}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "and nothing was begun");
    assert_eq!(fs::read(dir.path().join("letter")).unwrap(), b"Dear reader,\n");
    refused(dir.path(), &format!("{SMALL} --db store --report ./store"));
    good(dir.path(), &format!("{SMALL} --db store"));
    refused(dir.path(), &format!("{SMALL} --db store --trace store"));
    good(dir.path(), &format!("{SMALL} --db store"));
}

#[test]
fn what_cannot_be_shown_is_refused_before_anything_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        "--report-block 1",
        "--report page --trace ./page",
        "--report page --report-block 0",
        "--report page --report-block 4 --blocks 3",
        "--report page --blocks 0",
    ] {
        refused(dir.path(), &format!("--txns 10 --work 0 --db store {args}"));
        assert!(!dir.path().join("page").exists(), "{args}");
    }
    let from = good(dir.path(), "--txns 10 --work 0 --db store --blocks 1 --json");
    assert_eq!(serde_json::from_str::<Value>(&from).unwrap()["from_height"], 0);
}

/// A disk that fills up: the blocks are durable all the same, and their table is shown.
#[test]
#[cfg(target_os = "linux")]
fn a_picture_that_cannot_be_written_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &format!("{SMALL} --db store --report /dev/full"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/dev/full cannot be written"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("height 3 with 300 transactions is durable in store"));
}
