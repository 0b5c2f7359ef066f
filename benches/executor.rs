//! Blocks of the Block-STM paper's transfers: two reads and two writes of two distinct accounts, with and without 10 µs
//! of computation; sequential execution is the baseline of every group. And the hot counter, and ranges.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run ends")]

use cachekv::executor::{BlockExecutor, Vm, execute_sequentially};
use cachekv::kv::{KvStore, MemStore};
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What a transaction does besides computing.
#[derive(Clone, Copy)]
enum Work {
    /// Moves 1 from one account to another.
    Transfer(u64, u64),
    /// Adds 1 to the one counter, by merge.
    Count,
    /// Scans 10 keys from here and writes the first.
    Scan(u64),
}

struct Bench {
    compute: Duration,
}

struct Sum;

impl MergeOperator<u64, u64> for Sum {
    type Operand = u64;
    fn merge(_: &u64, base: Option<&u64>, operand: &u64) -> u64 {
        base.copied().unwrap_or(0).wrapping_add(*operand)
    }
    fn combine(_: &u64, earlier: &u64, later: &u64) -> Option<u64> {
        Some(earlier.wrapping_add(*later))
    }
}

/// Rounds of arithmetic a microsecond, measured once.
static ROUNDS_PER_MICRO: LazyLock<u64> = LazyLock::new(|| {
    let best = (0..20).map(|_| {
        let began = Instant::now();
        black_box(spin(1_000_000));
        began.elapsed()
    });
    let best = best.min().unwrap_or(Duration::from_millis(1));
    1_000_000_000 / best.as_nanos().max(1) as u64
});

fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |acc: u64, round| black_box(acc.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round))
}

impl Vm for Bench {
    type Key = u64;
    type Value = u64;
    type Merge = Sum;
    type Transaction = Work;
    type Output = ();
    type Error = ViewError;

    fn execute(&self, work: &Work, view: &TxView<'_, u64, u64, Sum>) -> Result<(), ViewError> {
        let compute = || black_box(spin(self.compute.as_micros() as u64 * *ROUNDS_PER_MICRO));
        match *work {
            Work::Transfer(from, to) => {
                let (a, b) = (view.get(&from)?.unwrap_or(0), view.get(&to)?.unwrap_or(0));
                compute();
                view.set(from, a.wrapping_sub(1));
                view.set(to, b.wrapping_add(1));
            }
            Work::Count => {
                compute();
                view.merge(0, 1)?;
            }
            Work::Scan(from) => {
                let mut sum = 0u64;
                for entry in view.range(from..).take(10) {
                    sum = sum.wrapping_add(entry?.1);
                }
                compute();
                view.set(from, sum);
            }
        }
        Ok(())
    }
}

/// A small generator with a fixed seed: the same blocks in every run.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn transfers(block: u64, accounts: u64) -> Vec<Work> {
    let mut random = random(accounts ^ block << 20);
    let one = |_| {
        let from = random(accounts);
        Work::Transfer(from, (from + 1 + random(accounts - 1)) % accounts)
    };
    (0..block).map(one).collect()
}

fn group(criterion: &mut Criterion, name: &str, compute: Duration, accounts: u64, block: &[Work]) {
    let store = MemStore::from_iter((0..accounts).map(|account| (account, 1_000_000)));
    let snapshot = store.snapshot().expect("memory");
    let vm = Bench { compute };
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(block.len() as u64));
    group.bench_function(BenchmarkId::new("sequential", accounts), |bencher| {
        bencher.iter(|| execute_sequentially(&snapshot, block, &vm, None).ok());
    });
    for threads in [1, 2] {
        let executor = BlockExecutor::new(threads).expect("threads");
        group.bench_function(BenchmarkId::new(format!("{threads} threads"), accounts), |bencher| {
            bencher.iter(|| executor.execute(&snapshot, block, &vm).ok());
        });
        if let Ok(done) = executor.execute(&snapshot, block, &vm) {
            let per_tx = done.stats.executions as f64 / block.len() as f64;
            println!("{name}/{threads} threads/{accounts}: {per_tx:.3} executions a transaction");
        }
    }
    group.finish();
}

fn executor(criterion: &mut Criterion) {
    for micros in [0, 10] {
        for len in [1_000, 10_000] {
            for accounts in [2, 10, 100, 1_000, 10_000] {
                let name = format!("transfers, {micros} µs, block of {len}");
                group(criterion, &name, Duration::from_micros(micros), accounts, &transfers(len, accounts));
            }
        }
    }
    let counts = vec![Work::Count; 10_000];
    group(criterion, "hot counter by merge, 10 µs, block of 10000", Duration::from_micros(10), 1, &counts);
    let mut random = random(7);
    let scans: Vec<_> = (0..10_000).map(|_| Work::Scan(random(9_990))).collect();
    group(criterion, "scans of 10 keys, 0 µs, block of 10000", Duration::ZERO, 10_000, &scans);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = executor
}
criterion_main!(benches);
