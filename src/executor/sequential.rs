//! The sequential twin: the same block, one transaction after the other, on the calling thread; to its end, or until it turns out
//! to be worth company.

use super::error::{BaseError, BlockError, BlockResult, Cause, failed, panic_message};
use super::output::BlockOutput;
use super::pace::Pace;
use super::places::Places;
use super::stats::Tally;
use super::vm::{Commit, OnCommit, Operand, Vm};
use crate::kv::KvRead;
use crate::multiversion::{Finished, SequentialState, Taint, TxIndex, TxView};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Executes `block` over `snapshot` one transaction after the other: what [`BlockExecutor`](super::BlockExecutor) has to
/// equal, and what to use where there is one core and nothing to overlap.
///
/// `on_commit` is called as in [`Options::on_commit`](super::Options::on_commit).
///
/// # Errors
/// As [`BlockExecutor::execute`](super::BlockExecutor::execute).
pub fn execute_sequentially<S, V>(
    snapshot: &S,
    block: &[V::Transaction],
    vm: &V,
    mut on_commit: Option<OnCommit<'_, V>>,
) -> BlockResult<V>
where
    S: KvRead<Key = V::Key, Value = V::Value>,
    V: Vm,
{
    let began = Instant::now();
    if let Err(why) = Places::new::<V::Key, V::Value, Operand<V>>(block.len(), None) {
        return Err(failed(Cause::Malformed(why)));
    }
    Sequential::whole(snapshot, block, vm, &mut on_commit, 0, began)
}

/// A block's first transactions, executed one after the other, and all committed.
pub(super) struct Sequential<V: Vm> {
    pub(super) state: SequentialState<V::Key, V::Value>,
    pub(super) outputs: Vec<V::Output>,
    /// Executions begun.
    pub(super) executions: u64,
    /// Why the block ends with them.
    cause: Option<Cause<V::Error>>,
}

impl<V: Vm> Sequential<V> {
    /// Nothing yet of a block of `len` transactions over `snapshot`.
    pub(super) fn new<S>(snapshot: &S, len: usize) -> Self
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let state = SequentialState::new(snapshot.clone().into_dyn());
        Self { state, outputs: Vec::with_capacity(len), executions: 0, cause: None }
    }

    /// Executes `block` until `pace` sees use in company, to its end if need be; whether it is over, by its end, a transaction that
    /// fails, or the hook. If the code of a key or value panics, its state is good for nothing.
    pub(super) fn execute(
        &mut self,
        block: &[V::Transaction],
        vm: &V,
        on_commit: &mut Option<OnCommit<'_, V>>,
        pace: &mut Pace,
    ) -> bool {
        for (index, transaction) in (0..TxIndex::MAX).zip(block) {
            let began = pace.is_due(self.executions).then(Instant::now);
            self.executions += 1;
            match step(&mut self.state, index, transaction, vm, on_commit) {
                Ok((output, flow)) => {
                    self.outputs.push(output);
                    if flow.is_break() {
                        return true;
                    }
                }
                Err(cause) => {
                    self.cause = Some(cause);
                    return true;
                }
            }
            let Some(began) = began else { continue };
            pace.timed(began.elapsed());
            if pace.is_worth_company() && self.outputs.len() + 1 < block.len() {
                return false;
            }
        }
        true
    }

    /// Executes all of `block` over `snapshot`, and says what it came to; so many `executions` before came to nothing.
    pub(super) fn whole<S>(
        snapshot: &S,
        block: &[V::Transaction],
        vm: &V,
        on_commit: &mut Option<OnCommit<'_, V>>,
        executions: u64,
        began: Instant,
    ) -> BlockResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let panicked = |index, payload| Err(failed(Cause::Panicked { index, message: panic_message(payload) }));
        let mut all = match catch_unwind(AssertUnwindSafe(|| Self::new(snapshot, block.len()))) {
            Ok(nothing) => Self { executions, ..nothing },
            Err(payload) => return panicked(0, payload),
        };
        // What transactions and hook do is caught where they run. What is left is a key's comparison, a value's clone: it may
        // have cut short the taking over of a transaction's writes.
        let run = || all.execute(block, vm, on_commit, &mut Pace::alone());
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(_) => all.into_result(began),
            Err(payload) => {
                let committed = all.committed();
                drop(catch_unwind(AssertUnwindSafe(|| drop(all)))); // the drop of a value may panic as well
                panicked(committed, payload)
            }
        }
    }

    /// What the block came to, which is over.
    pub(super) fn into_result(self, began: Instant) -> BlockResult<V> {
        let committed = self.committed();
        let Self { state, outputs, executions, cause } = self;
        let batch = match catch_unwind(AssertUnwindSafe(|| state.into_batch())) {
            Ok(batch) => batch,
            Err(payload) => {
                return Err(failed(Cause::Panicked { index: committed, message: panic_message(payload) }));
            }
        };
        let mut tally = Tally::default();
        tally.begun(executions, committed);
        let mut stats = tally.into_stats();
        (stats.transactions, stats.alone) = (committed.into(), committed.into());
        stats.wall = began.elapsed();
        let output = BlockOutput { outputs, batch, committed, stats };
        match cause {
            None => Ok(output),
            Some(cause) => Err(Box::new(BlockError { cause, committed: output })),
        }
    }

    /// How many transactions are committed.
    #[expect(clippy::cast_possible_truncation, reason = "there are no more than indices")]
    pub(super) fn committed(&self) -> TxIndex {
        self.outputs.len() as TxIndex
    }
}

#[inline] // of the shortest transactions the call would be a tenth
fn step<V: Vm>(
    state: &mut SequentialState<V::Key, V::Value>,
    index: TxIndex,
    transaction: &V::Transaction,
    vm: &V,
    on_commit: &mut Option<OnCommit<'_, V>>,
) -> Result<(V::Output, ControlFlow<()>), Cause<V::Error>> {
    let panicked = |payload| Cause::Panicked { index, message: panic_message(payload) };
    let view = TxView::sequential(state.source(), index);
    let outcome = catch_unwind(AssertUnwindSafe(|| vm.execute(transaction, &view)));
    let Finished { writes, taint, .. } = view.finish();
    if let Some(Taint::Base(error)) = taint {
        return Err(Cause::Base { index, error: BaseError(error) });
    }
    let output = outcome.map_err(panicked)?.map_err(|error| Cause::Transaction { index, error })?;
    let Some(hook) = on_commit else {
        state.apply(SequentialState::resolve(writes.into_unordered()));
        return Ok((output, ControlFlow::Continue(())));
    };
    let resolved: Vec<_> = SequentialState::resolve(writes.into_vec()).collect();
    let commit = Commit { index, output: &output, writes: &resolved };
    let flow = catch_unwind(AssertUnwindSafe(|| hook(commit))).map_err(panicked)?;
    state.apply(resolved);
    Ok((output, flow))
}
