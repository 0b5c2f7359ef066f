//! Hostile transactions, at any place of a block and on any number of threads: the block comes to what it comes to
//! sequentially, and the next block on the same executor is right.

use crate::acts::*;
use cachekv::executor::{
    BlockExecutor, BlockOutput, BlockResult, CancelToken, Cause, Commit, Options, Vm, execute_sequentially,
};
use cachekv::kv::{KvStore, MemSnapshot, MemStore};
use cachekv::multiversion::{NoMerge, TxView};
use rayon::prelude::*;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Kept: hostile blocks and others follow each other on one pool.
static EXECUTORS: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| [1, 2, 4].map(crate::acts::sharing).into());
/// Those that begin sequentially, and share the rest or nothing.
static BEGINNING: LazyLock<[BlockExecutor; 2]> =
    LazyLock::new(|| [1, u64::MAX].map(|from| crate::acts::sharing_from(2, from)));

const LEN: usize = 12;
/// Keys from here on are the hostile transaction's.
const FAR: Key = 1000;

/// Reads and writes what all do, and looks at what a hostile one before it may have left.
fn ordinary(at: usize) -> Act {
    act(move |view| {
        let (own, shared) = (at as Key % 3, 7);
        let sum = of(view.get(&own)?) + of(view.get(&shared)?);
        let far: Vec<Value> = view.range(FAR..).take(2).map(|entry| Ok(entry?.1)).collect::<Result<_, Failure>>()?;
        view.set(own, (sum + of(far.last().copied())) % 1000);
        view.merge(shared, 1)?;
        Ok([vec![sum], far].concat())
    })
}

fn ordinary_block() -> Vec<Act> {
    (0..LEN).map(ordinary).collect()
}

