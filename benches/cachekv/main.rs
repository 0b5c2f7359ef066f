//! The cache-wrapped store against what else there is, in the same groups. What is compared: see `subject`.
//!
//! * `open10`: open an iterator and take 10 keys, nothing written since the last one, or one key.
//! * `burst`: many keys set, then an iterator of 10 keys; a key.
//! * `drain`: every key, forwards and backwards; over an empty parent, and over one that has every other key.
//! * `set`, `get`.
//!
//! `figures` prints what no such group can show: two threads at once, the slowest openings, memory. `turns` prints the groups'
//! operations once more, all subjects in turns, for a machine that has other work too.
//! `u64` keys and values, and `bytes`: 24-byte keys, 64-byte values; `turns` also has the latter with keys in place, `[u8; 24]`.

#![allow(missing_docs, reason = "the macros of the harness make public items")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot run may panic")]

mod figures;
mod subject;
mod turns;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group};
use std::time::Duration;
use subject::{Entry, NAMES, Shuffle, mixed, subject};

/// As of the program: what one thread takes the other gives back, and the system's waits for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(20).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
}

/// A copy for every iterator is out of the question from here on: milliseconds, as the smaller sizes say.
const COPIED: u64 = 10_000;

fn open10<K: Entry>(c: &mut Criterion) {
    for (name, writes) in [("unchanged", false), ("after_write", true)] {
        let mut group = c.benchmark_group(format!("open10/{name}/{}", K::NAME));
        quick(&mut group);
        for keys in [100, 1_000, 10_000, 100_000, 1_000_000] {
            for name in NAMES.into_iter().filter(|name| *name != "cloned" || keys <= COPIED) {
                let mut made = None;
                let mut order = Shuffle(1);
                group.bench_function(BenchmarkId::new(name, keys), |b| {
                    let subject = made.get_or_insert_with(|| subject::<K>(name, &mixed(keys), &[]));
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

/// As many keys as are there are set, and then an iterator is opened: what a burst costs a write, all of it counted.
fn burst<K: Entry>(c: &mut Criterion) {
    for keys in [100, 1_000, 10_000, 100_000] {
        let mut group = c.benchmark_group(format!("burst/{}/{keys}", K::NAME));
        quick(&mut group);
        group.sample_size(10).throughput(Throughput::Elements(keys));
        for name in NAMES {
            let mut made = None;
            group.bench_function(name, |b| {
                let subject = made.get_or_insert_with(|| subject::<K>(name, &mixed(keys), &[]));
                subject.walk(&K::key(0), 10); // what it showed is kept where something keeps it
                let writes = || mixed(keys).into_iter().map(|at| (K::key(at), K::value(at + 1))).collect::<Vec<_>>();
                b.iter_batched(
                    writes,
                    |writes| {
                        writes.into_iter().for_each(|(key, value)| subject.set(key, value));
                        subject.walk(&K::key(0), 10);
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// Over an empty parent, and over one that has every other key.
fn drain<K: Entry>(c: &mut Criterion) {
    const KEYS: u64 = 10_000;
    let (even, odd): (Vec<_>, Vec<_>) = mixed(KEYS).into_iter().partition(|at| at % 2 == 0);
    for (parent, above, below) in [("empty", mixed(KEYS), vec![]), ("half", odd, even)] {
        let mut group = c.benchmark_group(format!("drain/{parent}/{}", K::NAME));
        quick(&mut group);
        group.throughput(Throughput::Elements(KEYS));
        for name in NAMES {
            let mut made = None;
            let mut bench = |at: &str, walk: fn(&dyn subject::Subject<K>)| {
                group.bench_function(BenchmarkId::new(name, at), |b| {
                    let subject = made.get_or_insert_with(|| subject::<K>(name, &above, &below));
                    b.iter(|| walk(&**subject));
                });
            };
            bench("forwards", |subject| subject.walk(&K::key(0), usize::MAX));
            bench("backwards", |subject| subject.walk_back());
        }
        group.finish();
    }
}

fn points<K: Entry>(c: &mut Criterion) {
    for keys in [1_000, 10_000, 100_000] {
        let mut set = c.benchmark_group(format!("set/{}/{keys}", K::NAME));
        quick(&mut set);
        for name in NAMES {
            let mut made = None;
            let mut order = Shuffle(2);
            set.bench_function(name, |b| {
                let subject = made.get_or_insert_with(|| subject::<K>(name, &mixed(keys), &[]));
                b.iter_batched(
                    || {
                        let at = order.next(keys);
                        (K::key(at), K::value(at + 1))
                    },
                    |(key, value)| subject.set(key, value),
                    BatchSize::NumIterations(100), // so few that they are still at hand when they are set
                );
            });
        }
        set.finish();
        let mut get = c.benchmark_group(format!("get/{}/{keys}", K::NAME));
        quick(&mut get);
        let sought: Vec<_> = (0..1024).scan(Shuffle(3), |order, _| Some(K::key(order.next(keys)))).collect();
        for name in NAMES {
            let mut made = None;
            let mut bench = |name: &str, published: bool| {
                get.bench_function(name, |b| {
                    let subject = made.get_or_insert_with(|| subject::<K>(name, &mixed(keys), &[]));
                    if published {
                        (0..2).for_each(|_| subject.walk(&K::key(0), 1));
                    }
                    let mut at = 0;
                    b.iter(|| {
                        at = (at + 1) % sought.len();
                        subject.get(&sought[at])
                    });
                });
            };
            bench(name, false);
            if name == "ours" {
                bench("ours_published", true); // the reads above find what nobody has published, these what somebody has
            }
        }
        get.finish();
    }
}

criterion_group!(
    groups,
    open10::<u64>,
    open10::<Bytes>,
    burst::<u64>,
    burst::<Bytes>,
    drain::<u64>,
    drain::<Bytes>,
    points::<u64>,
    points::<Bytes>
);

/// `figures` and `turns`, the latter up to a number of keys, by these names; the groups by any other filter; all without one.
fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (filter, number) = (given.next(), given.next());
    let asked = |name: &str| filter.as_deref().is_none_or(|filter| filter == name);
    if !matches!(filter.as_deref(), Some("figures" | "turns")) {
        groups();
        Criterion::default().configure_from_args().final_summary();
    }
    if asked("turns") {
        turns::print(number.and_then(|most| most.parse().ok()).unwrap_or(u64::MAX));
    }
    if asked("figures") {
        figures::print();
    }
}
