//! The speculative state of a block under the model checker: transactions that run, publish, are validated and settled by
//! hand, on two or three threads at once.
//!
//! The directory is a model of its contract (`src/sync`): a walk may pass over a key whose listing did not happen before
//! it. The hash table of the index is the real one and under a lock that the checker sees. The skip list's own insides
//! are for stress and the thread sanitizer.

mod chains;
mod listing;
mod merging;
mod observing;
mod unlocked;

use super::{
    Finished, LANES, MergeOperator, MultiVersionStore, ReadSet, Settlement, TxIndex, TxView, Version, ViewError, Write,
    Written, validate,
};
use crate::kv::{DynRead, Error, KeyRange, KvRead, MemSnapshot, MemStore, Op, WriteBatch};
use crate::loom_tests::{explore, explore_within};
use crate::sync::{AtomicBool, Ordering};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize; // the model checker has nothing to try where it is used

/// Adds, and refuses what would go below zero.
struct Add;
impl MergeOperator<u8, i64> for Add {
    type Operand = i64;
    fn merge(_: &u8, base: Option<&i64>, operand: &i64) -> i64 {
        base.copied().unwrap_or(0) + operand
    }
    fn admits(_: &u8, base: Option<&i64>, operand: &i64) -> bool {
        base.copied().unwrap_or(0) + operand >= 0
    }
}

type View<'a> = TxView<'a, u8, i64, Add>;
type Answer = Result<Option<i64>, ViewError>;

/// The state before the block, which counts how often it is read.
#[derive(Clone)]
struct Base {
    state: MemSnapshot<u8, i64>,
    reads: Arc<AtomicUsize>,
}

impl KvRead for Base {
    type Key = u8;
    type Value = i64;
    type Iter = <MemSnapshot<u8, i64> as KvRead>::Iter;
    type Root = Self;
    fn get(&self, key: &u8) -> Result<Option<i64>, Error> {
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.state.get(key)
    }
    fn scan(&self, range: KeyRange<u8>) -> Self::Iter {
        self.state.scan(range)
    }
    fn root(&self) -> &Self {
        self
    }
}

/// A block whose transactions are executed by hand.
struct Block {
    store: MultiVersionStore<u8, i64, Add>,
    interrupted: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

/// An execution that has not been published.
struct Ready {
    version: Version,
    finished: Finished<u8, i64, i64>,
    /// Where earlier ones wrote.
    previous: Written<i64>,
}

/// What an execution wrote, whom that may concern, and the operands it owes.
struct Done {
    written: Written<i64>,
    readers_end: TxIndex,
    obligations: Vec<(u8, super::Operands<i64>)>,
}

/// What an execution has answered, and what it depends on.
struct Observed<R> {
    answer: R,
    reads: ReadSet<u8, i64, i64>,
}

impl Block {
    fn over(base: &[(u8, i64)]) -> Arc<Self> {
        use crate::kv::KvStore;
        let (interrupted, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let state = MemStore::from_iter(base.iter().copied()).snapshot().unwrap();
        let base = DynRead::new(Base { state, reads: Arc::clone(&reads) });
        let store = MultiVersionStore::new(base, 0, Arc::clone(&interrupted));
        Arc::new(Self { store, interrupted, reads })
    }

    fn view(&self, tx: TxIndex) -> View<'_> {
        TxView::speculative(&self.store, Version { tx, incarnation: 0 }, ReadSet::new())
    }

    /// Executes `tx` for the first time; nothing is published. Before the threads begin, that is: see `loom_tests/mod.rs` for
    /// what the checker misses where a thread looks at a count (here the clock's, for its view) that it then raises.
    fn ready(&self, tx: TxIndex, run: impl FnOnce(&View<'_>)) -> Ready {
        self.ready_as(Version { tx, incarnation: 0 }, run)
    }

    fn ready_as(&self, version: Version, run: impl FnOnce(&View<'_>)) -> Ready {
        let view = TxView::speculative(&self.store, version, ReadSet::new());
        run(&view);
        Ready { version, finished: view.finish(), previous: Written::default() }
    }

    /// The next execution of what is `written` already.
    fn ready_again(&self, tx: TxIndex, done: &Done, run: impl FnOnce(&View<'_>)) -> Ready {
        Ready { previous: done.written.clone(), ..self.ready_as(Version { tx, incarnation: 1 }, run) }
    }

    fn publish(&self, ready: Ready) -> Done {
        let Ready { version, finished: Finished { writes, obligations, .. }, previous } = ready;
        let writes = writes.into_vec();
        let mut written = Written::default();
        self.store.place(&writes, &mut written);
        let readers_end = self.store.publish(version, writes, &written, &previous);
        Done { written, readers_end, obligations }
    }

    /// Makes what the transaction wrote before estimates, as after a conflict, and publishes its next execution.
    fn abort_and_publish(&self, again: Ready) -> Done {
        self.store.estimate(again.version.tx, &again.previous);
        self.publish(again)
    }

    fn run(&self, tx: TxIndex, run: impl FnOnce(&View<'_>)) -> Done {
        self.publish(self.ready(tx, run))
    }

    fn observe<R>(&self, tx: TxIndex, reading: impl FnOnce(&View<'_>) -> R) -> Observed<R> {
        let view = self.view(tx);
        let answer = reading(&view);
        Observed { answer, reads: view.finish().reads }
    }

    fn holds<R>(&self, tx: TxIndex, observed: &Observed<R>) -> bool {
        validate(&self.store, tx, &observed.reads).is_ok()
    }

    fn settle(&self, tx: TxIndex, done: &Done) {
        self.store.settle(tx, &done.written, &done.obligations, &mut Settlement::at_once()).unwrap();
    }

    fn outcome(&self, end: TxIndex) -> Vec<(u8, Op<i64>)> {
        let parts = (0..LANES).flat_map(|lane| self.store.outcome_of(lane, end));
        parts.collect::<WriteBatch<_, _>>().into_iter().collect()
    }
}

fn beside<T: 'static>(block: &Arc<Block>, act: impl FnOnce(&Block) -> T + Send + 'static) -> thread::JoinHandle<T> {
    let block = Arc::clone(block);
    thread::spawn(move || act(&block))
}

fn walk(view: &View<'_>) -> Result<Vec<(u8, i64)>, ViewError> {
    view.range(..).collect()
}

fn keys(view: &View<'_>) -> Result<Vec<u8>, ViewError> {
    view.keys(..).collect()
}
