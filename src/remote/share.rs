//! A shard's share of a block, executed.
//!
//! The same executor over the same multiversion store as unsharded. Transactions of other shards are [places executed
//! elsewhere](crate::executor::Elsewhere): what they may write is an estimate until its outcome arrives, and who reads it is
//! put aside while the worker goes on. The base is the [remote state view](super::RemoteStateView).
//!
//! Each transaction's writes are checked against its declaration at its commit, and what others wait for is told then, each
//! declared key once, written or not: no wait depends on a declaration being right. Operands are told as operands.

use super::block_view::ViewFailure;
use super::coded::Coded;
use super::live::{LiveBlock, Switch};
use super::machine::RemoteVm;
use super::message::{Done, Executed, Failed, Own, ReadFailure, ShardFailure, ToCoordinator};
use super::state_view::{RemoteStateView, view_failure};
use crate::executor::{BlockExecutor, Cause, Commit, Operand, Options};
use crate::kv::Op;
use crate::multiversion::TxIndex;
use crate::sync::Arc;
use bytes::Bytes;
use std::ops::ControlFlow;

/// A block to be executed.
pub(crate) struct Job<V: RemoteVm> {
    pub(crate) live: Arc<LiveBlock<V::Key, V::Value, Operand<V>>>,
    pub(crate) own: Vec<Own>,
}

/// A transaction's declaration.
struct Declared<K> {
    place: TxIndex,
    /// Ascending.
    writes: Vec<K>,
}

/// Executes a share. What it came to is returned; what others wait for has been told as it went, by the block's
/// [`Elsewhere`](crate::executor::Elsewhere).
pub(crate) fn execute<V: RemoteVm>(executor: &BlockExecutor, vm: &V, job: &Job<V>) -> ToCoordinator {
    let key = job.live.key;
    match run(executor, vm, job) {
        Ok(done) => ToCoordinator::Done(done),
        Err(why) => ToCoordinator::Failed(Failed { key, why: job.live.switch.why().unwrap_or(why) }),
    }
}

fn run<V: RemoteVm>(executor: &BlockExecutor, vm: &V, job: &Job<V>) -> Result<Done, ShardFailure> {
    let live = &job.live;
    let (transactions, declared) = decode::<V>(&job.own)?;
    let hints: Vec<_> = declared.iter().map(|declared| declared.writes.clone()).collect();
    let mut ledger = Ledger { declared: &declared, switch: &live.switch, executed: Vec::new() };
    let mut hook = |commit: Commit<'_, V::Key, V::Value, V::Output>| ledger.commit(&commit);
    let options = Options {
        on_commit: Some(&mut hook),
        hints: Some(&hints),
        cancel: Some(live.switch.cancel.clone()),
        deadline: Some(live.deadline),
        elsewhere: Some(live.elsewhere.clone()),
        record: false,
    };
    let base = RemoteStateView::<V::Key, V::Value>::new(Arc::clone(&live.view));
    let ran = executor.execute_with(&base, &transactions, vm, options);
    let executed = ledger.executed;
    match ran {
        Ok(output) if executed.len() == declared.len() => {
            Ok(Done { key: live.key, executed, executions: output.stats.executions })
        }
        Ok(_) => Err(ShardFailure::Aborted), // the hook has ended it, and has said why
        Err(error) => Err(failure(error.cause)),
    }
}

fn decode<V: RemoteVm>(own: &[Own]) -> Result<(Vec<V::Transaction>, Vec<Declared<V::Key>>), ShardFailure> {
    let malformed = |place: TxIndex, what: &str| ShardFailure::Malformed(format!("{what} of transaction {place}"));
    let mut transactions = Vec::with_capacity(own.len());
    let mut declared = Vec::with_capacity(own.len());
    for Own { place, transaction, writes, .. } in own {
        let key = |bytes: &Bytes| V::Key::decode(bytes.clone()).ok_or_else(|| malformed(*place, "a key"));
        transactions.push(V::Transaction::decode(transaction.clone()).ok_or_else(|| malformed(*place, "the body"))?);
        let mut writes = writes.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        writes.sort();
        declared.push(Declared { place: *place, writes });
    }
    Ok((transactions, declared))
}

/// What has been committed, and the declarations that it has to keep to.
struct Ledger<'l, K> {
    declared: &'l [Declared<K>],
    switch: &'l Switch,
    executed: Vec<Executed>,
}

impl<K: Ord + Coded + std::fmt::Debug> Ledger<'_, K> {
    fn commit<V: Coded, O: Coded>(&mut self, commit: &Commit<'_, K, V, O>) -> ControlFlow<()> {
        let Some(declared) = self.declared.get(self.executed.len()).filter(|own| own.place == commit.index) else {
            self.switch.throw(ShardFailure::Malformed("the places do not fit the transactions".into()));
            return ControlFlow::Break(());
        };
        if let Some((key, _)) = commit.writes.iter().find(|(key, _)| declared.writes.binary_search(key).is_err()) {
            self.switch.throw(ShardFailure::Undeclared { place: Some(commit.index), key: format!("{key:?}") });
            return ControlFlow::Break(());
        }
        let encoded = |op: &Op<V>| match op {
            Op::Put(value) => Op::Put(value.encode()),
            Op::Delete => Op::Delete,
        };
        let writes = commit.writes.iter().map(|(key, op)| (key.encode(), encoded(op).into_value())).collect();
        self.executed.push(Executed { place: commit.index, output: commit.output.encode(), writes });
        ControlFlow::Continue(())
    }
}

/// Why the executor ended the block, as the coordinator has to know it.
fn failure<E>(cause: Cause<E>) -> ShardFailure {
    match cause {
        Cause::Transaction { index, .. } => ShardFailure::Block(format!("transaction {index} failed")),
        Cause::Panicked { index, message } => ShardFailure::Block(format!("transaction {index} panicked: {message}")),
        Cause::Base { index, error } => match view_failure(&error.0) {
            Some(ViewFailure::Read(ReadFailure::Undeclared { key })) => {
                ShardFailure::Undeclared { place: Some(index), key: key.clone() }
            }
            Some(ViewFailure::Read(ReadFailure::Closed) | ViewFailure::Closed) => ShardFailure::Aborted,
            Some(ViewFailure::Deadline) => ShardFailure::Deadline,
            Some(ViewFailure::Protocol | ViewFailure::Malformed | ViewFailure::Read(ReadFailure::Malformed)) => {
                ShardFailure::Protocol(format!("transaction {index}: {}", error.0))
            }
            Some(ViewFailure::Read(ReadFailure::Store(_))) | None => {
                ShardFailure::Block(format!("transaction {index}: {}", error.0))
            }
        },
        Cause::Cancelled => ShardFailure::Aborted,
        Cause::Deadline { .. } => ShardFailure::Deadline,
        Cause::Elsewhere { index } => {
            ShardFailure::Protocol(format!("an operand of transaction {index} is not admitted"))
        }
        Cause::Malformed(why) => ShardFailure::Malformed(why.into()),
        Cause::Threads(why) => ShardFailure::Block(format!("no worker threads: {why}")),
    }
}
