//! A restore at size: its rate beside a plain load of the same records, its memory, where its time goes, and what a root costs
//! a block.
//!
//! ```text
//! cargo run --release --example restore_scale -- 1000000 [DIRECTORY [CACHE_MIB...]]
//! ```
//!
//! Exports, restores and loads are repeated for each size of the page cache, in MiB; without any, for the default.
//!
//! Each phase is a process of its own, so that the memory it is charged with is its own. The load that a restore is compared
//! with commits the same batches (entries, nodes, progress) to the same kind of store, and nothing else.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "an example that cannot run ends")]

use bytes::Bytes;
use cachekv::kv::{Error, KvStore, MemSnapshot, MemStore, Op, RedbOptions, RedbStore, WriteBatch};
use cachekv::restore::{Cut, Hash, Parts, Restorer, StateTree, Target, export_to, read_manifest};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Blocks that the state is made in.
const BLOCK: u64 = 50_000;
/// The size of a chunk.
const CHUNK: usize = 4 << 20;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [keys, rest @ ..] = args.as_slice() else {
        return println!("usage: restore_scale KEYS [DIRECTORY [CACHE_MIB...]]");
    };
    let keys: u64 = keys.parse().expect("the number of keys");
    let made;
    let dir = match rest.first() {
        Some(dir) => PathBuf::from(dir),
        None => {
            made = tempfile::tempdir().expect("a directory");
            made.path().to_owned()
        }
    };
    if let [_, phase, cache] = rest
        && let Some(phase) = phase.strip_prefix("phase=")
    {
        let options = RedbOptions { cache_bytes: cache.parse().expect("a size in bytes") };
        return run(phase, &dir, keys, options);
    }
    let default = RedbOptions::default().cache_bytes;
    let mut caches: Vec<usize> =
        rest.iter().skip(1).map(|mib| mib.parse::<usize>().expect("a size in MiB") << 20).collect();
    if caches.is_empty() {
        caches.push(default);
    }
    let phase = |name: &str, cache: usize| {
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.arg(keys.to_string()).arg(&dir).arg(format!("phase={name}")).arg(cache.to_string());
        assert!(child.status().expect("a process").success(), "{name} failed");
    };
    phase("make", default);
    for cache in caches {
        println!("with a page cache of {} MiB:", cache >> 20);
        ["export", "restore", "load"].into_iter().for_each(|name| phase(name, cache));
    }
    phase("update", default);
    fs::remove_file(dir.join("state.redb")).expect("the file that was made");
    fs::remove_dir_all(dir.join("snapshot")).expect("the directory that was made");
}

fn run(phase: &str, dir: &Path, keys: u64, options: RedbOptions) {
    match phase {
        "make" => make(dir, keys, options),
        "export" => export(dir, keys, options),
        "update" => update(dir, keys, options),
        "restore" => restore(dir, keys, options),
        "load" => load(dir, keys, options),
        other => panic!("no phase {other}"),
    }
}

/// Key `n`, 24 bytes, and its value in `block`, 64 bytes.
fn entry(n: u64, block: u64) -> (Bytes, Op<Bytes>) {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let value: Vec<u8> = (0..8u64).flat_map(|part| (n ^ block << 40 ^ part << 56).to_le_bytes()).collect();
    (Bytes::from([&b"account "[..], &scattered, &n.to_be_bytes()].concat()), Op::Put(value.into()))
}

/// The state with its tree.
fn make(dir: &Path, keys: u64, options: RedbOptions) {
    let began = Instant::now();
    let store = RedbStore::create_with(dir.join("state.redb"), options).unwrap();
    for (block, first) in (1..).zip((0..keys).step_by(BLOCK as usize)) {
        let batch: WriteBatch<_, _> = (first..keys.min(first + BLOCK)).map(|n| entry(n, block)).collect();
        let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&batch, block, 1).unwrap();
        store.commit(update.with(batch)).unwrap();
    }
    println!("made {keys} keys with their tree in {:.1?}", began.elapsed());
}

/// A snapshot of it.
fn export(dir: &Path, keys: u64, options: RedbOptions) {
    let store = RedbStore::open_with(dir.join("state.redb"), options).unwrap();
    drop(fs::remove_dir_all(dir.join("snapshot"))); // that of another cache
    let began = Instant::now();
    let tree = StateTree::open(store.snapshot().unwrap()).unwrap();
    let version = tree.version(None).unwrap();
    let cut = Cut { chunk_bytes: CHUNK, ..Cut::default() };
    let manifest = export_to(&dir.join("snapshot"), tree, version, cut, &mut |_| ()).unwrap();
    let spent = began.elapsed();
    println!("exported {} chunks in {spent:.1?}: {} keys/s; peak {} MiB", manifest.len(), rate(keys, spent), peak());
}

