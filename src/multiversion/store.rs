//! The multiversion store: every version that the transactions of one block have written, over one immutable state.

use super::chain::{Operands, Write, admitted};
use super::directory::Directory;
use super::frontier::Frontier;
use super::sequential::SequentialState;
use super::settlement::{Running, Settlement};
use super::slot::{Slot, Unsettled};
use super::slots::{SlotId, Slots};
use super::{Incarnation, MergeOperator, TxIndex, Version};
use crate::kv::{DynRead, Key, KeyRange, Op, Value};
use crate::sync::{Apart, Arc, AtomicBool, AtomicU32, Ordering};
use smallvec::SmallVec;
use std::fmt;
use std::time::Instant;

/// The incarnation of an estimate that was predicted and not written: no execution has it.
const PREDICTED: Incarnation = Incarnation::MAX;

/// What an execution wrote.
#[derive(Clone, Debug)]
pub(crate) struct Written<O> {
    /// Where, in key order. Here and below, room for what most leave: another thread gives it back.
    pub(crate) slots: SmallVec<[SlotId; 12]>,
    /// The operands it left, to be settled.
    merges: SmallVec<[(SlotId, Operands<O>); 1]>,
}

impl<O> Default for Written<O> {
    fn default() -> Self {
        Self { slots: SmallVec::new(), merges: SmallVec::new() }
    }
}

/// The speculative state of one block.
///
/// It goes with the block: nothing in it is ever overwritten by another block or reclaimed before the end.
pub(crate) struct MultiVersionStore<K: Key, V: Value, M: MergeOperator<K, V>> {
    base: DynRead<K, V>,
    slots: Slots<K, V, M::Operand>,
    directory: Directory<K>,
    /// Apart: it moves with every commit, and what stands around it is looked at with every read.
    frontier: Apart<Frontier>,
    /// One more than the highest transaction that has walked a range, 0 if none has.
    range_readers_end: AtomicU32,
    /// Set when the block stops: every read answers `Interrupted` from then on.
    interrupted: Arc<AtomicBool>,
    /// When the block gives up: its runs look themselves, since every worker may be in one.
    deadline: Option<Instant>,
    /// Whether others execute a part of the block.
    shared: bool,
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> MultiVersionStore<K, V, M> {
    /// A block over `base`, with nothing written, that touches about `keys` keys; any number will do.
    pub(crate) fn new(base: DynRead<K, V>, keys: usize, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            base,
            slots: Slots::with_capacity(keys),
            directory: Directory::new(),
            frontier: Apart(Frontier::new()),
            range_readers_end: AtomicU32::new(0),
            interrupted,
            deadline: None,
            shared: false,
        }
    }

