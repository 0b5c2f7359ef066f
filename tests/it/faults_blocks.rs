//! Blocks over a state that cannot be read, once or ever, and over one that is slow: the block ends before a transaction
//! that needed the answer, with the writes of those before it, or is what it is without the failure; and the next block on
//! the same executor is right.
//!
//! The blocks are random scripts, the verdict is the oracle's: whatever is committed is what it has after so many
//! transactions.

use crate::acts::{Act, Acts, Signal, act, of};
use crate::faulty::{Call, Faulty};
use crate::oracle::{self, Expected, State};
use crate::script::{Interpreter, Key, Script, Value, block};
use crate::unreadable::Unreadable;
use cachekv::cachekv::Store;
use cachekv::executor::{BlockExecutor, BlockOutput, BlockResult, Cause, execute_sequentially};
use cachekv::kv::{Error, KvRead, KvStore, MemStore};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static EXECUTORS: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| [1, 2, 4].map(crate::acts::sharing).into());

const READS: [Call; 3] = [Call::Read, Call::Scan, Call::Step];

fn entries(state: &impl KvRead<Key = Key, Value = Value>) -> State {
    state.range(..).map(Result::unwrap).collect()
}

/// What was committed is what the oracle has after so many transactions.
fn assert_prefix(state: &State, expected: &Expected, output: &BlockOutput<Key, Value, u64>) {
    let committed = output.committed as usize;
    assert_eq!(output.outputs, expected.outputs[..committed]);
    let after = MemStore::from_iter(state.clone()).commit(output.batch.clone()).unwrap();
    let due = committed.checked_sub(1).map_or(state, |last| &expected.after[last]);
    assert_eq!(&entries(&after), due);
}

/// All of the block, or its end before the transaction that the error names. Returns the place of that.
fn assert_whole_or_ended(
    state: &State,
    expected: &Expected,
    done: BlockResult<Interpreter>,
    panics: bool,
) -> Option<u32> {
    match done {
        Ok(output) => {
            assert_eq!(output.committed as usize, expected.outputs.len());
            assert_prefix(state, expected, &output);
            None
        }
        Err(ended) => {
            assert_prefix(state, expected, &ended.committed);
            let index = match &ended.cause {
                Cause::Base { index, error } if !panics => {
                    assert!(matches!(error.0, Error::Read { .. }), "{error:?}");
                    *index
                }
                Cause::Panicked { index, message } if panics && message == "as planned" => *index,
                cause => panic!("{cause:?}"),
            };
            assert_eq!(index, ended.committed.committed, "it ends before the one that it names");
            Some(index)
        }
    }
}

/// Executes `block` with the `nth` call of a kind failing; also says whether it was made.
fn with_failure(
    executor: Option<&BlockExecutor>,
    (state, block, vm): (&State, &[Script], &Interpreter),
    (call, nth, panics): (Call, usize, bool),
) -> (BlockResult<Interpreter>, bool) {
    let store = Faulty::new(MemStore::from_iter(state.clone()));
    let snapshot = store.snapshot().unwrap();
    if panics {
        store.panic(call, nth)
    } else {
        store.fail(call, nth)
    }
    let done = match executor {
        Some(executor) => executor.execute(&snapshot, block, vm),
        None => execute_sequentially(&snapshot, block, vm, None),
    };
    (done, store.calls(call) >= nth)
}

/// Lets every read of the state fail once that executing `block` makes, in sequence and in parallel.
fn every_read_fails_once(state: &State, block: &[Script], keys: Key, panics: bool) {
    let vm = Interpreter { keys };
    let expected = oracle::execute(state, block, keys);
    let store = Faulty::new(MemStore::from_iter(state.clone()));
    execute_sequentially(&store.snapshot().unwrap(), block, &vm, None).map_err(|error| error.cause).unwrap();
    for call in READS {
        for nth in 1..=store.calls(call) {
            let what = (call, nth, panics);
            // What a walk was not asked for is not missed: its opening, if nobody takes a step, and what it read ahead.
            let needed = call == Call::Read;
            let (done, _) = with_failure(None, (state, block, &vm), what);
            let ended = assert_whole_or_ended(state, &expected, done, panics);
            assert!(ended.is_some() || !needed, "{what:?} was passed over");
            for executor in EXECUTORS.iter() {
                let (done, failed) = with_failure(Some(executor), (state, block, &vm), what);
                let ended = assert_whole_or_ended(state, &expected, done, panics);
                // One thread has nothing but runs that count.
                let counts = needed && executor.threads() == 1;
                assert!(ended.is_some() || !counts || !failed, "{what:?} was passed over");
                assert!(ended.is_none() || failed, "nothing failed");
                let again = executor.execute(&MemStore::from_iter(state.clone()).snapshot().unwrap(), block, &vm);
                assert_eq!(assert_whole_or_ended(state, &expected, again, panics), None);
            }
        }
    }
}

