//! `cachekv run`: block after block, each executed twice, compared, committed, and flushed while the next one executes.
//!
//! ```text
//! main     execute 1 │ commit 1 │ execute 2 │ wait │ commit 2 │ execute 3 ...
//! flush                         └ flush 1 ─────▶   │          └ flush 2 ─────▶
//! readers  snapshot, walk, check · snapshot, walk, check · ...
//! ```
//!
//! A block is committed only after the one before is on the disk: one flush is in flight at most, and it holds one block
//! with its record of height. So a run that is killed leaves whole blocks, and loses at most the last one committed.

use crate::args::Run;
use crate::chain::{self, Chain};
use crate::compare::difference;
use crate::failure::Failure;
use crate::open::{Opened, open};
use crate::outcome::{Outcome, Rows};
use crate::picture::Slowest;
use crate::readers;
use crate::shards::fleet::{Fleet, NotDone};
use crate::shards::signals::asked_to_end;
use crate::shards::workloads::{MACHINE, Sent, Workloads};
use crate::workload::{Fault, Labour, Machine, Receipt, Transaction, accesses, block, name_key};
use bytes::Bytes;
use cachekv::cachekv::Store;
use cachekv::executor::{BlockError, BlockExecutor, BlockOutput, Cause, Options, execute_sequentially};
use cachekv::kv::{self, KvRead, KvStore, RedbStore, WriteBatch};
use cachekv::restore::{Hash, StateTree};
use indicatif::{ProgressBar, ProgressStyle};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Executes what `args` ask for, and says what came of it.
///
/// # Errors
/// What ended it early.
pub(crate) fn run(args: &Run) -> Result<String, Failure> {
    let fleet = args.shards.start(Workloads, MACHINE, args.threads, &[])?;
    let executor = BlockExecutor::new(args.threads.try_into().unwrap_or(usize::MAX))
        .map_err(|error| Failure::System(format!("no threads to work with ({error}): ask for less with --threads")))?;
    args.picture.check()?;
    let Opened { store, chain: first, path } = open(args)?;
    args.picture.check()?; // the store may be what is now in the way
    args.picture.check_among(first.next(0).height..=first.height.saturating_add(args.blocks))?;
    let machine = Machine { labour: Labour::measured(args.work) };
    let asked_to_end = fleet.as_ref().map(|_| asked_to_end()).transpose()?;
    let engine = fleet.as_ref().map_or(Engine::Here(&executor), Engine::Shards);
    let stop = AtomicBool::new(false);
    let driver = Driver { args, engine, machine: &machine, store: &store, stop, asked_to_end };
    let began = Instant::now();
    let (last, done, walks) = driver.run(first)?;
    let elapsed = began.elapsed();
    // With or without readers: what is left behind has been looked at, and is on the disk.
    readers::walk(&store.parent().snapshot()?)?;
    let Done { rows, slowest } = done;
    let tally = fleet.as_ref().map(Fleet::tally);
    let outcome = Outcome { first, last, path, threads: executor.threads(), tally, rows, walks, elapsed };
    let text = if args.json { outcome.json(args)? } else { outcome.text(args) };
    match slowest.write(&args.picture, &last.workload.to_string(), |key| name_key(key)) {
        Ok(()) => Ok(text),
        Err(failure) => {
            crate::print(&text)?; // the blocks are done all the same
            Err(failure)
        }
    }
}

/// What the threads of a run share.
struct Driver<'r> {
    args: &'r Run,
    engine: Engine<'r>,
    machine: &'r Machine,
    store: &'r Store<RedbStore>,
    /// Set when the blocks are done, or a reader has found something wrong.
    stop: AtomicBool,
    /// Set when the process is asked to end: after the block under way. Without shards, the system ends it at once.
    asked_to_end: Option<Arc<AtomicBool>>,
}

/// Who executes blocks.
enum Engine<'r> {
    Here(&'r BlockExecutor),
    Shards(&'r Fleet<Workloads>),
}

/// What the blocks came to.
struct Done {
    rows: Rows,
    slowest: Slowest<Bytes>,
}

/// A block being flushed: its place in the run, and the thread that does it.
type Flight<'scope> = (u64, ScopedJoinHandle<'scope, Result<Duration, kv::Error>>);

type Executed = BlockOutput<Bytes, Bytes, Receipt>;

