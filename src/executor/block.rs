//! The executor's front: a pool of workers, and one block at a time on it.

use super::cancel::{Block, CancelToken};
use super::commit::Committer;
use super::elsewhere::Elsewhere;
use super::error::{BlockResult, Cause, failed, panic_message};
use super::parking::Parking;
use super::places::Places;
use super::scheduler::Scheduler;
use super::stats::Tally;
use super::vm::{OnCommit, Vm};
use super::worker::{Job, Worker};
use crate::kv::KvRead;
use crate::multiversion::{MultiVersionStore, TxIndex};
use crate::sync::{Arc, AtomicBool, Mutex};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// How an executor works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Worker threads; 0 takes as many as the machine has.
    pub threads: usize,
    /// How far beyond the commit frontier transactions may be executed, in transactions a thread.
    pub run_ahead: usize,
    /// Whether to measure the time spent in each phase; costs two clock readings a phase and transaction.
    pub time_phases: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { threads: 0, run_ahead: 32, time_phases: false }
    }
}

/// Executes blocks of transactions in parallel, with the result of executing them one after the other.
///
/// ```
/// use cachekv::executor::{BlockExecutor, Vm};
/// use cachekv::kv::{KvStore, MemStore, Op};
/// use cachekv::multiversion::{NoMerge, TxView, ViewError};
///
/// /// Moves an amount from one account to another, or as much of it as there is.
/// struct Transfer;
/// impl Vm for Transfer {
///     type Key = u32;
///     type Value = u64;
///     type Merge = NoMerge;
///     type Transaction = (u32, u32, u64);
///     type Output = u64;
///     type Error = ViewError;
///     fn execute(&self, &(from, to, amount): &(u32, u32, u64), view: &TxView<'_, u32, u64>) -> Result<u64, ViewError> {
///         let balance = view.get(&from)?.unwrap_or(0);
///         let moved = amount.min(balance);
///         view.set(from, balance - moved);
///         view.set(to, view.get(&to)?.unwrap_or(0) + moved);
///         Ok(moved)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemStore::from_iter([(1, 100)]);
/// let executor = BlockExecutor::new(2)?;
/// let block = [(1, 2, 70), (2, 3, 50), (1, 3, 50)];
/// let done = executor.execute(&store.snapshot()?, &block, &Transfer).map_err(|error| error.cause.to_string())?;
/// assert_eq!(done.outputs, [70, 50, 30]);
/// assert_eq!(done.batch.get(&3), Some(&Op::Put(80)));
/// store.commit(done.batch)?;
/// # Ok(())
/// # }
/// ```
pub struct BlockExecutor {
    config: Config,
    pool: ThreadPool,
    /// Held while a block is on the pool. Whoever finds it held gets a pool for itself.
    busy: Mutex<()>,
}

/// What may be asked of one block beyond its execution.
pub struct Options<'o, V: Vm + ?Sized> {
    /// Called for each transaction at its commit: in block order, once, never for a run that is discarded.
    /// [`Break`](std::ops::ControlFlow::Break) stops the block after it.
    pub on_commit: Option<OnCommit<'o, V>>,
    /// For each transaction the keys it will probably write. Right hints spare executions; wrong ones change nothing but
    /// speed.
    pub hints: Option<&'o [Vec<V::Key>]>,
    /// Ends the block from outside.
    pub cancel: Option<CancelToken>,
    /// When the block gives up.
    pub deadline: Option<Instant>,
    /// Places in the block whose transactions somebody else executes; the given transactions fill the others in order.
    pub elsewhere: Option<Elsewhere<V::Key, V::Value>>,
}

impl<V: Vm + ?Sized> Default for Options<'_, V> {
    fn default() -> Self {
        Self { on_commit: None, hints: None, cancel: None, deadline: None, elsewhere: None }
    }
}

