//! Bytes as damage to the file of a `RedbStore`: it is refused as it is, or what is read of it is what was committed, or it
//! is an error; never a panic.
//!
//! What is promised depends on verification. A file that passes `verify` holds a state that was committed, whole. One that
//! does not may still open, and then all that is promised is an answer or an error, before and after a commit.
//! This file is shared by the fuzz target of its name and by the test that runs its corpus.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use cachekv::kv::{Error, KvRead, KvStore, Op, RedbSnapshot, RedbStore, WriteBatch};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// What can happen in a run; an input's share of it is what [`run`] returns, one bit each.
pub const EVENTS: &[&str] = &[
    "a file that was refused",
    "a file that was opened and not verified",
    "a damaged file that was verified",
    "an error of a read",
    "an error of a commit",
    "a commit to a file that was not verified",
];
const REFUSED: u32 = 1 << 0;
const UNVERIFIED: u32 = 1 << 1;
const VERIFIED: u32 = 1 << 2;
const READ_FAILED: u32 = 1 << 3;
const COMMIT_FAILED: u32 = 1 << 4;
const COMMITTED: u32 = 1 << 5;

type Entries = BTreeMap<Bytes, Bytes>;
type Answer<T> = std::result::Result<T, Error>;

/// Files to damage, and every state that they have ever held.
struct Template {
    /// Of a store that was closed, and of one that was not.
    files: [Vec<u8>; 2],
    states: Vec<Entries>,
}

fn key(n: usize) -> Bytes {
    Bytes::from(format!("key {n:03}"))
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = RedbStore::create(&path).unwrap();
    let mut states = vec![Entries::new()];
    for round in 0..4 {
        let mut state = states[round].clone();
        let mut batch = WriteBatch::new();
        for n in (0..150).filter(|n| n % (round + 1) == 0) {
            let value = Bytes::from(format!("{round}").repeat(n % 90));
            batch.put(key(n), value.clone());
            state.insert(key(n), value);
        }
        for n in (0..150).skip(round).step_by(7) {
            batch.delete(key(n));
            state.remove(&key(n));
        }
        store.commit(batch).unwrap();
        states.push(state);
    }
    let live = fs::read(&path).unwrap();
    drop(store);
    Template { files: [fs::read(&path).unwrap(), live], states }
});

/// Damages a file as `data` says and uses it; panics where the store does, or does not keep its promises. Returns the
/// [`EVENTS`] it met.
pub fn run(data: &[u8]) -> u32 {
    let template = &*TEMPLATE;
    let mut input = Unstructured::new(data);
    let Ok(file) = damaged(template, &mut input) else { return 0 };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::write(&path, &file).unwrap();
    check(template, &path, &file)
}

