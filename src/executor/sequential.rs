//! The sequential twin: the same block, one transaction after the other, on the calling thread.

use super::error::{BaseError, BlockError, BlockResult, Cause, failed, panic_message};
use super::output::BlockOutput;
use super::stats::Tally;
use super::vm::{Commit, OnCommit, Vm};
use crate::kv::KvRead;
use crate::multiversion::{Finished, SequentialState, Taint, TxIndex, TxView};
use std::cell::Cell;
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
    on_commit: Option<OnCommit<'_, V>>,
) -> BlockResult<V>
where
    S: KvRead<Key = V::Key, Value = V::Value>,
    V: Vm,
{
    let at_hand = Cell::new(0);
    // The machine and the hook are caught where they run. What is left is a key's comparison, a value's clone.
    catch_unwind(AssertUnwindSafe(|| run(snapshot, block, vm, on_commit, &at_hand))).unwrap_or_else(|payload| {
        Err(failed(Cause::Panicked { index: at_hand.get(), message: panic_message(payload) }))
    })
}

fn run<S, V>(
    snapshot: &S,
    block: &[V::Transaction],
    vm: &V,
    mut on_commit: Option<OnCommit<'_, V>>,
    at_hand: &Cell<TxIndex>,
) -> BlockResult<V>
where
    S: KvRead<Key = V::Key, Value = V::Value>,
    V: Vm,
{
    let began = Instant::now();
    let mut state = SequentialState::new(snapshot.clone().into_dyn());
    let mut outputs = Vec::with_capacity(block.len());
    let mut executions = 0;
    let mut cause = None;
    for (index, transaction) in (0..TxIndex::MAX).zip(block) {
        executions += 1;
        at_hand.set(index);
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
    let mut stats = Tally::default().into_stats();
    stats.transactions = outputs.len() as u64;
    stats.executions = executions;
    let (committed, batch) = (outputs.len() as TxIndex, state.into_batch());
    stats.wall = began.elapsed();
    let output = BlockOutput { outputs, batch, committed, stats };
    match cause {
        None => Ok(output),
        Some(cause) => Err(Box::new(BlockError { cause, committed: output })),
    }
}

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
    let resolved = state.resolve(writes.into_entries());
    let mut flow = ControlFlow::Continue(());
    if let Some(hook) = on_commit {
        let commit = Commit { index, output: &output, writes: &resolved };
        flow = catch_unwind(AssertUnwindSafe(|| hook(commit))).map_err(panicked)?;
    }
    state.apply(resolved);
    Ok((output, flow))
}
