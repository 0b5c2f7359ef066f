//! Whole blocks under random schedules: every run equals the oracle, whatever thread goes when.
//!
//! Built only under the private cfg `kv_shuttle`; `loom_tests/schedules` runs it. A seed makes a block, how it is executed,
//! and the schedules it is executed under: half of them random, half by priorities with few changes (PCT), which find what
//! needs one thread to be held up for long. `CACHEKV_SCHEDULES` says how many in all, and `CACHEKV_SEED` from which seed on:
//! a failure prints its own.

#![cfg(kv_shuttle)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[path = "../tests/it/oracle.rs"]
mod oracle;
#[path = "../tests/it/script.rs"]
mod script;

use cachekv::cachekv::Store;
use cachekv::executor::{BlockExecutor, BlockOutput, CancelToken, Cause, Config, Elsewhere, Options, RunAhead};
use cachekv::kv::{KvRead, KvStore, MemStore, Op};
use oracle::{Expected, State};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use script::{Interpreter, Key, Knowing, Script, Value};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Each seed's schedules.
const PER_SEED: usize = 20;
const KEYS: Key = 5;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

/// Passes on what `0` decides, and notes what it decided.
struct Noting<S> {
    scheduler: S,
    hash: DefaultHasher,
    seen: Arc<Mutex<HashSet<u64>>>,
}

impl<S> Noting<S> {
    fn note(&mut self) {
        let decided = std::mem::take(&mut self.hash).finish();
        self.seen.lock().unwrap().insert(decided);
    }
}

impl<S: Scheduler> Scheduler for Noting<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.note();
        self.scheduler.new_execution()
    }
    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yielding: bool) -> Option<TaskId> {
        let next = self.scheduler.next_task(runnable, current, yielding);
        next.map(usize::from).hash(&mut self.hash);
        next
    }
    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

const VM: Knowing = Knowing(Interpreter { keys: KEYS }, 0);

/// A seed's blocks: the state before them, and the scripts.
fn made(seed: u64, blocks: usize) -> (State, Vec<Vec<Script>>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Default::default(), rng);
    let state = proptest::collection::btree_map(0..KEYS, 0..200u64, 0..KEYS as usize);
    let blocks = proptest::collection::vec(script::block(KEYS, 1..6), blocks);
    (state, blocks).new_tree(&mut runner).unwrap().current()
}

/// Runs `scenario` of every seed under its schedules.
fn explore(what: &str, scenario: impl Fn(u64) + Clone + Send + Sync + 'static) {
    let (first, schedules) = (number("CACHEKV_SEED", 0), number("CACHEKV_SCHEDULES", 2_000) as usize);
    let mut distinct = 0;
    for seed in (first..).take(schedules.div_ceil(PER_SEED)) {
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let run = catch_unwind(AssertUnwindSafe(|| {
            let random = RandomScheduler::new_from_seed(seed, PER_SEED / 2);
            let priorities = PctScheduler::new_from_seed(seed, 3, PER_SEED / 2);
            under(random, &seen, seed, &scenario);
            under(priorities, &seen, seed, &scenario);
        }));
        if let Err(panic) = run {
            eprintln!("{what}: replay with CACHEKV_SEED={seed} CACHEKV_SCHEDULES={PER_SEED}");
            resume_unwind(panic);
        }
        distinct += seen.lock().unwrap().len() - 1; // the empty one, before the first
    }
    println!("{what}: {} schedules, {distinct} of them distinct", schedules.div_ceil(PER_SEED) * PER_SEED);
}

