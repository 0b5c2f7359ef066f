//! The hottest operations of the crate, to be counted in instructions by `benches/instructions/check`.
//!
//! Called with a name and a number it prepares and then does the operation so many times; called with `list` it says which
//! there are, and how many times are enough for the seeds of hash tables not to matter. Two counts of one operation differ by
//! the operation alone.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run ends")]

use cachekv::cachekv::Store;
use cachekv::executor::{BlockExecutor, Config, Vm, execute_sequentially};
use cachekv::kv::{KvStore, MemSnapshot, MemStore, WriteBatch};
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use std::hint::black_box;
use std::time::Duration;

/// The keys of every state here.
const KEYS: u64 = 10_000;
/// Transactions of a block.
const BLOCK: u64 = 1_000;

type Operation = (&'static str, u64, fn(u64));

const OPERATIONS: &[Operation] = &[
    // Over 10,000 written keys.
    ("cachekv_set", 20_000, |times| {
        let store = written();
        numbers(times).for_each(|key| store.set(key, key));
    }),
    ("cachekv_get", 20_000, |times| {
        let store = written();
        numbers(times).for_each(|key| pass(store.get(&key)));
    }),
    // An iterator, of which nothing is taken, after a set: both.
    ("cachekv_set_and_open", 10_000, |times| {
        let store = written();
        numbers(times).for_each(|key| {
            store.set(key, key);
            pass(store.range(key..));
        });
    }),
    ("cachekv_open_unchanged", 10_000, |times| {
        let store = written();
        (0..2).for_each(|_| drop(store.range(..)));
        numbers(times).for_each(|key| pass(store.range(key..)));
    }),
    // A key of a walk, over an empty parent and over one with every other key.
    ("cachekv_next", 100_000, |times| {
        let store = written();
        (0..times / KEYS).for_each(|_| store.range(..).for_each(pass));
    }),
    ("cachekv_next_merged", 100_000, |times| {
        let store = Store::new((0..KEYS).step_by(2).map(|key| (key, key)).collect::<MemStore<_, _>>()).expect("memory");
        (1..KEYS).step_by(2).for_each(|key| store.set(key, key));
        (0..times / KEYS).for_each(|_| store.range(..).for_each(pass));
    }),
    // A transaction of a block, by views over versions.
    ("sequential_transfer", 20_000, |times| {
        let (state, block) = (state(), block(Deed::Transfer));
        (0..times / BLOCK).for_each(|_| drop(execute_sequentially(&state, &block, &Machine, None)));
    }),
    ("executor_transfer", 20_000, |times| in_blocks(times, Deed::Transfer)),
    ("executor_scan_10", 5_000, |times| in_blocks(times, |from, _| Deed::Scan(from))),
    ("executor_merge", 20_000, |times| in_blocks(times, |_, _| Deed::Merge)),
    // A key of a batch of a hundred.
    ("kv_commit", 20_000, |times| {
        let store = (0..KEYS).map(|key| (key, key)).collect::<MemStore<_, _>>();
        let mut keys = numbers(times);
        for _ in 0..times / 100 {
            let mut batch = WriteBatch::new();
            keys.by_ref().take(100).for_each(|key| batch.put(key, key));
            drop(store.commit(batch));
        }
    }),
];

/// Takes a result, as a caller would that uses it.
fn pass<T>(result: T) {
    black_box(result);
}

/// Keys in an order without pattern, the same in every run.
fn numbers(times: u64) -> impl Iterator<Item = u64> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(7), next).map(|state| (state >> 33) % KEYS).take(times as usize)
}

fn written() -> Store<MemStore<u64, u64>> {
    let store = Store::new(MemStore::new()).expect("memory");
    (0..KEYS).for_each(|key| store.set(key.wrapping_mul(7919) % KEYS, key));
    store
}

fn state() -> MemSnapshot<u64, u64> {
    (0..KEYS).map(|key| (key, 1_000)).collect::<MemStore<_, _>>().snapshot().expect("memory")
}

enum Deed {
    Transfer(u64, u64),
    /// Reads ten keys and writes the first.
    Scan(u64),
    /// Adds 1 to the one counter.
    Merge,
}

fn block(deed: impl Fn(u64, u64) -> Deed) -> Vec<Deed> {
    let keys: Vec<_> = numbers(2 * BLOCK).collect();
    keys.chunks_exact(2).filter_map(|two| Some(deed(*two.first()?, *two.last()?))).collect()
}

fn in_blocks(times: u64, deed: impl Fn(u64, u64) -> Deed) {
    let (state, block) = (state(), block(deed));
    let mut config = Config::default();
    (config.threads, config.shared_from) = (1, Duration::ZERO); // else it would be sequential execution
    let executor = BlockExecutor::with_config(config).expect("threads");
    (0..times / BLOCK).for_each(|_| drop(executor.execute(&state, &block, &Machine)));
}

struct Machine;

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

impl Vm for Machine {
    type Key = u64;
    type Value = u64;
    type Merge = Sum;
    type Transaction = Deed;
    type Output = ();
    type Error = ViewError;

    fn execute(&self, deed: &Deed, view: &TxView<'_, u64, u64, Sum>) -> Result<(), ViewError> {
        match *deed {
            Deed::Transfer(from, to) => {
                let (a, b) = (view.get(&from)?.unwrap_or(0), view.get(&to)?.unwrap_or(0));
                view.set(from, a.wrapping_sub(1));
                view.set(to, b.wrapping_add(1));
            }
            Deed::Scan(from) => {
                let mut sum = 0_u64;
                for entry in view.range(from..).take(10) {
                    sum = sum.wrapping_add(entry?.1);
                }
                view.set(from, sum);
            }
            Deed::Merge => view.merge(0, 1)?,
        }
        Ok(())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let name = arguments.next().unwrap_or_else(|| "list".to_owned());
    let Some((_, _, run)) = OPERATIONS.iter().find(|(known, ..)| *known == name) else {
        return OPERATIONS.iter().for_each(|(name, times, _)| println!("{name} {times}"));
    };
    run(arguments.next().and_then(|times| times.parse().ok()).unwrap_or(0));
}
