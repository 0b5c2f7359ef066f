//! What a transaction is to the scheduler, and what the scheduler hands out and gets back.

use crate::multiversion::{Incarnation, TxIndex};
use smallvec::SmallVec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ready,
    /// Never executed, and left to who commits when the frontier comes to it, or to who has nothing else to do.
    Left,
    Executing,
    Blocked,
    Executed,
    Deferred,
    Committed,
    /// Executed by somebody else; it still owes this many keys.
    Elsewhere(u32),
}

/// `R` is what an execution leaves behind, best a pointer to it: most of the block has not been executed, or is committed. In a
/// cache line of its own: its neighbours are other workers'.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Tx<R> {
    pub(super) status: Status,
    /// Of the next execution.
    pub(super) incarnation: Incarnation,
    /// Transactions to be woken when this one has executed.
    pub(super) waiters: SmallVec<[TxIndex; 2]>,
    pub(super) run: Option<R>,
}

/// An execution to be carried out.
#[derive(Debug)]
pub(crate) struct Task<R> {
    pub(crate) tx: TxIndex,
    pub(crate) incarnation: Incarnation,
    /// Everything below is committed: what this execution reads is final.
    pub(crate) at_frontier: bool,
    /// How many places beyond the frontier it was then.
    pub(crate) ahead: u32,
    /// What the transaction's earlier executions left behind.
    pub(crate) previous: Option<R>,
}

/// What the judge of the frontier transaction says.
#[derive(Debug)]
pub(crate) enum Verdict {
    Commit,
    Abort,
    Stop,
}

/// A transaction that is committed, or that stops the block.
#[derive(Debug)]
pub(crate) struct Judged<R> {
    pub(crate) index: TxIndex,
    /// What its last execution left; nothing of a place executed elsewhere.
    pub(crate) run: Option<R>,
    /// How many there were.
    pub(crate) executions: Incarnation,
}
