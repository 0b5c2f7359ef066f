//! The view: what one transaction executes against.
//!
//! ```text
//! get(k)    own writes ─▶ read set ─▶ version chain below the transaction ─▶ state before the block
//!                         (answers repeat)        └─ recorded in the read set ─┘
//! set(k,v)  own writes, and nowhere else until the execution is over
//! ```

use super::buffer::Buffer;
use super::chain::{Operands, Write};
use super::iterate_set::RangeRead;
use super::read_set::{Look, ReadSet};
use super::seen::Seen;
use super::sequential::SequentialSource;
use super::slot::{Slot, Unread};
use super::slots::SlotId;
use super::store::MultiVersionStore;
use super::validate::validate;
use super::write_set::{Savepoint, WriteSet, Writes};
use super::{MergeOperator, NoMerge, TxIndex, Version, ViewError};
use crate::kv::{self, Key, KeyRange, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// A transaction's view of the state: everything before it in the block, and its own writes on top.
///
/// Reads answer as if every earlier transaction had run to its end; if that turns out wrong, the execution is discarded
/// and repeated. What it reads is recorded exactly: existence where only existence was asked for, a key and not its value
/// where only keys were walked, nothing for an iterator that was not polled. **Reads repeat**: a second answer for a key,
/// by point or by range, is the first one, or the run ends as [`Interrupted`](ViewError::Interrupted).
///
/// Writes are buffered. They are visible to this view at once and to nobody else until the execution is over.
///
/// `Send` and not `Sync`: one execution owns it. All methods take `&self`, so that writing while an iterator is open is
/// ordinary. An iterator shows the transaction's own writes as they were when it was made.
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<cachekv::multiversion::TxView<'static, u64, u64>>();
/// ```
/// ```
/// fn sent<T: Send>() {}
/// sent::<cachekv::multiversion::TxView<'static, u64, u64>>();
/// ```
pub struct TxView<'a, K: Key, V: Value, M: MergeOperator<K, V> = NoMerge> {
    pub(super) source: Source<'a, K, V, M>,
    version: Version,
    /// When the run began, and whether it has since looked at a slot that has changed: until then its answers agree.
    began: TxIndex,
    unsettled: Cell<bool>,
    /// Whether the run is tainted.
    tainted: Cell<bool>,
    /// How many calls it makes before it looks whether it is lost.
    calls_left: Cell<usize>,
    pub(super) run: RefCell<Run<K, V, M::Operand>>,
}

