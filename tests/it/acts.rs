//! Transactions written as closures, and hand-shakes that force one interleaving of them.
//!
//! Verdicts come from statistics and results, never from time: a hand-shake that does not come ends the test.

use crate::timeline;
use cachekv::executor::{Aborts, BlockExecutor, BlockOutput, BlockStats, Config, Options, Vm, execute_sequentially};
use cachekv::kv::{KvStore, MemSnapshot, MemStore};
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use parking_lot::{Condvar, Mutex};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub type Key = u32;
pub type Value = i64;
pub type View<'a> = TxView<'a, Key, Value, Balance>;
pub type Answer = Result<Vec<Value>, Failure>;
pub type Output = BlockOutput<Key, Value, Vec<Value>>;
/// A transaction.
pub type Act = Box<dyn Fn(&View<'_>) -> Answer + Send + Sync>;

/// An operand is added, and refused where it would take the balance below zero. Merging what is refused panics, as a
/// checked subtraction would.
pub struct Balance;
impl MergeOperator<Key, Value> for Balance {
    type Operand = i64;
    fn merge(_: &Key, base: Option<&Value>, operand: &i64) -> Value {
        base.copied().unwrap_or(0) + operand
    }
    fn admits(_: &Key, base: Option<&Value>, operand: &i64) -> bool {
        base.copied().unwrap_or(0) + operand >= 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    View(String),
    Own(&'static str),
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Failure::View(error.to_string())
    }
}

/// What there is before a block, where it matters little.
pub const BASE: [(Key, Value); 3] = [(1, 10), (2, 20), (3, 30)];

/// Adds one to `key`, and gives what it was.
pub fn increment(key: Key) -> Act {
    act(move |view| {
        let value = view.get(&key)?.unwrap_or(0);
        view.set(key, value + 1);
        Ok(vec![value])
    })
}

/// Runs its transactions.
pub struct Acts;
impl Vm for Acts {
    type Key = Key;
    type Value = Value;
    type Merge = Balance;
    type Transaction = Act;
    type Output = Vec<Value>;
    type Error = Failure;
    fn execute(&self, act: &Act, view: &View<'_>) -> Answer {
        act(view)
    }
}

pub fn act(act: impl Fn(&View<'_>) -> Answer + Send + Sync + 'static) -> Act {
    Box::new(act)
}

/// A flag to wait for.
#[derive(Clone, Default)]
pub struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    pub fn raise(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    /// Raises it when dropped.
    pub fn raised_at_the_end(&self) -> impl Drop + use<> {
        struct AtTheEnd(Signal);
        impl Drop for AtTheEnd {
            fn drop(&mut self) {
                self.0.raise();
            }
        }
        AtTheEnd(self.clone())
    }

    pub fn wait(&self) {
        let mut raised = self.0.0.lock();
        let late = self.0.1.wait_while_for(&mut raised, |raised| !*raised, Duration::from_secs(30)).timed_out();
        assert!(!late, "the other side of a hand-shake never came");
    }
}

/// What the two sides of a race tell each other.
#[derive(Clone, Default)]
pub struct Shake {
    /// The observer has observed.
    pub observed: Signal,
    /// The writer has committed.
    pub written: Signal,
}

/// Two workers: one is held in the writer while the other runs the observer.
pub static TWO: LazyLock<BlockExecutor> = LazyLock::new(|| sharing(2));

/// An executor of so many threads that all work from a block's begin, however short its transactions are.
pub fn sharing(threads: usize) -> BlockExecutor {
    sharing_from(threads, 0)
}

/// One that shares transactions which take so many nanoseconds on average. It executes a block's begin sequentially, which with one
/// nanosecond is the first transaction, and with some hundred, two to sixteen or the whole block.
pub fn sharing_from(threads: usize, nanoseconds: u64) -> BlockExecutor {
    let mut config = Config::default();
    (config.threads, config.shared_from) = (threads, Duration::from_nanos(nanoseconds));
    BlockExecutor::with_config(config).unwrap()
}

pub fn base(entries: &[(Key, Value)]) -> MemSnapshot<Key, Value> {
    MemStore::from_iter(entries.iter().copied()).snapshot().unwrap()
}

/// `earlier` has executed; `observer` observes before `writer`, which comes before it in the block, has written. The
/// result has to be that of sequential execution; returned is what it took.
///
/// The observer gets the hand-shake: it may go on after the writer has committed.
pub fn race_shaken(
    entries: &[(Key, Value)],
    earlier: fn(&View<'_>),
    writer: fn(&View<'_>),
    observer: impl Fn(&View<'_>, &Shake) -> Answer + Clone + Send + Sync + 'static,
) -> BlockStats<Key> {
    let block = |shake: &Shake| -> Vec<Act> {
        let (seen, both, observer) = (shake.observed.clone(), shake.clone(), observer.clone());
        vec![
            act(move |view| {
                earlier(view);
                Ok(vec![])
            }),
            act(move |view| {
                seen.wait();
                writer(view);
                Ok(vec![])
            }),
            act(move |view| {
                let _raised = both.observed.raised_at_the_end(); // also of a panic
                observer(view, &both)
            }),
        ]
    };
    let after = Shake::default();
    after.observed.raise();
    after.written.raise();
    let expected = execute_sequentially(&base(entries), &block(&after), &Acts, None).unwrap();
    let shake = Shake::default();
    let written = shake.written.clone();
    let mut hook = |commit: cachekv::executor::Commit<'_, Key, Value, Vec<Value>>| {
        if commit.index == 1 {
            written.raise();
        }
        ControlFlow::Continue(())
    };
    let options = Options { on_commit: Some(&mut hook), record: true, ..Options::default() };
    let done = TWO.execute_with(&base(entries), &block(&shake), &Acts, options).unwrap();
    timeline::check(&done.stats, 3, 2);
    assert_eq!((&done.outputs, &done.batch), (&expected.outputs, &expected.batch), "as one after the other");
    assert_eq!(done.stats.executions, 3 + done.stats.aborts.total());
    done.stats
}

/// As [`race_shaken`], for an observer that does its part in one go.
pub fn race(
    entries: &[(Key, Value)],
    earlier: fn(&View<'_>),
    writer: fn(&View<'_>),
    observer: fn(&View<'_>) -> Answer,
) -> Aborts {
    race_shaken(entries, earlier, writer, move |view, _| observer(view)).aborts
}

pub fn nothing(_: &View<'_>) {}

/// What the observer observed still holds after what the writer wrote.
#[track_caller]
pub fn stands(aborts: Aborts) {
    assert_eq!(aborts, Aborts::default());
}

/// A point read fell, and nothing else.
#[track_caller]
pub fn read_falls(aborts: Aborts) {
    assert_eq!((aborts.read, aborts.total()), (1, 1), "{aborts:?}");
}

/// A range fell, and nothing else.
#[track_caller]
pub fn range_falls(aborts: Aborts) {
    assert_eq!((aborts.range, aborts.total()), (1, 1), "{aborts:?}");
}

/// The run saw by itself that it was lost.
#[track_caller]
pub fn sees_it_is_lost(aborts: Aborts) {
    assert_eq!((aborts.lost, aborts.total()), (1, 1), "{aborts:?}");
}

/// An answer for an option.
pub fn of(value: Option<Value>) -> Value {
    value.unwrap_or(-1)
}
