//! The executor's front: the calling thread and a pool of others, and one block at a time on them.

use super::cancel::CancelToken;
use super::elsewhere::Elsewhere;
use super::error::{BlockResult, Cause, failed, panic_message};
use super::job::Job;
use super::pace::{Known, Pace};
use super::pool::Pool;
use super::sequential::Sequential;
use super::vm::{OnCommit, Operand, Vm};
use super::window::RunAhead;
use super::worker::Worker;
use crate::kv::KvRead;
use crate::multiversion::TxIndex;
use crate::sync::{AtomicU64, Ordering, TriedMutex};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// How an executor works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Threads that work on a block, the calling one included; 0 takes as many as the machine has.
    pub threads: usize,
    /// How far beyond the commit frontier transactions may be executed, in transactions a thread; what is left to who commits (see
    /// `shared_from`) does not count.
    pub run_ahead: usize,
    /// Whether they always are, or only while executions in advance last.
    pub window: RunAhead,
    /// From which mean time of an execution the threads share a block. Below it the calling thread executes it alone: to share
    /// so short a transaction takes longer than to execute it. It begins alone and times its first executions, then every
    /// eighth, until sixteen, or two long ones, say enough; or one, if it took very long, or long and the block before did, too. What the
    /// machine [knows](Vm::is_long) goes first. What it executes alone it executes as
    /// [`execute_sequentially`](super::execute_sequentially) does, without versions, if the block is not watched, by a hook, a deadline
    /// or a way to cancel it, by timing or recording, nor executed elsewhere in part; the others go on from there. If the code of a
    /// key or value panics outside of a transaction meanwhile, all are executed again. Of a block that is shared, what the machine knows
    /// to be short is not handed out: who commits executes it when its turn has come, or who has nothing else to do. Zero: all threads
    /// work from a block's begin, and none of this.
    pub shared_from: Duration,
    /// Whether, on Linux, threads are kept on cores of their own for a block: the pool's off the core that they are called from, and
    /// who sleeps, the calling thread included, on the one it fell asleep on. By their affinity, which is then set to what it was;
    /// what somebody else sets it to meanwhile, or adds to the process' cores, is lost on them. Elsewhere of no effect.
    pub cores_apart: bool,
    /// Whether to measure the time spent in each phase; costs two clock readings a phase and transaction.
    pub time_phases: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 0,
            run_ahead: 64,
            window: RunAhead::Adaptive,
            shared_from: Duration::from_nanos(1_500),
            cores_apart: true,
            time_phases: false,
        }
    }
}

/// Executes blocks of transactions in parallel, with the result of executing them one after the other.
///
/// On Linux its threads are kept off the calling thread's core for as long as a block lasts ([`Config::cores_apart`]); a thread that a
/// transaction starts meanwhile inherits that, and counts one core less. What a block leaves behind, the versions of every key that it
/// touched, is dropped by one of the threads after the block has been returned: the `Drop` of keys and values runs there, and the next
/// block may wait for it. The snapshot is not held by then.
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
    pool: Pool,
    /// Held while a block is on the pool. Whoever finds it held gets a pool for itself.
    busy: TriedMutex<()>,
    /// The mean time of an execution in the last block, in ns, 0 before the first. A hint: relaxed.
    pace: AtomicU64,
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
    pub elsewhere: Option<Elsewhere<V::Key, V::Value, Operand<V>>>,
    /// Whether to record what each worker does and when, for [`BlockStats::timeline`](super::BlockStats::timeline). Costs three
    /// or four clock readings a transaction and some hundred bytes an event: little beside ten microseconds, up to a third of the
    /// shortest transactions.
    pub record: bool,
}

impl<V: Vm + ?Sized> Default for Options<'_, V> {
    fn default() -> Self {
        Self { on_commit: None, hints: None, cancel: None, deadline: None, elsewhere: None, record: false }
    }
}

