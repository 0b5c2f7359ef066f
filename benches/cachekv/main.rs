//! The cache-wrapped store against what else there is, in the same groups.
//!
//! * `ours`: a `Store` over an empty `MemStore`.
//! * `cloned`: an `RwLock<BTreeMap>`, cloned for every iterator: consistent, at the price of the copy.
//! * `locked`: the same, its lock held for an iterator's life: consistent, and every writer waits.
//! * `skiplist`: `crossbeam_skiplist::SkipMap`: nobody waits, and an iterator sees what is written under it.
//!
//! Groups: `open10` (open an iterator and take 10 keys), `drain` (a key of a full walk), `set`, `get`, `merge` (drain over a
//! parent that has every other key), `contended` (a writer at full speed beside an iterator thread).
//! `u64` keys and values, and `bytes`: 24-byte keys, 64-byte values.

#![allow(missing_docs, reason = "the macros of the harness make public items")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot run may panic")]

use bytes::Bytes;
use cachekv::cachekv::Store;
use cachekv::kv::{Key, MemStore, Value};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The keys and values of a benchmark, by number.
trait Entry: Key + Value {
    const NAME: &'static str;
    type Value: Value;
    fn key(at: u64) -> Self;
    fn value(at: u64) -> Self::Value;
}

impl Entry for u64 {
    const NAME: &'static str = "u64";
    type Value = u64;
    fn key(at: u64) -> u64 {
        at
    }
    fn value(at: u64) -> u64 {
        at
    }
}

impl Entry for Bytes {
    const NAME: &'static str = "bytes";
    type Value = Bytes;
    fn key(at: u64) -> Bytes {
        Bytes::from(format!("account/{at:016}"))
    }
    fn value(at: u64) -> Bytes {
        Bytes::from(vec![at as u8; 64])
    }
}

/// Numbers below `end` in an order without pattern, the same in every run.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Takes an entry, as a caller would that uses it.
fn pass<T>(entry: T) {
    black_box(entry);
}

/// What is compared: a map that is written while it is walked.
trait Subject<K: Entry>: Sync {
    fn set(&self, key: K, value: K::Value);
    fn get(&self, key: &K) -> Option<K::Value>;
    /// Opens an iterator at `from` and takes `keys` of it.
    fn walk(&self, from: &K, keys: usize);
}