/// What a root costs a block of 1,000 and of 10,000 writes to random keys.
fn update(dir: &Path, keys: u64, options: RedbOptions) {
    let store = RedbStore::open_with(dir.join("state.redb"), options).unwrap();
    let mut version = StateTree::open(store.snapshot().unwrap()).unwrap().version(None).unwrap();
    for writes in [1_000, 10_000] {
        let mut spent: Vec<_> = (0..9)
            .map(|round| {
                version += 1;
                let key = |n: u64| (n ^ round << 32).wrapping_mul(0xbf58_476d_1ce4_e5b9) % keys;
                let batch: WriteBatch<_, _> = (0..writes).map(|n| entry(key(n), version)).collect();
                let began = Instant::now();
                let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&batch, version, 1).unwrap();
                let (root, began) = (began.elapsed(), Instant::now());
                store.commit(update.with(batch)).unwrap();
                (root, began.elapsed())
            })
            .collect();
        spent.sort();
        let (root, commit) = *spent.get(spent.len() / 2).expect("the middle one");
        println!("a block of {writes} writes over {keys} keys: {root:.1?} for its root, {commit:.1?} for its commit");
    }
}

fn restore(dir: &Path, keys: u64, options: RedbOptions) {
    let (snapshot, path) = (dir.join("snapshot"), dir.join("restored.redb"));
    let manifest = read_manifest(&snapshot).unwrap();
    let before = peak();
    let began = Instant::now();
    let target = Target::One(RedbStore::create_with(&path, options).unwrap(), Parts::Everything);
    let mut restorer = Restorer::open(target, manifest.root, manifest.clone()).unwrap();
    for index in 0..manifest.len() {
        restorer.add_chunk(index, chunk(&snapshot, index)).unwrap();
    }
    restorer.flush().unwrap();
    let times = restorer.times();
    restorer.finish().unwrap();
    let (spent, cpu) = (began.elapsed(), cpu());
    let share = |part: Duration| 100.0 * part.as_secs_f64() / spent.as_secs_f64();
    println!("restored {keys} keys in {spent:.1?} ({cpu:.1} s of all cores): {} keys/s", rate(keys, spent));
    println!("  peak memory {} MiB, {} before it began; a chunk is {} MiB", peak(), before, CHUNK >> 20);
    println!(
        "  of its time: hashing {:.0} %, tree {:.0} %, unpacking {:.0} %, batches and waiting {:.0} %; disk, on its own thread, {:.0} %",
        share(times.hashing),
        share(times.tree),
        share(times.unpacking),
        share(times.waiting),
        share(times.writing),
    );
    fs::remove_file(path).unwrap();
}

/// The same batches, made beforehand and committed to an empty store.
fn load(dir: &Path, keys: u64, options: RedbOptions) {
    let (snapshot, path) = (dir.join("snapshot"), dir.join("loaded.redb"));
    let manifest = read_manifest(&snapshot).unwrap();
    let (sender, batches) = channel();
    let maker = thread::spawn(move || {
        let target = Target::One(Recorder { sender, none: MemStore::new() }, Parts::Everything);
        let mut restorer = Restorer::open(target, manifest.root, manifest.clone()).unwrap();
        for index in 0..manifest.len() {
            restorer.add_chunk(index, chunk(&snapshot, index)).unwrap();
        }
        restorer.finish().map(|(restored, _)| restored.root).unwrap()
    });
    let root: Hash = maker.join().unwrap();
    let batches: Vec<_> = batches.iter().collect();
    let (began, before) = (Instant::now(), cpu());
    let store = RedbStore::create_with(&path, options).unwrap();
    batches.into_iter().for_each(|batch| drop(store.commit(batch).unwrap()));
    let (spent, cpu) = (began.elapsed(), cpu() - before);
    let size = fs::metadata(&path).unwrap().len() >> 20;
    println!(
        "loaded the same records in {spent:.1?} ({cpu:.1} s of all cores): {} keys/s; root {root}",
        rate(keys, spent)
    );
    println!("  a file of {size} MiB for {} MiB of keys and values", (keys * 88) >> 20);
    fs::remove_file(path).unwrap();
}

/// A store that keeps what it is to commit.
struct Recorder {
    sender: Sender<WriteBatch<Bytes, Bytes>>,
    none: MemStore<Bytes, Bytes>,
}

impl KvStore for Recorder {
    type Key = Bytes;
    type Value = Bytes;
    type Snapshot = MemSnapshot<Bytes, Bytes>;

    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.none.snapshot()
    }

    fn commit(&self, batch: WriteBatch<Bytes, Bytes>) -> Result<Self::Snapshot, Error> {
        self.sender.send(batch).expect("somebody who takes it");
        self.none.snapshot()
    }
}

fn chunk(snapshot: &Path, index: u32) -> Bytes {
    fs::read(snapshot.join(format!("chunk-{index:08}"))).unwrap().into()
}

fn rate(keys: u64, spent: Duration) -> u64 {
    (keys as f64 / spent.as_secs_f64()) as u64
}

/// Seconds that this process has had of all cores; 0 where the system does not say.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory this process has had, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
