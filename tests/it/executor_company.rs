//! Who executes a block: the calling thread alone, or others beside it; and what they leave behind.

use crate::acts::*;
use cachekv::executor::{
    BlockExecutor, CancelToken, Cause, Commit, Config, Elsewhere, Options, Vm, execute_sequentially,
};
use cachekv::kv::{Error, KeyRange, KvRead, KvStore, MemSnapshot, MemStore, Op};
use cachekv::multiversion::{NoMerge, TxIndex, TxView, ViewError};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Transactions that are not worth sharing are executed by the calling thread, to the last; what is executed elsewhere, or
/// worth sharing from the begin, calls the others at once.
#[test]
fn what_is_not_worth_sharing_is_executed_alone() {
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let stats = |shared_from, options: Options<'_, Acts>| {
        let mut config = Config::default();
        (config.threads, config.shared_from) = (4, shared_from);
        let executor = BlockExecutor::with_config(config).unwrap();
        executor.execute_with(&base(&BASE), &block, &Acts, options).unwrap().stats
    };
    let never = stats(Duration::MAX, Options::default());
    assert_eq!((never.alone, never.executions, never.frontier_executions), (50, 50, 50));
    assert_eq!(never.windows, 50, "sequentially");
    assert_eq!(stats(Duration::ZERO, Options::default()).alone, 0);
    let elsewhere = Elsewhere::new([(0, Vec::new())]); // it owes nothing
    assert_eq!(stats(Duration::MAX, Options { elsewhere: Some(elsewhere), ..Options::default() }).alone, 0);
}

/// A block begins alone until one execution says enough, and so does the next: it may be of another kind.
#[test]
fn others_are_called_once_an_execution_proves_worth_it() {
    let executor = sharing_from(2, 1); // every execution is long beside that
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let alone = || executor.execute(&base(&BASE), &block, &Acts).unwrap().stats.alone;
    assert_eq!((alone(), alone()), (1, 1));
}

/// What was executed sequentially is there for those who follow: values, tombstones, resolved operands, in points and in ranges; its
/// outputs come first, and count. What is expected of it, wrongly, holds up nobody.
#[test]
fn others_go_on_behind_what_was_executed_sequentially() {
    let executor = sharing_from(2, 1);
    let first = act(|view| {
        view.set(1, 11);
        view.delete(2);
        view.merge(3, 5)?;
        view.set(9, 90);
        view.set(4, 1);
        view.delete(4);
        Ok(vec![of(view.get(&3)?)])
    });
    let reads = || {
        act(|view| {
            let walked: Result<Vec<_>, _> = view.range(..).collect();
            let walked = walked?.into_iter().flat_map(|(key, value)| [Value::from(key), value]);
            let exists = Value::from(view.contains(&2)?);
            Ok(walked.chain([of(view.get(&1)?), exists, of(view.get(&4)?), of(view.get(&7)?)]).collect())
        })
    };
    let merges = act(|view| {
        view.merge(3, -30)?;
        view.merge(9, 1)?;
        Ok(vec![])
    });
    let refused = act(|view| Ok(vec![Value::from(view.merge(3, -6).is_err())]));
    let block = [first, reads(), increment(9), merges, reads(), refused, increment(2), reads()];
    let hints: Vec<Vec<Key>> = block.iter().map(|_| vec![7]).collect();
    let due = execute_sequentially(&base(&BASE), &block, &Acts, None).unwrap();
    for _ in 0..200 {
        let options = Options { hints: Some(&hints), ..Options::default() };
        let done = executor.execute_with(&base(&BASE), &block, &Acts, options).unwrap();
        assert_eq!((&done.outputs, &done.batch, done.committed), (&due.outputs, &due.batch, 8));
        assert_eq!((done.stats.alone, done.stats.transactions), (1, 8));
        assert!(done.stats.executions >= 8 && done.stats.frontier_executions >= 2, "the first, and the first after it");
        assert!(done.stats.windows > 0, "the others are no sequential execution");
    }
}

/// Of a base value that the first transactions have read the others know it, too.
#[test]
fn a_base_value_is_read_once_whoever_reads_it() {
    let reads = Arc::new(AtomicU32::new(0));
    let state = Counted(base(&BASE), Arc::clone(&reads));
    let block: Vec<Act> = (0..50).map(|_| act(|view| Ok(vec![of(view.get(&2)?), of(view.get(&99)?)]))).collect();
    let done = sharing_from(2, 1).execute(&state, &block, &Acts).unwrap();
    assert_eq!((done.stats.alone, done.outputs), (1, vec![vec![20, of(None)]; 50]));
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}

/// A state that counts its point reads.
#[derive(Clone, Debug)]
struct Counted(MemSnapshot<Key, Value>, Arc<AtomicU32>);

