//! Costs of the versions of a block, a key at a time, beside a `BTreeMap` under a lock: operations of a view, walks and
//! validation at several places of a block, and publication. And how much memory a touched key takes.
//!
//! The operations of a view are timed inside a transaction that is known to be speculative: the one before it holds the
//! frontier until it has been timed, and those that wrote the versions which it reads are committed by then. Publication is
//! the time from the end of one transaction to the begin of the next, on one thread.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run ends")]

use cachekv::executor::{BlockExecutor, Config, Vm};
use cachekv::kv::{KvStore, MemStore};
use cachekv::multiversion::{NoMerge, TxIndex, TxView, ViewError};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
enum Timed {
    Read,
    ReadAgain,
    Contains,
    Set,
    /// Walks 10 keys from each.
    Walk,
    /// Validates a read of each.
    ValidateRead,
    /// Validates a walk of 10 keys from each.
    ValidateWalk,
}

/// Transactions before `place` write `keys` keys in turn, then `timed` is timed on each of them.
struct Bench {
    keys: u64,
    place: TxIndex,
    timed: Timed,
    done: AtomicBool,
    nanos: AtomicU64,
}

/// Spreads keys, so that neighbours in time are none in order.
fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Vm for Bench {
    type Key = u64;
    type Value = u64;
    type Merge = NoMerge;
    type Transaction = ();
    type Output = ();
    type Error = ViewError;

    fn execute(&self, (): &(), view: &TxView<'_, u64, u64>) -> Result<(), ViewError> {
        let (index, writers) = (view.index(), u64::from(self.place - 1));
        if u64::from(index) < writers {
            let mine = (u64::from(index)..self.keys.max(writers)).step_by(writers as usize);
            mine.for_each(|key| view.set(spread(key % self.keys), key));
        } else if index < self.place {
            while !self.done.load(Ordering::Acquire) {
                view.check()?;
                std::hint::spin_loop();
            }
        } else {
            let nanos = self.time(view)?;
            if !self.done.load(Ordering::Acquire) {
                self.nanos.store(nanos.as_nanos() as u64, Ordering::Relaxed);
            }
            self.done.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Bench {
    fn time(&self, view: &TxView<'_, u64, u64>) -> Result<Duration, ViewError> {
        let before = match self.timed {
            Timed::ReadAgain | Timed::ValidateRead => Some(Timed::Read),
            Timed::ValidateWalk => Some(Timed::Walk),
            _ => None,
        };
        if let Some(before) = before {
            (0..self.keys).try_for_each(|key| Self::one(before, spread(key), view))?;
        }
        let began = Instant::now();
        match self.timed {
            // A run that has observed n things validates them at every 2n-th call.
            Timed::ValidateRead => (0..=2 * self.keys.max(32)).try_for_each(|_| view.check())?,
            Timed::ValidateWalk => (0..=2 * 11 * self.keys.max(32)).try_for_each(|_| view.check())?,
            timed => (0..self.keys).try_for_each(|key| Self::one(timed, spread(key), view))?,
        }
        Ok(began.elapsed())
    }

    fn one(timed: Timed, key: u64, view: &TxView<'_, u64, u64>) -> Result<(), ViewError> {
        match timed {
            Timed::Contains => drop(black_box(view.contains(&key)?)),
            Timed::Set => view.set(key, key),
            Timed::Walk => {
                for entry in view.range(key..).take(10) {
                    black_box(entry?);
                }
            }
            _ => drop(black_box(view.get(&key)?)),
        }
        Ok(())
    }
}

/// Every transaction writes the same `keys` keys; the time between two.
struct Publication {
    keys: u64,
    ended: Mutex<Option<Instant>>,
    /// First writes, and writes over those.
    took: Mutex<[Duration; 2]>,
}

impl Vm for Publication {
    type Key = u64;
    type Value = u64;
    type Merge = NoMerge;
    type Transaction = ();
    type Output = ();
    type Error = ViewError;

    fn execute(&self, (): &(), view: &TxView<'_, u64, u64>) -> Result<(), ViewError> {
        let began = Instant::now();
        if let Some(ended) = self.ended.lock().take()
            && let Some(took) = self.took.lock().get_mut(view.index() as usize - 1)
        {
            *took = began - ended;
        }
        (0..self.keys).for_each(|key| view.set(spread(key), key));
        *self.ended.lock() = Some(Instant::now());
        Ok(())
    }
}

/// Every transaction writes ten keys of its own; how much more memory the process has at the last than at the first.
struct Memory {
    at: Mutex<[u64; 2]>,
}

impl Vm for Memory {
    type Key = u64;
    type Value = u64;
    type Merge = NoMerge;
    type Transaction = ();
    type Output = ();
    type Error = ViewError;

    fn execute(&self, (): &(), view: &TxView<'_, u64, u64>) -> Result<(), ViewError> {
        let index = u64::from(view.index());
        if let Some(at) = self.at.lock().get_mut(usize::from(index > 0)) {
            *at = if index % 1000 == 999 || index == 0 { resident_bytes() } else { *at };
        }
        (0..10).for_each(|key| view.set(spread(10 * index + key), key));
        Ok(())
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// One whose threads all work from the block's begin: one of them keeps the frontier where it is while another is timed.
fn executor(threads: usize) -> BlockExecutor {
    let mut config = Config::default();
    (config.threads, config.shared_from) = (threads, Duration::ZERO);
    BlockExecutor::with_config(config).expect("threads")
}

fn multiversion(criterion: &mut Criterion) {
    let two = executor(2);
    let one = executor(1);
    let snapshot = MemStore::new().snapshot().expect("memory");
    let time = |keys: u64, place: TxIndex, timed: Timed, rounds: u64| {
        let block = vec![(); place as usize + 1];
        let mut total = Duration::ZERO;
        for _ in 0..rounds {
            let (done, nanos) = (AtomicBool::new(false), AtomicU64::new(0));
            let vm = Bench { keys, place, timed, done, nanos };
            two.execute(&snapshot, &block, &vm).map_err(|error| error.cause).expect("a block");
            total += Duration::from_nanos(vm.nanos.load(Ordering::Relaxed) / keys);
        }
        total
    };
    for place in [10, 1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("10 keys walked, at transaction {place}"));
        for timed in [Timed::Walk, Timed::ValidateWalk] {
            group.bench_function(BenchmarkId::from_parameter(format!("{timed:?}")), |bencher| {
                bencher.iter_custom(|rounds| time(100, place, timed, rounds));
            });
        }
        group.finish();
    }
    for keys in [100, 1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("{keys} keys, per key"));
        for timed in [Timed::Read, Timed::ReadAgain, Timed::Contains, Timed::Set, Timed::ValidateRead] {
            group.bench_function(BenchmarkId::from_parameter(format!("{timed:?}")), |bencher| {
                bencher.iter_custom(|rounds| time(keys, 2, timed, rounds));
            });
        }
        for (at, name) in ["publish first versions", "publish over them"].into_iter().enumerate() {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        let vm = Publication { keys, ended: Mutex::new(None), took: Mutex::default() };
                        one.execute(&snapshot, &[(), (), ()], &vm).map_err(|error| error.cause).expect("a block");
                        total += vm.took.lock().get(at).copied().unwrap_or_default() / keys as u32;
                    }
                    total
                });
            });
        }
        let map: RwLock<BTreeMap<u64, u64>> = RwLock::new((0..keys).map(|key| (spread(key), key)).collect());
        group.bench_function("baseline: Read of a BTreeMap under a lock", |bencher| {
            bencher.iter_custom(|rounds| {
                let began = Instant::now();
                for _ in 0..rounds {
                    (0..keys).for_each(|key| {
                        black_box(map.read().get(&spread(key)).copied());
                    });
                }
                began.elapsed() / keys as u32
            });
        });
        group.finish();
    }
    let (vm, len) = (Memory { at: Mutex::default() }, 100_000);
    one.execute(&snapshot, &vec![(); len as usize], &vm).map_err(|error| error.cause).expect("a block");
    let [before, after] = *vm.at.lock();
    println!("memory: {} bytes a written key, key and value (16 bytes) included", (after - before) / (10 * len));
}

/// As in the benchmarks of whole blocks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = multiversion
}
criterion_main!(benches);