    /// The same, of a block that gives up at `deadline`.
    pub(crate) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// The same, of a block of which others execute a part if it is `shared`.
    pub(crate) fn shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// Takes over what the transactions below `end` have written, as written by the last of them, and committed; and what they have
    /// read of the state below. Nothing runs yet. If it panics, the store is good for nothing.
    pub(crate) fn begin_with(&self, end: TxIndex, state: SequentialState<K, V>) {
        let (mut entries, mut placed) = (Vec::new(), Written::default());
        for (key, value, written) in state.into_known() {
            match written {
                true => entries.push((key, value.map_or(Write::Delete, Write::Put))),
                false => self.slots.intern(&key).1.know_base(value),
            }
        }
        self.place(&entries, &mut placed);
        self.publish(Version { tx: end.saturating_sub(1), incarnation: 0 }, entries, &placed, &Written::default());
        self.frontier.advance(end);
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(crate) fn base(&self) -> &DynRead<K, V> {
        &self.base
    }

    /// How far the block is committed.
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(crate) fn slots(&self) -> &Slots<K, V, M::Operand> {
        &self.slots
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot<K, V, M::Operand> {
        self.slots.slot(id)
    }

    /// The slots of the written keys in `range`, in order.
    pub(crate) fn listed(&self, range: KeyRange<K>) -> impl DoubleEndedIterator<Item = SlotId> + use<'_, K, V, M> {
        self.directory.range(range, &self.slots)
    }

    /// Finds the places of `writes`, which are `placed` then, and lists them. All code of the keys and operands but their
    /// drops runs here, so that it may panic before any of them is visible: the block, of which the run may be no part in the
    /// end, is then as it was.
    pub(crate) fn place(&self, writes: &[(K, Write<V, M::Operand>)], placed: &mut Written<M::Operand>) {
        placed.slots.reserve(writes.len());
        for (key, write) in writes {
            let (id, slot) = self.slots.intern(key);
            if let Write::Merge(operands) = write {
                placed.merges.push((id, operands.clone()));
            }
            self.directory.list(id, slot); // before its first version, so that ranges see what points see
            placed.slots.push(id);
        }
    }

    /// Makes the writes of an execution, which have been `placed`, visible and removes what the transaction's earlier executions
    /// wrote and this one did not (`previous`). Returns one more than the highest transaction that may have read any of the keys
    /// before: those between are to be validated.
    ///
    /// The keys become visible one by one. A reader may see some and not others: its validation then fails, and its
    /// transaction, being later in the block, has not committed.
    pub(crate) fn publish(
        &self,
        version: Version,
        writes: Vec<(K, Write<V, M::Operand>)>,
        placed: &Written<M::Operand>,
        previous: &Written<M::Operand>,
    ) -> TxIndex {
        let mut readers_end = 0;
        for ((_, write), id) in writes.into_iter().zip(&placed.slots) {
            let slot = self.slot(*id);
            slot.put(version, Some(write), &self.frontier);
            readers_end = readers_end.max(slot.readers_end());
        }
        for id in &previous.slots {
            let slot = self.slot(*id);
            slot.remove_stale(version, &self.frontier);
            readers_end = readers_end.max(slot.readers_end());
        }
        if !(placed.slots.is_empty() && previous.slots.is_empty()) {
            readers_end = readers_end.max(self.range_readers_end.load(Ordering::Relaxed));
        }
        readers_end
    }

    /// Resolves the estimate of a transaction that is executed elsewhere (`None`: it did not write the key). It concerns
    /// those who wait for it and nobody else: the estimate was there before the first run, so no run has an answer.
    pub(crate) fn resolve_elsewhere(&self, tx: TxIndex, key: &K, write: Option<Write<V, M::Operand>>) {
        let (_, slot) = self.slots.intern(key);
        match write {
            Some(write) => slot.put(Version { tx, incarnation: 0 }, Some(write), &self.frontier),
            None => slot.remove(tx),
        }
    }

    /// Turns what `tx` wrote into estimates: it will be executed again, and readers had better wait.
    pub(crate) fn estimate(&self, tx: TxIndex, written: &Written<M::Operand>) {
        for id in &written.slots {
            self.slot(*id).estimate(tx);
        }
    }

    /// Places estimates where `tx` is expected to write. Removed by the first execution that does not write there.
    pub(crate) fn predict<'k>(&self, tx: TxIndex, keys: impl IntoIterator<Item = &'k K>) -> Written<M::Operand> {
        let predicted = keys.into_iter().map(|key| {
            let (id, slot) = self.slots.intern(key);
            self.directory.list(id, slot);
            slot.put(Version { tx, incarnation: PREDICTED }, None, &self.frontier);
            id
        });
        Written { slots: predicted.collect(), merges: SmallVec::new() }
    }

    /// Resolves the operands that `tx` left, once everything below it is committed, and tells `settlement` what they come to:
    /// from then on the transaction is committed. Nothing is changed unless all of them, and all of `obligations`, are
    /// admitted; nor if an operator or a value's clone panics.
    pub(crate) fn settle(
        &self,
        tx: TxIndex,
        written: &Written<M::Operand>,
        obligations: &[(K, Operands<M::Operand>)],
        settlement: &mut Settlement<V>,
    ) -> Result<(), Unsettled<K>> {
        for (key, operands) in obligations {
            self.slots.intern(key).1.resolve::<M>(tx, operands, &self.base)?;
        }
        let mut resolved = SmallVec::<[_; 4]>::new();
        for (id, operands) in &written.merges {
            let slot = self.slot(*id);
            let value = match settlement.value(*id) {
                Some(value) => admitted::<K, V, M>(slot.key(), Some(value.clone()), operands)
                    .ok_or_else(|| Unsettled::Refused(slot.key().clone()))?,
                None => slot.resolve::<M>(tx, operands, &self.base)?,
            };
            if let Some(value) = value {
                let told = settlement.is_due(*id).then(|| value.clone());
                resolved.push((*id, value, told));
            }
        }
        // All are admitted, and nothing panics from here on.
        if written.slots.len() > written.merges.len() {
            let merged = |id: &SlotId| written.merges.iter().any(|(merged, _)| merged == id);
            written.slots.iter().filter(|id| !merged(id)).for_each(|id| settlement.overwritten(*id));
        }
        for (id, value, told) in resolved {
            let is_told = told.is_some();
            told.into_iter().for_each(|value| self.slot(id).settle(tx, value));
            let replaced = settlement.committed(id, tx, value, is_told);
            replaced.into_iter().for_each(|running| self.tell(running));
        }
        Ok(())
    }