impl<K: Entry> Subject<K> for Store<MemStore<K, K::Value>> {
    fn set(&self, key: K, value: K::Value) {
        Store::set(self, key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        Store::get(self, key).unwrap()
    }
    fn walk(&self, from: &K, keys: usize) {
        self.range((Bound::Included(from.clone()), Bound::Unbounded)).take(keys).for_each(pass)
    }
}

struct Cloned<K: Entry>(RwLock<BTreeMap<K, K::Value>>);
struct Locked<K: Entry>(RwLock<BTreeMap<K, K::Value>>);

impl<K: Entry> Subject<K> for Cloned<K> {
    fn set(&self, key: K, value: K::Value) {
        self.0.write().insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        self.0.read().get(key).cloned()
    }
    fn walk(&self, from: &K, keys: usize) {
        let map = self.0.read().clone();
        map.range(from..).take(keys).for_each(|(key, value)| pass((key.clone(), value.clone())))
    }
}

impl<K: Entry> Subject<K> for Locked<K> {
    fn set(&self, key: K, value: K::Value) {
        self.0.write().insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        self.0.read().get(key).cloned()
    }
    fn walk(&self, from: &K, keys: usize) {
        let map = self.0.read();
        map.range(from..).take(keys).for_each(|(key, value)| pass((key.clone(), value.clone())))
    }
}

impl<K: Entry> Subject<K> for SkipMap<K, K::Value> {
    fn set(&self, key: K, value: K::Value) {
        self.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        SkipMap::get(self, key).map(|entry| entry.value().clone())
    }
    fn walk(&self, from: &K, keys: usize) {
        let range = self.range(from.clone()..);
        range.take(keys).for_each(|entry| pass((entry.key().clone(), entry.value().clone())))
    }
}

/// The subjects with `keys` entries, written in an order without pattern.
fn subjects<K: Entry>(keys: u64) -> [(&'static str, Box<dyn Subject<K>>); 4] {
    let subjects: [(&'static str, Box<dyn Subject<K>>); 4] = [
        ("ours", Box::new(Store::new(MemStore::<K, K::Value>::new()).unwrap())),
        ("cloned", Box::new(Cloned(RwLock::default()))),
        ("locked", Box::new(Locked(RwLock::default()))),
        ("skiplist", Box::new(SkipMap::new())),
    ];
    for (_, subject) in &subjects {
        let mut order: Vec<_> = (0..keys).collect();
        order.sort_by_key(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for at in order {
            subject.set(K::key(at), K::value(at));
        }
    }
    subjects
}

fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
}

/// Sizes at which a copy per iterator is still worth waiting for, and those at which only the others run.
const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];

fn open10<K: Entry>(c: &mut Criterion) {
    for (name, writes) in [("unchanged", false), ("after_write", true)] {
        let mut group = c.benchmark_group(format!("open10/{name}/{}", K::NAME));
        quick(&mut group);
        for keys in SIZES {
            for (subject_name, subject) in subjects::<K>(keys) {
                if subject_name == "cloned" && keys > 10_000 {
                    continue; // milliseconds an iterator; the smaller sizes say so
                }
                let mut order = Shuffle(1);
                group.bench_function(BenchmarkId::new(subject_name, keys), |b| {
                    b.iter_batched(
                        || {
                            // The write itself is `set`'s to measure; what it leaves for the iterator is measured here.
                            if writes {
                                let at = order.next(keys);
                                subject.set(K::key(at), K::value(at + 1));
                            }
                            K::key(order.next(keys))
                        },
                        |from| subject.walk(&from, 10),
                        BatchSize::PerIteration,
                    );
                });
            }
        }
        group.finish();
    }
}

fn drain<K: Entry>(c: &mut Criterion) {
    const KEYS: u64 = 10_000;
    let mut group = c.benchmark_group(format!("drain/{}", K::NAME));
    quick(&mut group);
    group.throughput(Throughput::Elements(KEYS));
    for (name, subject) in subjects::<K>(KEYS) {
        group.bench_function(name, |b| b.iter(|| subject.walk(&K::key(0), usize::MAX)));
    }
    let store = Store::new(MemStore::<K, K::Value>::new()).unwrap();
    (0..KEYS).for_each(|at| store.set(K::key(at), K::value(at)));
    group.bench_function("ours_reverse", |b| b.iter(|| store.range(..).rev().for_each(pass)));
    group.finish();
}

/// Every other key is the parent's: two equal halves to be merged.
fn merge<K: Entry>(c: &mut Criterion) {
    const KEYS: u64 = 10_000;
    let mut group = c.benchmark_group(format!("merge/{}", K::NAME));
    quick(&mut group);
    group.throughput(Throughput::Elements(KEYS));
    let half = |odd: u64| (odd..KEYS).step_by(2).map(|at| (K::key(at), K::value(at)));
    let store = Store::new(half(0).collect::<MemStore<_, _>>()).unwrap();
    half(1).for_each(|(key, value)| store.set(key, value));
    group.bench_function("ours", |b| b.iter(|| store.range(..).for_each(pass)));
    group.bench_function("ours_reverse", |b| b.iter(|| store.range(..).rev().for_each(pass)));
    let (below, top) = (half(0).collect::<BTreeMap<_, _>>(), half(1).collect::<BTreeMap<_, _>>());
    group.bench_function("cloned", |b| {
        b.iter(|| {
            let mut merged = below.clone();
            merged.extend(top.clone());
            merged.into_iter().for_each(pass)
        });
    });
    group.finish();
}

fn points<K: Entry>(c: &mut Criterion) {
    for keys in [1_000, 10_000, 100_000] {
        let mut set = c.benchmark_group(format!("set/{}/{keys}", K::NAME));
        quick(&mut set);
        let all = subjects::<K>(keys);
        for (name, subject) in &all {
            let mut order = Shuffle(2);
            set.bench_function(*name, |b| {
                b.iter_batched(
                    || {
                        let at = order.next(keys);
                        (K::key(at), K::value(at + 1))
                    },
                    |(key, value)| subject.set(key, value),
                    BatchSize::LargeInput,
                );
            });
        }
        set.finish();
        let mut get = c.benchmark_group(format!("get/{}/{keys}", K::NAME));
        quick(&mut get);
        let sought: Vec<_> = (0..1024).scan(Shuffle(3), |order, _| Some(K::key(order.next(keys)))).collect();
        for (name, subject) in &all {
            let mut at = 0;
            let mut read = || {
                at = (at + 1) % sought.len();
                subject.get(&sought[at])
            };
            get.bench_function(*name, |b| b.iter(&mut read));
            if *name == "ours" {
                subject.walk(&K::key(0), 1); // publishes: the reads above found unpublished writes, these find none
                get.bench_function("ours_published", |b| b.iter(&mut read));
            }
        }
        get.finish();
    }
}

/// One thread writes at full speed while another walks `keys` keys again and again; measured is each in turn.
fn contended<K: Entry>(c: &mut Criterion) {
    const KEYS: u64 = 10_000;
    for (walked, keys) in [("walk10", 10), ("walk1000", 1_000)] {
        let mut group = c.benchmark_group(format!("contended/{walked}/{}", K::NAME));
        quick(&mut group);
        for (name, subject) in subjects::<K>(KEYS) {
            let write = |order: &mut Shuffle| {
                let at = order.next(KEYS);
                subject.set(K::key(at), K::value(at));
            };
            let walk = |order: &mut Shuffle| subject.walk(&K::key(order.next(KEYS - keys)), keys as usize);
            group.bench_function(BenchmarkId::new("set", name), |b| {
                b.iter_custom(|count| beside(count, &write, &walk));
            });
            group.bench_function(BenchmarkId::new("set_alone", name), |b| {
                b.iter_custom(|count| beside(count, &write, &|_| thread::park_timeout(Duration::from_millis(1))));
            });
            group.bench_function(BenchmarkId::new("iterator", name), |b| {
                b.iter_custom(|count| beside(count, &walk, &write));
            });
        }
        group.finish();
    }
}

/// The time of `count` calls of `measured`, while `other` runs all along.
fn beside(count: u64, measured: &(dyn Fn(&mut Shuffle) + Sync), other: &(dyn Fn(&mut Shuffle) + Sync)) -> Duration {
    let (stop, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut order = Shuffle(5);
            while !stop.load(Ordering::Relaxed) {
                other(&mut order);
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        while turns.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
        let (mut order, start) = (Shuffle(4), Instant::now());
        (0..count).for_each(|_| measured(&mut order));
        let taken = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        taken
    })
}

criterion_group!(
    benches,
    open10::<u64>,
    open10::<Bytes>,
    drain::<u64>,
    drain::<Bytes>,
    merge::<u64>,
    merge::<Bytes>,
    points::<u64>,
    points::<Bytes>,
    contended::<u64>,
    contended::<Bytes>
);
criterion_main!(benches);
