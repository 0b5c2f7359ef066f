//! The scheduler: which transaction runs next, which wait for which, and how far the block is committed.
//!
//! It orders work and nothing else. **No status, hint or early validation decides what commits**: only the check at the
//! commit frontier does, when everything below is final.
//!
//! ```text
//!            claim              finish               commit
//!   Ready ─────────▶ Executing ─────────▶ Executed ─────────▶ Committed
//!     ▲                │ │ │                 │
//!     ├──── retry ─────┘ │ └─ defer ─▶ Deferred (runs again when everything below is committed)
//!     │                block                 │
//!     │                  ▼                   │
//!     ├──── wake ──── Blocked                │
//!     └──────────────── abort ───────────────┘
//! ```
//!
//! * Fresh transactions are claimed in order by a counter, up to a limit beyond the frontier that every commit sets; but for
//!   those that are `Left` (`fresh.rs`), which whoever moves the frontier to them takes, if nobody has in advance, and which go
//!   through the states as the others do. Every other `Ready` transaction is in the queue exactly once, and the lowest goes first,
//!   up to the same limit: what has failed is tried again no further ahead than what is new, or many would fail many times.
//! * A blocked transaction occupies no thread. It waits for a lower one, so the lowest unfinished transaction never waits
//!   and somebody can always make progress.
//! * A lock of one transaction is held at a time. User code runs under it only where a finished execution is judged (a merge
//!   operator, a comparison, a read of the state below): nobody waits for it but who would judge or repeat the same
//!   transaction, or be put aside for it.
//! * **Workers call each other in a chain.** Who makes a transaction claimable is a worker, and claims when it is done; whoever
//!   has claimed and sees more calls one sleeper, which does the same. So while something can be claimed, either nobody
//!   sleeps, or a worker that is awake is yet to claim, or one has been called. A worker that claims the only transaction
//!   calls nobody: a block that goes one by one wakes nobody up. What comes from outside the workers calls by itself. Who
//!   executes what was left claims after that, and calls before, if there is something by then.

use super::fresh::Fresh;
use super::front::Front;
use super::parking::Parking;
use super::queue::Queue;
use super::status::{Judged, Status, Task, Tx, Verdict};
use crate::multiversion::{Incarnation, TxIndex};
use crate::sync::{Apart, Arc, AtomicBool, Mutex, Ordering};
use smallvec::SmallVec;

#[derive(Debug)]
pub(crate) struct Scheduler<R> {
    txs: Box<[Mutex<Tx<R>>]>,
    /// Whether there are others to be called.
    alone: bool,
    /// What was never claimed.
    fresh: Fresh,
    /// The lowest transaction not committed, and the end of the window, as a place.
    front: Apart<Front>,
    /// Ready transactions that were claimed before.
    queue: Queue,
    /// Relaxed: whoever stops the block calls all, interrupts its runs after it, and holds the lock of those who commit.
    stopped: AtomicBool,
    parking: Arc<Parking>,
}

impl<R> Scheduler<R> {
    /// A block of `len` transactions for so many workers, with a window of `width` to begin with. `elsewhere` tells of each
    /// transaction how many keys it owes if it is executed elsewhere.
    pub(crate) fn new(
        len: TxIndex,
        workers: usize,
        width: u32,
        parking: Arc<Parking>,
        elsewhere: impl Fn(TxIndex) -> Option<usize>,
    ) -> Self {
        let tx = |index| {
            let status = elsewhere(index).map_or(Status::Ready, |owed| match owed {
                0 => Status::Executed,
                owed => Status::Elsewhere(owed.try_into().unwrap_or(u32::MAX)),
            });
            Mutex::new(Tx { status, incarnation: 0, waiters: SmallVec::new(), run: None })
        };
        Self {
            txs: (0..len).map(tx).collect(),
            alone: workers <= 1,
            fresh: Fresh::all(len),
            front: Apart(Front::new(width, len)),
            queue: Queue::default(),
            stopped: AtomicBool::new(false),
            parking,
        }
    }

