//! Damaged files: refused as they are, or used without a panic; and verification, which notices all of it.

use super::{bytes, dir, entries, put, refused_both};
use bytes::Bytes;
use cachekv::kv::{Error, KvRead, KvStore, OpenCause, RedbStore};
use std::fs;
use std::path::Path;

/// How many places in the pages are damaged in turn.
const STEPS: usize = 250;

/// A store with some history, closed, and what is in it.
fn filled(path: &Path) -> Vec<(Bytes, Bytes)> {
    let store = RedbStore::create(path).unwrap();
    for round in 0..3 {
        store.commit(put((0..150).map(|key| (format!("key {key}"), format!("{round}").repeat(key % 90))))).unwrap();
    }
    entries(&store.snapshot().unwrap()).unwrap()
}

/// Whatever is wrong with the file at `path`: either it is refused and stays as it is, or it can be used without a panic.
/// What passes verification holds `due`. Returns whether it was opened, and whether it passed.
fn use_damaged(path: &Path, due: &[(Bytes, Bytes)]) -> (bool, bool) {
    let before = fs::read(path).unwrap();
    let verified = RedbStore::verify(path);
    assert!(fs::read(path).unwrap() == before, "verifying changed the file");
    let opened = match RedbStore::open(path) {
        Ok(store) => {
            let read = store.snapshot().and_then(|state| {
                let all = entries(&state)?;
                state.get(&bytes("key 77"))?;
                state.range(..).rev().collect::<Result<Vec<_>, _>>().map(|_| all)
            });
            if verified.is_ok() {
                assert_eq!(read.unwrap(), due, "verified, and not what was written");
            }
            let _ = store.commit(put([("key 5".into(), "new".into())])).and_then(|after| entries(&after));
            true
        }
        Err(error) => {
            assert!(matches!(&error, Error::Open { .. }), "{error:?}");
            assert!(fs::read(path).unwrap() == before, "refused, and changed");
            false
        }
    };
    (opened, verified.is_ok())
}

#[test]
fn a_flipped_bit_is_refused_or_survived() {
    let (dir, path) = dir();
    let due = filled(&path);
    let good = fs::read(&path).unwrap();
    // The header byte by byte; closely where damage once made closing panic (the allocator's page); then wherever
    // something is written.
    let header = (0..320).chain((32_768..33_024).step_by(3));
    let pages: Vec<_> = (320..good.len()).filter(|&at| good[at] != 0).collect();
    let damaged = dir.path().join("damaged");
    let (mut opened, mut passed, mut tried) = (0, 0, 0);
    for (n, at) in header.chain(pages.iter().copied().step_by(pages.len() / STEPS + 1)).enumerate() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (n % 8);
        fs::write(&damaged, &bad).unwrap();
        let outcome = use_damaged(&damaged, &due);
        tried += 1;
        opened += usize::from(outcome.0);
        passed += usize::from(outcome.1);
    }
    println!("{tried} flips: {opened} opened, {passed} passed verification");
    assert!(opened < tried && passed < opened, "no flip was noticed");
}

#[test]
fn a_file_cut_short_is_refused() {
    let (dir, path) = dir();
    let due = filled(&path);
    let good = fs::read(&path).unwrap();
    let cut = dir.path().join("cut");
    for len in [9, 64, 320, 4095, 4096, 8192, good.len() / 2, good.len() - 4096, good.len() - 1] {
        fs::write(&cut, &good[..len]).unwrap();
        assert!(matches!(refused_both(&cut), OpenCause::Corrupted(_)), "cut to {len}");
    }
    let live = RedbStore::open(&path).unwrap();
    let good = fs::read(&path).unwrap(); // as a crash would leave it
    for len in [320, 4096, good.len() / 2, good.len() - 4096] {
        fs::write(&cut, &good[..len]).unwrap();
        use_damaged(&cut, &due);
    }
    drop(live);
}
