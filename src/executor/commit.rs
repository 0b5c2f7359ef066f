//! Ordered commit: transactions become final one by one, in block order.
//!
//! Whoever finishes the execution at the frontier asks for commits; one thread at a time makes them, and nobody waits for it. A request
//! made while another thread commits is counted, and that thread looks again before it leaves: an execution that
//! finished just after its last look is not forgotten.

use super::error::Cause;
use super::vm::{OnCommit, Vm};
use super::window::Window;
use crate::multiversion::Settlement;
use crate::sync::{AtomicUsize, Mutex, Ordering};

#[repr(align(128))] // what changes with every commit disturbs nobody who reads its neighbours
pub(super) struct Committer<'o, V: Vm> {
    /// Requests not yet answered; the thread that raised it from 0 commits.
    requests: AtomicUsize,
    state: Mutex<Committed<'o, V>>,
}

/// What has been committed, and how the block ended if it has.
pub(super) struct Committed<'o, V: Vm> {
    pub(super) on_commit: Option<OnCommit<'o, V>>,
    pub(super) outputs: Vec<V::Output>,
    /// What committed operands come to.
    pub(super) settlement: Settlement<V::Value>,
    /// How far the block is executed beyond what is committed.
    pub(super) window: Window,
    /// Why the block ended early.
    pub(super) cause: Option<Cause<V::Error>>,
}

impl<'o, V: Vm> Committer<'o, V> {
    pub(super) fn new(
        on_commit: Option<OnCommit<'o, V>>,
        settlement: Settlement<V::Value>,
        window: Window,
        len: usize,
    ) -> Self {
        let state = Committed { on_commit, outputs: Vec::with_capacity(len), settlement, window, cause: None };
        Self { requests: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Commits by `next` until it returns false, unless another thread is at it: that one will then look again.
    pub(super) fn drive(&self, next: impl FnMut(&mut Committed<'o, V>) -> bool) {
        if self.ask() {
            self.answer(next);
        }
    }

    /// Asks for commits. True: nobody is at it, and the caller is to [`answer`](Self::answer). False: who is at it will look
    /// again, after this.
    ///
    /// Release, for the acquire of who answers: what a requester did before is seen by that next look.
    pub(super) fn ask(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Release) == 0
    }

    /// Commits by `next` until it returns false and nobody has asked since.
    ///
    /// Acquire, for the release of who has asked. What the committing thread has seen itself passes to the next to commit with
    /// the lock.
    pub(super) fn answer(&self, mut next: impl FnMut(&mut Committed<'o, V>) -> bool) {
        let mut answered = 1;
        loop {
            let mut state = self.state.lock(); // uncontended: the count lets one thread in
            while next(&mut state) {}
            drop(state);
            let left = self.requests.fetch_sub(answered, Ordering::Acquire) - answered;
            if left == 0 {
                return;
            }
            answered = left;
        }
    }

    /// Does `act` between two commits. May wait for one under way.
    pub(super) fn between(&self, act: impl FnOnce(&mut Committed<'o, V>)) {
        act(&mut self.state.lock());
    }

    pub(super) fn into_inner(self) -> Committed<'o, V> {
        self.state.into_inner()
    }
}