impl BlockExecutor {
    /// An executor with `threads` workers, 0 for as many as the machine has.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        Self::with_config(Config { threads, ..Config::default() })
    }

    /// An executor that works as `config` says.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn with_config(config: Config) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = pool(config.threads)?;
        Ok(Self { config, pool, busy: Mutex::new(()) })
    }

    /// The number of workers.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Executes `block` over `snapshot`. Blocks until it is done, on the executor's workers; called while another block is
    /// on them, or from inside a transaction, it makes a pool for itself.
    ///
    /// # Errors
    /// [`BlockError`] with the committed prefix. Nothing was written to any store in any case.
    pub fn execute<S, V>(&self, snapshot: &S, block: &[V::Transaction], vm: &V) -> BlockResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
        V: Vm,
    {
        self.execute_with(snapshot, block, vm, Options::default())
    }

    /// Executes `block` over `snapshot`, with `options`.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn execute_with<S, V>(
        &self,
        snapshot: &S,
        block: &[V::Transaction],
        vm: &V,
        options: Options<'_, V>,
    ) -> BlockResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
        V: Vm,
    {
        // What panics outside of transactions and workers is the cloning of the snapshot or the hashing of a hint: nothing
        // has begun.
        let done = catch_unwind(AssertUnwindSafe(|| self.run(snapshot, block, vm, options)));
        done.unwrap_or_else(|panic| Err(failed(Cause::Panicked { index: 0, message: panic_message(panic) })))
    }

    fn run<S, V>(&self, snapshot: &S, block: &[V::Transaction], vm: &V, options: Options<'_, V>) -> BlockResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
        V: Vm,
    {
        let began = Instant::now();
        let Options { on_commit, hints, cancel, deadline, elsewhere } = options;
        let places = match Places::new(block.len(), elsewhere.as_ref()) {
            Ok(places) => places,
            Err(why) => return Err(failed(Cause::Malformed(why))),
        };
        #[expect(clippy::cast_possible_truncation, reason = "`places` has checked that it fits")]
        let len = (block.len() + places.elsewhere()) as TxIndex;
        let signals = Block { interrupted: Arc::new(AtomicBool::new(false)), parking: Arc::new(Parking::default()) };
        let store =
            MultiVersionStore::new(snapshot.clone().into_dyn(), Arc::clone(&signals.interrupted)).until(deadline);
        let run_ahead = self.config.run_ahead.saturating_mul(self.threads()).try_into().unwrap_or(u32::MAX);
        let owed = |index| elsewhere.as_ref()?.declared().get(&index).map(|keys| keys.len());
        let job = Job {
            vm,
            block,
            places,
            store,
            scheduler: Scheduler::new(len, run_ahead, Arc::clone(&signals.parking), owed),
            committer: Committer::new(on_commit, block.len()),
            signals,
            cancel,
            deadline,
            elsewhere,
            time_phases: self.config.time_phases,
            tally: Mutex::new(Tally::default()),
        };
        job.predict(hints);
        if !job.attach() {
            return Err(failed(Cause::Malformed("what is executed elsewhere belongs to another block")));
        }
        let ran = self.on_pool(|| Worker::new(&job).run());
        job.detach();
        job.conclude(began, ran.err().map(|error| Cause::Threads(error.to_string())))
    }

    /// Runs `worker` on every thread of the pool, or of a new one if the pool is taken.
    ///
    /// A worker never waits for another transaction inside the pool, and the pool has no work but one worker a thread:
    /// what user code hands to rayon runs on the thread that handed it, and nobody steals a worker.
    fn on_pool(&self, worker: impl Fn() + Sync) -> Result<(), rayon::ThreadPoolBuildError> {
        match self.busy.try_lock() {
            Some(_one) => drop(self.pool.broadcast(|_| worker())),
            None => drop(pool(self.config.threads)?.broadcast(|_| worker())),
        }
        Ok(())
    }
}

impl fmt::Debug for BlockExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockExecutor").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<V: Vm + ?Sized> fmt::Debug for Options<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

fn pool(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("cachekv-{index}")).build()
}
