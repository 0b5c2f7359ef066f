//! Keys and values whose own code panics: cloned, compared or hashed once too often, by whomever. The block ends with an
//! error that says so and the prefix before it, or is what it would be; nobody hangs; the next block on the same executor is
//! right.

use crate::faulty::finishes;
use cachekv::executor::{BlockExecutor, BlockResult, Cause, Options, Vm, execute_sequentially};
use cachekv::kv::{KvStore, MemSnapshot, MemStore, WriteBatch};
use cachekv::multiversion::{MergeOperator, NoMerge, TxView, ViewError};
use std::cmp::Ordering as Order;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Panics at one use, those before counted by all that share it.
#[derive(Clone, Debug)]
struct Fuse(Arc<AtomicI64>);

impl Fuse {
    fn burn(&self) {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            resume_unwind(Box::new("brittle")); // without the hook: it happens hundreds of times
        }
    }

    /// Panics at the `uses`th use from now on; never again if that is 0.
    fn set(&self, uses: i64) {
        self.0.store(uses, Ordering::Relaxed);
    }
}

/// A number that panics when its fuse says so. For keys and values alike.
#[derive(Debug)]
struct Brittle(u32, Fuse);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        self.1.burn();
        Self(self.0, self.1.clone())
    }
}

impl PartialEq for Brittle {
    fn eq(&self, other: &Self) -> bool {
        self.1.burn();
        self.0 == other.0
    }
}

impl Eq for Brittle {}

impl PartialOrd for Brittle {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Brittle {
    fn cmp(&self, other: &Self) -> Order {
        self.1.burn();
        self.0.cmp(&other.0)
    }
}

impl Hash for Brittle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.burn();
        self.0.hash(state);
    }
}

struct Sum;

impl MergeOperator<Brittle, Brittle> for Sum {
    type Operand = u32;
    fn merge(_: &Brittle, base: Option<&Brittle>, operand: &u32) -> Brittle {
        let fuse = base.map_or_else(|| Fuse(Arc::default()), |base| base.1.clone());
        Brittle(base.map_or(0, |base| base.0) + operand, fuse)
    }
}

/// Reads, writes, merges, walks and deletes, every transaction somewhat else.
struct Machine(Fuse);

impl Vm for Machine {
    type Key = Brittle;
    type Value = Brittle;
    type Merge = Sum;
    type Transaction = u32;
    type Output = u32;
    type Error = ViewError;

    fn execute(&self, at: &u32, view: &TxView<'_, Brittle, Brittle, Sum>) -> Result<u32, ViewError> {
        let number = |number| Brittle(number, self.0.clone());
        let seen = view.get(&number(at % 3))?.map_or(0, |value| value.0);
        view.merge(number(5), 1)?;
        std::thread::yield_now(); // so that others come in between
        match at % 4 {
            0 => view.set(number(at % 3), number(seen + 1)),
            1 => view.set(number(at + 10), number(seen)),
            2 => view.delete(number(at + 8)),
            _ => {}
        }
        view.range(..)
            .take(2 + *at as usize % 3)
            .try_fold(seen, |sum, entry| entry.map(|(key, value)| sum + key.0 + value.0))
    }
}

type Batch = WriteBatch<Brittle, Brittle>;

fn numbers(batch: &Batch) -> Vec<(u32, Option<u32>)> {
    batch.iter().map(|(key, op)| (key.0, op.value().map(|value| value.0))).collect()
}

struct Case {
    fuse: Fuse,
    snapshot: MemSnapshot<Brittle, Brittle>,
    block: Vec<u32>,
    hints: Vec<Vec<Brittle>>,
    /// What the first so many transactions come to.
    plain: Vec<(Vec<u32>, Vec<(u32, Option<u32>)>)>,
}

impl Case {
    fn new() -> Self {
        let fuse = Fuse(Arc::default());
        let number = |number| Brittle(number, fuse.clone());
        let snapshot = MemStore::from_iter([0, 1, 5, 7].map(|key| (number(key), number(key * 10)))).snapshot().unwrap();
        let block: Vec<u32> = (0..10).collect();
        let plain = (0..=block.len()).map(|len| {
            let done = execute_sequentially(&snapshot, &block[..len], &Machine(fuse.clone()), None).unwrap();
            (done.outputs, numbers(&done.batch))
        });
        let plain = plain.collect();
        let hints = block.iter().map(|at| vec![number(at % 3), number(5)]).collect();
        Self { fuse, snapshot, block, hints, plain }
    }

    /// With hints, right ones and wrong ones: they are noted where no transaction is at hand.
    fn execute(&self, executor: &BlockExecutor) -> BlockResult<Machine> {
        let options = Options { hints: Some(&self.hints), ..Options::default() };
        executor.execute_with(&self.snapshot, &self.block, &Machine(self.fuse.clone()), options)
    }

    fn assert_prefix(&self, outputs: &[u32], batch: &Batch, committed: u32) {
        let (due, writes) = &self.plain[committed as usize];
        assert_eq!((outputs, numbers(batch)), (due.as_slice(), writes.clone()));
    }

    fn execute_sequentially(&self) -> BlockResult<Machine> {
        execute_sequentially(&self.snapshot, &self.block, &Machine(self.fuse.clone()), None)
    }

    /// How many uses `execute` makes.
    fn uses(&self, execute: impl Fn(&Self) -> BlockResult<Machine>) -> i64 {
        self.fuse.set(i64::MAX);
        execute(self).unwrap();
        i64::MAX - self.fuse.0.load(Ordering::Relaxed)
    }

