//! Blocks through which a panic goes, at every call of user code: no panic comes out, the error has a prefix of the block,
//! and the executor goes on. A panic in a run that does not count is none.

use super::{Fuse, Touchy, TouchyState, TouchyStore, WORDS};
use cachekv::executor::{BlockExecutor, BlockResult, Cause, Commit, Options, Vm, execute_sequentially};
use cachekv::kv::{KvStore, Op, WriteBatch};
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Adds, and refuses what exceeds a thousand.
struct Adds;

impl MergeOperator<Touchy, Touchy> for Adds {
    type Operand = u32;
    fn merge(key: &Touchy, base: Option<&Touchy>, operand: &u32) -> Touchy {
        key.fuse.burn();
        Touchy { n: base.map_or(0, |base| base.n) + operand, fuse: Arc::clone(&key.fuse) }
    }
    fn admits(key: &Touchy, base: Option<&Touchy>, operand: &u32) -> bool {
        key.fuse.burn();
        base.map_or(0, |base| base.n) + operand <= 1000
    }
    fn combine(key: &Touchy, earlier: &u32, later: &u32) -> Option<u32> {
        key.fuse.burn();
        Some(earlier + later)
    }
}

type View<'a> = TxView<'a, Touchy, Touchy, Adds>;

/// Executes eight transactions that use every verb of a view.
struct Verbs {
    fuse: Arc<Fuse>,
}

impl Verbs {
    fn touchy(&self, n: u32) -> Touchy {
        Touchy { n, fuse: Arc::clone(&self.fuse) }
    }

    fn set(&self, view: &View<'_>, key: u32, value: u32) {
        view.set(self.touchy(key), self.touchy(value));
    }

    fn merge(&self, view: &View<'_>, key: u32, operand: u32) -> Result<u32, ViewError> {
        match view.merge(self.touchy(key), operand) {
            Ok(()) => Ok(0),
            Err(ViewError::Refused { .. }) => Ok(1),
            Err(error) => Err(error),
        }
    }

    fn get(&self, view: &View<'_>, key: u32) -> Result<u32, ViewError> {
        Ok(view.get(&self.touchy(key))?.map_or(99, |value| value.n))
    }

    fn sum(view: &View<'_>) -> Result<u32, ViewError> {
        view.range(..).rev().map(|entry| entry.map(|(key, value)| key.n + value.n)).sum()
    }
}

impl Vm for Verbs {
    type Key = Touchy;
    type Value = Touchy;
    type Merge = Adds;
    type Transaction = u8;
    type Output = u32;
    type Error = ViewError;

    fn execute(&self, verb: &u8, view: &View<'_>) -> Result<u32, ViewError> {
        self.fuse.burn();
        let mut seen = 0;
        match verb {
            0 => {
                seen = self.get(view, 1)?;
                self.set(view, 1, seen + 1);
                self.set(view, 2, seen);
            }
            1 => {
                self.merge(view, 3, 5)?;
                self.merge(view, 3, 6)?;
                self.set(view, 4, 4);
            }
            2 => {
                seen = Self::sum(view)?;
                self.set(view, 5, seen);
            }
            3 => {
                seen = self.get(view, 1)? + view.contains(&self.touchy(2))? as u32;
                view.delete(self.touchy(2));
                self.merge(view, 3, 7)?;
            }
            4 => {
                self.set(view, 6, 6);
                let savepoint = view.savepoint();
                self.set(view, 6, 66);
                self.merge(view, 7, 7)?;
                view.roll_back(savepoint)?;
                seen = self.get(view, 3)?;
            }
            5 => {
                // More than a transaction's writes hold in an array.
                (40..70).for_each(|key| self.set(view, key, key));
                seen = view.keys(self.touchy(30)..).count() as u32;
            }
            6 => seen = view.delete_range(self.touchy(50)..self.touchy(60))? as u32,
            _ => seen = self.merge(view, 3, 2000)? + Self::sum(view)?,
        }
        Ok(seen)
    }
}

const BLOCK: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

type Writes = Vec<(u32, Option<u32>)>;

/// What the block comes to, transaction by transaction.
type Due = Vec<(u32, Writes)>;

