//! Bytes as small blocks, in parallel against sequential execution: outputs, batch, cause, and what the hook is told.
//!
//! Transactions use every verb of a view over a dozen keys that share prefixes. What they read decides what they write,
//! where they stop and whether they fail, so that one stale answer that counts changes the outcome. Iterators stay open
//! over writes. A read's error may be swallowed: the executor has to know better. The state below may have a key that
//! cannot be read, the hook may stop or panic, hints may be wrong, and some transactions may be executed elsewhere.
//! These files are shared by the fuzz target of this name and by the test that runs its corpus.

mod divided;
mod script;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use cachekv::executor::{
    BlockExecutor, BlockResult, Cause, Commit, Config, Elsewhere, Options, RunAhead, execute_sequentially,
};
use cachekv::kv::{self, KeyRange, KvRead, KvStore, MemIter, MemSnapshot, MemStore, Op, WriteBatch};
use cachekv::multiversion::TxIndex;
use script::{Fault, Interpreter, KEYS, Script};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// What can happen in a run; an input's share of it is what [`run`] returns, one bit each.
pub const EVENTS: &[&str] = &[
    "a block that ran to its end",
    "a block that a transaction's error ended",
    "a block that a panic ended",
    "a block that the state below ended",
    "a block that the hook stopped",
    "transactions executed elsewhere",
    "a merge that was refused",
    "a range delete of something",
    "a savepoint rolled back",
];

/// A block that takes longer hangs, whatever else the machine does.
const HANG: Duration = Duration::from_secs(60);

/// Kept: blocks follow each other on one pool as they do in use.
static EXECUTORS: LazyLock<[BlockExecutor; 3]> = LazyLock::new(|| {
    [(1, 32, RunAhead::Fixed), (2, 32, RunAhead::Adaptive), (3, 1, RunAhead::Fixed)].map(
        |(threads, run_ahead, window)| {
            let mut config = Config::default();
            config.shared_from = Duration::ZERO;
            (config.threads, config.run_ahead, config.window) = (threads, run_ahead, window);
            BlockExecutor::with_config(config).unwrap()
        },
    )
});

/// Those that begin sequentially, and go on together behind the first transaction, or never.
static BEGINNING: LazyLock<[BlockExecutor; 2]> = LazyLock::new(|| {
    [1, u64::MAX].map(|nanoseconds| {
        let mut config = Config::default();
        (config.threads, config.shared_from) = (2, Duration::from_nanos(nanoseconds));
        BlockExecutor::with_config(config).unwrap()
    })
});

/// A state of which one key may be unreadable.
#[derive(Clone, Debug)]
struct Base {
    state: MemSnapshot<Bytes, u64>,
    fault: Option<Bytes>,
}

struct BaseIter(MemIter<Bytes, u64>, Option<Bytes>);

fn unreadable() -> kv::Error {
    kv::Error::Read { store: "base".into(), source: Arc::new(std::io::Error::other("as told")) }
}

impl BaseIter {
    fn look(&self, entry: (Bytes, u64)) -> std::result::Result<(Bytes, u64), kv::Error> {
        if Some(&entry.0) == self.1.as_ref() { Err(unreadable()) } else { Ok(entry) }
    }
}

impl Iterator for BaseIter {
    type Item = std::result::Result<(Bytes, u64), kv::Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.and_then(|entry| self.look(entry)))
    }
}

impl DoubleEndedIterator for BaseIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|entry| entry.and_then(|entry| self.look(entry)))
    }
}

impl KvRead for Base {
    type Key = Bytes;
    type Value = u64;
    type Iter = BaseIter;
    type Root = Self;

    fn get(&self, key: &Bytes) -> std::result::Result<Option<u64>, kv::Error> {
        if Some(key) == self.fault.as_ref() { Err(unreadable()) } else { self.state.get(key) }
    }

    fn scan(&self, range: KeyRange<Bytes>) -> BaseIter {
        BaseIter(self.state.scan(range), self.fault.clone())
    }

    fn root(&self) -> &Self {
        self
    }
}

/// What the hook does at a transaction besides noting it.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Break(TxIndex),
    Panic(TxIndex),
}

