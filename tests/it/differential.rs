//! Blocks in parallel against the oracle: state, outputs and hook order must be equal, whatever the conflicts, on any
//! number of threads; and so must the sequential mode's.

use crate::oracle::{self, Expected, State};
use crate::script::{Bounded, Interpreter, Key, Knowing, Script, Value, block};
use crate::timeline;
use cachekv::executor::{BlockExecutor, BlockOutput, Config, Options, RunAhead, Vm, execute_sequentially};
use cachekv::kv::{KvRead, KvStore, MemStore, Op};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::LazyLock;

type Output = BlockOutput<Key, Value, crate::script::Output>;

/// One executor for each number of threads, kept: blocks follow each other on one pool as they do in use.
static EXECUTORS: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| {
    let executor = |(threads, window)| {
        let mut config = Config::default();
        config.shared_from = std::time::Duration::ZERO;
        (config.threads, config.window) = (threads, window);
        config.run_ahead = if threads % 2 == 0 { 32 } else { 2 };
        BlockExecutor::with_config(config).unwrap()
    };
    let adaptive = [1, 2, 3, 4].map(|threads| (threads, RunAhead::Adaptive));
    adaptive.into_iter().chain([3, 8].map(|threads| (threads, RunAhead::Fixed))).map(executor).collect()
});

/// Those that begin sequentially, and go on together behind one transaction, behind some, or never.
static BEGINNING: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| {
    let limits = [1, 300, 1_000, 3_000].into_iter().zip([2, 3, 2, 4]);
    limits.map(|(nanoseconds, threads)| crate::acts::sharing_from(threads, nanoseconds)).collect()
});

/// Those that share what is known to be long, and nothing else.
static KNOWING: LazyLock<Vec<BlockExecutor>> =
    LazyLock::new(|| [2, 3].map(|threads| crate::acts::sharing_from(threads, u64::MAX)).into());

fn applied(state: &State, output: &Output) -> State {
    let store = MemStore::from_iter(state.clone());
    let after = store.commit(output.batch.clone()).unwrap();
    after.range(..).map(Result::unwrap).collect()
}

/// Executes `block` and records what the hook saw: index, output, and the state its writes make.
fn run<V>(executor: Option<&BlockExecutor>, state: &State, block: &[Script], vm: &V) -> (Output, Vec<(u64, State)>)
where
    V: Vm<Key = Key, Value = Value, Transaction = Script, Output = crate::script::Output, Error: std::fmt::Debug>,
{
    let store = MemStore::from_iter(state.clone());
    let snapshot = store.snapshot().unwrap();
    let mut seen = Vec::new();
    let mut now = state.clone();
    let mut hook = |commit: cachekv::executor::Commit<'_, Key, Value, u64>| {
        assert_eq!(commit.index as usize, seen.len(), "in order, once");
        for (key, op) in commit.writes {
            match op {
                Op::Put(value) => now.insert(*key, *value),
                Op::Delete => now.remove(key),
            };
        }
        seen.push((*commit.output, now.clone()));
        ControlFlow::Continue(())
    };
    let output = match executor {
        Some(executor) => {
            // Half of them are recorded.
            let record = block.len().is_multiple_of(2);
            let options = Options { on_commit: Some(&mut hook), record, ..Options::default() };
            let done = executor.execute_with(&snapshot, block, vm, options);
            if let (true, Ok(done)) = (record, &done) {
                timeline::check(&done.stats, done.committed, executor.threads());
            }
            done
        }
        None => execute_sequentially(&snapshot, block, vm, Some(&mut hook)),
    };
    (output.map_err(|error| error.cause).unwrap(), seen)
}

fn assert_same(expected: &Expected, state: &State, (output, seen): &(Output, Vec<(u64, State)>), who: &str) {
    assert_eq!(output.outputs, expected.outputs, "outputs, {who}");
    assert_eq!(applied(state, output), expected.state, "state, {who}");
    let hooks: Vec<_> = expected.outputs.iter().copied().zip(expected.after.iter().cloned()).collect();
    assert_eq!(seen, &hooks, "hooks, {who}");
}

fn check(state: &State, block: &[Script], keys: Key) {
    let expected = oracle::execute(state, block, keys);
    assert_same(&expected, state, &run(None, state, block, &Interpreter { keys }), "sequential");
    for executor in EXECUTORS.iter() {
        let who = format!("{} threads", executor.threads());
        assert_same(&expected, state, &run(Some(executor), state, block, &Interpreter { keys }), &who);
    }
    let knowing = Knowing(Interpreter { keys }, 0);
    for executor in KNOWING.iter() {
        assert_same(&expected, state, &run(Some(executor), state, block, &knowing), "knowing");
    }
    // Without a hook what committed operands come to is kept back from their chains, and a block may begin sequentially.
    for executor in EXECUTORS.iter().chain(BEGINNING.iter()) {
        unwatched(&expected, state, block, executor, &Interpreter { keys });
    }
    // Where the first ones are not known to be short or long the others may be left behind a sequential begin.
    for (executor, from) in KNOWING.iter().map(|executor| (executor, 0)).chain(BEGINNING.iter().zip([4, 4, 8, 8])) {
        unwatched(&expected, state, block, executor, &Knowing(Interpreter { keys }, from));
    }
}

fn unwatched<V>(expected: &Expected, state: &State, block: &[Script], executor: &BlockExecutor, vm: &V)
where
    V: Vm<Key = Key, Value = Value, Transaction = Script, Output = crate::script::Output, Error: std::fmt::Debug>,
{
    let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
    let done = executor.execute(&snapshot, block, vm).map_err(|error| error.cause).unwrap();
    assert_eq!(done.outputs, expected.outputs, "outputs, {executor:?}, no hook");
    assert_eq!(applied(state, &done), expected.state, "state, {executor:?}, no hook");
}

fn state(keys: Key) -> impl Strategy<Value = State> {
    prop::collection::btree_map(0..keys, 0..200u64, 0..keys as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_transaction_meets_every_other((state, block) in (state(4), block(4, 1..24))) {
        check(&state, &block, 4);
    }

    #[test]
    fn some_transactions_meet((state, block) in (state(40), block(40, 1..40))) {
        check(&state, &block, 40);
    }

    #[test]
    fn few_transactions_meet((state, block) in (state(250), block(250, 1..40))) {
        check(&state, &block, 250);
    }
}

#[test]
fn the_operator_of_the_scripts_is_in_use() {
    // Or the merges above would test nothing.
    fn operator<V: cachekv::executor::Vm<Merge = Bounded>>(_: &V) {}
    operator(&Interpreter { keys: 1 });
}