impl BlockExecutor {
    /// An executor of `threads` threads, the calling one included; 0 for as many as the machine has.
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
        let pool = Pool::new(config.threads, config.cores_apart)?;
        Ok(Self { config, pool, busy: TriedMutex::new(()), pace: AtomicU64::new(0) })
    }

    /// The number of threads that work on a block, the calling one included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Executes `block` over `snapshot`. Blocks until it is done, on the calling thread and the executor's others; if another block is on
    /// them, one around this included, it makes a pool for itself, unless all is executed sequentially.
    ///
    /// # Errors
    /// [`BlockError`](super::BlockError) with the committed prefix. Nothing was written to any store in any case.
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
        // What panics outside of transactions and workers is what the machine knows of them, the cloning of the snapshot or the
        // hashing of a hint: nothing has begun, or what had is dropped.
        let done = catch_unwind(AssertUnwindSafe(|| self.run(snapshot, block, vm, options)));
        done.unwrap_or_else(|panic| Err(failed(Cause::Panicked { index: 0, message: panic_message(panic) })))
    }

    fn run<S, V>(&self, snapshot: &S, block: &[V::Transaction], vm: &V, options: Options<'_, V>) -> BlockResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
        V: Vm,
    {
        let began = Instant::now();
        let known = self.known(block, vm, &options);
        let mut pace = Pace::new(self.config.shared_from, self.pace.load(Ordering::Relaxed), known);
        let (mut begun, mut executions, mut committed) = (None, 0, 0);
        if self.begins_sequentially(block.len(), &options) && !pace.is_worth_company() {
            let mut sequential = Sequential::new(snapshot, block.len());
            let execute = || sequential.execute(block, vm, &mut None, &mut pace);
            let is_over = catch_unwind(AssertUnwindSafe(execute));
            if let Ok(true) = is_over {
                self.keep(&pace);
                return sequential.into_result(began);
            }
            executions = sequential.executions;
            if is_over.is_ok() {
                committed = sequential.committed();
                begun = Some(sequential);
            } // else the code of a key or value does not bear it, and all is executed again, where it is told with what was before
        }
        let new = || Job::new(&self.config, self.threads(), snapshot, block, vm, options, begun);
        let job = match catch_unwind(AssertUnwindSafe(new)) {
            Ok(job) => job.map_err(failed)?,
            // The code of a key, or of what is known or hinted, does not bear what it need not where all are executed sequentially.
            Err(_) if committed > 0 => {
                self.keep(&pace);
                return Sequential::whole(snapshot, block, vm, &mut None, executions, began);
            }
            Err(panic) => resume_unwind(panic),
        };
        job.tally.lock().begun(executions, committed);
        let ran = self.on_pool(&job, &mut pace);
        self.keep(&pace);
        job.conclude(began, ran.err().map(|error| Cause::Threads(error.to_string())), &self.pool)
    }

    /// For the next block to begin with. Relaxed: a hint.
    fn keep(&self, pace: &Pace) {
        self.pace.store(pace.mean(), Ordering::Relaxed);
    }

    /// What is known of the transactions of `block`, where that decides anything.
    fn known<V: Vm>(&self, block: &[V::Transaction], vm: &V, options: &Options<'_, V>) -> Known {
        if self.threads() == 1 || block.len() <= 1 {
            return Known::Short;
        }
        let decides = options.elsewhere.is_none() && !self.config.shared_from.is_zero();
        if !decides || TxIndex::try_from(block.len()).is_err() {
            return Known::Nothing;
        }
        Known::of((0..).zip(block).map(|(index, transaction)| vm.is_long(index, transaction)))
    }

    /// Whether nothing is asked of a block of `len` transactions that would have to be looked at, or noted, with each of them.
    fn begins_sequentially<V: Vm>(&self, len: usize, options: &Options<'_, V>) -> bool {
        let Options { on_commit, hints: _, cancel, deadline, elsewhere, record } = options;
        let is_watched = on_commit.is_some() || cancel.is_some() || deadline.is_some() || *record;
        let is_whole = elsewhere.is_none() && len < TxIndex::MAX as usize;
        is_whole && !is_watched && !self.config.time_phases && !self.config.shared_from.is_zero()
    }

    /// Runs a worker on this thread, and on every thread of the pool once this one calls them; of a new pool if that is taken.
    ///
    /// A worker never waits for another transaction inside the pool, and the pool has no work but one worker a thread, and what the
    /// last block left, to drop and to let go: what user code hands to rayon runs on the thread that handed it, and nobody steals a worker.
    fn on_pool<V: Vm>(&self, job: &Job<'_, '_, V>, pace: &mut Pace) -> Result<(), rayon::ThreadPoolBuildError> {
        let own;
        let one = self.busy.try_lock();
        let pool = match &one {
            Some(_) => &self.pool,
            None => {
                own = Pool::new(self.threads(), self.config.cores_apart)?;
                &own
            }
        };
        pool.run(|call| Worker::leading(job, pace, call).run(), || Worker::new(job).run());
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
