//! One block under way: what its workers share, and what executions leave behind.

use super::block::{Config, Options};
use super::cancel::{Block, CancelToken};
use super::commit::{Committed, Committer};
use super::elsewhere::Elsewhere;
use super::error::{BlockError, BlockResult, Cause, failed, panic_message};
use super::gathering::Gathering;
use super::output::BlockOutput;
use super::parking::Parking;
use super::places::Places;
use super::pool::Pool;
use super::scheduler::Scheduler;
use super::sequential::Sequential;
use super::stats::Tally;
use super::vm::{Operand, Vm};
use super::window::{RunAhead, Window};
use crate::kv::KvRead;
use crate::multiversion::{Incarnation, MultiVersionStore, Operands, ReadSet, Settlement, TxIndex, Written};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// One block under way: everything its workers share.
pub(super) struct Job<'o, 'b, V: Vm> {
    pub(super) vm: &'b V,
    pub(super) block: &'b [V::Transaction],
    pub(super) places: Places,
    pub(super) store: MultiVersionStore<V::Key, V::Value, V::Merge>,
    pub(super) scheduler: Scheduler<Box<Run<V>>>,
    pub(super) committer: Committer<'o, V>,
    pub(super) signals: Block,
    pub(super) cancel: Option<CancelToken>,
    pub(super) deadline: Option<Instant>,
    pub(super) elsewhere: Option<Elsewhere<V::Key, V::Value, Operand<V>>>,
    pub(super) time_phases: bool,
    /// See [`Config::cores_apart`]; of no meaning but on Linux.
    #[cfg_attr(any(not(target_os = "linux"), kv_loom, kv_shuttle, kv_tsan), expect(dead_code, reason = "see above"))]
    pub(super) cores_apart: bool,
    /// When recording began, if it is asked for.
    pub(super) record: Option<Instant>,
    pub(super) tally: Mutex<Tally<V::Key>>,
    pub(super) gathering: Gathering<V::Key, V::Value>,
}

/// What a transaction's executions have left behind.
pub(super) struct Run<V: Vm> {
    /// `None` if the last one came to nothing.
    pub(super) outcome: Option<Result<V::Output, Cause<V::Error>>>,
    /// Of no meaning for a run at the frontier.
    pub(super) reads: ReadSet<V::Key, V::Value, Operand<V>>,
    /// Nothing this run read can change, so there is nothing to validate.
    pub(super) at_frontier: bool,
    /// How many places ahead of the frontier the last one that was not at it began.
    pub(super) ahead: u32,
    /// Which of the transaction's executions it was.
    pub(super) incarnation: Incarnation,
    /// Operands to be checked beside the written ones.
    pub(super) obligations: Vec<(V::Key, Operands<Operand<V>>)>,
    /// Where the transaction has versions or estimates.
    pub(super) written: Written<Operand<V>>,
}

impl<V: Vm> Run<V> {
    /// What is left of no execution, but for estimates at `written`.
    pub(super) fn nothing(written: Written<Operand<V>>) -> Box<Self> {
        Box::new(Self {
            outcome: None,
            reads: ReadSet::new(),
            at_frontier: false,
            ahead: 0,
            incarnation: 0,
            obligations: Vec::new(),
            written,
        })
    }
}