/// Where a view reads what lies below the transaction's own writes.
pub(super) enum Source<'a, K: Key, V: Value, M: MergeOperator<K, V>> {
    /// The versions of a block under way: reads are recorded and validated later.
    Speculative(&'a MultiVersionStore<K, V, M>),
    /// The same for a run that started when everything below it was committed: nothing it reads can change, so nothing is
    /// recorded, and merges are plain writes.
    Frontier(&'a MultiVersionStore<K, V, M>),
    /// The state of a block that executes one transaction after the other.
    Sequential(SequentialSource<'a, K, V>),
}

/// What an execution has done so far.
#[derive(Debug)]
pub(super) struct Run<K: Key, V: Value, O: Clone> {
    pub(super) writes: WriteSet<K, V, O>,
    pub(super) reads: ReadSet<K, V, O>,
    taint: Option<Taint>,
}

/// Why the execution's result cannot be used as it is.
#[derive(Clone, Debug)]
pub(crate) enum Taint {
    /// It met an estimate of this transaction.
    Blocked(TxIndex),
    /// It read what has changed since, or its answers disagreed.
    Lost,
    /// The block is stopping.
    Stopped,
    /// It gave an operand that would have been refused: only real reads, at the frontier, tell what it does then.
    Refused,
    /// The state below could not be read.
    Base(kv::Error),
}

/// What is left of an execution.
#[derive(Debug)]
pub(crate) struct Finished<K: Key, V: Value, O: Clone> {
    pub(crate) writes: Buffer<K, Write<V, O>>,
    pub(crate) obligations: Vec<(K, Operands<O>)>,
    pub(crate) reads: ReadSet<K, V, O>,
    pub(crate) taint: Option<Taint>,
}

/// How many calls a run makes at least between two looks at whether it is lost.
const LOOK_EVERY: usize = 64;

impl<'a, K: Key, V: Value, M: MergeOperator<K, V>> TxView<'a, K, V, M> {
    /// A view for a speculative run. What it observes goes into `reads`, in the place of what is there.
    pub(crate) fn speculative(
        store: &'a MultiVersionStore<K, V, M>,
        version: Version,
        mut reads: ReadSet<K, V, M::Operand>,
    ) -> Self {
        reads.clear();
        reads.began = store.frontier().begin();
        Self::over(Source::Speculative(store), version, reads)
    }

    /// A view for a run that starts when every transaction below it is committed.
    pub(crate) fn at_frontier(store: &'a MultiVersionStore<K, V, M>, version: Version) -> Self {
        Self::over(Source::Frontier(store), version, ReadSet::new())
    }

    /// A view for sequential execution.
    pub(crate) fn sequential(state: SequentialSource<'a, K, V>, tx: TxIndex) -> Self {
        Self::over(Source::Sequential(state), Version { tx, incarnation: 0 }, ReadSet::new())
    }

    fn over(source: Source<'a, K, V, M>, version: Version, reads: ReadSet<K, V, M::Operand>) -> Self {
        let writes = WriteSet::default();
        Self {
            source,
            version,
            began: reads.began,
            unsettled: Cell::new(false),
            tainted: Cell::new(false),
            calls_left: Cell::new(LOOK_EVERY),
            run: RefCell::new(Run { writes, reads, taint: None }),
        }
    }

    /// The transaction's place in the block.
    pub fn index(&self) -> TxIndex {
        self.version.tx
    }

    /// The value of `key`, `None` if it does not exist. A hash look-up and a short lock; may read the state below the
    /// block, once a key and block.
    ///
    /// # Errors
    /// [`Blocked`](ViewError::Blocked), [`Interrupted`](ViewError::Interrupted) and [`Base`](ViewError::Base): the run
    /// will be discarded; pass them up.
    pub fn get(&self, key: &K) -> Result<Option<V>, ViewError> {
        self.tick()?;
        let own = self.run.borrow().writes.get(key).cloned();
        match own {
            Some(Write::Put(value)) => Ok(Some(value)),
            Some(Write::Delete) => Ok(None),
            Some(Write::Merge(operands)) => self.resolve_own(key, &operands).map(Some),
            None => self.value_below(key),
        }
    }

    /// Whether `key` exists. Depends on nothing else: a change of its value does not invalidate the run.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &K) -> Result<bool, ViewError> {
        self.tick()?;
        match self.run.borrow().writes.get(key) {
            Some(Write::Put(_) | Write::Merge(_)) => return Ok(true),
            Some(Write::Delete) => return Ok(false),
            None => {}
        }
        let store = match &self.source {
            Source::Sequential(state) => return state.contains(key).map_err(|error| self.taint(Taint::Base(error))),
            Source::Frontier(store) => {
                let (_, slot) = store.slots().intern(key);
                let exists = slot.exists(self.version.tx, store.base());
                return exists.map(|(_, exists)| exists).map_err(|unread| self.unread(unread));
            }
            Source::Speculative(store) => store,
        };
        let (id, slot) = store.slots().intern(key);
        if let Some(seen) = self.run.borrow().reads.points.get(id) {
            return Ok(seen.exists());
        }
        slot.note_reader(self.version.tx);
        let (origin, exists) = slot.exists(self.version.tx, store.base()).map_err(|unread| self.unread(unread))?;
        self.observe(slot, Look { slot: id, origin }, Seen::Existence(exists), false)?;
        Ok(exists)
    }

    /// Gives `key` the value `value`.
    pub fn set(&self, key: K, value: V) {
        self.run.borrow_mut().writes.set(key, Write::Put(value));
    }

    /// Deletes `key`; deleting a key that does not exist is legal, and reads nothing.
    pub fn delete(&self, key: K) {
        self.run.borrow_mut().writes.set(key, Write::Delete);
    }

    /// Applies `operand` to `key`: a write, and no read. Two transactions that merge into one key do not conflict.
    ///
    /// # Errors
    /// [`Refused`](ViewError::Refused) if the operator does not admit the operand over the key's value; nothing is
    /// written, and the transaction may go on. A speculative run, which does not look at the value, may answer `Ok`: if
    /// the operand turns out to be refused, the run is repeated with real reads. Others as [`get`](Self::get).
    pub fn merge(&self, key: K, operand: M::Operand) -> Result<(), ViewError> {
        self.tick()?; // also where nothing is read: a loop over its own write ends no other way
        let known = {
            let run = self.run.borrow();
            match run.writes.get(&key) {
                Some(Write::Put(value)) => Some(Some(value.clone())),
                Some(Write::Delete) => Some(None),
                Some(Write::Merge(_)) => None,
                None => match self.observed(&run, &key) {
                    Some(Seen::Value(value)) => Some(value.clone()), // depended on already
                    _ => None,
                },
            }
        };
        let value = match (known, &self.source) {
            (Some(value), _) => value,
            (None, Source::Speculative(_)) => {
                let combine = |earlier: &M::Operand, later: &M::Operand| M::combine(&key, earlier, later);
                self.run.borrow_mut().writes.merge(&key, operand, combine);
                return Ok(());
            }
            (None, Source::Frontier(_) | Source::Sequential(_)) => self.value_below(&key)?,
        };
        if !M::admits(&key, value.as_ref(), &operand) {
            return Err(ViewError::Refused { key: format!("{key:?}") });
        }
        let merged = M::merge(&key, value.as_ref(), &operand);
        self.run.borrow_mut().writes.set(key, Write::Put(merged));
        Ok(())
    }

    /// Marks the writes made so far. Savepoints nest to any depth, at O(1) each; the first of a run, or the first iterator, after
    /// more than a few writes puts those in order.
    pub fn savepoint(&self) -> Savepoint {
        self.run.borrow_mut().writes.savepoint()
    }

    /// Takes back every write since `savepoint`, and closes it and those within it. What was read stays read; iterators
    /// that are open go on as they were.
    ///
    /// # Errors
    /// [`SavepointClosed`](ViewError::SavepointClosed) if it was closed with one around it; nothing is changed.
    pub fn roll_back(&self, savepoint: Savepoint) -> Result<(), ViewError> {
        self.run.borrow_mut().writes.roll_back(savepoint)
    }

    /// Closes `savepoint` and those within it, keeping the writes.
    ///
    /// # Errors
    /// As [`roll_back`](Self::roll_back).
    pub fn release(&self, savepoint: Savepoint) -> Result<(), ViewError> {
        self.run.borrow_mut().writes.release(savepoint)
    }

    /// Whether this run is still wanted: to be asked now and then by a loop that reads nothing.
    ///
    /// # Errors
    /// [`Interrupted`](ViewError::Interrupted) or [`Blocked`](ViewError::Blocked): return as soon as you can.
    pub fn check(&self) -> Result<(), ViewError> {
        self.tick()
    }

    pub(crate) fn finish(self) -> Finished<K, V, M::Operand> {
        let Run { writes, reads, taint, .. } = self.run.into_inner();
        let (writes, obligations) = writes.into_parts();
        Finished { writes, obligations, reads, taint }
    }

    /// To be told of every slot that was looked at, after the look.
    pub(super) fn looked_at(&self, slot: &Slot<K, V, M::Operand>) {
        if matches!(self.source, Source::Speculative(_)) && slot.changed_since(self.began) {
            self.unsettled.set(true);
        }
    }

    /// What has been observed of `key`.
    fn observed<'r>(&self, run: &'r Run<K, V, M::Operand>, key: &K) -> Option<&'r Seen<V>> {
        let Source::Speculative(store) = &self.source else { return None };
        if run.reads.points.len() == 0 {
            return None;
        }
        run.reads.points.get(store.slots().find(key)?)
    }

    /// Whether answers of this run can disagree.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled.get()
    }

    /// Whether nothing that this run reads can change, and nobody else has to be told of it: to read less then spares nothing.
    #[cfg_attr(not(feature = "evm"), expect(dead_code, reason = "Ethereum's blocks ask"))]
    pub(crate) fn reads_freely(&self) -> bool {
        match &self.source {
            Source::Speculative(_) => false,
            Source::Frontier(store) => !store.is_shared(),
            Source::Sequential(_) => true,
        }
    }

    pub(super) fn tx(&self) -> TxIndex {
        self.version.tx
    }

    /// Before every read: a run that is tainted stays so, one whose block stops ends, and one that has read much since
    /// it last looked looks whether what it read still holds, at an amortised cost of one check a read (and, where it has walked
    /// ranges, of a look at each written key in them).
    pub(super) fn tick(&self) -> Result<(), ViewError> {
        if self.tainted.get() {
            return self.run.borrow().taint.as_ref().map_or(Ok(()), |taint| Err(taint.error()));
        }
        let (Source::Speculative(store) | Source::Frontier(store)) = &self.source else { return Ok(()) };
        if store.is_interrupted() {
            return Err(self.taint(Taint::Stopped));
        }
        match self.calls_left.get() {
            0 => self.look(store),
            left => {
                self.calls_left.set(left - 1);
                Ok(())
            }
        }
    }

    /// Looks whether the run is lost, or its block's time over.
    #[cold]
    fn look(&self, store: &MultiVersionStore<K, V, M>) -> Result<(), ViewError> {
        if store.is_overdue() {
            return Err(self.taint(Taint::Stopped));
        }
        let run = self.run.borrow();
        self.calls_left.set(LOOK_EVERY.max(2 * run.reads.len()));
        // A frontier run has an empty read set, which always holds.
        let lost = validate(store, self.version.tx, &run.reads).is_err();
        drop(run);
        if lost { Err(self.taint(Taint::Lost)) } else { Ok(()) }
    }

    /// Marks the run; the first mark stays.
    #[cold]
    pub(super) fn taint(&self, taint: Taint) -> ViewError {
        self.tainted.set(true);
        let mut run = self.run.borrow_mut();
        run.taint.get_or_insert(taint).error()
    }

    pub(super) fn unread(&self, unread: Unread) -> ViewError {
        self.taint(match unread {
            Unread::Estimate(tx) => Taint::Blocked(tx),
            Unread::Base(error) => Taint::Base(error),
        })
    }

    /// The value of `key` below the transaction's own writes, observed.
    pub(super) fn value_below(&self, key: &K) -> Result<Option<V>, ViewError> {
        let store = match &self.source {
            Source::Sequential(state) => return state.get(key).map_err(|error| self.taint(Taint::Base(error))),
            Source::Frontier(store) => {
                let (_, slot) = store.slots().intern(key);
                let read = slot.read::<M>(self.version.tx, store.base());
                return read.map(|(_, value)| value).map_err(|unread| self.unread(unread));
            }
            Source::Speculative(store) => store,
        };
        let (id, slot) = store.slots().intern(key);
        let known = match self.run.borrow().reads.points.get(id) {
            Some(Seen::Value(value)) => return Ok(value.clone()), // answers repeat
            Some(Seen::Existence(_)) => true,
            None => false,
        };
        slot.note_reader(self.version.tx);
        let (origin, value) = slot.read::<M>(self.version.tx, store.base()).map_err(|unread| self.unread(unread))?;
        self.observe(slot, Look { slot: id, origin }, Seen::Value(value.clone()), known)?;
        Ok(value)
    }

    /// Records an observation, of a key of which something is `known` or nothing, unless it contradicts an earlier one: then
    /// the run is lost.
    fn observe(&self, slot: &Slot<K, V, M::Operand>, look: Look, seen: Seen<V>, known: bool) -> Result<(), ViewError> {
        self.looked_at(slot);
        let mut run = self.run.borrow_mut();
        if self.is_unsettled() && !run.reads.agrees(slot.key(), Some(look.slot), &seen) {
            drop(run);
            return Err(self.taint(Taint::Lost));
        }
        match known {
            true => run.reads.points.replace(look, seen),
            false => run.reads.points.push(slot.key(), look, seen),
        }
        Ok(())
    }

    /// The value of a key into which this transaction has merged, and into which nobody else's value can now come.
    pub(super) fn resolve_own(&self, key: &K, operands: &Operands<M::Operand>) -> Result<V, ViewError> {
        let value = self.merged(key, operands)?;
        self.run.borrow_mut().writes.resolve(key, value.clone());
        Ok(value)
    }

    /// What `operands` make of the value below.
    pub(super) fn merged(&self, key: &K, operands: &Operands<M::Operand>) -> Result<V, ViewError> {
        let mut value = self.value_below(key)?;
        for operand in operands {
            if !M::admits(key, value.as_ref(), operand) {
                return Err(self.taint(Taint::Refused));
            }
            value = Some(M::merge(key, value.as_ref(), operand));
        }
        // There is at least one operand, or there would be no merge; an empty list cannot be told from a lost run.
        value.ok_or_else(|| self.taint(Taint::Lost))
    }

    /// A record for an iterator that is polled for the first time.
    pub(super) fn open_range(&self, range: KeyRange<K>, own: Writes<K, V, M::Operand>) -> usize {
        let mut run = self.run.borrow_mut();
        run.reads.ranges.push(RangeRead::new(range, own));
        run.reads.ranges.len() - 1
    }

    /// The slot of a key that a walk has come to, if it has one.
    pub(super) fn known_slot(&self, key: &K) -> Option<SlotId> {
        match &self.source {
            Source::Speculative(store) => store.slots().find(key),
            Source::Frontier(_) | Source::Sequential(_) => None, // nothing is recorded
        }
    }
}

impl Taint {
    fn error(&self) -> ViewError {
        match self {
            Taint::Blocked(tx) => ViewError::Blocked(*tx),
            Taint::Lost | Taint::Stopped | Taint::Refused => ViewError::Interrupted,
            Taint::Base(error) => ViewError::Base(error.clone()),
        }
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> fmt::Debug for TxView<'_, K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxView").field("version", &self.version).finish_non_exhaustive()
    }
}