impl KvRead for Counted {
    type Key = Key;
    type Value = Value;
    type Iter = <MemSnapshot<Key, Value> as KvRead>::Iter;
    type Root = Self;
    fn get(&self, key: &Key) -> Result<Option<Value>, Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(key)
    }
    fn scan(&self, range: KeyRange<Key>) -> Self::Iter {
        self.0.scan(range)
    }
    fn root(&self) -> &Self {
        self
    }
}

/// Some transactions, written and read across the place at which the others are called: it is the fourth, which takes as long as it
/// takes to wake a thread and more, unless the machine held up another for as long.
#[test]
fn others_go_on_behind_several_that_were_executed_sequentially() {
    let executor = sharing_from(2, 1_000_000);
    let place = |index: Key| {
        act(move |view| {
            if index == 3 {
                std::thread::sleep(Duration::from_millis(65));
            }
            let count = of(view.get(&1)?);
            view.set(1, count + 1);
            view.set(100 + index, count);
            view.delete(99 + index);
            Ok(vec![count, view.keys(100..).count() as Value])
        })
    };
    let block: Vec<Act> = (0..12).map(place).collect();
    let due = execute_sequentially(&base(&BASE), &block, &Acts, None).unwrap();
    let alone = |_: u32| {
        let done = executor.execute(&base(&BASE), &block, &Acts).unwrap();
        assert_eq!((&done.outputs, &done.batch), (&due.outputs, &due.batch));
        done.stats.alone
    };
    assert!((0..50).map(alone).any(|alone| alone == 4));
}

/// A block that fails behind what was executed sequentially, or within it, comes with what was before, and nothing that was executed
/// sequentially is executed again.
#[test]
fn a_failure_comes_with_what_was_executed_sequentially() {
    for (at, limit, times) in [(3, 1, [1, 0]), (0, 1, [1, 0]), (3, u64::MAX, [1, 1])] {
        let runs = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let counted = |which: usize, act: Act| -> Act {
            let runs = Arc::clone(&runs);
            Box::new(move |view| {
                runs[which].fetch_add(1, Ordering::Relaxed);
                act(view)
            })
        };
        let fails = || act(|view| Err(Failure::Own(if of(view.get(&1)?) < 10 { "less" } else { "it is there" })));
        let place = |index| match (index == at, index) {
            (true, _) => counted(usize::from(at > 0), fails()),
            (false, 0) => counted(0, increment(1)),
            (false, _) => increment(1),
        };
        let block: Vec<Act> = (0..6).map(place).collect();
        let failed = sharing_from(2, limit).execute(&base(&BASE), &block, &Acts).unwrap_err();
        let error = Failure::Own("it is there");
        assert_eq!(failed.cause, Cause::Transaction { index: at as TxIndex, error });
        let due = (at > 0).then(|| Op::Put(10 + at as Value));
        assert_eq!((failed.committed.outputs.len(), failed.committed.batch.get(&1).cloned()), (at, due));
        let runs = [0, 1].map(|which: usize| runs[which].load(Ordering::Relaxed));
        assert_eq!(times[0], runs[0], "{at}, {limit}");
        if limit == u64::MAX {
            assert_eq!((times[1], failed.committed.stats.executions), (runs[1], 4));
        }
    }
}

/// Acts of which it is known whether they are long.
struct Weighed(fn(TxIndex) -> Option<bool>);
impl Vm for Weighed {
    type Key = Key;
    type Value = Value;
    type Merge = Balance;
    type Transaction = Act;
    type Output = Vec<Value>;
    type Error = Failure;
    fn execute(&self, act: &Act, view: &View<'_>) -> Answer {
        act(view)
    }
    fn is_long(&self, index: TxIndex, _: &Act) -> Option<bool> {
        (self.0)(index)
    }
}

/// What the machine knows of its transactions decides, whatever they take: of one transaction in ten that is long, of none, and of
/// a single one, to which nobody could help.
#[test]
fn what_is_known_to_be_long_is_shared_at_once_and_what_is_short_never() {
    let alone = |len, shared_from, weighed| {
        let mut config = Config::default();
        (config.threads, config.shared_from) = (2, shared_from);
        let block: Vec<Act> = (0..len).map(|_| increment(1)).collect();
        let executor = BlockExecutor::with_config(config).unwrap();
        executor.execute(&base(&BASE), &block, &weighed).unwrap().stats.alone
    };
    assert_eq!(alone(50, Duration::MAX, Weighed(|index| Some(index % 10 == 9))), 0);
    assert_eq!(alone(50, Duration::from_nanos(1), Weighed(|_| Some(false))), 50);
    assert_eq!(alone(1, Duration::MAX, Weighed(|_| Some(true))), 1);
}