impl<'o, 'b, V: Vm> Job<'o, 'b, V> {
    /// The block `block` over `snapshot`, for `threads` workers, after what has `begun` it: everything is in place, and nothing runs
    /// yet.
    pub(super) fn new<S>(
        config: &Config,
        threads: usize,
        snapshot: &S,
        block: &'b [V::Transaction],
        vm: &'b V,
        options: Options<'o, V>,
        begun: Option<Sequential<V>>,
    ) -> Result<Self, Cause<V::Error>>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let Options { on_commit, hints, cancel, deadline, elsewhere, record } = options;
        let record = record.then(Instant::now);
        let places = Places::new(block.len(), elsewhere.as_ref()).map_err(Cause::Malformed)?;
        #[expect(clippy::cast_possible_truncation, reason = "`places` has checked that it fits")]
        let len = (block.len() + places.elsewhere()) as TxIndex;
        let signals = Block { interrupted: Arc::new(AtomicBool::new(false)), parking: Arc::new(Parking::default()) };
        let store = MultiVersionStore::new(snapshot.clone().into_dyn(), block.len(), Arc::clone(&signals.interrupted))
            .until(deadline)
            .shared(elsewhere.is_some());
        let most = config.run_ahead.saturating_mul(threads).try_into().unwrap_or(u32::MAX);
        // Who waits for others' transactions has time to try its own, whatever becomes of them.
        let policy = if elsewhere.is_some() { RunAhead::Fixed } else { config.window };
        let window = Window::new(policy, most);
        let owed = |index| elsewhere.as_ref()?.declared().get(&index).map(|keys| keys.len());
        let scheduler = Scheduler::new(len, threads, window.width(), Arc::clone(&signals.parking), owed);
        let leaves = elsewhere.is_none() && !config.shared_from.is_zero() && threads > 1;
        let all = (0..len).zip(block).filter(|_| leaves);
        let short: Vec<_> = all.filter(|(index, tx)| vm.is_long(*index, tx) == Some(false)).map(|(at, _)| at).collect();
        let scheduler = if short.is_empty() { scheduler } else { scheduler.leaving(window.width(), &short) };
        let settlement = match (&on_commit, &elsewhere) {
            (None, None) => Settlement::keeping(),
            _ => Settlement::at_once(),
        };
        let job = Self {
            vm,
            block,
            places,
            store,
            scheduler,
            committer: Committer::new(on_commit, settlement, window, if begun.is_some() { 0 } else { block.len() }),
            signals,
            cancel,
            deadline,
            elsewhere,
            time_phases: config.time_phases,
            cores_apart: config.cores_apart,
            record,
            tally: Mutex::new(Tally::new(record)),
            gathering: Gathering::new(),
        };
        begun.into_iter().for_each(|begun| job.take_over(begun));
        job.predict(hints);
        match job.attach() {
            true => Ok(job),
            false => Err(Cause::Malformed("what is executed elsewhere belongs to another block")),
        }
    }

    /// Goes on behind what was executed sequentially: nothing else has begun.
    fn take_over(&self, begun: Sequential<V>) {
        let end = begun.committed();
        self.store.begin_with(end, begun.state);
        self.committer.between(|committed| {
            committed.outputs = begun.outputs; // with room for all
            self.scheduler.begin_at(end, committed.window.width());
        });
    }

    /// Places estimates where transactions are expected to write.
    fn predict(&self, hints: Option<&[Vec<V::Key>]>) {
        if let Some(elsewhere) = &self.elsewhere {
            for (index, keys) in elsewhere.declared() {
                self.store.predict(*index, keys);
            }
        }
        let Some(hints) = hints else { return };
        for place in self.scheduler.frontier()..self.scheduler.len() {
            let keys = self.places.transaction(place).and_then(|given| hints.get(given));
            if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
                self.scheduler.expect(place, Run::nothing(self.store.predict(place, keys)));
            }
        }
    }

    /// Whether this is the first block to which what is executed elsewhere belongs; if not, nothing is attached.
    fn attach(&self) -> bool {
        if self.elsewhere.as_ref().is_some_and(|elsewhere| !elsewhere.attach(self.signals.parking.clone())) {
            return false;
        }
        if let Some(cancel) = &self.cancel {
            cancel.attach(&self.signals);
        }
        true
    }

    /// Whether a worker has nothing to do, and nobody tells it to leave.
    pub(super) fn is_idle(&self) -> bool {
        !(self.scheduler.has_work()
            || self.scheduler.is_stopped()
            || self.cancel.as_ref().is_some_and(CancelToken::is_cancelled)
            || self.elsewhere.as_ref().is_some_and(Elsewhere::has_arrivals))
    }

    /// Ends the block: runs under way answer `Interrupted` at their next read, sleepers wake up and leave. In this order: a
    /// worker whose run was interrupted finds the block stopped, and does not claim the same again. Relaxed: a stop calls all
    /// who sleep, and between the two stands the call's fence.
    pub(super) fn stop(&self) {
        self.scheduler.stop();
        self.signals.interrupted.store(true, Ordering::Relaxed);
    }

    /// Ends the block early for `cause`, unless it has ended. Between two commits, and nothing commits after it: whoever
    /// ends the block first says how, and what has been committed is what had been then.
    pub(super) fn fail(&self, cause: Cause<V::Error>) {
        self.committer.between(|state| {
            if !self.scheduler.is_stopped() {
                state.cause = Some(cause);
                self.stop();
            }
        });
    }

    /// Every transaction is committed: what they wrote can be gathered, once its chains know what their operands come to.
    pub(super) fn complete(&self, state: &mut Committed<'_, V>) {
        let settlement = std::mem::replace(&mut state.settlement, Settlement::at_once());
        match catch_unwind(AssertUnwindSafe(|| self.store.settle_rest(settlement))) {
            Ok(()) => self.gathering.begin(),
            Err(payload) => self.gathering.fail(panic_message(payload)), // the drop of an operand
        }
    }

    /// Gathers a part of what the block came to, if it is complete. By each worker that leaves.
    pub(super) fn gather(&self) {
        if self.gathering.has_begun() {
            self.gathering.gather(|lane| self.store.outcome_of(lane, self.scheduler.len()));
        }
    }

    /// What the block came to, once every worker has left. What it leaves behind is dropped on `pool`, unless the calling thread
    /// executed all of it alone.
    pub(super) fn conclude(self, began: Instant, no_threads: Option<Cause<V::Error>>, pool: &Pool) -> BlockResult<V> {
        if let Some(cancel) = &self.cancel {
            cancel.detach(&self.signals);
        }
        let committed = self.scheduler.frontier();
        let Committed { outputs, cause, settlement, .. } = self.committer.into_inner();
        let (store, tally, gathering) = (self.store, self.tally, self.gathering);
        // A key's comparison or a value's clone may panic here too. Then there is nothing that could be handed out.
        let gather = || {
            store.settle_rest(settlement);
            gathering.gather(|lane| store.outcome_of(lane, committed)); // all of it, if the block ended early
            gathering.into_batch().map(|batch| (batch, tally.into_inner().into_stats()))
        };
        let gathered = catch_unwind(AssertUnwindSafe(gather)).unwrap_or_else(|payload| Err(panic_message(payload)));
        let (batch, mut stats) = match gathered {
            Ok(gathered) => gathered,
            Err(message) => return Err(failed(cause.unwrap_or(Cause::Panicked { index: committed, message }))),
        };
        if stats.alone < u64::from(committed) {
            pool.drop_elsewhere(store.into_remains());
        }
        stats.transactions = outputs.len() as u64;
        stats.wall = began.elapsed();
        let committed = BlockOutput { outputs, batch, committed, stats };
        match cause.or(no_threads) {
            None => Ok(committed),
            Some(cause) => Err(Box::new(BlockError { cause, committed })),
        }
    }
}
