//! Blocks over shards against the oracle: state, outputs and hooks are equal, or there is an error in time, and the next
//! block is right.

use super::machine::{Expected, Hints, Key, Machine, PANIC, Script, State, block, declared, hints, oracle};
use super::rig::{LONG, Rig, applied, options};
use cachekv::executor::Cause;
use cachekv::remote::{Access, BlockOptions, Faults, How, RemoteError};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is drawn from a seed.
#[derive(Clone, Debug)]
struct Case {
    keys: Key,
    state: State,
    block: Vec<Script>,
    hints: Hints,
    hint_seed: u64,
    shards: usize,
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Delays, repetitions, overtaking.
    Mild,
    /// Losses and damage, too.
    Lossy,
    /// The link to one shard is cut while the block runs.
    Cut(usize),
    /// One shard freezes while the block runs.
    Frozen(usize),
    /// One shard is stopped while the block runs, and started again.
    Stopped(usize),
}

fn case() -> impl Strategy<Value = Case> {
    let shape = prop_oneof![Just((4, 16)), Just((30, 30)), Just((200, 40))];
    (shape, 1..=6usize, hints(), any::<u64>(), any::<bool>()).prop_flat_map(
        |((keys, len), shards, hints, seed, fails)| {
            let state = prop::collection::btree_map(0..keys, 0..200u64, 0..keys as usize);
            let trouble = prop_oneof![
                3 => Just(Trouble::None),
                3 => Just(Trouble::Mild),
                2 => Just(Trouble::Lossy),
                1 => (0..shards).prop_map(Trouble::Cut),
                1 => (0..shards).prop_map(Trouble::Frozen),
                1 => (0..shards).prop_map(Trouble::Stopped),
            ];
            (state, block(keys, 1..len, fails && seed % 4 == 0), trouble).prop_map(move |(state, block, trouble)| {
                Case { keys, state, block, hints, hint_seed: seed, shards, trouble }
            })
        },
    )
}

fn case_of(seed: u64) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    case().new_tree(&mut runner).unwrap().current()
}

/// What a run of a case came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Sharded,
    Unsharded,
    Error,
}

const DELAY: Duration = Duration::from_millis(3);

fn run(seed: u64) -> (Trouble, Came) {
    let case = case_of(seed);
    let faults = match case.trouble {
        Trouble::Mild => Faults { delayed: 200, delay: DELAY, repeated: 100, ..Faults::default() },
        Trouble::Lossy => Faults { delayed: 100, delay: DELAY, repeated: 50, lost: 50, damaged: 50 },
        _ => Faults::default(),
    };
    let drastic = matches!(case.trouble, Trouble::Cut(_) | Trouble::Frozen(_) | Trouble::Stopped(_));
    let patience = if drastic { Duration::from_millis(150) } else { LONG };
    let time = if drastic { Duration::from_secs(3) } else { LONG };
    let mut rig = Rig::new(Machine { keys: case.keys }, case.shards, seed, faults, patience);
    rig.ready();
    let expected = oracle(&case.state, &case.block, case.keys);
    let accesses = declared(&expected.accesses, case.hints, case.keys, case.hint_seed);
    let began = Instant::now();
    let troubling = trouble(&mut rig, case.trouble, seed);
    let (result, hooked) = rig.execute(&case.state, &case.block, &accesses, options(time));
    assert!(began.elapsed() < time + Duration::from_secs(5), "the deadline has passed by far");
    let came = check(&case, &expected, &result, &hooked);
    // Before the trouble is ended it has to have begun: the block may have been quicker.
    if let Some(troubling) = troubling {
        troubling.join().unwrap();
    }
    match case.trouble {
        Trouble::None | Trouble::Mild | Trouble::Lossy => {
            assert_ne!(came, Came::Error, "{result:?}");
            let right = matches!(case.hints, Hints::Right | Hints::Generous);
            assert!(!right || expected.ends_at.is_some() || came == Came::Sharded, "declared right: {result:?}");
        }
        Trouble::Cut(shard) => rig.network.mend(0, shard as u64 + 1),
        Trouble::Frozen(shard) => rig.network.thaw(shard as u64 + 1),
        Trouble::Stopped(_) => {}
    }
    rig.network.set_faults(Faults::default());
    rig.ready();
    // The next block, whatever became of this one.
    let state = if came == Came::Error { case.state.clone() } else { expected.state.clone() };
    let next: Vec<_> = case.block.iter().rev().cloned().collect();
    let due = oracle(&state, &next, case.keys);
    // A peer that went away may be noticed only now; and where patience is short, a thread that gets no core looks like one.
    let again = BlockOptions { attempts: 10_000, ..options(LONG) };
    let (result, hooked) = rig.execute(&state, &next, &due.accesses, again);
    let next = Case { block: next, state, hints: Hints::Right, ..case.clone() };
    assert_ne!(check(&next, &due, &result, &hooked), Came::Error, "the next block: {result:?}");
    (case.trouble, came)
}

