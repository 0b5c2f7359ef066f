//! Exact validity: executions of a few transactions in a chosen order, and what stands after which.

mod chains;
mod merging;
mod observing;

use super::{
    Finished, LANES, MergeOperator, MultiVersionStore, ReadSet, Settlement, TxIndex, TxView, Unsettled, Version,
    Written, validate,
};
use crate::kv::{DynRead, Error, KeyRange, KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use crate::sync::{Arc, AtomicBool, Ordering};
use std::collections::HashMap;

/// Adds, and refuses what would go below zero. Operands of one sign combine: together they are admitted where both are.
struct Add;
impl MergeOperator<u32, i64> for Add {
    type Operand = i64;
    fn merge(_: &u32, base: Option<&i64>, operand: &i64) -> i64 {
        base.copied().unwrap_or(0) + operand
    }
    fn admits(_: &u32, base: Option<&i64>, operand: &i64) -> bool {
        base.copied().unwrap_or(0) + operand >= 0
    }
    fn combine(_: &u32, earlier: &i64, later: &i64) -> Option<i64> {
        ((*earlier < 0) == (*later < 0)).then_some(earlier + later)
    }
}

type View<'a> = TxView<'a, u32, i64, Add>;
type Reads = ReadSet<u32, i64, i64>;

/// A block whose transactions are executed by hand.
struct Block {
    store: MultiVersionStore<u32, i64, Add>,
    interrupted: Arc<AtomicBool>,
    /// What each transaction's last execution left, and how many there were.
    ran: HashMap<TxIndex, (Written<i64>, u32)>,
}

impl Block {
    fn over(base: &[(u32, i64)]) -> Self {
        Self::over_state(MemStore::from_iter(base.iter().copied()).snapshot().unwrap().into_dyn())
    }

    fn over_state(base: DynRead<u32, i64>) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        Self { store: MultiVersionStore::new(base, 0, Arc::clone(&interrupted)), interrupted, ran: HashMap::new() }
    }

    fn view(&self, tx: TxIndex) -> View<'_> {
        TxView::speculative(&self.store, Version { tx, incarnation: self.incarnation(tx) }, ReadSet::new())
    }

    fn incarnation(&self, tx: TxIndex) -> u32 {
        self.ran.get(&tx).map_or(0, |(_, runs)| *runs)
    }

    /// Executes `tx` and publishes what it wrote.
    fn run(&mut self, tx: TxIndex, run: impl FnOnce(&View<'_>)) -> Finished<u32, i64, i64> {
        let view = self.view(tx);
        run(&view);
        let mut finished = view.finish();
        let writes = std::mem::take(&mut finished.writes);
        self.publish(tx, writes.into_vec().into_iter());
        finished
    }

    fn publish(&mut self, tx: TxIndex, writes: impl Iterator<Item = (u32, super::Write<i64, i64>)>) -> TxIndex {
        let incarnation = self.incarnation(tx);
        let previous = self.ran.remove(&tx).map_or_else(Written::default, |(written, _)| written);
        let (written, readers_end) = self.publish_as(Version { tx, incarnation }, writes.collect(), &previous);
        self.ran.insert(tx, (written, incarnation + 1));
        readers_end
    }

    fn publish_as(
        &self,
        version: Version,
        writes: Vec<(u32, super::Write<i64, i64>)>,
        previous: &Written<i64>,
    ) -> (Written<i64>, TxIndex) {
        let mut written = Written::default();
        self.store.place(&writes, &mut written);
        let readers_end = self.store.publish(version, writes, &written, previous);
        (written, readers_end)
    }

    /// What `tx` observes by `reading`; nothing is published.
    fn observe<R>(&self, tx: TxIndex, reading: impl FnOnce(&View<'_>) -> R) -> Reads {
        let view = self.view(tx);
        let _ = reading(&view);
        let finished = view.finish();
        assert!(finished.taint.is_none(), "{:?}", finished.taint);
        finished.reads
    }

    /// Makes what `tx` wrote estimates.
    fn abort(&self, tx: TxIndex) {
        self.store.estimate(tx, &self.ran[&tx].0);
    }

    fn settle(&self, tx: TxIndex, finished: &Finished<u32, i64, i64>) -> Result<(), Unsettled<u32>> {
        self.settle_in(tx, finished, &mut Settlement::at_once())
    }

    fn settle_in(
        &self,
        tx: TxIndex,
        finished: &Finished<u32, i64, i64>,
        settlement: &mut Settlement<i64>,
    ) -> Result<(), Unsettled<u32>> {
        self.store.settle(tx, &self.ran[&tx].0, &finished.obligations, settlement)
    }

    fn holds(&self, tx: TxIndex, reads: &Reads) -> bool {
        validate(&self.store, tx, reads).is_ok()
    }

    fn outcome(&self, end: TxIndex) -> Vec<(u32, Op<i64>)> {
        let parts = (0..LANES).flat_map(|lane| self.store.outcome_of(lane, end));
        parts.collect::<WriteBatch<_, _>>().into_iter().collect()
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
    }
}

fn get(view: &View<'_>, key: u32) -> Option<i64> {
    view.get(&key).unwrap()
}

fn walk(view: &View<'_>) -> Vec<(u32, i64)> {
    view.range(..).map(Result::unwrap).collect()
}

fn keys(view: &View<'_>) -> Vec<u32> {
    view.keys(..).map(Result::unwrap).collect()
}