/// A block with `hostile` at `at`.
fn around(hostile: impl Fn(&View<'_>) -> Answer + Send + Sync + 'static, at: usize) -> Vec<Act> {
    let mut block = ordinary_block();
    block[at] = act(hostile);
    block
}

/// What ended a block, if anything did, and what was committed.
fn told<V: Vm>(done: BlockResult<V>) -> (Option<Cause<V::Error>>, BlockOutput<V::Key, V::Value, V::Output>) {
    match done {
        Ok(output) => (None, output),
        Err(error) => (Some(error.cause), error.committed),
    }
}

/// Block after block on one executor, each as it is sequentially.
fn as_one_after_the_other<V>(snapshot: &MemSnapshot<V::Key, V::Value>, blocks: &[Vec<V::Transaction>], vm: &V)
where
    V: Vm<Output: PartialEq + Debug, Error: PartialEq + Debug>,
{
    let plain: Vec<_> = blocks.iter().map(|block| told::<V>(execute_sequentially(snapshot, block, vm, None))).collect();
    for executor in EXECUTORS.iter().chain(BEGINNING.iter()) {
        for (block, (cause, plain)) in blocks.iter().zip(&plain) {
            let (ended, done) = told::<V>(executor.execute(snapshot, block, vm));
            assert_eq!(&ended, cause, "{} threads", executor.threads());
            assert_eq!((done.committed, &done.outputs), (plain.committed, &plain.outputs));
            // Not by `assert_eq`: nobody wants to see these printed.
            assert!(done.batch == plain.batch, "the writes differ, on {} threads", executor.threads());
        }
    }
}

fn check(entries: &[(Key, Value)], hostile: impl Fn(&View<'_>) -> Answer + Clone + Send + Sync + 'static) {
    for at in [0, LEN / 2, LEN - 1] {
        let blocks = [around(hostile.clone(), at), ordinary_block()];
        as_one_after_the_other(&base(entries), &blocks, &Acts);
    }
}

const FEW: [(Key, Value); 3] = [(0, 10), (1, 20), (7, 70)];

fn many() -> Vec<(Key, Value)> {
    (0..30_000).map(|key| (key, Value::from(key % 100))).collect()
}

#[test]
fn one_that_panics() {
    let panics: [fn(&View<'_>) -> Answer; 6] = [
        |_| panic!("without a look"),
        |view| panic!("{} is what it read", of(view.get(&0)?)),
        |_| std::panic::panic_any(7), // no words
        |view| {
            let _open = (view.range(..).next(), view.savepoint());
            view.set(0, 99);
            view.merge(7, 5)?;
            panic!("with everything open")
        },
        |view| {
            view.delete_range(..)?;
            (0..100).into_par_iter().for_each(|at| assert!(at < 50, "below rayon"));
            Ok(vec![])
        },
        |view| {
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("on the way out");
                }
            }
            let _bomb = Bomb;
            Ok(vec![of(view.get(&0)?)])
        },
    ];
    panics.into_iter().for_each(|panics| check(&FEW, panics));
}

#[test]
fn one_that_fails() {
    let fails: [fn(&View<'_>) -> Answer; 3] = [
        |_| Err(Failure::Own("without a look")),
        |view| {
            view.delete_range(..)?;
            view.merge(7, 5)?;
            Err(Failure::Own("after writing"))
        },
        |view| {
            view.merge(FAR, -1)?; // refused: there is nothing to take from
            Ok(vec![])
        },
    ];
    fails.into_iter().for_each(|fails| check(&FEW, fails));
}

#[test]
fn one_that_fails_or_panics_by_what_it_reads_among_others_that_do() {
    // Stale answers fail at other places than real ones.
    for rest in 0..12 {
        let mut block = ordinary_block();
        for at in [3, 5, 8] {
            block[at] = act(move |view| {
                let sum = of(view.get(&0)?) + of(view.get(&7)?) + at as Value;
                view.set(0, sum);
                match sum % 12 {
                    value if value == rest => Err(Failure::Own("that rest")),
                    value => {
                        assert_ne!(value, (rest + 5) % 12);
                        Ok(vec![value])
                    }
                }
            });
        }
        as_one_after_the_other(&base(&FEW), &[block, ordinary_block()], &Acts);
    }
}

/// Everything there is, in every way there is to read it.
fn read_everything(view: &View<'_>) -> Answer {
    let forth: Vec<(Key, Value)> = view.range(..).collect::<Result<_, _>>()?;
    let back: Vec<(Key, Value)> = view.range(..).rev().collect::<Result<_, _>>()?;
    assert!(forth.iter().eq(back.iter().rev()));
    let keys = view.keys(..).try_fold(0, |sum, key| key.map(|key| sum + Value::from(key)))?;
    let sum: Value = forth.iter().map(|(key, value)| Value::from(*key) * 3 + value).sum();
    view.set(FAR + 1, sum);
    Ok(vec![forth.len() as Value, keys, sum])
}

#[test]
fn one_that_reads_everything() {
    check(&many(), read_everything);
    check(&FEW, read_everything);
}

#[test]
fn all_read_everything() {
    let entries = &many()[..3000];
    let block = || (0..LEN).map(|_| act(read_everything)).collect::<Vec<_>>();
    as_one_after_the_other(&base(entries), &[block(), ordinary_block()], &Acts);
}

#[test]
fn one_that_writes_a_hundred_thousand_keys() {
    check(&FEW, |view| {
        let from = of(view.get(&7)?);
        (0..100_000).for_each(|at| view.set(FAR + at, from + Value::from(at)));
        Ok(vec![view.keys(FAR..).count() as Value])
    });
    check(&FEW, |view| {
        (0..100_000).try_for_each(|at| view.merge(FAR + at, Value::from(at)))?;
        Ok(vec![])
    });
}

#[test]
fn one_that_writes_a_hundred_thousand_keys_and_then_thinks_better_of_it() {
    let write = |view: &View<'_>| (0..100_000).for_each(|at| view.set(FAR + at, 5));
    check(&FEW, move |view| {
        let savepoint = view.savepoint();
        write(view);
        view.roll_back(savepoint)?;
        Ok(vec![view.keys(..).count() as Value])
    });
    check(&FEW, move |view| {
        write(view);
        Err(Failure::Own("not after all"))
    });
    // The run that counts writes other keys than the one before it.
    read_falls(race(
        &FEW,
        nothing,
        |view| view.set(0, 3),
        |view| {
            let read = of(view.get(&0)?);
            (0..100_000).filter(|at| Value::from(*at) % 7 == read % 7).for_each(|at| view.set(FAR + at, 5));
            Ok(vec![read])
        },
    ));
}

#[test]
fn one_that_deletes_everything() {
    check(&many(), |view| Ok(vec![view.delete_range(..)? as Value]));
}

/// Runs closures over values of any size.
struct Sized;
type SizedAct = Box<dyn Fn(&TxView<'_, Key, Vec<u8>>) -> Result<usize, Failure> + Send + Sync>;

impl Vm for Sized {
    type Key = Key;
    type Value = Vec<u8>;
    type Merge = NoMerge;
    type Transaction = SizedAct;
    type Output = usize;
    type Error = Failure;
    fn execute(&self, act: &SizedAct, view: &TxView<'_, Key, Vec<u8>>) -> Result<usize, Failure> {
        act(view)
    }
}

#[test]
fn one_that_writes_a_value_of_64_mib() {
    const LARGE: usize = 64 << 20;
    let small = |at: Key| -> SizedAct {
        Box::new(move |view| {
            // A key in three; the hostile one's is read twice, by key and by range.
            let before = view.get(&(at % 3))?.map_or(0, |value| value.len());
            let walked = view.range(2..).next().transpose()?.map_or(0, |(_, value)| value.len());
            view.set(at % 2, vec![at as u8; (before + walked) % 100]);
            Ok(before + walked)
        })
    };
    let snapshot = MemStore::from_iter([(0, vec![1]), (1, vec![2; 3])]).snapshot().unwrap();
    let block = || (0..8).map(small).collect::<Vec<_>>();
    for at in [0, 4, 7] {
        let mut hostile = block();
        hostile[at] = Box::new(|view| {
            let length = view.get(&0)?.map_or(0, |value| value.len());
            view.set(2, vec![length as u8; LARGE + length]);
            Ok(length)
        });
        as_one_after_the_other(&snapshot, &[hostile, block()], &Sized);
    }
}

/// How a transaction loops: it asks again and again, and only an error lets it out.
const LOOPS: [fn(&View<'_>) -> Result<(), Failure>; 7] = [
    |view| Ok(view.check()?),
    |view| view.get(&0).map(drop).map_err(Failure::from), // it has written it
    |view| view.get(&1).map(drop).map_err(Failure::from),
    |view| view.contains(&2).map(drop).map_err(Failure::from),
    |view| view.range(..).try_for_each(|entry| entry.map(drop)).map_err(Failure::from),
    |view| view.keys(..).next_back().transpose().map(drop).map_err(Failure::from),
    |view| view.merge(0, 1).map_err(Failure::from),
];

/// Loops until something answers with an error, or nobody told it to for long; says when it has begun, and whether it was
/// left alone.
fn looping(again: fn(&View<'_>) -> Result<(), Failure>, begun: Signal, alone: Arc<AtomicBool>) -> Act {
    act(move |view| {
        let since = Instant::now();
        view.set(0, 0);
        begun.raise();
        while since.elapsed() < Duration::from_secs(20) {
            again(view)?;
        }
        alone.store(true, Ordering::Relaxed);
        Err(Failure::Own("nobody told it to leave"))
    })
}

/// What ends a block in which a transaction loops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Cancelled,
    Deadline,
    /// The hook stops the block before it, while it runs ahead.
    Stopped,
    /// A transaction before it fails, while it runs ahead.
    Failed,
    Panicked,
}

/// The place that ends the block, and that of the one that loops.
const ENDS: usize = 3;
const LOOPING: usize = 5;

fn ended(executor: &BlockExecutor, again: fn(&View<'_>) -> Result<(), Failure>, end: End) {
    let (begun, alone) = (Signal::default(), Arc::new(AtomicBool::new(false)));
    let mut block = around(|_| Ok(vec![]), LOOPING);
    block[LOOPING] = looping(again, begun.clone(), Arc::clone(&alone));
    let ahead = executor.threads() > 1; // one thread never runs ahead: the loop is not begun when the block ends
    if matches!(end, End::Stopped | End::Failed | End::Panicked) {
        let waits = begun.clone();
        block[ENDS] = act(move |_| {
            if ahead {
                waits.wait();
            }
            match end {
                End::Failed => Err(Failure::Own("it ends here")),
                End::Panicked => panic!("it ends here"),
                _ => Ok(vec![]),
            }
        });
    }
    let token = CancelToken::new();
    let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| match end {
        End::Stopped if commit.index as usize == ENDS => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let done = std::thread::scope(|scope| {
        if end == End::Cancelled {
            scope.spawn(|| {
                begun.wait();
                token.cancel();
            });
        }
        let deadline = (end == End::Deadline).then(|| Instant::now() + Duration::from_millis(15));
        let options =
            Options { cancel: Some(token.clone()), deadline, on_commit: Some(&mut hook), ..Options::default() };
        told::<Acts>(executor.execute_with(&base(&FEW), &block, &Acts, options))
    });
    assert!(!alone.load(Ordering::Relaxed), "it loops for ever, {end:?}");
    let index = ENDS as u32;
    let due = match end {
        End::Cancelled => Some(Cause::Cancelled),
        End::Deadline => Some(Cause::Deadline { waiting_for: None }),
        End::Stopped => None,
        End::Failed => Some(Cause::Transaction { index, error: Failure::Own("it ends here") }),
        End::Panicked => Some(Cause::Panicked { index, message: "it ends here".to_owned() }),
    };
    assert_eq!(done.0, due);
    let committed = done.1.committed as usize;
    match end {
        End::Cancelled | End::Deadline => assert!(committed <= LOOPING),
        End::Stopped => assert_eq!(committed, ENDS + 1),
        End::Failed | End::Panicked => assert_eq!(committed, ENDS),
    }
    let prefix = execute_sequentially(&base(&FEW), &block[..committed], &Acts, None).unwrap();
    assert_eq!((&done.1.outputs, &done.1.batch), (&prefix.outputs, &prefix.batch));
}

#[test]
fn one_that_loops_until_it_is_told_to_leave() {
    let plain = execute_sequentially(&base(&FEW), &ordinary_block(), &Acts, None).unwrap();
    for executor in EXECUTORS.iter() {
        for again in LOOPS {
            for end in [End::Cancelled, End::Deadline, End::Stopped, End::Failed, End::Panicked] {
                ended(executor, again, end);
                let done = executor.execute(&base(&FEW), &ordinary_block(), &Acts).unwrap();
                assert_eq!((&done.outputs, &done.batch), (&plain.outputs, &plain.batch), "after {end:?}");
            }
        }
    }
}
