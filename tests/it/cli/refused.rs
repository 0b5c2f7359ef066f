//! What cannot be done is said in one line on stderr, with the status that `--help` names, and changes nothing.

use super::{State, good, run, state};
use bytes::Bytes;
use cachekv::kv::{KvStore, Op, RedbStore};
use std::fs;
use std::path::Path;

/// Runs what must fail with `status`, and returns what it said.
fn refused(dir: &Path, args: &str, status: i32) -> String {
    let output = run(dir, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args}: {said}");
    assert!(output.stdout.is_empty(), "{args}");
    assert!(said.starts_with("cachekv: ") && said.ends_with('\n') && said.lines().count() == 1, "{args}: {said:?}");
    assert!(!said.contains("panicked"), "{args}: {said}");
    said
}

#[test]
fn a_command_line_that_makes_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        "--accounts 0",
        "--accounts 99999999999",
        "--txns -1",
        "--txns many",
        "--txns 18446744073709551616",
        "--blocks",
        "--workload",
        "--workload poker",
        "--threads 4096",
        "--readers 100000",
        "--nonsense",
        "surplus",
        "--db",
        "--work 1.5",
    ];
    for args in lines {
        assert!(refused(dir.path(), args, 2).contains("--help"), "{args}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and makes no files");
}

#[test]
fn a_file_that_is_something_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), "Dear reader,\n").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let said = refused(dir.path(), "--db letter", 3);
    assert!(said.contains("letter") && said.contains("--db"), "{said}");
    assert_eq!(fs::read(dir.path().join("letter")).unwrap(), b"Dear reader,\n");
    for args in ["--db folder", "--db nowhere/file", "--db letter/file"] {
        assert!(refused(dir.path(), args, 3).contains("--db"), "{args}");
    }
    assert!(!dir.path().join("nowhere").exists());
    fs::write(dir.path().join("cachekv-data"), "in the way").unwrap();
    assert!(refused(dir.path(), "", 3).contains("cachekv-data"));
}

#[test]
fn a_store_of_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let store = RedbStore::create(&path).unwrap();
    store.commit([(Bytes::from("k"), Op::Put(Bytes::from("v")))].into_iter().collect()).unwrap();
    drop(store);
    let said = refused(dir.path(), "--db theirs", 2);
    assert!(said.contains("not made by `cachekv run`") && said.contains("--db"), "{said}");
    assert_eq!(state(&path), State::from([(Bytes::from("k"), Bytes::from("v"))]));
}

#[test]
fn a_store_that_is_open_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::create(dir.path().join("held")).unwrap();
    let said = refused(dir.path(), "--db held", 3);
    assert!(said.contains("held") && said.contains("open elsewhere") && said.contains("wait"), "{said}");
    drop(store);
    good(dir.path(), "--db held --blocks 1 --txns 10");
}

#[test]
fn a_store_that_was_made_with_something_else() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), "--db it --blocks 1 --txns 10 --accounts 20 --seed 5");
    let before = state(&dir.path().join("it"));
    for (args, name) in [("--seed 6", "--seed"), ("--accounts 21", "--accounts"), ("--workload mixed", "--workload")] {
        let said = refused(dir.path(), &format!("--db it {args}"), 2);
        assert!(said.contains(&format!("made with {name}")) && said.contains("--db"), "{said}");
    }
    assert_eq!(state(&dir.path().join("it")), before);
}

#[test]
fn a_state_that_is_not_as_it_must_be() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), "--db it --blocks 1 --txns 10 --accounts 20");
    let change = |key: &[u8], op: Op<&[u8]>| {
        let op = op.value().map_or(Op::Delete, |value| Op::Put(Bytes::copy_from_slice(value)));
        let store = RedbStore::open(dir.path().join("it")).unwrap();
        store.commit([(Bytes::copy_from_slice(key), op)].into_iter().collect()).unwrap();
    };
    let account = b"a\0\0\0\0\0\0\0\x03";
    change(account, Op::Put(&77_777u64.to_be_bytes()));
    assert!(refused(dir.path(), "--db it", 1).contains("height 1: 20 accounts hold"));
    change(account, Op::Put(b"odd"));
    assert!(refused(dir.path(), "--db it", 1).contains("account 3"));
    change(b"\xffchain", Op::Put(b"odd"));
    assert!(refused(dir.path(), "--db it", 2).contains("--db"));
    change(b"\xffchain", Op::Delete);
    assert!(refused(dir.path(), "--db it", 2).contains("--db"));
}

/// Damage wherever it is: an error or, where the file has room that nothing uses, no harm. Never a panic.
#[test]
fn a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), "--db whole --blocks 2 --txns 100 --accounts 300");
    let whole = fs::read(dir.path().join("whole")).unwrap();
    for part in 0..12 {
        let mut damaged = whole.clone();
        match part {
            0..10 => {
                let at = part * (damaged.len() / 10);
                damaged[at + 16..at + 200].iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
            10 => damaged.truncate(whole.len() / 2),
            _ => damaged.truncate(100),
        }
        fs::write(dir.path().join("damaged"), damaged).unwrap();
        let output = run(dir.path(), "--db damaged --blocks 1 --txns 100");
        let said = String::from_utf8(output.stderr).unwrap();
        let status = output.status.code();
        assert!(matches!(status, Some(0 | 1 | 3)), "part {part}: {status:?} {said}");
        let lines = said.lines().filter(|line| line.starts_with("cachekv: ")).count();
        assert_eq!(lines, usize::from(status != Some(0)), "part {part}: {said}");
    }
}