fn state(keys: Key) -> impl Strategy<Value = State> {
    prop::collection::btree_map(0..keys, 0..200u64, 0..keys as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_read_may_fail_once((state, block) in (state(8), block(8, 1..14)), panics in any::<bool>()) {
        every_read_fails_once(&state, &block, 8, panics);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Which transaction needs it is no matter of chance: the same one in sequence and in parallel.
    #[test]
    fn a_key_may_be_unreadable_for_ever((state, block) in (state(8), block(8, 1..24)), key in 0..8 as Key) {
        let expected = oracle::execute(&state, &block, 8);
        let snapshot = Unreadable::new(MemStore::from_iter(state.clone()).snapshot().unwrap(), Some(key));
        let vm = Interpreter { keys: 8 };
        let ended = |done| assert_whole_or_ended(&state, &expected, done, false);
        let due = ended(execute_sequentially(&snapshot, &block, &vm, None));
        for executor in EXECUTORS.iter() {
            prop_assert_eq!(ended(executor.execute(&snapshot, &block, &vm)), due, "{} threads", executor.threads());
        }
    }
}

/// Blocks one after the other over a store whose flush fails now and then: they go on over what could not be flushed.
#[test]
fn a_chain_of_blocks_goes_on_over_flushes_that_fail() {
    const BLOCKS: usize = 6;
    let deal = |at: usize| -> Vec<Script> {
        use crate::script::Step::{Get, Merge, Set, SetOrDelete};
        let key = |step: usize| ((at * 5 + step * 3) % 8) as Key;
        (0..12).map(|step| vec![Get(key(step)), Set(key(step + 1)), Merge(3, 2), SetOrDelete(key(step + 2))]).collect()
    };
    for fails in (0..BLOCKS).flat_map(|first| (1..=BLOCKS - first).map(move |times| first..first + times)) {
        for tear in [None, Some(0), Some(2), Some(usize::MAX)] {
            let mut due = State::from([(1, 10), (3, 30)]);
            let store = Store::new(Faulty::new(MemStore::from_iter(due.clone()))).unwrap();
            for at in 0..BLOCKS {
                let executor = &EXECUTORS[at % EXECUTORS.len()];
                let block = deal(at);
                let done = executor.execute(&store.snapshot().unwrap(), &block, &Interpreter { keys: 8 }).unwrap();
                store.commit(done.batch).unwrap();
                let below = entries(&store.parent().store().snapshot().unwrap());
                if fails.contains(&at) {
                    tear.map_or_else(|| store.parent().fail(Call::Commit, 1), |ops| store.parent().tear(1, ops));
                    assert!(matches!(store.flush(), Err(Error::Commit { .. })));
                } else {
                    store.flush().unwrap();
                }
                due = oracle::execute(&due, &block, 8).state;
                assert_eq!(entries(&store.snapshot().unwrap()), due, "block {at}, {fails:?} fail");
                match tear {
                    None | Some(0) if fails.contains(&at) => {
                        assert_eq!(entries(&store.parent().store().snapshot().unwrap()), below);
                    }
                    _ => {}
                }
            }
            store.flush().unwrap();
            assert_eq!(entries(&store.parent().store().snapshot().unwrap()), due, "{fails:?} fail");
        }
    }
}

/// A read that takes its time holds up the transaction that needs it, and nobody else's execution.
#[test]
fn while_a_read_is_slow_the_others_are_executed() {
    const LEN: u32 = 20;
    let executor = crate::acts::sharing(2);
    let balances: BTreeMap<u32, i64> = (0..LEN).map(|key| (key, 10)).collect();
    for nth in 1..LEN as usize {
        let store = Faulty::new(MemStore::from_iter(balances.clone()));
        let last = Signal::default();
        let block = |last: &Signal| -> Vec<Act> {
            let each = |key: u32| {
                act(move |view| {
                    let value = of(view.get(&key)?);
                    view.set(key + 100, value + i64::from(key));
                    Ok(vec![value])
                })
            };
            let last = last.clone();
            let end = act(move |_| {
                last.raise();
                Ok(vec![])
            });
            (0..LEN).map(each).chain([end]).collect()
        };
        let plain = execute_sequentially(&store.snapshot().unwrap(), &block(&last), &Acts, None).unwrap();
        let (last, slow) = (Signal::default(), store.park(Call::Read, nth));
        let done = std::thread::scope(|scope| {
            let block = block(&last);
            let (executor, snapshot) = (&executor, store.snapshot().unwrap());
            let done = scope.spawn(move || executor.execute(&snapshot, &block, &Acts).unwrap());
            slow.arrived();
            last.wait(); // or the others waited for it
            slow.release();
            done.join().unwrap()
        });
        assert_eq!((done.outputs, done.batch), (plain.outputs, plain.batch), "read {nth} was slow");
    }
}
