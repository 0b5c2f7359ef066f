//! Costs of a view's operations over the versions of a block, a key at a time, beside a `BTreeMap` under a lock.
//!
//! The operations are timed inside a transaction that is known to be speculative: transaction 1 holds the frontier until
//! transaction 2 has been timed, and transaction 0, which wrote the versions it reads, is committed by then.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run ends")]

use cachekv::executor::{BlockExecutor, Config, Vm};
use cachekv::kv::{KvStore, MemStore};
use cachekv::multiversion::{NoMerge, TxView, ViewError};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parking_lot::RwLock;
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
}

/// Writes `keys` keys, then times `timed` on each of them.
struct Bench {
    keys: u64,
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
        match view.index() {
            0 => (0..self.keys).for_each(|key| view.set(spread(key), key)),
            1 => {
                while !self.done.load(Ordering::Acquire) {
                    view.check()?;
                    std::hint::spin_loop();
                }
            }
            _ => {
                if matches!(self.timed, Timed::ReadAgain) {
                    (0..self.keys).try_for_each(|key| view.get(&spread(key)).map(drop))?;
                }
                let began = Instant::now();
                (0..self.keys).try_for_each(|key| self.one(spread(key), view))?;
                if !self.done.load(Ordering::Acquire) {
                    self.nanos.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
                }
                self.done.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

impl Bench {
    fn one(&self, key: u64, view: &TxView<'_, u64, u64>) -> Result<(), ViewError> {
        match self.timed {
            Timed::Read | Timed::ReadAgain => drop(black_box(view.get(&key)?)),
            Timed::Contains => drop(black_box(view.contains(&key)?)),
            Timed::Set => view.set(key, key),
            Timed::Walk => {
                for entry in view.range(key..).take(10) {
                    black_box(entry?);
                }
            }
        }
        Ok(())
    }
}

fn multiversion(criterion: &mut Criterion) {
    let mut config = Config::default();
    config.threads = 2;
    let executor = BlockExecutor::with_config(config).expect("threads");
    let snapshot = MemStore::new().snapshot().expect("memory");
    for keys in [100, 1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("{keys} keys, per key"));
        for timed in [Timed::Read, Timed::ReadAgain, Timed::Contains, Timed::Set, Timed::Walk] {
            if matches!(timed, Timed::Walk) && keys > 1_000 {
                continue; // records grow with every walk of one transaction; a thousand are many
            }
            group.bench_function(BenchmarkId::from_parameter(format!("{timed:?}")), |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        let (done, nanos) = (AtomicBool::new(false), AtomicU64::new(0));
                        let vm = Bench { keys, timed, done, nanos };
                        executor.execute(&snapshot, &[(), (), ()], &vm).map_err(|error| error.cause).expect("a block");
                        total += Duration::from_nanos(vm.nanos.load(Ordering::Relaxed) / keys);
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
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = multiversion
}
criterion_main!(benches);