/// What is known to be short is left to who commits, and executed once, when all before it is committed; or by who has nothing else
/// to do. Whoever waits for it gets it.
#[test]
fn what_is_short_among_what_is_long_is_left_to_who_commits() {
    // Each of the ten long ones takes over what the one before it left, by way of the nine short ones between them.
    let place = |index: TxIndex| {
        act(move |view| {
            let value = of(view.get(&1)?);
            view.set(1, value + 1);
            view.set(100 + Key::from(index), value);
            Ok(vec![value])
        })
    };
    let block: Vec<Act> = (0..100).map(place).collect();
    let weighed = Weighed(|index| Some(index % 10 == 9));
    let due = execute_sequentially(&base(&BASE), &block, &Acts, None).unwrap();
    let hints: Vec<_> = (0..100).map(|index| vec![1, 100 + index]).collect();
    for (threads, hints) in [(2, None), (3, None), (2, Some(&hints)), (4, Some(&hints))] {
        let executor = sharing_from(threads, u64::MAX);
        for _ in 0..20 {
            let options = Options { hints: hints.map(Vec::as_slice), ..Options::default() };
            let done = executor.execute_with(&base(&BASE), &block, &weighed, options).unwrap();
            assert_eq!((&done.outputs, &done.batch), (&due.outputs, &due.batch));
        }
    }
}

/// Long ones are executed in advance first, whatever is left between them; and then, by who has nothing else to do, what is left, if
/// it is waited for.
#[test]
fn what_is_left_comes_after_all_that_is_long() {
    // The first is held until the last that is short has been executed, which only another worker can do.
    let (last, order) = (Signal::default(), Arc::new(Mutex::new(Vec::new())));
    let place = |index: Key| -> Act {
        let (last, order) = (last.clone(), Arc::clone(&order));
        Box::new(move |view| {
            match index {
                0 => last.wait(),
                index => order.lock().push(index),
            }
            view.set(100 + index, 1);
            if index == 39 {
                last.raise();
            }
            Ok(vec![])
        })
    };
    let block: Vec<Act> = (0..40).map(place).collect();
    let weighed = Weighed(|index| Some(index % 10 == 0));
    let done = sharing_from(2, u64::MAX).execute(&base(&BASE), &block, &weighed).unwrap();
    assert_eq!((done.committed, done.stats.executions), (40, 40));
    let due: Vec<Key> = [10, 20, 30].into_iter().chain((1..40).filter(|index| index % 10 != 0)).collect();
    assert_eq!(*order.lock(), due);
}

/// What a machine knows may change from question to question, and be wrong: no transaction is lost by it.
#[test]
fn what_is_known_need_not_be_so() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    fn changes(_: TxIndex) -> Option<bool> {
        Some(ASKED.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) >> 30 == 0)
    }
    let block: Vec<Act> = (0..97).map(|_| increment(1)).collect();
    for threads in [2, 3] {
        let executor = sharing_from(threads, 1);
        for _ in 0..50 {
            let done = executor.execute(&base(&BASE), &block, &Weighed(changes)).unwrap();
            assert_eq!((done.committed, done.batch.get(&1)), (97, Some(&Op::Put(10 + 97))));
        }
    }
}

/// A short transaction that fails, or panics, or is not short, ends the block as any other does.
#[test]
fn what_was_left_may_fail() {
    let weighed = || Weighed(|index| Some(index % 5 == 4));
    for at in [0, 1, 24, 49, 98] {
        let place = |index| match index == at {
            true => act(|view| if of(view.get(&1)?) % 2 == 0 { Err(Failure::Own("even")) } else { panic!("odd") }),
            false => increment(1),
        };
        let block: Vec<Act> = (0..99).map(place).collect();
        let failed = sharing_from(2, u64::MAX).execute(&base(&BASE), &block, &weighed()).unwrap_err();
        let index = at as TxIndex;
        let due = match at % 2 {
            0 => Cause::Transaction { index, error: Failure::Own("even") },
            _ => Cause::Panicked { index, message: "odd".into() },
        };
        assert_eq!((failed.cause, failed.committed.committed), (due, index));
    }
}