/// One of the files, changed in some places.
fn damaged(template: &Template, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let good = input.choose(&template.files)?;
    let mut file = good.clone();
    for _ in 0..input.int_in_range(1..=4)? {
        if file.is_empty() {
            break;
        }
        let at = place(&file, input)?;
        let len = input.int_in_range(1..=4096)?.min(file.len() - at);
        match input.int_in_range(0..=9u8)? {
            0..=3 => file[at] ^= 1 << input.int_in_range(0..=7u8)?,
            4 => file[at] = input.arbitrary()?,
            5 => file[at..at + len].fill(0),
            6 => file[at..at + len].fill(input.arbitrary()?),
            7 => file.truncate(at),
            // A write that went to another place, as a disk may do.
            8 => {
                let from = place(&file, input)?.min(file.len() - len);
                file.copy_within(from..from + len, at);
            }
            _ => {
                let bytes = input.bytes(len.min(16).min(input.len()))?;
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
    Ok(file)
}

/// A place in the file: in the header, at the beginning of a page, or anywhere.
fn place(file: &[u8], input: &mut Unstructured<'_>) -> Result<usize> {
    let last = file.len() - 1;
    Ok(match input.int_in_range(0..=3u8)? {
        0 => input.int_in_range(0..=319)?.min(last),
        1 => (input.int_in_range(0..=file.len() / 4096)? * 4096 + input.int_in_range(0..=63)?).min(last),
        // Where something is written: most of a file is not.
        2 => {
            let at = input.int_in_range(0..=last)?;
            file.iter().skip(at).position(|byte| *byte != 0).map_or(at, |skipped| at + skipped)
        }
        _ => input.int_in_range(0..=last)?,
    })
}

fn check(template: &Template, path: &Path, file: &[u8]) -> u32 {
    let verified = RedbStore::verify(path);
    assert!(fs::read(path).unwrap() == file, "verifying changed the file");
    let store = match RedbStore::open(path) {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error, Error::Open { .. }), "{error:?}");
            assert!(fs::read(path).unwrap() == file, "refused, and changed");
            assert!(verified.is_err(), "verified, and refused: {error}");
            return REFUSED;
        }
    };
    match verified {
        Ok(()) => {
            let state = entries(&store.snapshot().unwrap()).unwrap();
            assert!(template.states.contains(&state), "verified, and no state that was committed");
            let touched = template.files.iter().all(|good| good != file);
            use_verified(&store, state);
            drop(store);
            RedbStore::verify(path).unwrap();
            if touched { VERIFIED } else { 0 }
        }
        Err(error) => {
            assert!(matches!(error, Error::Open { .. }), "{error:?}");
            UNVERIFIED | use_unverified(&store)
        }
    }
}

/// A verified store is a store: it takes a batch and shows it.
fn use_verified(store: &RedbStore, mut state: Entries) {
    let batch = [(key(5), Op::Put(Bytes::from("new"))), (key(8), Op::Delete)].into_iter().collect();
    state.insert(key(5), Bytes::from("new"));
    state.remove(&key(8));
    assert_eq!(entries(&store.commit(batch).unwrap()).unwrap(), state);
}

/// A store that opened and has damage somewhere: whatever is asked of it, it answers or says an error.
fn use_unverified(store: &RedbStore) -> u32 {
    let mut events = 0;
    let held = store.snapshot();
    let mut walks = Vec::new();
    if let Ok(state) = &held {
        walks.push(state.range(key(3)..));
        for answer in [entries(state).map(drop), points(state)] {
            events |= answer.map_or_else(|error| read_error(&error), |()| 0);
        }
    }
    for round in 0..3usize {
        let ops = (0..30).map(|n| {
            let op = if n % 3 == round { Op::Delete } else { Op::Put(Bytes::from(vec![n as u8; n * 40])) };
            (key(n * 5), op)
        });
        match store.commit(ops.collect()) {
            Ok(after) => {
                events |= COMMITTED | entries(&after).map_or_else(|error| read_error(&error), |_| 0);
            }
            Err(error @ Error::Read { .. }) => events |= read_error(&error),
            Err(error) => {
                assert!(matches!(error, Error::Commit { .. }), "{error:?}");
                events |= COMMIT_FAILED;
            }
        }
    }
    for mut walk in walks {
        events |= walk.try_for_each(|entry| entry.map(drop)).map_or_else(|error| read_error(&error), |()| 0);
    }
    events
}

fn read_error(error: &Error) -> u32 {
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    READ_FAILED
}

/// All entries, from both ends.
fn entries(state: &RedbSnapshot) -> Answer<Entries> {
    let forward = state.range(..).collect::<Answer<Vec<_>>>()?;
    let mut backward = state.range(..).rev().collect::<Answer<Vec<_>>>()?;
    backward.reverse();
    drop(backward);
    Ok(forward.into_iter().collect())
}

fn points(state: &RedbSnapshot) -> Answer<()> {
    for n in (0..160).step_by(11) {
        let (value, there) = (state.get(&key(n))?, state.contains(&key(n))?);
        assert_eq!(value.is_some(), there);
    }
    Ok(())
}
