//! A worker: claims, executes, publishes, commits, and sleeps when there is nothing to do.

use super::cancel::CancelToken;
use super::commit::Committed;
use super::elsewhere::Elsewhere;
use super::error::{BaseError, Cause, panic_message};
use super::job::{Job, Run};
use super::judgement::{judge, settle_elsewhere};
use super::pace::Pace;
use super::stats::Tally;
use super::status::{Judged, Task, Verdict};
use super::timeline::Outcome;
use super::vm::{Commit, Operand, Vm};
use crate::multiversion::{Finished, Incarnation, ReadSet, Taint, TxIndex, TxView, Version, Written, validate};
use crate::sync::pause;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long an idle worker looks about before it sleeps. To sleep and to be woken takes some ten microseconds at best, and
/// some hundreds where the core is a virtual machine's that has gone to sleep as well. A model checker sees no time pass.
const LOOKS_FOR: Duration = if cfg!(any(kv_loom, kv_shuttle)) { Duration::ZERO } else { Duration::from_micros(100) };

pub(super) struct Worker<'j, 'o, 'b, V: Vm> {
    job: &'j Job<'o, 'b, V>,
    tally: Tally<V::Key>,
    /// The transaction it executes, or executed last.
    at_hand: TxIndex,
    /// For the room of their read sets: what one worker makes another would give back, and the allocator with its locks, and
    /// sleeping behind them, would be what two workers share most.
    spares: Spares<V>,
    /// What it is to execute next, since it was left to who commits, and this worker did, or had nothing else to do.
    left: Option<Task<Box<Run<V>>>>,
    /// Where the frontier was when it last had nothing to do.
    stalled: TxIndex,
    /// On the thread that was given the block.
    lead: Option<Lead<'j>>,
}

/// Runs that are over, of transactions that this worker has committed.
type Spares<V> = Vec<Box<Run<V>>>;

/// How many of them it keeps.
const KEPT: usize = 64;

/// What only the first worker has: it decides when the others are called.
struct Lead<'j> {
    pace: &'j mut Pace,
    /// Calls them; `None` once it has.
    call: Option<&'j dyn Fn()>,
}

impl<'j, 'o, 'b, V: Vm> Worker<'j, 'o, 'b, V> {
    pub(super) fn new(job: &'j Job<'o, 'b, V>) -> Self {
        Self {
            job,
            tally: Tally::new(job.record),
            at_hand: 0,
            spares: Vec::new(),
            left: None,
            stalled: TxIndex::MAX,
            lead: None,
        }
    }

    /// The worker of the thread that was given the block, which calls the others by `call`.
    pub(super) fn leading(job: &'j Job<'o, 'b, V>, pace: &'j mut Pace, call: &'j dyn Fn()) -> Self {
        Self { lead: Some(Lead { pace, call: Some(call) }), ..Self::new(job) }
    }

    /// Works until the block ends.
    pub(super) fn run(mut self) {
        let job = self.job;
        // User code that runs on its own is caught where it runs. What is left is a key's comparison, a value's clone: the
        // block ends for everybody, and the error names what was at hand. No panic leaves a worker: the pool would pass it
        // on to the caller past all that ends a block.
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        job.gather();
        if self.lead.as_ref().is_some_and(|lead| lead.call.is_some()) {
            self.tally.stats.alone = u64::from(job.scheduler.frontier()); // to the end
        }
        let told = catch_unwind(AssertUnwindSafe(|| job.tally.lock().add(self.tally)));
        if let Err(payload) = worked.and(told) {
            job.fail(Cause::Panicked { index: self.at_hand, message: panic_message(payload) });
        }
    }

    fn work(&mut self) {
        let job = self.job;
        if job.scheduler.len() == 0 {
            job.stop(); // there is no last commit that would
        }
        if job.elsewhere.is_some() {
            self.call_others(); // what this thread does for itself would say little
        }
        self.commit(); // places at the front that are executed elsewhere and owe nothing, or are left to who commits
        while !job.scheduler.is_stopped() {
            self.receive();
            if self.is_called_off() {
                break;
            }
            let claimed = || job.scheduler.claim().or_else(|| job.scheduler.claim_left(self.stalled));
            match self.left.take().or_else(claimed) {
                Some(task) => {
                    self.call_others();
                    self.execute(task);
                }
                None => self.idle(),
            }
        }
    }

    /// Calls the others, if they are worth it and have not been called, to what is left when this worker has claimed.
    fn call_others(&mut self) {
        let Some(Lead { pace, call }) = &mut self.lead else { return };
        let job = self.job;
        let is_worth_it = || job.elsewhere.is_some() || pace.is_worth_company() && job.scheduler.has_work();
        if let Some(call) = call.take_if(|_| is_worth_it()) {
            self.tally.stats.alone = u64::from(job.scheduler.frontier());
            call();
        }
    }

