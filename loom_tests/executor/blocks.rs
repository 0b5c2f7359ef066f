//! Whole blocks of one to three transactions on real workers: each ends, for every worker, and comes to what sequential
//! execution comes to.
//!
//! A block takes a worker some hundred steps, so preemptions are bounded more tightly here; each model says by how much.

use crate::executor::block::{Config, Options};
use crate::executor::effect::Effect;
use crate::executor::elsewhere::Elsewhere;
use crate::executor::error::{BlockResult, Cause};
use crate::executor::job::Job;
use crate::executor::pool::Pool;
use crate::executor::sequential::execute_sequentially;
use crate::executor::vm::{Commit, OnCommit, Vm};
use crate::executor::worker::Worker;
use crate::kv::{KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use crate::loom_tests::explore_within;
use crate::multiversion::{MergeOperator, TxIndex, TxView, ViewError};
use crate::sync::Arc;
use loom::thread;
use std::ops::ControlFlow;
use std::time::Instant;

/// Balances: what an operand takes must be there.
#[derive(Debug)]
pub(super) struct Balance;

impl MergeOperator<u8, u8> for Balance {
    type Operand = i8;
    fn merge(_: &u8, base: Option<&u8>, operand: &i8) -> u8 {
        base.copied().unwrap_or(0).saturating_add_signed(*operand)
    }
    fn admits(_: &u8, base: Option<&u8>, operand: &i8) -> bool {
        base.copied().unwrap_or(0).checked_add_signed(*operand).is_some()
    }
}

pub(super) type View<'v> = TxView<'v, u8, u8, Balance>;
/// A transaction is what it does.
pub(super) type Block = &'static [fn(&View<'_>) -> Result<u8, Fault>];
pub(super) type Work = Arc<Job<'static, 'static, Calls>>;

/// Calls the transaction, of which it is known whether it is short.
#[derive(Debug)]
pub(super) struct Calls(fn(TxIndex) -> bool);

/// Nothing is short.
static CALLS: Calls = Calls(|_| false);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    View,
    Own,
}

impl From<ViewError> for Fault {
    fn from(_: ViewError) -> Self {
        Fault::View
    }
}

impl Vm for Calls {
    type Key = u8;
    type Value = u8;
    type Merge = Balance;
    type Transaction = fn(&View<'_>) -> Result<u8, Fault>;
    type Output = u8;
    type Error = Fault;
    fn execute(&self, transaction: &Self::Transaction, view: &View<'_>) -> Result<u8, Fault> {
        transaction(view)
    }
    fn is_long(&self, index: TxIndex, _: &Self::Transaction) -> Option<bool> {
        Some(!self.0(index))
    }
}

/// Reads `key` and writes `more` than was there.
pub(super) fn add(view: &View<'_>, key: u8, more: u8) -> Result<u8, Fault> {
    let before = view.get(&key)?.unwrap_or(0);
    view.set(key, before + more);
    Ok(before)
}

/// What a block came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) outputs: Vec<u8>,
    pub(super) batch: WriteBatch<u8, u8>,
    pub(super) committed: u32,
    pub(super) cause: Option<Cause<Fault>>,
}

impl Came {
    /// The same, in a block of which `committed` places are committed, others' too.
    fn placed(self, committed: u32) -> Self {
        Self { committed, ..self }
    }
}

impl From<BlockResult<Calls>> for Came {
    fn from(result: BlockResult<Calls>) -> Self {
        let (done, cause) = match result {
            Ok(done) => (done, None),
            Err(failed) => (failed.committed, Some(failed.cause)),
        };
        Self { outputs: done.outputs, batch: done.batch, committed: done.committed, cause }
    }
}

/// The state that every block runs over: key 1 holds 10.
fn state() -> MemSnapshot<u8, u8> {
    MemStore::from_iter([(1, 10)]).snapshot().unwrap()
}

/// A block that is in place, for workers that may claim one transaction each beyond the frontier.
pub(super) fn job(block: Block, options: Options<'static, Calls>) -> Work {
    job_of(&CALLS, block, options)
}