/// A block and all that it is executed with.
struct Case {
    base: Base,
    block: Vec<Script>,
    hints: Option<Vec<Vec<Bytes>>>,
    stop: Option<Stop>,
    /// Which places are executed elsewhere, if the block runs to its end.
    elsewhere: BTreeSet<TxIndex>,
}

/// The hook's notes: index, output, writes.
type Notes = Vec<(TxIndex, u64, Vec<(Bytes, Op<u64>)>)>;

/// What a block came to, as far as it has to be equal.
#[derive(Debug, PartialEq)]
struct Outcome {
    cause: Option<Cause<Fault>>,
    outputs: Vec<u64>,
    batch: WriteBatch<Bytes, u64>,
    committed: TxIndex,
    notes: Notes,
}

impl Case {
    fn decode(input: &mut Unstructured<'_>) -> Result<Self> {
        let some: u16 = input.arbitrary()?;
        let there = KEYS.into_iter().enumerate().filter(|(at, _)| some & 1 << at != 0);
        let state = MemStore::from_iter(there.map(|(at, key)| (Bytes::from_static(key), at as u64 * 7))).snapshot();
        let fault = if input.ratio(1, 6)? { Some(script::key(input)?) } else { None };
        let (failing, hinted, stops) = (input.ratio(1, 3)?, input.ratio(1, 4)?, input.ratio(1, 6)?);
        let stop = match stops {
            true if input.arbitrary()? => Some(Stop::Break(input.int_in_range(0..=12)?)),
            true => Some(Stop::Panic(input.int_in_range(0..=12)?)),
            false => None,
        };
        let elsewhere = if input.ratio(1, 4)? { input.arbitrary::<u16>()? } else { 0 };
        let mut hints = hinted.then(Vec::new);
        let mut block = Vec::new();
        while !input.is_empty() && block.len() < 24 {
            if let Some(hints) = &mut hints {
                let many = input.int_in_range(0..=3)?;
                hints.push((0..many).map(|_| script::key(input)).collect::<Result<_>>()?);
            }
            block.push(script::script(input, failing)?);
        }
        let elsewhere = (0..16).filter(|at| elsewhere & 1 << at != 0 && *at < block.len() as TxIndex).collect();
        Ok(Self { base: Base { state: state.unwrap(), fault }, block, hints, stop, elsewhere })
    }