    /// Waits until there may be something to do: looks about for a while, then sleeps.
    fn idle(&mut self) {
        let job = self.job;
        let began = Instant::now();
        let mut looks: u32 = 0;
        self.stalled = job.scheduler.frontier();
        while began.elapsed() < LOOKS_FOR {
            // Each look takes the lines that it looks at from who commits, so some time lies between two. Now and then it
            // gives up the time slice: what it waits for may need this core.
            pause(if looks.is_multiple_of(4) { 6 } else { 5 });
            if !job.is_idle() {
                return;
            }
            self.left = job.scheduler.claim_left(self.stalled);
            if self.left.is_some() {
                return;
            }
            self.stalled = job.scheduler.frontier();
            looks += 1;
        }
        self.left = job.scheduler.claim_left(self.stalled);
        if self.left.is_some() {
            return;
        }
        let began = Instant::now();
        #[cfg(all(target_os = "linux", not(any(kv_loom, kv_shuttle, kv_tsan))))]
        let _here = job.cores_apart.then(super::cores::Here::stay);
        job.signals.parking.wait(job.deadline, || job.is_idle());
        self.tally.woke(began);
    }

    /// Whether the block was cancelled or its deadline has passed; ends it if so.
    fn is_called_off(&self) -> bool {
        let job = self.job;
        let cause = if job.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            Cause::Cancelled
        } else if job.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let owing = job.elsewhere.as_ref().and_then(Elsewhere::waiting_for);
            // Before the frontier is there, the block waits for its own transactions.
            Cause::Deadline { waiting_for: owing.filter(|place| *place <= job.scheduler.frontier()) }
        } else {
            return false;
        };
        job.fail(cause);
        true
    }

    /// Takes in what has arrived from elsewhere.
    fn receive(&mut self) {
        let Some(elsewhere) = &self.job.elsewhere else { return };
        for arrival in elsewhere.take() {
            self.job.store.resolve_elsewhere(arrival.index, &arrival.key, arrival.effect.into_write());
            if self.job.scheduler.arrive(arrival.index) {
                self.commit();
            }
        }
    }

    fn execute(&mut self, task: Task<Box<Run<V>>>) {
        let job = self.job;
        let Task { tx, incarnation, at_frontier, ahead, previous } = task;
        let mut run = previous.or_else(|| self.spares.pop()).unwrap_or_else(|| Run::nothing(Written::default()));
        run.outcome = None;
        let version = Version { tx, incarnation };
        self.at_hand = tx;
        self.tally.begins(version, at_frontier);
        let Some(transaction) = job.places.transaction(tx).and_then(|given| job.block.get(given)) else {
            return job.fail(Cause::Malformed("a transaction is missing"));
        };
        let view = match at_frontier {
            true => TxView::at_frontier(&job.store, version),
            false => TxView::speculative(&job.store, version, std::mem::replace(&mut run.reads, ReadSet::new())),
        };
        let timed = self.lead.as_ref().is_some_and(|lead| lead.pace.is_due(self.tally.stats.executions - 1));
        let began = (job.time_phases || timed).then(Instant::now);
        // The view is not looked into after a panic but for what it recorded, and that is whole after every call.
        let outcome = catch_unwind(AssertUnwindSafe(|| job.vm.execute(transaction, &view)));
        self.executed(began, timed);
        let Finished { writes, obligations, reads, taint } = view.finish();
        if !at_frontier {
            (run.reads, run.ahead) = (reads, ahead);
        }
        (run.obligations, run.at_frontier, run.incarnation) = (obligations, at_frontier, incarnation);
        let outcome = match (taint, outcome) {
            (Some(Taint::Blocked(on)), _) => {
                self.tally.ends(version, Outcome::Blocked { on });
                return job.scheduler.block(tx, on, run);
            }
            (Some(Taint::Lost), _) => {
                self.tally.ends(version, Outcome::Lost);
                return job.scheduler.retry(tx, run);
            }
            (Some(Taint::Stopped), _) => {
                self.tally.ends(version, Outcome::Stopped);
                return job.scheduler.retry(tx, run);
            }
            (Some(Taint::Refused), _) => {
                self.tally.ends(version, Outcome::Refused);
                if job.scheduler.defer(tx, run) {
                    self.commit();
                }
                return;
            }
            (Some(Taint::Base(error)), _) => Err(Cause::Base { index: tx, error: BaseError(error) }),
            (None, Ok(Ok(output))) => Ok(output),
            (None, Ok(Err(error))) => Err(Cause::Transaction { index: tx, error }),
            (None, Err(payload)) => Err(Cause::Panicked { index: tx, message: panic_message(payload) }),
        };
        // A failed run writes nothing. It is executed again if it was speculative, else the block ends before it.
        let (mut entries, mut written) = (Vec::new(), Written::default());
        let outcome = outcome.and_then(|output| {
            // The code of a key that panics here fails the run as it would have in it.
            let place = || {
                entries = writes.into_vec();
                job.store.place(&entries, &mut written);
            };
            let placed = catch_unwind(AssertUnwindSafe(place));
            placed.map_err(|payload| Cause::Panicked { index: tx, message: panic_message(payload) })?;
            Ok(output)
        });
        if outcome.is_err() {
            (entries, written) = Default::default(); // where it panicked are slots without versions
        }
        let readers_end = job.store.publish(version, entries, &written, &run.written);
        self.tally.ends(version, if outcome.is_ok() { Outcome::Executed } else { Outcome::Failed });
        (run.outcome, run.written) = (Some(outcome), written);
        self.finish(tx, run);
        self.abort_doomed(tx, readers_end);
    }

    /// Notes how long an execution took, if that was asked for.
    fn executed(&mut self, began: Option<Instant>, timed: bool) {
        let Some(took) = began.map(|began| began.elapsed()) else { return };
        if self.job.time_phases {
            self.tally.stats.executing += took;
        }
        if let Some(lead) = self.lead.as_mut().filter(|_| timed) {
            lead.pace.timed(took);
        }
    }

    /// Commits what has been executed if it was at the frontier and nobody else is at it; else leaves it to who commits.
    fn finish(&mut self, tx: TxIndex, run: Box<Run<V>>) {
        let job = self.job;
        if !run.at_frontier || !job.committer.ask() {
            if job.scheduler.finish(tx, run) {
                self.commit();
            }
            return;
        }
        let began = self.clock();
        let (tally, spares, left) = (&mut self.tally, &mut self.spares, &mut self.left);
        let mut own = Some(run);
        job.committer.answer(|state| match own.take() {
            Some(run) => commit_own(job, state, tx, run, tally, spares),
            None => commit_next(job, state, tally, spares, left),
        });
        self.tally.stats.committing += began.map_or(Duration::ZERO, |began| began.elapsed());
    }

    /// Executes again those after `tx` that have read what it has now changed.
    fn abort_doomed(&mut self, tx: TxIndex, readers_end: TxIndex) {
        let (job, tally) = (self.job, &mut self.tally);
        job.scheduler.abort_doomed(tx + 1, readers_end, |reader, run| {
            if run.at_frontier {
                return false;
            }
            tally.stats.validations += 1;
            // A merge operator may panic over a mix of states; the check at commit decides.
            let Ok(Err(conflict)) = catch_unwind(AssertUnwindSafe(|| validate(&job.store, reader, &run.reads))) else {
                return false;
            };
            tally.conflict(Version { tx: reader, incarnation: run.incarnation }, conflict);
            job.store.estimate(reader, &run.written);
            true
        });
    }

    /// Commits what can be committed, unless another worker is at it.
    fn commit(&mut self) {
        let began = self.clock();
        let (job, tally, spares, left) = (self.job, &mut self.tally, &mut self.spares, &mut self.left);
        job.committer.drive(|state| commit_next(job, state, tally, spares, left));
        self.tally.stats.committing += began.map_or(Duration::ZERO, |began| began.elapsed());
    }

    fn clock(&self) -> Option<Instant> {
        self.job.time_phases.then(Instant::now)
    }
}