fn job_of(calls: &'static Calls, block: Block, options: Options<'static, Calls>) -> Work {
    let config = Config { run_ahead: 1, ..Config::default() };
    match Job::new(&config, 2, &state(), block, calls, options, None) {
        Ok(job) => Arc::new(job),
        Err(cause) => panic!("{cause:?}"),
    }
}

pub(super) fn worker(work: &Work) -> thread::JoinHandle<()> {
    let work = Arc::clone(work);
    thread::spawn(move || Worker::new(&work).run())
}

/// What the block came to, every worker having left.
pub(super) fn conclude(work: Work) -> Came {
    Arc::into_inner(work).unwrap().conclude(Instant::now(), None, &Pool::new(1, false).unwrap()).into()
}

pub(super) fn sequentially(block: Block) -> Came {
    execute_sequentially(&state(), block, &CALLS, None).into()
}

/// Executes `block` on two workers, and sequentially.
fn both(block: Block, options: Options<'static, Calls>) -> (Came, Came) {
    both_of(&CALLS, block, options)
}

fn both_of(calls: &'static Calls, block: Block, options: Options<'static, Calls>) -> (Came, Came) {
    let expected = sequentially(block);
    let work = job_of(calls, block, options);
    let other = worker(&work);
    Worker::new(&work).run();
    other.join().unwrap();
    (conclude(work), expected)
}

/// That `block` comes to what sequential execution comes to, in all interleavings of two workers.
fn equals_sequential(preemptions: usize, block: Block) {
    explore_within(preemptions, move || {
        let (came, expected) = both(block, Options::default());
        assert_eq!(came, expected);
    });
}

/// Every worker leaves a block in which there is nothing to do.
#[test]
fn an_empty_block_ends() {
    equals_sequential(3, &[]);
}

/// Every worker leaves a block of one transaction, which one of them executes.
#[test]
fn a_block_of_one_transaction_ends() {
    equals_sequential(3, &[|view| add(view, 1, 1)]);
}

/// Two transactions that have nothing to do with each other are both committed.
#[test]
fn transactions_apart_commit() {
    equals_sequential(2, &[|view| add(view, 1, 1), |view| add(view, 2, 1)]);
}

/// Of two transactions of which the second reads what the first writes, the second sees it.
#[test]
fn a_conflict_comes_to_the_sequential_result() {
    equals_sequential(2, &[|view| add(view, 1, 1), |view| add(view, 1, 1)]);
}

/// The same where the first is left to who commits, or the second to who commits or has nothing else to do: it is executed, and seen.
#[test]
fn what_is_left_comes_to_the_sequential_result() {
    static FIRST: Calls = Calls(|index| index == 0);
    static SECOND: Calls = Calls(|index| index == 1);
    for calls in [&FIRST, &SECOND] {
        explore_within(2, move || {
            let block: Block = &[|view| add(view, 1, 1), |view| add(view, 1, 1)];
            let (came, expected) = both_of(calls, block, Options::default());
            assert_eq!(came, expected);
        });
    }
}

/// Of three in a row each of which reads what the one before wrote, none is lost and none waits for ever.
#[test]
fn a_chain_of_conflicts_comes_to_the_sequential_result() {
    equals_sequential(2, &[|view| add(view, 1, 1), |view| add(view, 1, 2), |view| add(view, 1, 3)]);
}

/// A transaction that writes another key when it runs again takes its first write back: whoever had read it, or waited
/// for it, runs again or goes on.
#[test]
fn a_write_taken_back_is_not_read() {
    equals_sequential(
        2,
        &[
            |view| add(view, 1, 1),
            |view| {
                let there = view.get(&1)?.unwrap_or(0);
                view.set(there, 7); // at first, perhaps, key 10; in the end key 11
                Ok(there)
            },
            |view| Ok(view.get(&10)?.unwrap_or(0) + view.get(&11)?.unwrap_or(0)),
        ],
    );
}