    /// The same, which leaves to who commits those of `left`, in ascending order: so short that to hand them over takes longer than to
    /// execute them. None of them is executed elsewhere.
    pub(crate) fn leaving(mut self, width: u32, left: &[TxIndex]) -> Self {
        left.iter().for_each(|index| self.tx(*index).lock().status = Status::Left);
        self.fresh = self.fresh.leaving(left);
        self.move_to(0, width);
        self
    }

    /// The transactions below `begun` are committed, before anything is claimed; the window is then `width`.
    pub(crate) fn begin_at(&self, begun: TxIndex, width: u32) {
        self.txs.iter().take(begun as usize).for_each(|tx| tx.lock().status = Status::Committed);
        self.fresh.begin_at(begun);
        self.move_to(begun, width);
    }

    /// Moves the frontier, with a window of `width` beyond it, of which a transaction there that is left is one. By who commits.
    fn move_to(&self, frontier: TxIndex, width: u32) {
        let others = width.max(1) - u32::from(self.leaves(frontier));
        self.front.set(frontier, self.fresh.passed(frontier), others, self.fresh.places());
    }

    #[expect(clippy::cast_possible_truncation, reason = "built from an index")]
    pub(crate) fn len(&self) -> TxIndex {
        self.txs.len() as TxIndex
    }

    /// The lowest transaction not committed: the writes of all below are in their chains.
    pub(crate) fn frontier(&self) -> TxIndex {
        self.front.get().0
    }

    /// Ends the block: nothing is committed any more, and whoever sleeps wakes up. Whoever is about to sleep asks
    /// [`is_stopped`](Self::is_stopped) once more when it is registered: this call is the last.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.parking.call(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Notes what a transaction is expected to leave behind, before anything is claimed.
    pub(crate) fn expect(&self, index: TxIndex, run: R) {
        self.tx(index).lock().run = Some(run);
    }

    /// Something to execute, if there is anything within the window: the lowest of the queue, or the next fresh transaction. If
    /// there is more, somebody who sleeps is called to it.
    pub(crate) fn claim(&self) -> Option<Task<R>> {
        let task = match self.queue.pop_below(|| self.end()) {
            Some(tx) => self.start(tx, Status::Ready),
            None => self.fresh(),
        }?;
        self.call_to_more();
        Some(task)
    }

    /// Calls somebody who sleeps, if there is more.
    fn call_to_more(&self) {
        if !self.alone {
            self.parking.call_if(|| self.has_work());
        }
    }

    /// Whether there is something to claim.
    pub(crate) fn has_work(&self) -> bool {
        let (frontier, limit) = self.front.get();
        self.queue.has_below(self.fresh.end(frontier, limit)) || self.fresh.claimable(limit) > 0
    }

    /// What is executed in advance is below this, the end of the window.
    fn end(&self) -> TxIndex {
        let (frontier, limit) = self.front.get();
        self.fresh.end(frontier, limit)
    }

    fn fresh(&self) -> Option<Task<R>> {
        // What does not start is executed elsewhere, as most of a block may be: no reason to go and look about.
        std::iter::from_fn(|| self.fresh.claim(self.front.get().1)).find_map(|next| self.start(next, Status::Ready))
    }

    /// The transaction at the frontier if it was left to who commits: to be executed by the caller, when it is done with its
    /// commits. To be called by one thread at a time.
    pub(crate) fn take_left(&self) -> Option<Task<R>> {
        let index = self.frontier();
        if index >= self.len() || self.is_stopped() || !self.leaves(index) {
            return None;
        }
        let task = self.start(index, Status::Left)?;
        // This worker does not claim before it comes to something that is not left. Called is for the first in a row: of the others
        // each would wake one more to the same.
        let is_first = index.checked_sub(1).is_none_or(|before| !self.fresh.is_left(before));
        if is_first || self.queue.has_below(self.end()) {
            self.call_to_more();
        }
        Some(task)
    }

    /// The one at `index` was left, and executed in advance in vain.
    pub(crate) fn leave_next(&self, index: TxIndex) {
        self.fresh.leave_next(index);
    }