impl Driver<'_> {
    /// Executes the blocks after `first` while readers read. Returns where the chain is then, the figures, and the number
    /// of walks.
    fn run(&self, first: Chain) -> Result<(Chain, Done, u64), Failure> {
        thread::scope(|scope| {
            let rest = Duration::from_millis(self.args.rest);
            let reader = |_| spawn(scope, move || readers::read(self.store, rest, &self.stop));
            let readers: Result<Vec<_>, Failure> = (0..self.args.readers).map(reader).collect();
            // Readers that did start are stopped whatever happens, or the scope would not end.
            let blocks = readers.map(|readers| (self.blocks(scope, first), readers));
            self.stop.store(true, Ordering::Relaxed);
            let (blocks, readers) = blocks?;
            let mut walks = 0;
            for reader in readers {
                walks += join(reader)??; // before the blocks' own outcome: they end early, well, if a reader fails
            }
            let (last, done) = blocks?;
            Ok((last, done, walks))
        })
    }

    fn blocks<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, first: Chain) -> Result<(Chain, Done), Failure> {
        let mut rows = Rows::new(first.height, self.args.blocks);
        let mut slowest = Slowest::default();
        let mut chain = first;
        let mut flight: Option<Flight<'scope>> = None;
        let bar = progress(self.args.blocks);
        for place in 0..self.args.blocks {
            if self.stop.load(Ordering::Relaxed) || self.is_asked_to_end() {
                break;
            }
            let next = chain.next(self.args.txns);
            let (sequential, parallel) = self.execute(&chain)?;
            rows.executed(place, &parallel.stats, sequential.stats.wall);
            slowest.note(next.height, parallel.stats);
            land(flight.take(), &mut rows)?;
            let mut batch = parallel.batch;
            batch.put(Bytes::from_static(chain::KEY), next.encode());
            let (batch, root) = self.with_tree(batch, next.height)?;
            rows.rooted(next.height, root);
            self.store.commit(batch)?;
            chain = next;
            flight = Some((place, spawn(scope, || timed(|| self.store.flush()))?));
            bar.inc(1);
            if let Some(speed_up) = rows.speed_up() {
                bar.set_message(format!("{speed_up:.2}x"));
            }
        }
        land(flight, &mut rows)?;
        bar.finish_and_clear();
        Ok((chain, Done { rows, slowest }))
    }

    fn is_asked_to_end(&self) -> bool {
        self.asked_to_end.as_ref().is_some_and(|asked| asked.load(Ordering::Relaxed))
    }

    fn parallel<S>(&self, height: u64, snapshot: &S, block: &[Transaction]) -> Result<Executed, Failure>
    where
        S: KvRead<Key = Bytes, Value = Bytes>,
    {
        let fleet = match self.engine {
            Engine::Here(executor) => {
                let options = Options { record: self.args.picture.records(height), ..Options::default() };
                let done = executor.execute_with(snapshot, block, self.machine, options);
                return done.map_err(|error| ended(height, "parallel", *error));
            }
            Engine::Shards(fleet) => fleet,
        };
        let accesses = accesses(block, snapshot)?;
        let send =
            |transaction: &Transaction| Sent { labour: self.machine.labour.clone(), transaction: transaction.clone() };
        let sent: Vec<_> = block.iter().map(send).collect();
        fleet.execute(snapshot, &sent, &accesses).map_err(|error| match error {
            NotDone::Block(error) => ended(height, "sharded", *error),
            NotDone::Shards(failure) => failure,
        })
    }

    /// A block's batch with the records of its state tree, if there is to be one, and the root.
    fn with_tree(
        &self,
        batch: WriteBatch<Bytes, Bytes>,
        height: u64,
    ) -> Result<(WriteBatch<Bytes, Bytes>, Option<Hash>), Failure> {
        let tree = StateTree::open(self.store.snapshot()?)?;
        if !self.args.state_root && tree.versions().is_none() {
            return Ok((batch, None));
        }
        let update = tree.update(&batch, height, self.args.keep)?;
        let root = update.root;
        Ok((update.with(batch), Some(root)))
    }

    /// Executes the block after `chain` sequentially and in parallel, and compares.
    ///
    /// Sequentially first: the flush of the block before then has a core to itself, and neither time is of a machine that
    /// does something else.
    fn execute(&self, chain: &Chain) -> Result<(Executed, Executed), Failure> {
        let height = chain.next(0).height;
        let snapshot = self.store.snapshot()?;
        let block = block(chain, self.args.txns);
        let sequential = execute_sequentially(&snapshot, &block, self.machine, None);
        let sequential = sequential.map_err(|error| ended(height, "sequential", *error))?;
        let parallel = self.parallel(height, &snapshot, &block)?;
        match difference(&parallel, &sequential, name_key) {
            None => Ok((sequential, parallel)),
            Some(words) => Err(Failure::Wrong(format!("block {height} differs and was not committed: {words}"))),
        }
    }
}

/// Waits for a flush, and notes what it took.
fn land(flight: Option<Flight<'_>>, rows: &mut Rows) -> Result<(), Failure> {
    if let Some((place, flush)) = flight {
        rows.flushed(place, join(flush)??);
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let began = Instant::now();
    work().map(|_| began.elapsed())
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    let thread: io::Result<_> = thread::Builder::new().spawn_scoped(scope, work);
    thread.map_err(|error| Failure::System(format!("no more threads ({error}): ask for less with --readers")))
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Failure> {
    thread.join().map_err(|_| Failure::Wrong("a thread panicked; please report what it said above".into()))
}

/// Why a block did not run to its end.
fn ended(height: u64, how: &str, error: BlockError<Bytes, Bytes, Receipt, Fault>) -> Failure {
    match error.cause {
        Cause::Base { error, .. } => Failure::Store(error.0),
        cause @ Cause::Threads(_) => Failure::System(format!("{cause}: ask for less with --threads")),
        cause => Failure::Wrong(format!("the {how} execution of block {height} ended early: {cause}")),
    }
}

/// A bar on stderr, or nothing where that is no terminal.
fn progress(blocks: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} block {pos} of {len}, speed-up {msg}, {eta} left");
    ProgressBar::new(blocks).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message("-")
}