/// Commits the transaction at the frontier, if it can be; whether to go on with the next. One that was left to who commits is
/// `left` to be executed.
fn commit_next<V: Vm>(
    job: &Job<'_, '_, V>,
    state: &mut Committed<'_, V>,
    tally: &mut Tally<V::Key>,
    spares: &mut Spares<V>,
    left: &mut Option<Task<Box<Run<V>>>>,
) -> bool {
    if let Some(task) = job.scheduler.take_left() {
        *left = Some(task);
        return false;
    }
    let (mut cause, mut failed) = (None, None);
    let judged = job.scheduler.judge(|index, run| match judge(job, &mut state.settlement, index, run, tally) {
        Ok(verdict) => {
            failed = matches!(verdict, Verdict::Abort).then_some((index, run.ahead));
            verdict
        }
        Err(stop) => {
            cause = Some(stop);
            Verdict::Stop
        }
    });
    if let Some((failed, ahead)) = failed {
        if !job.scheduler.leaves(failed) {
            state.window.failed(failed, ahead);
        }
        job.scheduler.narrow(state.window.width());
    }
    let Some(Judged { index, run, executions }) = judged else { return false };
    if run.is_none() {
        tally.judges(None); // executed elsewhere: nobody has judged it
        cause = settle_elsewhere(job, &mut state.settlement, index).err();
    }
    match cause {
        Some(cause) => end(job, state, cause),
        None => commit(job, state, index, run, executions, tally, spares),
    }
}