    /// Executes `block`, by `executor` or sequentially.
    fn execute(
        &self,
        executor: Option<&BlockExecutor>,
        block: &[Script],
        elsewhere: Option<Elsewhere<Bytes, u64, i64>>,
        vm: &Interpreter,
    ) -> Outcome {
        let mut notes = Notes::new();
        let mut hook = |commit: Commit<'_, Bytes, u64, u64>| {
            match self.stop {
                Some(Stop::Panic(at)) if at == commit.index => resume_unwind(Box::new("as told")),
                _ => notes.push((commit.index, *commit.output, commit.writes.to_vec())),
            }
            match self.stop {
                Some(Stop::Break(at)) if at == commit.index => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let done: BlockResult<Interpreter> = match executor {
            None => execute_sequentially(&self.base, block, vm, Some(&mut hook)),
            Some(executor) => {
                let (hints, deadline) = (self.hints.as_deref(), Some(Instant::now() + HANG));
                let options = Options { on_commit: Some(&mut hook), hints, deadline, elsewhere, ..Options::default() };
                executor.execute_with(&self.base, block, vm, options)
            }
        };
        let (cause, output) = match done {
            Ok(output) => (None, output),
            Err(error) => (Some(error.cause), error.committed),
        };
        let (outputs, batch, committed) = (output.outputs, output.batch, output.committed);
        Outcome { cause, outputs, batch, committed, notes }
    }

    /// The same block with nobody looking at its commits: what committed operands come to is kept back from their chains. Until
    /// `deadline`, if there is to be one: it is a way of looking, too.
    fn unwatched(&self, due: &Outcome, executor: &BlockExecutor, vm: &Interpreter, deadline: Option<Instant>) {
        let options = Options { hints: self.hints.as_deref(), deadline, ..Options::default() };
        let (cause, output) = match executor.execute_with(&self.base, &self.block, vm, options) {
            Ok(output) => (None, output),
            Err(error) => (Some(error.cause), error.committed),
        };
        assert_eq!((&cause, &output.batch), (&due.cause, &due.batch), "unwatched, {executor:?}");
        assert_eq!((&output.outputs, output.committed), (&due.outputs, due.committed));
    }

    /// The same block with some of its transactions executed elsewhere: what they wrote is told, half of it while the
    /// block runs, and the others must arrive at the same.
    fn apart(&self, due: &Outcome, executor: &BlockExecutor, vm: &Interpreter) {
        let here = |index: &TxIndex| !self.elsewhere.contains(index);
        let block: Vec<_> = (0..).zip(&self.block).filter(|(index, _)| here(index)).map(|(_, tx)| tx.clone()).collect();
        let told = due.notes.iter().filter(|(index, ..)| !here(index));
        // A key that is declared and not written after all.
        let idle = Bytes::from_static(KEYS[2]);
        let owed: Vec<_> = told
            .flat_map(|(index, _, writes)| {
                let idle = (!writes.iter().any(|(key, _)| *key == idle)).then(|| (*index, idle.clone(), None));
                writes.iter().map(|(key, op)| (*index, key.clone(), Some(op.clone()))).chain(idle)
            })
            .collect();
        let places = Elsewhere::new(self.elsewhere.iter().map(|place| {
            (*place, owed.iter().filter(|(index, ..)| index == place).map(|(_, key, _)| key.clone()).collect())
        }));
        let resolve = |parity: usize| {
            for (_, (index, key, op)) in owed.iter().enumerate().filter(|(at, _)| at % 2 == parity) {
                places.resolve(*index, key, op.clone().into()).unwrap();
            }
        };
        resolve(0);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| resolve(1));
            self.execute(Some(executor), &block, Some(places.clone()), vm)
        });
        let notes: Notes = due.notes.iter().filter(|(index, ..)| here(index)).cloned().collect();
        assert_eq!((&done.cause, &done.batch, done.committed), (&None, &due.batch, due.committed), "apart");
        assert_eq!(done.outputs, notes.iter().map(|(_, output, _)| *output).collect::<Vec<_>>(), "apart");
        assert_eq!(done.notes, notes, "apart");
    }
}

/// Runs the block that `data` decodes to; panics where an execution differs from the sequential one. Returns the
/// [`EVENTS`] it met.
pub fn run(data: &[u8]) -> u32 {
    let Ok(case) = Case::decode(&mut Unstructured::new(data)) else { return 0 };
    let vm = Interpreter::default();
    let due = case.execute(None, &case.block, None, &vm);
    for executor in EXECUTORS.iter() {
        let done = case.execute(Some(executor), &case.block, None, &vm);
        assert_eq!(done, due, "{} threads", executor.threads());
        if case.stop.is_none() {
            case.unwatched(&due, executor, &vm, Some(Instant::now() + HANG));
        }
    }
    // What is known to be short is left to who commits, with a hook and without; what is not known is executed sequentially at first.
    let knowing = Interpreter { knows: true, ..Interpreter::default() };
    for executor in BEGINNING.iter() {
        assert_eq!(case.execute(Some(executor), &case.block, None, &knowing), due, "knowing, {executor:?}");
        for vm in [&vm, &knowing].into_iter().filter(|_| case.stop.is_none()) {
            case.unwatched(&due, executor, vm, None);
        }
    }
    let whole = due.cause.is_none() && due.committed as usize == case.block.len();
    let apart = whole && case.stop.is_none() && !case.elsewhere.is_empty();
    if apart {
        case.apart(&due, &EXECUTORS[1], &vm);
        case.divided(&due, [&EXECUTORS[0], &EXECUTORS[1]], &vm);
    }
    let met = |flag: &std::sync::atomic::AtomicBool| flag.load(Ordering::Relaxed);
    let events = [
        whole && !case.block.is_empty(),
        matches!(due.cause, Some(Cause::Transaction { .. })),
        matches!(due.cause, Some(Cause::Panicked { .. })),
        matches!(due.cause, Some(Cause::Base { .. })),
        due.cause.is_none() && !whole,
        apart,
        met(&vm.met.refused),
        met(&vm.met.range_deleted),
        met(&vm.met.rolled_back),
    ];
    (0..).zip(events).fold(0, |mask, (bit, event)| mask | u32::from(event) << bit)
}