fn under<S: Scheduler + 'static>(
    scheduler: S,
    seen: &Arc<Mutex<HashSet<u64>>>,
    seed: u64,
    scenario: &(impl Fn(u64) + Clone + Send + Sync + 'static),
) {
    let (scenario, seen) = (scenario.clone(), Arc::clone(seen));
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    config.failure_persistence = shuttle::FailurePersistence::None; // the seed says it
    config.silence_warnings = true; // that atomics are sequentially consistent here: loom looks at orderings
    let noting = Noting { scheduler, hash: DefaultHasher::new(), seen };
    shuttle::Runner::new(noting, config).run(move || {
        // One thread executes a block of which all is known to be short, and PCT refuses what is of one thread.
        let second = shuttle::thread::spawn(|| ());
        scenario(seed);
        second.join().unwrap();
    });
}

fn executor(seed: u64) -> BlockExecutor {
    let mut config = Config::default();
    config.threads = 2 + (seed % 2) as usize;
    // A schedule is not to depend on the clock: all is shared from the begin, or what is known to be long is.
    config.shared_from = if seed % 11 < 5 { Duration::ZERO } else { Duration::MAX };
    config.run_ahead = if seed % 3 == 0 { 1 } else { 8 };
    config.window = if seed % 5 < 3 { RunAhead::Adaptive } else { RunAhead::Fixed };
    BlockExecutor::with_config(config).unwrap()
}

fn applied(state: &State, output: &BlockOutput<Key, Value, u64>) -> State {
    let mut after = state.clone();
    for (key, op) in output.batch.iter() {
        match op {
            Op::Put(value) => after.insert(*key, *value),
            Op::Delete => after.remove(key),
        };
    }
    after
}

/// The state after the first `committed` transactions.
fn prefix<'e>(state: &'e State, expected: &'e Expected, committed: usize) -> &'e State {
    committed.checked_sub(1).map_or(state, |last| &expected.after[last])
}

/// A block comes to what the oracle says, and the hook sees each commit once and in order.
#[test]
fn a_block_equals_its_transactions_one_after_the_other() {
    explore("blocks", |seed| {
        let (state, blocks) = made(seed, 1);
        let expected = oracle::execute(&state, &blocks[0], KEYS);
        let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
        let mut hooked = Vec::new();
        let mut hook = |commit: cachekv::executor::Commit<'_, Key, Value, u64>| {
            hooked.push(*commit.output);
            ControlFlow::Continue(())
        };
        // Hints are right, wrong or none.
        let hints: Vec<Vec<Key>> = (0..blocks[0].len() as u64).map(|at| vec![((seed + at) % 5) as Key]).collect();
        let hints = (seed % 4 == 1).then_some(&hints[..]);
        // Without a hook what committed operands come to is kept back from their chains.
        let watched = seed % 7 < 4;
        let mut options = Options { hints, ..Options::default() };
        if watched {
            options.on_commit = Some(&mut hook);
        }
        let done = executor(seed).execute_with(&snapshot, &blocks[0], &VM, options);
        let done = done.map_err(|error| error.cause).unwrap();
        assert_eq!(done.outputs, expected.outputs);
        assert!(!watched || hooked == expected.outputs);
        assert_eq!(applied(&state, &done), expected.state);
    });
}

/// A block that is cancelled at any moment has committed a prefix, and says so.
#[test]
fn a_cancelled_block_is_a_prefix() {
    explore("cancelled blocks", |seed| {
        let (state, blocks) = made(seed, 1);
        let expected = oracle::execute(&state, &blocks[0], KEYS);
        let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
        let cancel = CancelToken::new();
        let switch = cancel.clone();
        let other = shuttle::thread::spawn(move || switch.cancel());
        let options = Options { cancel: Some(cancel), ..Options::default() };
        let done = executor(seed).execute_with(&snapshot, &blocks[0], &VM, options);
        let done = done.unwrap_or_else(|error| {
            assert!(matches!(error.cause, Cause::Cancelled), "{:?}", error.cause);
            error.committed
        });
        let committed = done.committed as usize;
        assert_eq!(done.outputs, expected.outputs[..committed]);
        assert_eq!(&applied(&state, &done), prefix(&state, &expected, committed));
        other.join().unwrap();
    });
}

