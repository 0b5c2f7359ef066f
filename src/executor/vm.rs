//! What the executor runs: the user's virtual machine, and what it sees of a commit.

use crate::kv::{Key, Op, Value};
use crate::multiversion::{MergeOperator, TxIndex, TxView, ViewError};
use std::ops::ControlFlow;

/// Executes one transaction against a view of the state.
///
/// It must be deterministic: the same transaction over the same answers gives the same output and the same writes. It may
/// be called several times for one transaction, from any worker, with answers that no serial order gives; such a run is
/// discarded whatever it returns, panics included. A loop that reads nothing should ask [`TxView::check`] now and then.
///
/// It runs on the thread that executes the block, and on threads of a rayon pool that all do the same. `join` and parallel
/// iterators work: on the first they go to the pool that it belongs to (rayon's global one, if to none), on the others they stay
/// on that thread. `rayon::broadcast`, or blocking on something spawned into the pool, would wait for ever.
///
/// A panic ends the block as an error does. One that comes out of the view is not to be caught in the transaction: what it
/// interrupted may not be recorded.
///
/// A transaction that fails in the user's sense (reverts, runs out of gas) is an output, not an error.
pub trait Vm: Sync {
    /// The keys of the state.
    type Key: Key;
    /// Its values.
    type Value: Value;
    /// Its merge operator; [`NoMerge`](crate::multiversion::NoMerge) for none.
    type Merge: MergeOperator<Self::Key, Self::Value>;
    /// What is executed.
    type Transaction: Sync;
    /// What an execution gives back.
    type Output: Send;
    /// What stops the block. [`ViewError`] becomes one, so that reads pass theirs up with `?`.
    type Error: From<ViewError> + Send;

    /// Executes `transaction`.
    ///
    /// # Errors
    /// An error stops the block if a run that began with everything before the transaction committed returns it.
    /// What a read answered is to be passed up; the executor knows it and starts the run anew.
    fn execute(
        &self,
        transaction: &Self::Transaction,
        view: &TxView<'_, Self::Key, Self::Value, Self::Merge>,
    ) -> Result<Self::Output, Self::Error>;

    /// Whether `transaction`, at its place in the block, takes long, that is longer than to hand it to another thread, a microsecond
    /// or two, if that is known beforehand. May be asked, twice, before other threads work on a block, and the answers decide nothing but
    /// who executes what: a block of nearly only short ones is done sooner by one thread, and short ones among long ones by who commits,
    /// one after the other. Where nothing is known, as by default, executions are timed.
    fn is_long(&self, index: TxIndex, transaction: &Self::Transaction) -> Option<bool> {
        let _ = (index, transaction);
        None
    }
}

/// What a machine's merge operator leaves.
pub(crate) type Operand<V> = <<V as Vm>::Merge as MergeOperator<<V as Vm>::Key, <V as Vm>::Value>>::Operand;

/// A transaction at its commit, as the hook sees it: in block order, once.
#[derive(Debug)]
pub struct Commit<'c, K, V, O> {
    /// The transaction's place in the block.
    pub index: TxIndex,
    /// What its execution gave back.
    pub output: &'c O,
    /// What it wrote, in key order, operands resolved.
    pub writes: &'c [(K, Op<V>)],
}

/// The hook called at each commit; see [`Options::on_commit`](super::Options::on_commit).
pub type OnCommit<'o, V> =
    &'o mut (dyn FnMut(Commit<'_, <V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output>) -> ControlFlow<()> + Send);