/// The same of the one that has just been executed at the frontier, by who executed it.
fn commit_own<V: Vm>(
    job: &Job<'_, '_, V>,
    state: &mut Committed<'_, V>,
    index: TxIndex,
    mut run: Box<Run<V>>,
    tally: &mut Tally<V::Key>,
    spares: &mut Spares<V>,
) -> bool {
    if job.scheduler.is_stopped() {
        return false;
    }
    match judge(job, &mut state.settlement, index, &mut run, tally) {
        Ok(Verdict::Commit) => {
            let executions = job.scheduler.finish_committed(index);
            commit(job, state, index, Some(run), executions, tally, spares)
        }
        Ok(Verdict::Abort | Verdict::Stop) => {
            job.scheduler.retry(index, run);
            false
        }
        Err(cause) => end(job, state, cause),
    }
}

/// Ends the block before the transaction that is being judged.
fn end<V: Vm>(job: &Job<'_, '_, V>, state: &mut Committed<'_, V>, cause: Cause<V::Error>) -> bool {
    state.cause = Some(cause);
    job.stop();
    false
}

/// Commits a transaction that has been judged: hook, output, frontier.
fn commit<V: Vm>(
    job: &Job<'_, '_, V>,
    state: &mut Committed<'_, V>,
    index: TxIndex,
    run: Option<Box<Run<V>>>,
    executions: Incarnation,
    tally: &mut Tally<V::Key>,
    spares: &mut Spares<V>,
) -> bool {
    let mut go_on = ControlFlow::Continue(());
    match job.scheduler.leaves(index) {
        true if executions > 1 => job.scheduler.leave_next(index),
        true => {}
        false => {
            let (in_advance, ahead) = run.as_ref().map_or((false, 0), |run| (!run.at_frontier, run.ahead));
            state.window.committed(index, executions, in_advance, ahead);
        }
    }
    if let Some(mut run) = run {
        if let Some(Ok(output)) = run.outcome.take() {
            let called = called_hook(job, state, index, &output, &run.written);
            match called.and_then(|flow| told_others(job, index, &run.written, flow)) {
                Ok(flow) => go_on = flow,
                Err(message) => return end(job, state, Cause::Panicked { index, message }),
            }
            state.outputs.push(output);
        }
        if spares.len() < KEPT {
            run.reads.clear();
            (run.written, run.ahead) = (Written::default(), 0);
            spares.push(run);
        }
    }
    tally.committed(index, executions);
    job.store.frontier().advance(index + 1); // before a run can begin at the scheduler's
    job.scheduler.commit(index, state.window.width());
    tally.stats.windows += u64::from(state.window.width());
    let is_last = index + 1 == job.scheduler.len();
    if is_last {
        job.complete(state);
    }
    if is_last || go_on.is_break() {
        job.stop();
    }
    !(is_last || go_on.is_break())
}

fn called_hook<V: Vm>(
    job: &Job<'_, '_, V>,
    state: &mut Committed<'_, V>,
    index: TxIndex,
    output: &V::Output,
    written: &Written<Operand<V>>,
) -> Result<ControlFlow<()>, String> {
    let Some(hook) = &mut state.on_commit else { return Ok(ControlFlow::Continue(())) };
    job.signals.parking.call_if(|| job.scheduler.has_work()); // a hook may take its time, and this worker claims after it
    let called = catch_unwind(AssertUnwindSafe(|| {
        let writes = job.store.writes_of(index, written);
        hook(Commit { index, output, writes: &writes })
    }));
    called.map_err(panic_message)
}

/// Tells others what a transaction did, unless the hook has ended the block with it.
fn told_others<V: Vm>(
    job: &Job<'_, '_, V>,
    index: TxIndex,
    written: &Written<Operand<V>>,
    flow: ControlFlow<()>,
) -> Result<ControlFlow<()>, String> {
    let Some(elsewhere) = job.elsewhere.as_ref().filter(|_| flow.is_continue()) else { return Ok(flow) };
    let Some(keys) = elsewhere.told_of(index) else { return Ok(flow) };
    let told = catch_unwind(AssertUnwindSafe(|| {
        let effects = keys.iter().map(|key| (key.clone(), job.store.write_of(index, key, written).into()));
        elsewhere.tell(index, effects.collect());
    }));
    told.map(|()| flow).map_err(panic_message)
}