/// Transactions whose writes arrive from elsewhere, late and in any order, count as if they had run here.
#[test]
fn a_block_with_transactions_elsewhere_equals_the_whole() {
    explore("blocks executed in part elsewhere", |seed| {
        let (state, blocks) = made(seed, 1);
        let block = &blocks[0];
        let expected = oracle::execute(&state, block, KEYS);
        let away: BTreeSet<usize> = (0..block.len()).filter(|at| (seed >> at) & 1 == 1).collect();
        let keys: Vec<Key> = (0..KEYS).collect(); // it may write any
        let elsewhere = Elsewhere::new(away.iter().map(|at| (*at as u32, keys.clone())));
        let given: Vec<Script> = (0..block.len()).filter(|at| !away.contains(at)).map(|at| block[at].clone()).collect();
        let arrivals = away.iter().flat_map(|at| outcomes(&state, &expected, *at));
        let mut arrivals: Vec<_> = arrivals.collect();
        if seed % 2 == 0 {
            arrivals.reverse();
        }
        let arriving = elsewhere.clone();
        let other = shuttle::thread::spawn(move || {
            for (index, key, outcome) in arrivals {
                arriving.resolve(index, &key, outcome.into()).unwrap();
            }
        });
        let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
        let options = Options { elsewhere: Some(elsewhere), ..Options::default() };
        let done = executor(seed).execute_with(&snapshot, &given, &VM, options);
        let done = done.map_err(|error| error.cause).unwrap();
        let here = (0..block.len()).filter(|at| !away.contains(at)).map(|at| expected.outputs[at]);
        assert_eq!(done.outputs, here.collect::<Vec<_>>());
        assert_eq!(applied(&state, &done), expected.state);
        other.join().unwrap();
    });
}

/// What the transaction at `at` did to each key: nothing where the state stayed.
fn outcomes(state: &State, expected: &Expected, at: usize) -> Vec<(u32, Key, Option<Op<Value>>)> {
    let (before, after) = (prefix(state, expected, at), &expected.after[at]);
    let outcome = |key| match (before.get(&key), after.get(&key)) {
        (before, after) if before == after => None,
        (_, Some(value)) => Some(Op::Put(*value)),
        (_, None) => Some(Op::Delete),
    };
    (0..KEYS).map(|key| (at as u32, key, outcome(key))).collect()
}

/// Readers beside blocks that are committed and flushed see the state after some block, entire, and never an older one
/// than before.
#[test]
fn readers_beside_blocks_see_whole_blocks_in_order() {
    explore("readers beside blocks", |seed| {
        let (state, blocks) = made(seed, 3);
        let mut states = vec![state.clone()];
        for block in &blocks {
            let after = oracle::execute(states.last().unwrap(), block, KEYS).state;
            states.push(after);
        }
        let store = Arc::new(Store::new(MemStore::from_iter(state)).unwrap());
        let reader = {
            let (store, states) = (Arc::clone(&store), states.clone());
            shuttle::thread::spawn(move || {
                let mut at = 0;
                for _ in 0..4 {
                    let snapshot = store.snapshot().unwrap();
                    let seen: State = snapshot.range(..).map(Result::unwrap).collect();
                    let point: State = (0..KEYS).filter_map(|key| Some((key, snapshot.get(&key).unwrap()?))).collect();
                    assert_eq!(seen, point);
                    let found = (at..states.len()).find(|at| states[*at] == seen);
                    at = found.unwrap_or_else(|| panic!("{seen:?} is the state after no block from {at} on"));
                }
            })
        };
        let executor = executor(seed);
        for block in &blocks {
            let done = executor.execute(&store.snapshot().unwrap(), block, &VM);
            store.commit(done.map_err(|error| error.cause).unwrap().batch).unwrap();
            if seed % 2 == 0 {
                store.flush().unwrap();
            }
        }
        reader.join().unwrap();
        let last: BTreeMap<_, _> = store.range(..).map(Result::unwrap).collect();
        assert_eq!(Some(&last), states.last());
    });
}