    /// One that was left, to be executed in advance by who has nothing else to do, if the frontier is where it was: who moves it is
    /// about to execute it himself.
    pub(crate) fn claim_left(&self, frontier: TxIndex) -> Option<Task<R>> {
        let (now, limit) = self.front.get();
        let is_stalled = frontier == now;
        is_stalled
            .then(|| self.fresh.claim_left(now, limit))
            .flatten()
            .and_then(|index| self.start(index, Status::Left))
    }

    /// Whether the transaction at the frontier, which is at `index`, was left to who commits, who alone may ask.
    pub(crate) fn leaves(&self, index: TxIndex) -> bool {
        self.fresh.leaves(index)
    }

    fn tx(&self, tx: TxIndex) -> &Mutex<Tx<R>> {
        #[expect(clippy::indexing_slicing, reason = "indices come from this scheduler, which was built with them")]
        &self.txs[tx as usize]
    }

    /// Begins an execution of a transaction that is its caller's to start, from `status`; `None` if it is executed elsewhere, or was
    /// left and has been executed.
    fn start(&self, index: TxIndex, status: Status) -> Option<Task<R>> {
        let mut tx = self.tx(index).lock();
        if tx.status != status {
            let is_over = matches!(tx.status, Status::Elsewhere(_) | Status::Executed | Status::Committed);
            debug_assert!(is_over || status == Status::Left);
            return None;
        }
        tx.status = Status::Executing;
        let incarnation = tx.incarnation;
        tx.incarnation += 1;
        let previous = tx.run.take();
        drop(tx);
        let frontier = self.frontier();
        let ahead = if frontier == index { 0 } else { self.fresh.beyond(frontier, index) };
        Some(Task { tx: index, incarnation, at_frontier: frontier == index, ahead, previous })
    }

    /// The execution is over and its writes are visible: it awaits commit, and those who waited for it may go on. Whether it is
    /// at the frontier: then commits are to be asked for. Else whoever moves the frontier there judges it: that takes the
    /// transaction's lock after the move, and so either finds it executed, or had the lock before this and the move is seen here.
    #[must_use]
    pub(crate) fn finish(&self, index: TxIndex, run: R) -> bool {
        self.conclude(index, run, Status::Executed, true);
        self.frontier() == index
    }

    /// The execution, at the frontier, is over, its writes are visible, and it is committed: by who executed it, and nobody else
    /// commits meanwhile. Returns how many executions there were. The frontier is yet to move.
    pub(crate) fn finish_committed(&self, index: TxIndex) -> Incarnation {
        let mut tx = self.tx(index).lock();
        debug_assert_eq!(tx.status, Status::Executing);
        tx.status = Status::Committed;
        let (executions, waiters) = (tx.incarnation, std::mem::take(&mut tx.waiters));
        drop(tx);
        self.wake(waiters);
        executions
    }

    /// The execution came to nothing; the transaction is executed again.
    pub(crate) fn retry(&self, index: TxIndex, run: R) {
        self.conclude(index, run, Status::Ready, false);
        self.queue.push(index);
    }

    /// Only an execution at the frontier will do. Whether it is there, see [`finish`](Self::finish).
    #[must_use]
    pub(crate) fn defer(&self, index: TxIndex, run: R) -> bool {
        self.conclude(index, run, Status::Deferred, false);
        self.frontier() == index
    }

    fn conclude(&self, index: TxIndex, run: R, status: Status, wake: bool) {
        let mut tx = self.tx(index).lock();
        debug_assert_eq!(tx.status, Status::Executing);
        tx.status = status;
        tx.run = Some(run);
        let waiters = if wake { std::mem::take(&mut tx.waiters) } else { SmallVec::new() };
        drop(tx);
        self.wake(waiters);
    }