/// A state and the block over it, with a fuse.
struct Case {
    fuse: Arc<Fuse>,
    state: TouchyState,
    vm: Verbs,
    hints: Vec<Vec<Touchy>>,
}

fn plain<'a>(writes: impl IntoIterator<Item = (&'a Touchy, &'a Op<Touchy>)>) -> Writes {
    writes.into_iter().map(|(key, op)| (key.n, op.value().map(|value| value.n))).collect()
}

impl Case {
    fn new() -> Self {
        let fuse = Arc::new(Fuse::default());
        let state = TouchyStore::new(&fuse, [(1, 10), (3, 30), (33, 3)]).snapshot().unwrap();
        let vm = Verbs { fuse: Arc::clone(&fuse) };
        let hints = vec![vec![vm.touchy(1), vm.touchy(9)], vec![], vec![vm.touchy(5)]];
        Self { fuse, state, vm, hints }
    }

    /// Executes the block with a panic at the `nth` call of user code. Returns what the hook was told, and the result.
    fn execute(&self, executor: Option<&BlockExecutor>, nth: i64) -> (Due, BlockResult<Verbs>) {
        let mut told = Due::new();
        let mut hook = |commit: Commit<'_, Touchy, Touchy, u32>| {
            self.fuse.burn();
            told.push((*commit.output, plain(commit.writes.iter().map(|(key, op)| (key, op)))));
            self.fuse.burn(); // told, and not returned
            ControlFlow::Continue(())
        };
        self.fuse.light(nth);
        let done = catch_unwind(AssertUnwindSafe(|| match executor {
            None => execute_sequentially(&self.state, &BLOCK, &self.vm, Some(&mut hook)),
            Some(executor) => {
                let options = Options { on_commit: Some(&mut hook), hints: Some(&self.hints), ..Options::default() };
                executor.execute_with(&self.state, &BLOCK, &self.vm, options)
            }
        }));
        (told, done.expect("the panic came out"))
    }
}

/// The writes of a block's first transactions together.
fn batch(due: &[(u32, Writes)]) -> Writes {
    due.iter().flat_map(|(_, writes)| writes.iter().copied()).collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Executes the block with a panic at the `nth` call, and checks what comes of it; false if there was no such call.
fn panic_at(nth: i64, executor: Option<&BlockExecutor>, due: &Due) -> bool {
    let case = Case::new();
    let (told, done) = case.execute(executor, nth);
    let panicked = !case.fuse.burns();
    case.fuse.put_out();
    let (output, whole) = match done {
        Ok(output) => (output, true),
        Err(error) => {
            let planned = matches!(&error.cause, Cause::Panicked { message, .. } if message == WORDS);
            assert!(planned && panicked, "{:?}", error.cause);
            (error.committed, false)
        }
    };
    let committed = output.committed as usize;
    assert!(!whole || committed == due.len());
    assert_eq!(output.outputs, due[..committed].iter().map(|(output, _)| *output).collect::<Vec<_>>());
    let shown: &WriteBatch<_, _> = &output.batch;
    assert_eq!(plain(shown.iter()), batch(&due[..committed]), "call {nth}");
    assert!(told.len() >= committed && due.starts_with(&told), "the hook was told of {told:?}");
    panicked
}

fn due() -> Due {
    let (told, done) = Case::new().execute(None, 0);
    assert_eq!(done.unwrap().committed as usize, BLOCK.len());
    told
}

#[test]
fn a_panic_anywhere_in_a_sequential_block_is_its_error() {
    let due = due();
    let calls = (1..).take_while(|nth| panic_at(*nth, None, &due)).count();
    println!("{calls} calls of user code");
    assert!(calls > 500);
}

#[test]
fn a_panic_anywhere_in_a_parallel_block_is_its_error_or_none() {
    let due = due();
    for executor in [1, 2].map(crate::acts::sharing) {
        // How many calls there are differs from execution to execution.
        let (mut calls, mut without) = (0, 0);
        for nth in 1.. {
            let panicked = panic_at(nth, Some(&executor), &due);
            calls += i64::from(panicked);
            without = if panicked { 0 } else { without + 1 };
            if without == 20 {
                break;
            }
        }
        println!("{calls} calls of user code on {} threads", executor.threads());
        assert!(calls > 500);
    }
}
