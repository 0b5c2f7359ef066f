//! What outlives a commit: reopening, a crash, the death of the process, later commits.

use super::{bytes, dir, entries, put};
use bytes::Bytes;
use cachekv::kv::{Error, KvRead, KvStore, Op, OpenCause, RedbStore, WriteBatch};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// This test, run again as a process of its own that commits to a store until it is killed.
fn writer(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redb::survival::the_other_process", "--ignored", "--nocapture"])
        .env("CACHEKV_TEST_STORE", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the other process of the tests that need one"]
fn the_other_process() {
    let path = std::env::var_os("CACHEKV_TEST_STORE").expect("started by another test");
    let store = RedbStore::create(path).unwrap();
    for round in 0u32.. {
        store.commit(put((0..20).map(|key| (key.to_string(), round.to_string())))).unwrap();
        println!("committed {round}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_store_has_one_owner_among_processes_and_survives_its_death() {
    let (_dir, path) = dir();
    let mut child = writer(&path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last: Option<u32> = lines.by_ref().filter_map(|line| line.strip_prefix("committed ")?.parse().ok()).nth(12);
    let opened = RedbStore::open(&path);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(opened, Err(Error::Open { cause: OpenCause::Locked, .. })), "{opened:?}");
    let last = lines.filter_map(|line| line.strip_prefix("committed ")?.parse().ok()).last().or(last).unwrap();

    RedbStore::verify(&path).unwrap();
    let entries = entries(&RedbStore::open(&path).unwrap().snapshot().unwrap()).unwrap();
    let round: u32 = std::str::from_utf8(&entries[0].1).unwrap().parse().unwrap();
    assert!(round >= last, "round {last} was committed, the store shows {round}");
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|(_, value)| *value == entries[0].1), "a torn batch");
}

#[test]
fn commits_last_over_reopening() {
    let (_dir, path) = dir();
    let mut due = std::collections::BTreeMap::new();
    for round in 0..4u32 {
        let store = RedbStore::create(&path).unwrap();
        assert_eq!(entries(&store.snapshot().unwrap()).unwrap(), due.clone().into_iter().collect::<Vec<_>>());
        for n in 0..5 {
            let (key, value) = (bytes(&format!("{round}/{n}")), bytes(&"v".repeat(n)));
            due.insert(key.clone(), value.clone());
            store
                .commit(
                    [(key, Op::Put(value)), (bytes(&format!("{}/3", round - round.min(1))), Op::Delete)]
                        .into_iter()
                        .collect(),
                )
                .unwrap();
            due.remove(&bytes(&format!("{}/3", round - round.min(1))));
        }
    }
    RedbStore::verify(&path).unwrap();
    assert_eq!(
        entries(&RedbStore::open(&path).unwrap().snapshot().unwrap()).unwrap(),
        due.into_iter().collect::<Vec<_>>()
    );
}

/// The file as it is while the store is open, which is what a crash would leave, shows every commit that returned.
#[test]
fn every_commit_is_in_the_file_when_it_returns() {
    let (dir, path) = dir();
    let crashed = dir.path().join("crashed");
    let store = RedbStore::create(&path).unwrap();
    for round in 0..6u32 {
        let after = store.commit(put((0..50).map(|key| (format!("{round}/{key}"), "value".repeat(30))))).unwrap();
        fs::copy(&path, &crashed).unwrap();
        RedbStore::verify(&crashed).unwrap();
        assert_eq!(fs::read(&crashed).unwrap(), fs::read(&path).unwrap(), "verifying repaired the file");
        let reopened = RedbStore::open(&crashed).unwrap().snapshot().unwrap();
        assert_eq!(entries(&reopened).unwrap(), entries(&after).unwrap());
    }
}

#[test]
fn held_snapshots_neither_change_nor_stop_commits() {
    let (_dir, path) = dir();
    let store = RedbStore::create(&path).unwrap();
    let value = |round: usize| round.to_string().repeat(100);
    let mut held = Vec::new();
    for round in 0..15 {
        let all = put((0..200).map(|key| (format!("{key:03}"), value(round))));
        let mut walk = store.commit(all).unwrap().range(..);
        walk.next().unwrap().unwrap();
        held.push((store.snapshot().unwrap(), walk));
    }
    for (round, (state, walk)) in held.into_iter().enumerate() {
        let due = bytes(&value(round));
        assert!(entries(&state).unwrap().iter().all(|(_, value)| *value == due), "round {round} changed");
        assert_eq!(walk.map(Result::unwrap).filter(|(_, value)| *value == due).count(), 199);
    }
}

#[test]
fn an_empty_batch_does_not_touch_the_file() {
    let (_dir, path) = dir();
    let store = RedbStore::create(&path).unwrap();
    store.commit(put([("a".into(), "1".into())])).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(entries(&store.commit(WriteBatch::new()).unwrap()).unwrap().len(), 1);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[cfg(target_pointer_width = "64")]
#[test]
fn an_entry_beyond_the_limit_is_refused_by_name() {
    let (_dir, path) = dir();
    let store = RedbStore::create(&path).unwrap();
    let huge = Bytes::from(vec![0; (3 << 30) + 1]); // zeroed memory that nobody touches is not there
    let key = bytes("key\n");
    let batch = [(bytes("a"), Op::Put(bytes("1"))), (key.clone(), Op::Put(huge.clone()))].into_iter().collect();
    let error = store.commit(batch).unwrap_err();
    assert!(
        matches!(&error, Error::TooLarge { key, size, limit, .. } if key == "key\\n" && *size == limit + 5),
        "{error:?}"
    );
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let long_key = store.commit([(huge.clone(), Op::Put(key.clone()))].into_iter().collect()).unwrap_err();
    assert!(matches!(&long_key, Error::TooLarge { key, .. } if key.len() == 32 * "\\x00".len()), "{long_key:?}");
    assert_eq!(entries(&store.snapshot().unwrap()).unwrap(), []);
    store.commit([(key, Op::Put(Bytes::from(vec![1; 5 << 20])))].into_iter().collect()).unwrap();
    assert_eq!(entries(&store.snapshot().unwrap()).unwrap()[0].1.len(), 5 << 20);
}