/// What one thread executes sequentially it would execute alone in any case; what is to be cancelled, timed or recorded is.
#[test]
fn one_thread_is_no_way_around_what_was_asked() {
    let executor = BlockExecutor::new(1).unwrap();
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let execute = |options: Options<'_, Acts>| executor.execute_with(&base(&BASE), &block, &Acts, options);
    let stats = execute(Options::default()).unwrap().stats;
    assert_eq!((stats.alone, stats.executions, stats.frontier_executions, stats.windows), (50, 50, 50, 50));
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = execute(Options { cancel: Some(cancel), ..Options::default() });
    assert_eq!(cancelled.unwrap_err().cause, Cause::Cancelled);
    let late = execute(Options { deadline: Some(Instant::now()), ..Options::default() });
    assert_eq!(late.unwrap_err().cause, Cause::Deadline { waiting_for: None });
    let recorded = execute(Options { record: true, ..Options::default() });
    assert!(recorded.unwrap().stats.timeline.is_some());
    let mut hooked = 0;
    let mut count = |_: Commit<'_, Key, Value, Vec<Value>>| {
        hooked += 1;
        if hooked == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let ended = execute(Options { on_commit: Some(&mut count), ..Options::default() }).unwrap();
    assert_eq!((ended.committed, ended.stats.alone, hooked), (7, 7, 7));
    // What fails comes with its prefix.
    let mut block = block;
    block[5] = act(|_| panic!("in the sixth"));
    let failed = executor.execute(&base(&BASE), &block, &Acts).unwrap_err();
    assert_eq!((failed.committed.committed, failed.committed.batch.get(&1)), (5, Some(&Op::Put(15))));
}

/// A state that is told apart by who holds it.
#[derive(Clone, Debug)]
struct Held(MemSnapshot<u32, Arc<()>>, #[expect(dead_code, reason = "to be counted")] Arc<()>);

impl KvRead for Held {
    type Key = u32;
    type Value = Arc<()>;
    type Iter = <MemSnapshot<u32, Arc<()>> as KvRead>::Iter;
    type Root = Self;
    fn get(&self, key: &u32) -> Result<Option<Arc<()>>, Error> {
        self.0.get(key)
    }
    fn scan(&self, range: KeyRange<u32>) -> Self::Iter {
        self.0.scan(range)
    }
    fn root(&self) -> &Self {
        self
    }
}

/// Gives what one key has to the next.
struct Shift;
impl Vm for Shift {
    type Key = u32;
    type Value = Arc<()>;
    type Merge = NoMerge;
    type Transaction = u32;
    type Output = ();
    type Error = ViewError;
    fn execute(&self, key: &u32, view: &TxView<'_, u32, Arc<()>>) -> Result<(), ViewError> {
        view.get(key)?.into_iter().for_each(|value| view.set(key + 1, value));
        Ok(())
    }
}

/// When a block is done nobody holds the state that it ran over, and soon nobody the values that it left on the way.
#[test]
fn a_block_leaves_nothing_behind() {
    let (value, state) = (Arc::new(()), Arc::new(()));
    for threads in [1, 3] {
        let mut config = Config::default();
        (config.threads, config.shared_from) = (threads, Duration::ZERO);
        let executor = BlockExecutor::with_config(config).unwrap();
        let snapshot = Held(MemStore::from_iter([(0, value.clone())]).snapshot().unwrap(), state.clone());
        let done = executor.execute(&snapshot, &(0..100).collect::<Vec<_>>(), &Shift).unwrap();
        assert_eq!(done.batch.len(), 100);
        drop(snapshot);
        assert_eq!(Arc::strong_count(&state), 1, "{threads} threads");
        drop(done);
        let late = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&value) > 1 {
            assert!(Instant::now() < late, "{threads} threads: {} are held", Arc::strong_count(&value) - 1);
            std::thread::yield_now();
        }
    }
}

/// Where threads may run is changed for a block and no longer: of its caller and of who is called.
#[test]
#[cfg(target_os = "linux")]
fn a_block_leaves_threads_where_they_were() {
    use rustix::thread::sched_getaffinity;
    let cores = || sched_getaffinity(None).unwrap();
    let mut config = Config::default();
    (config.threads, config.shared_from) = (3, Duration::ZERO);
    let executor = BlockExecutor::with_config(config).unwrap();
    let slow = |key| {
        act(move |view| {
            let value = view.get(&key)?.unwrap_or(0);
            std::thread::sleep(Duration::from_millis(1)); // long enough for the others to fall asleep
            view.set(key, value + 1);
            Ok(vec![value])
        })
    };
    let own = cores();
    for _ in 0..3 {
        executor.execute(&base(&BASE), &(0..20).map(|_| slow(1)).collect::<Vec<_>>(), &Acts).unwrap();
        assert_eq!(cores(), own);
        // None of them is taken for good: a pool asked for its threads' cores gives them all.
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        for thread in threads {
            let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            if name.starts_with("cachekv-") {
                let late = Instant::now() + Duration::from_secs(60);
                let id = rustix::thread::Pid::from_raw(thread.file_name().to_str().unwrap().parse().unwrap());
                // Of other tests' blocks, too, which end; a thread that has ended is nowhere.
                while sched_getaffinity(id).is_ok_and(|cores| cores != own) {
                    assert!(Instant::now() < late, "{name} may not run where it might");
                    std::thread::yield_now();
                }
            }
        }
    }
}