/// A range that is walked while a transaction before it inserts shows the inserted key.
#[test]
fn a_range_comes_to_the_sequential_result() {
    equals_sequential(
        2,
        &[
            |view| {
                view.set(2, 5);
                view.delete(1);
                Ok(0)
            },
            |view| {
                let mut sum = 0;
                for entry in view.range(..) {
                    sum += entry?.1;
                }
                Ok(sum)
            },
        ],
    );
}

/// Operands of two transactions and the read of a third come to the sequential result.
#[test]
fn merges_come_to_the_sequential_result() {
    equals_sequential(
        2,
        &[
            |view| view.merge(1, 3).map(|()| 0).map_err(Fault::from),
            |view| view.merge(1, -12).map(|()| 0).map_err(Fault::from),
            |view| Ok(view.get(&1)?.unwrap_or(0)),
        ],
    );
}

fn refused(merged: Result<(), ViewError>) -> Result<u8, Fault> {
    match merged {
        Ok(()) => Ok(0),
        Err(ViewError::Refused { .. }) => Ok(1),
        Err(other) => Err(other.into()),
    }
}

/// A merge that is refused over what was committed below it runs again at the frontier, and is refused there.
#[test]
fn a_refused_merge_comes_to_the_sequential_result() {
    equals_sequential(2, &[|view| refused(view.merge(1, -8)), |view| refused(view.merge(1, -8))]);
}

/// A transaction that reads its own refused operand is put aside until everything below it is committed, and then runs.
#[test]
fn a_deferred_transaction_comes_to_the_sequential_result() {
    equals_sequential(
        2,
        &[
            |view| add(view, 1, 1),
            |view| {
                let merged = refused(view.merge(1, -11))?;
                Ok(merged + view.get(&1)?.unwrap_or(0))
            },
        ],
    );
}

/// A transaction that fails over what it read too early fails the block only if it fails at the frontier too.
#[test]
fn a_speculative_failure_fails_nothing() {
    equals_sequential(
        2,
        &[|view| add(view, 1, 1), |view| if view.get(&1)? == Some(10) { Err(Fault::Own) } else { Ok(1) }],
    );
}

/// A transaction that fails ends the block before it, with all that stands before it committed; who is still in a run
/// leaves it, and everybody leaves.
#[test]
fn a_failure_ends_the_block_before_it() {
    equals_sequential(2, &[|view| add(view, 1, 1), |_| Err(Fault::Own), |view| add(view, 1, 1)]);
}

/// The same of a transaction that panics.
#[test]
fn a_panic_ends_the_block_before_it() {
    equals_sequential(2, &[|view| add(view, 1, 1), |_| std::panic::resume_unwind(Box::new("no"))]);
}

/// A run that would go on for ever leaves when its block ends.
#[test]
fn a_run_under_way_leaves_a_block_that_ends() {
    equals_sequential(
        2,
        &[
            |_| Err(Fault::Own),
            |view| loop {
                view.check()?;
                thread::yield_now();
            },
        ],
    );
}

/// The hook hears of each commit in order, and its `Break` ends the block after that transaction for everybody, also for
/// a worker that is finishing a later one.
#[test]
fn a_break_ends_the_block_after_it() {
    static BLOCK: Block = &[|view| add(view, 1, 1), |view| add(view, 1, 2), |view| add(view, 1, 3)];
    explore_within(2, || {
        let mut heard = 0;
        let hook: OnCommit<'static, Calls> = Box::leak(Box::new(move |commit: Commit<'_, u8, u8, u8>| {
            assert_eq!(commit.index, heard);
            heard += 1;
            if commit.index == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }));
        let (came, _) = both(BLOCK, Options { on_commit: Some(hook), ..Options::default() });
        assert_eq!(came, sequentially(&BLOCK[..2]));
    });
}

/// Hints that are right, wrong or missing change nothing: an estimate that nobody fulfils keeps nobody waiting.
#[test]
fn hints_change_nothing() {
    static BLOCK: Block = &[|view| add(view, 2, 1), |view| add(view, 1, 1)];
    explore_within(2, || {
        let hints: &'static [Vec<u8>] = Box::leak(Box::new([vec![1], vec![1]]));
        let (came, expected) = both(BLOCK, Options { hints: Some(hints), ..Options::default() });
        assert_eq!(came, expected);
    });
}