    /// Resolves the operands that `tx`, which is executed elsewhere, left, once everything below it is committed. Nothing is
    /// changed unless all of them are admitted.
    pub(crate) fn settle_elsewhere(
        &self,
        tx: TxIndex,
        merged: Vec<(K, Operands<M::Operand>)>,
        settlement: &mut Settlement<V>,
    ) -> Result<(), Unsettled<K>> {
        let merges = merged.into_iter().map(|(key, operands)| (self.slots.intern(&key).0, operands));
        let written = Written { slots: SmallVec::new(), merges: merges.collect() };
        self.settle(tx, &written, &[], settlement)
    }

    /// Tells the chains what `settlement` has kept from them. The block is over.
    pub(crate) fn settle_rest(&self, settlement: Settlement<V>) {
        settlement.untold().for_each(|running| self.tell(running));
    }

    fn tell(&self, Running { slot, tx, value, .. }: Running<V>) {
        self.slot(slot).settle(tx, value);
    }

    /// What the committed transactions, those below `end`, made of the keys that were first written in the lane `lane`, in key
    /// order; each key was in one of [`LANES`](super::LANES).
    pub(crate) fn outcome_of(&self, lane: usize, end: TxIndex) -> Vec<(K, Op<V>)> {
        let mut slots: Vec<_> = self.directory.lane(lane).into_iter().map(|id| self.slot(id)).collect();
        slots.sort_unstable_by(|a, b| a.key().cmp(b.key())); // so that no values are moved about
        slots.into_iter().filter_map(|slot| Some((slot.key().clone(), slot.outcome(end)?))).collect()
    }

    /// Takes leave of the state below; what is left is good for nothing but to be dropped, which takes some time.
    pub(crate) fn into_remains(self) -> impl Send + 'static {
        (self.slots, self.directory)
    }

    /// What the committed transaction `tx` wrote, in key order.
    pub(crate) fn writes_of(&self, tx: TxIndex, written: &Written<M::Operand>) -> Vec<(K, Op<V>)> {
        let slots = written.slots.iter().map(|id| self.slot(*id));
        slots.filter_map(|slot| Some((slot.key().clone(), slot.outcome(tx + 1)?))).collect()
    }

    /// What the committed transaction `tx`, which left `written`, did to `key`; operands as it left them.
    pub(crate) fn write_of(&self, tx: TxIndex, key: &K, written: &Written<M::Operand>) -> Option<Write<V, M::Operand>> {
        let (id, slot) = self.slots.intern(key);
        if !written.slots.contains(&id) {
            return None;
        }
        match written.merges.iter().find(|(merged, _)| *merged == id) {
            Some((_, operands)) => Some(Write::Merge(operands.clone())),
            None => slot.outcome(tx + 1).map(Write::from),
        }
    }

    /// Notes that the transaction `tx` is about to walk a range. Relaxed: a hint for whom to validate early; what it
    /// misses is found at commit.
    pub(crate) fn note_range_reader(&self, tx: TxIndex) {
        if self.range_readers_end.load(Ordering::Relaxed) <= tx {
            self.range_readers_end.fetch_max(tx + 1, Ordering::Relaxed);
        }
    }

    /// Whether the block is stopping. Acquire, with the release of whoever stops it: a worker that gives up its run finds
    /// why, and does not claim it again.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Whether the block's time is over. Reads the clock.
    pub(crate) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> fmt::Debug for MultiVersionStore<K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiVersionStore").field("interrupted", &self.is_interrupted()).finish_non_exhaustive()
    }
}