    /// The execution met an estimate of `on`, a lower transaction: it is put aside until that one has executed.
    pub(crate) fn block(&self, index: TxIndex, on: TxIndex, run: R) {
        self.conclude(index, run, Status::Blocked, false);
        let mut below = self.tx(on).lock();
        // Under `on`'s lock: either it has not executed yet and will see this waiter when it does, or it has and this one
        // need not wait. `on` may since have been aborted again; then a waiter is what it needs.
        let waits = !matches!(below.status, Status::Executed | Status::Committed);
        if waits {
            below.waiters.push(index);
            return;
        }
        drop(below);
        self.wake(SmallVec::from_slice(&[index]));
    }

    fn wake(&self, waiters: SmallVec<[TxIndex; 2]>) {
        for index in waiters {
            let mut tx = self.tx(index).lock();
            if tx.status == Status::Blocked {
                tx.status = Status::Ready;
                drop(tx);
                self.queue.push(index);
            }
        }
    }

    /// Executes again every transaction in `from..to` that has executed and of which `doomed` is true; `doomed` has to
    /// make its writes estimates. It is a service to those who would read them: commit checks everybody. Who has never been
    /// claimed has read nothing.
    pub(crate) fn abort_doomed(&self, from: TxIndex, to: TxIndex, mut doomed: impl FnMut(TxIndex, &R) -> bool) {
        if from >= to {
            return;
        }
        for index in from..to.min(self.fresh.claimed_end()) {
            let mut tx = self.tx(index).lock();
            if tx.status == Status::Executed && tx.run.as_ref().is_some_and(|run| doomed(index, run)) {
                tx.status = Status::Ready;
                drop(tx);
                self.queue.push(index);
            }
        }
    }

    /// Judges the transaction at the frontier if it has executed, and returns what it left if it is committed, or if it
    /// stops the block. To be called by one thread at a time.
    pub(crate) fn judge(&self, judge: impl FnOnce(TxIndex, &mut R) -> Verdict) -> Option<Judged<R>> {
        let index = self.frontier();
        if self.is_stopped() || index >= self.len() {
            return None;
        }
        let mut tx = self.tx(index).lock();
        match tx.status {
            Status::Executed => {}
            Status::Deferred => {
                tx.status = Status::Ready;
                drop(tx);
                self.queue.push(index);
                return None;
            }
            _ => return None,
        }
        let verdict = tx.run.as_mut().map_or(Verdict::Commit, |run| judge(index, run)); // no run: executed elsewhere
        match verdict {
            Verdict::Commit => tx.status = Status::Committed,
            Verdict::Stop => {}
            Verdict::Abort => {
                tx.status = Status::Ready;
                drop(tx);
                self.queue.push(index);
                return None;
            }
        }
        let (run, executions) = (tx.run.take(), tx.incarnation);
        drop(tx);
        Some(Judged { index, run, executions })
    }

    /// Moves the frontier past `index`, with a window of `width` beyond it. The caller is to claim when it is done with its
    /// commits.
    pub(crate) fn commit(&self, index: TxIndex, width: u32) {
        let was_left = self.leaves(index);
        self.move_to(index + 1, width);
        // While one worker commits many in a row, the others come to the end of the window and sleep. One is called when half of
        // it is free again, not for every commit: it would be asleep again before the next. A short cut, that may miss a
        // sleeper: the next claim does not.
        let free = self.fresh.claimable(self.front.get().1);
        if !was_left && free == (width / 2).max(2) && self.parking.seems_asleep() {
            self.parking.call(false);
        }
    }

    /// Lets the window be `width`. By who commits.
    pub(crate) fn narrow(&self, width: u32) {
        self.move_to(self.frontier(), width);
    }

    /// One key of a transaction that is executed elsewhere has arrived. Whether it is at the frontier, see
    /// [`finish`](Self::finish).
    #[must_use]
    pub(crate) fn arrive(&self, index: TxIndex) -> bool {
        let mut tx = self.tx(index).lock();
        if let Status::Elsewhere(owed) = tx.status {
            tx.status = match owed {
                0 | 1 => Status::Executed,
                owed => Status::Elsewhere(owed - 1),
            };
        }
        let waiters = std::mem::take(&mut tx.waiters);
        drop(tx);
        self.wake(waiters);
        self.frontier() == index
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