/// A transaction executed elsewhere, whose outcome arrives while workers run, wait and sleep, is read as if it had been
/// executed here, and the block ends.
#[test]
fn an_outcome_from_elsewhere_is_read() {
    static BLOCK: Block = &[|view| add(view, 1, 1)];
    explore_within(2, || {
        let there = Elsewhere::new([(0, vec![1])]);
        let work = job(BLOCK, Options { elsewhere: Some(there.clone()), ..Options::default() });
        let other = thread::spawn(move || there.resolve(0, &1, Effect::Put(40)).unwrap());
        Worker::new(&work).run();
        other.join().unwrap();
        let came = conclude(work);
        assert_eq!((came.outputs, came.committed, came.cause), (vec![40], 2, None));
        assert_eq!(came.batch, WriteBatch::from_iter([(1, Op::Put(41))]));
    });
}

/// The same on two workers, the outcome being that nothing was written.
#[test]
fn an_outcome_from_elsewhere_reaches_both_workers() {
    static BLOCK: Block = &[|view| add(view, 1, 1)];
    explore_within(1, || {
        let there = Elsewhere::new([(0, vec![1])]);
        let work = job(BLOCK, Options { elsewhere: Some(there.clone()), ..Options::default() });
        let others = [worker(&work), thread::spawn(move || there.resolve(0, &1, Effect::NotWritten).unwrap())];
        Worker::new(&work).run();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(conclude(work), sequentially(BLOCK).placed(2));
    });
}

/// Operands from elsewhere come to what they would have here, whichever worker takes them in and whichever commits their place.
#[test]
fn operands_from_elsewhere_are_settled() {
    static BLOCK: Block = &[|view| {
        view.merge(1, 1)?;
        Ok(0)
    }];
    explore_within(2, || {
        let there = Elsewhere::new([(1, vec![1])]); // on top: nothing here would settle them
        let work = job(BLOCK, Options { elsewhere: Some(there.clone()), ..Options::default() });
        let others = [worker(&work), thread::spawn(move || there.resolve(1, &1, Effect::Merge(vec![2, 3])).unwrap())];
        Worker::new(&work).run();
        others.into_iter().for_each(|other| other.join().unwrap());
        let came = conclude(work);
        assert_eq!((came.outputs, came.committed, came.cause), (vec![0], 2, None));
        assert_eq!(came.batch, WriteBatch::from_iter([(1, Op::Put(16))]));
    });
}

/// A block whose last place is executed elsewhere ends when that has arrived.
#[test]
fn an_outcome_from_elsewhere_ends_the_block() {
    explore_within(3, || {
        let there = Elsewhere::new([(0, vec![1])]);
        let work = job(&[], Options { elsewhere: Some(there.clone()), ..Options::default() });
        let other = worker(&work);
        there.resolve(0, &1, Effect::NotWritten).unwrap();
        other.join().unwrap();
        assert_eq!(conclude(work), sequentially(&[]).placed(1));
    });
}

/// Places executed elsewhere that owe nothing commit without anything to execute or to wait for.
#[test]
fn places_that_owe_nothing_commit() {
    explore_within(2, || {
        let there = Elsewhere::new([(0, vec![]), (1, vec![])]);
        let work = job(&[], Options { elsewhere: Some(there), ..Options::default() });
        let other = worker(&work);
        Worker::new(&work).run();
        other.join().unwrap();
        assert_eq!(conclude(work), sequentially(&[]).placed(2));
    });
}

/// Places executed elsewhere keep nobody from what comes after them, though each worker meet one.
#[test]
fn a_place_elsewhere_is_passed_over() {
    static BLOCK: Block = &[|view| add(view, 1, 1)];
    explore_within(2, || {
        let there = Elsewhere::new([(0, vec![]), (1, vec![])]);
        let (came, expected) = both(BLOCK, Options { elsewhere: Some(there), ..Options::default() });
        assert_eq!(came, expected.placed(3));
    });
}