fn trouble(rig: &mut Rig, trouble: Trouble, seed: u64) -> Option<JoinHandle<()>> {
    let network = rig.network.clone();
    let after = Duration::from_micros(seed % 4000);
    match trouble {
        Trouble::Cut(shard) => Some(std::thread::spawn(move || {
            std::thread::sleep(after);
            network.cut(0, shard as u64 + 1);
        })),
        Trouble::Frozen(shard) => Some(std::thread::spawn(move || {
            std::thread::sleep(after);
            network.freeze(shard as u64 + 1);
        })),
        Trouble::Stopped(shard) => {
            let stopped = rig.shards.remove(shard);
            drop(stopped);
            let again = rig.start(shard);
            rig.shards.insert(shard, again);
            None
        }
        Trouble::None | Trouble::Mild | Trouble::Lossy => None,
    }
}

fn check(case: &Case, expected: &Expected, result: &cachekv::remote::RemoteResult<Machine>, hooked: &[u64]) -> Came {
    match result {
        Ok(executed) => {
            assert_eq!(expected.ends_at, None);
            assert_eq!(executed.output.outputs, expected.outputs, "{:?}", executed.how);
            assert_eq!(hooked, expected.outputs);
            assert_eq!(applied(&case.state, result), expected.state);
            match executed.how {
                How::Sharded { .. } => Came::Sharded,
                _ => Came::Unsharded,
            }
        }
        Err(RemoteError::Block(error)) => {
            let at = expected.ends_at.unwrap();
            match &error.cause {
                Cause::Transaction { index, .. } | Cause::Panicked { index, .. } => assert_eq!(*index as usize, at),
                cause => panic!("another cause: {cause}"),
            }
            assert_eq!(error.committed.outputs, expected.outputs);
            assert_eq!(applied(&case.state, result), expected.state, "the committed prefix");
            Came::Unsharded
        }
        Err(RemoteError::Attempt(_)) => {
            assert!(hooked.is_empty(), "the hook was told of a block that came to nothing");
            Came::Error
        }
        Err(error) => panic!("{error}"),
    }
}

/// Counts panics, and keeps quiet about those that a script asks for.
fn count_panics() -> &'static AtomicU64 {
    static UNASKED: AtomicU64 = AtomicU64::new(0);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(PANIC) {
                let of_the_library = panic.location().is_some_and(|at| at.file().starts_with("src/"));
                UNASKED.fetch_add(u64::from(of_the_library), Ordering::Relaxed);
                told(panic);
            }
        }));
    });
    &UNASKED
}

/// `CACHEKV_SEEDS=n` runs so many seeds from `CACHEKV_SEED` on; a failing one is printed, and `CACHEKV_SEED` runs it again.
#[test]
fn blocks_over_shards_are_equal_to_blocks_here() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let first = number("CACHEKV_SEED").unwrap_or(1);
    let seeds = number("CACHEKV_SEEDS").unwrap_or(if number("CACHEKV_SEED").is_some() { 1 } else { 150 });
    let unasked = count_panics();
    let mut came = std::collections::BTreeMap::new();
    for seed in first..first + seeds {
        let done = std::panic::catch_unwind(|| run(seed));
        let (trouble, what) = done.unwrap_or_else(|panic| {
            eprintln!("CACHEKV_SEED={seed} fails: {:?}", case_of(seed));
            std::panic::resume_unwind(panic)
        });
        let trouble = format!("{trouble:?}").split('(').next().unwrap().to_owned();
        *came.entry((trouble, format!("{what:?}"))).or_insert(0u64) += 1;
    }
    assert_eq!(unasked.load(Ordering::Relaxed), 0, "the library panicked");
    println!("{seeds} seeds from {first}: {came:?}");
}

#[test]
fn nothing_and_a_single_transaction_are_ordinary_blocks() {
    let mut rig = Rig::new(Machine { keys: 4 }, 3, 1, Faults::default(), LONG);
    rig.ready();
    let (result, _) = rig.execute(&State::new(), &[], &[], options(LONG));
    assert!(result.unwrap().output.outputs.is_empty());
    let one = [Script(vec![super::machine::Step::Set(1)])];
    let (result, hooked) =
        rig.execute(&State::new(), &one, &[Access { reads: vec![], writes: vec![1] }], options(LONG));
    let executed = result.unwrap();
    assert_eq!((executed.how, hooked.len()), (How::Sharded { shards: 1, edges: 0 }, 1));
    let (result, _) = rig.execute(&State::new(), &one, &[], options(LONG));
    assert!(matches!(result, Err(RemoteError::Malformed(_))));
}
