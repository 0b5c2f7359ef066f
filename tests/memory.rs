//! A restore and an export take memory by the size of a chunk and of the page cache, and not by that of the state: all that
//! is allocated is counted, the store's pages included.
//!
//! In a program of its own, since what another test allocates meanwhile would be counted too.

#![cfg(all(feature = "restore", feature = "redb"))]
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use bytes::Bytes;
use cachekv::kv::{KvStore, Op, RedbOptions, RedbStore, WriteBatch};
use cachekv::restore::{Cut, Parts, StateTree, Target, export_to, restore_from};
use peak_alloc::PeakAlloc;
use std::path::Path;

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// The size of a chunk.
const CHUNK: usize = 64 << 10;
/// The pages that the store may keep.
const CACHE: RedbOptions = RedbOptions { cache_bytes: 1 << 20 };
/// What a chunk may come to, as bytes, entries, hashes and nodes, in the two that are on their way at once.
const TIMES: usize = 28;

/// Key `n`, 24 bytes, and its value, 64 bytes.
fn entry(n: u64) -> (Bytes, Op<Bytes>) {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (Bytes::from([&b"account "[..], &scattered, &n.to_be_bytes()].concat()), Op::Put(vec![n as u8; 64].into()))
}

/// The most that is allocated at once by `work`, beyond what was before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNTED.current_usage();
    COUNTED.reset_peak_usage();
    let done = work();
    (done, COUNTED.peak_usage().saturating_sub(before))
}

/// The most that an export, a restore into one store and one into two take, of a state of so many keys.
fn peaks(dir: &Path, keys: u64) -> [usize; 3] {
    let (state, snapshot) = (dir.join("state"), dir.join("snapshot"));
    let store = RedbStore::create_with(&state, CACHE).unwrap();
    let all: WriteBatch<_, _> = (0..keys).map(entry).collect();
    let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&all, 1, 1).unwrap();
    let root = update.root;
    drop(store.commit(update.with(all)).unwrap());
    drop(store);
    let create = |name: &str| RedbStore::create_with(dir.join(name), CACHE).unwrap();
    let restore = |target| restore_from(&snapshot, target, root, &mut |_| ()).unwrap().0.entries;
    let export = || {
        let tree = StateTree::open(RedbStore::open_with(&state, CACHE).unwrap().snapshot().unwrap()).unwrap();
        export_to(&snapshot, tree, 1, Cut { chunk_bytes: CHUNK, level: 1 }, &mut |_| ()).unwrap().entries
    };
    let (exported, export) = peak(export);
    let (one, into_one) = peak(|| restore(Target::One(create("one"), Parts::Everything)));
    let (two, into_two) = peak(|| restore(Target::Two { values: create("values"), tree: create("tree") }));
    assert_eq!((exported, one, two), (keys, keys, keys));
    [export, into_one, into_two]
}

#[test]
fn memory_follows_the_chunk_and_not_the_state() {
    let dir = |_| tempfile::tempdir().unwrap();
    let [small, large] = [0, 1].map(dir);
    let (few, many) = (peaks(small.path(), 4_000), peaks(large.path(), 64_000));
    let bounds = [1, 1, 2].map(|stores| stores * CACHE.cache_bytes + TIMES * CHUNK);
    println!("{few:?} bytes at most for 4,000 keys, {many:?} for 64,000; bounds {bounds:?}");
    let (state, more) = (64_000 * 88, 60_000 * 88);
    for ((few, many), bound) in few.into_iter().zip(many).zip(bounds) {
        assert!(many <= bound && bound < state, "{many} bytes at once for 64,000 keys");
        // Whether two chunks are at their largest at once is chance. A hash kept of each key would be more than this.
        assert!(many <= few + more / 4, "{few} bytes at once for 4,000 keys, {many} for 64,000");
    }
}