    /// The block with a panic at the `uses`th use; whether that ended it.
    fn breaks(&self, execute: impl Fn(&Self) -> BlockResult<Machine>, uses: i64) -> bool {
        self.fuse.set(uses);
        let done = execute(self);
        self.fuse.set(0);
        match done {
            Ok(output) => {
                assert_eq!(output.committed as usize, self.block.len());
                self.assert_prefix(&output.outputs, &output.batch, output.committed);
                false
            }
            Err(error) => {
                let committed = &error.committed;
                assert!(
                    matches!(&error.cause, Cause::Panicked { message, .. } if message == "brittle"),
                    "{:?}",
                    error.cause
                );
                self.assert_prefix(&committed.outputs, &committed.batch, committed.committed);
                true
            }
        }
    }
}

/// How many of `uses` every run makes: hash tables are seeded anew, and a few comparisons more or less come with it.
fn sure(uses: i64) -> i64 {
    uses - uses / 10
}

#[test]
fn a_panic_at_any_use_of_a_key_or_value_ends_the_block_and_no_more() {
    for (threads, from) in [(1, 0), (2, 0), (4, 0), (2, 1), (2, u64::MAX)] {
        finishes("a block", move || {
            let case = Case::new();
            let executor = crate::acts::sharing_from(threads, from);
            let execute = |case: &Case| case.execute(&executor);
            let uses = case.uses(execute);
            assert!(uses > 200, "{uses}");
            let mut ended = 0_i64;
            for at in 1..=uses {
                ended += i64::from(case.breaks(execute, at));
                let done = execute(&case).unwrap();
                case.assert_prefix(&done.outputs, &done.batch, done.committed);
            }
            println!("{executor:?}: {ended} of {uses} panics ended the block");
            assert!(threads > 1 || ended >= sure(uses), "one thread has nothing but runs that count");
        });
    }
}

#[test]
fn so_it_does_sequentially() {
    let case = Case::new();
    let uses = case.uses(Case::execute_sequentially);
    assert!((1..=sure(uses)).all(|at| case.breaks(Case::execute_sequentially, at)));
}

/// A key of which there is one only if it is 13.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Single(u32);

impl Clone for Single {
    fn clone(&self) -> Self {
        assert_ne!(self.0, 13, "there is one of it");
        Self(self.0)
    }
}

/// Writes the key of its transaction, and takes its time over 3.
struct Writes;

impl Vm for Writes {
    type Key = Single;
    type Value = u32;
    type Merge = NoMerge;
    type Transaction = u32;
    type Output = ();
    type Error = ViewError;

    fn execute(&self, key: &u32, view: &TxView<'_, Single, u32>) -> Result<(), ViewError> {
        if *key == 3 {
            std::thread::sleep(std::time::Duration::from_millis(65));
        }
        view.set(Single(*key), *key);
        Ok(())
    }
}

/// What a key's code does not bear when others take over what was executed sequentially is not asked of it: the block comes to what it
/// does sequentially.
#[test]
fn a_key_that_cannot_be_taken_over_is_not() {
    finishes("a block", || {
        let base = MemStore::<Single, u32>::new().snapshot().unwrap();
        let block = [1, 2, 13, 3, 4, 5, 6, 7];
        let due = execute_sequentially(&base, &block, &Writes, None).unwrap();
        let done = crate::acts::sharing_from(2, 1_000_000).execute(&base, &block, &Writes).unwrap();
        assert_eq!((&done.outputs, &done.batch), (&due.outputs, &due.batch));
        assert_eq!((done.committed, done.stats.executions), (8, 4 + 8), "all of it, once four had been executed");
    });
}

/// A key that has no hash if it is 13.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unlucky(u32);

impl Hash for Unlucky {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.0 == 13 {
            resume_unwind(Box::new("thirteen"));
        }
        self.0.hash(state);
    }
}

/// The second transaction writes the key that it reads from the first: in a run before the first's, one that there is not.
#[derive(Default)]
struct Naming {
    read: AtomicI64,
}

impl Vm for Naming {
    type Key = Unlucky;
    type Value = u32;
    type Merge = NoMerge;
    type Transaction = bool;
    type Output = u32;
    type Error = ViewError;

    fn execute(&self, first: &bool, view: &TxView<'_, Unlucky, u32>) -> Result<u32, ViewError> {
        let key = if *first { 1 } else { view.get(&Unlucky(1))?.unwrap_or(13) };
        self.read.fetch_add(i64::from(!first), Ordering::Relaxed);
        while *first && self.read.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
            view.check()?;
        }
        view.set(Unlucky(key), 14);
        Ok(key)
    }
}

/// A panic of a key's code where a run is published that is none in the end is nothing, as one in the run itself.
#[test]
fn a_panic_where_a_stale_run_is_published_is_nothing() {
    finishes("a block", || {
        let naming = Naming::default();
        let base = MemStore::new().snapshot().unwrap();
        let done = crate::acts::sharing(2).execute(&base, &[true, false], &naming).unwrap();
        assert_eq!(done.outputs, [1, 14]);
        assert_eq!(done.batch.iter().map(|(key, _)| key.0).collect::<Vec<_>>(), [1, 14]);
        assert!(naming.read.load(Ordering::Relaxed) > 1, "the second was executed once, so that nothing was stale");
    });
}
