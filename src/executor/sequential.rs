//! The sequential twin: the same block, one transaction after the other, on the calling thread; and the begin of a block that may
//! turn out to be worth company.

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
    let mut outputs = Vec::with_capacity(block.len());
    let mut executions = 0;
    let mut run = || {
        let mut state = SequentialState::new(snapshot.clone().into_dyn());
        let mut cause = None;
        for (index, transaction) in (0..TxIndex::MAX).zip(block) {
            executions += 1;
            match step(&mut state, index, transaction, vm, &mut on_commit) {
                Ok((output, flow)) => {
                    outputs.push(output);
                    if flow.is_break() {
                        break;
                    }
                }
                Err(stop) => {
                    cause = Some(stop);
                    break;
                }
            }
        }
        (state.into_batch(), cause)
    };
    // What transactions and hook do is caught where they run. What is left is a key's comparison, a value's clone: it may
    // have cut short the taking over of a transaction's writes.
    let (batch, cause) = match catch_unwind(AssertUnwindSafe(&mut run)) {
        Ok(done) => done,
        Err(payload) => {
            let message = panic_message(payload);
            return Err(failed(Cause::Panicked { index: committed(&outputs), message }));
        }
    };
    let mut stats = Tally::default().into_stats();
    stats.transactions = outputs.len() as u64;
    stats.executions = executions;
    let committed = committed(&outputs);
    stats.wall = began.elapsed();
    let output = BlockOutput { outputs, batch, committed, stats };
    match cause {
        None => Ok(output),
        Some(cause) => Err(Box::new(BlockError { cause, committed: output })),
    }
}

/// A block's first transactions, executed one after the other, and all committed.
pub(super) struct Prefix<V: Vm> {
    pub(super) state: SequentialState<V::Key, V::Value>,
    pub(super) outputs: Vec<V::Output>,
}

impl<V: Vm> Prefix<V> {
    /// Executes `block` over `snapshot` for as long as `pace` sees no use in company, to its end if need be, or to a transaction that
    /// fails, which is no part of it. `None` if the code of a key or value panics. Counts the `executions` that it begins.
    pub(super) fn execute<S>(
        snapshot: &S,
        block: &[V::Transaction],
        vm: &V,
        pace: &mut Pace,
        executions: &mut u64,
    ) -> Option<Self>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let state = SequentialState::new(snapshot.clone().into_dyn());
        let mut prefix = Self { state, outputs: Vec::with_capacity(block.len()) };
        let run = || {
            for (index, transaction) in (0..TxIndex::MAX).zip(block) {
                let began = pace.is_due(*executions).then(Instant::now);
                *executions += 1;
                let Ok((output, _)) = step(&mut prefix.state, index, transaction, vm, &mut None) else { break };
                prefix.outputs.push(output);
                let Some(began) = began else { continue };
                pace.timed(began.elapsed());
                if pace.is_worth_company() && prefix.outputs.len() + 1 < block.len() {
                    break;
                }
            }
        };
        catch_unwind(AssertUnwindSafe(run)).ok()?; // else it may have cut short the taking over of a transaction's writes
        Some(prefix)
    }

    /// What the whole block came to, if it was executed to its end, as what one thread has executed alone; `None` if the code of a
    /// key or value panics.
    pub(super) fn into_output(self, began: Instant) -> Option<BlockOutput<V::Key, V::Value, V::Output>> {
        let Self { state, outputs } = self;
        let batch = catch_unwind(AssertUnwindSafe(|| state.into_batch())).ok()?;
        let mut stats = Tally::default().into_stats();
        let all = outputs.len() as u64;
        (stats.transactions, stats.executions, stats.frontier_executions, stats.alone) = (all, all, all, all);
        stats.wall = began.elapsed();
        Some(BlockOutput { committed: committed(&outputs), outputs, batch, stats })
    }
}

/// How many transactions gave `outputs`.
#[expect(clippy::cast_possible_truncation, reason = "there are no more than indices")]
fn committed<O>(outputs: &[O]) -> TxIndex {
    outputs.len() as TxIndex
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
