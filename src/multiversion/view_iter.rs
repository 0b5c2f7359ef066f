//! Ordered walks over a view, tracked step by step.
//!
//! A walk merges three sources, newest first: the transaction's own writes as they were when it was made, the listed keys
//! with a version below the transaction, the state before the block. What the merge reads ahead is not observed: only
//! the entry a step comes to is recorded, and the gap it passed over.

use super::chain::{Origin, Top, Write};
use super::iterate_set::{End, RangeEntry};
use super::seen::Seen;
use super::slots::SlotId;
use super::view::{Source, Taint, TxView};
use super::write_set::Writes;
use super::{MergeOperator, MultiVersionStore, NoMerge, ReadSet, TxIndex, Version, ViewError};
use crate::kv::{self, DynIter, Key, KeyRange, KvRead, MergeIter, Value};
use std::fmt;
use std::ops::{Bound, RangeBounds};

impl<'a, K: Key, V: Value, M: MergeOperator<K, V>> TxView<'a, K, V, M> {
    /// The entries within `bounds` in ascending key order; [`rev`](Iterator::rev) gives them descending, and both ends
    /// may be mixed. Making it observes nothing; each step observes one key and its value. Costs O(own writes in range) or
    /// O(1) to make, whatever the transaction's place in the block (the first after many writes puts them in order), and
    /// what the state below asks for a range to be opened (one in a file may read). The first range of a block makes the
    /// directory of the keys written so far, O(n log n).
    pub fn range(&self, bounds: impl RangeBounds<K>) -> ViewIter<'_, 'a, K, V, M> {
        ViewIter::new(ViewKeys::new(self, KeyRange::new(bounds), true))
    }

    /// The keys within `bounds`, as [`range`](Self::range): a change of a value does not invalidate the run.
    pub fn keys(&self, bounds: impl RangeBounds<K>) -> ViewKeys<'_, 'a, K, V, M> {
        ViewKeys::new(self, KeyRange::new(bounds), false)
    }

    /// Deletes every key within `bounds` ([`KeyRange::prefix`]: all that begin with it), and returns how many there were. A
    /// walk of the keys and a delete each, so a key that an earlier transaction adds to the range or takes from it is noticed.
    ///
    /// # Errors
    /// As [`get`](Self::get); nothing was deleted.
    pub fn delete_range(&self, bounds: impl RangeBounds<K>) -> Result<usize, ViewError> {
        let keys = self.keys(bounds).collect::<Result<Vec<_>, _>>()?;
        let count = keys.len();
        keys.into_iter().for_each(|key| self.delete(key));
        Ok(count)
    }
}

/// The keys of a range of a [`TxView`]; see [`TxView::keys`].
pub struct ViewKeys<'v, 'a, K: Key, V: Value, M: MergeOperator<K, V> = NoMerge> {
    view: &'v TxView<'a, K, V, M>,
    merged: MergeIter<K, Found<V, M::Operand>, kv::Error, Walk<'v, 'a, K, V, M>>,
    range: KeyRange<K>,
    own: Writes<K, V, M::Operand>,
    /// The record in the iterate set, made at the first poll.
    record: Option<usize>,
    /// Whether each step observes the value as well as the key.
    values: bool,
    ended: bool,
}

/// The entries of a range of a [`TxView`]; see [`TxView::range`].
pub struct ViewIter<'v, 'a, K: Key, V: Value, M: MergeOperator<K, V> = NoMerge>(ViewKeys<'v, 'a, K, V, M>);

/// What a source has at a key.
enum Found<V, O> {
    Own(Write<V, O>),
    Versioned(SlotId, Origin),
    /// An earlier transaction's tombstone. To the merge it is an entry like others, and hides what is older.
    Deleted(Version),
    Estimate(TxIndex),
    Base(V),
}

type Entry<K, V, O> = Result<(K, Option<Found<V, O>>), kv::Error>;

/// One source of a walk.
enum Walk<'v, 'a, K: Key, V: Value, M: MergeOperator<K, V>> {
    Own {
        writes: Writes<K, V, M::Operand>,
        left: KeyRange<K>,
    },
    Listed {
        slots: Box<dyn DoubleEndedIterator<Item = SlotId> + 'v>,
        store: &'v MultiVersionStore<K, V, M>,
        view: &'v TxView<'a, K, V, M>,
    },
    Written(Box<dyn DoubleEndedIterator<Item = (K, Option<V>)> + 'v>),
    Base(DynIter<K, V>),
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> Walk<'_, '_, K, V, M> {
    fn step(&mut self, end: End) -> Option<Entry<K, V, M::Operand>> {
        match self {
            Walk::Own { writes, left } => step_own(writes, left, end).map(Ok),
            Walk::Listed { slots, store, view } => loop {
                let id = pull(slots, end)?;
                let slot = store.slot(id);
                let top = slot.top(view.tx());
                view.looked_at(slot);
                let found = match top {
                    Top::Nothing => continue, // the state below answers for it
                    Top::Deleted(version) => Found::Deleted(version),
                    Top::Estimate(tx) => Found::Estimate(tx),
                    Top::Present(origin) => Found::Versioned(id, origin),
                };
                return Some(Ok((slot.key().clone(), Some(found))));
            },
            Walk::Written(entries) => pull(entries, end).map(|(key, value)| Ok((key, value.map(Found::Base)))),
            Walk::Base(entries) => Some(pull(entries, end)?.map(|(key, value)| (key, Some(Found::Base(value))))),
        }
    }
}

fn pull<I: DoubleEndedIterator>(iter: &mut I, end: End) -> Option<I::Item> {
    match end {
        End::Front => iter.next(),
        End::Back => iter.next_back(),
    }
}

fn step_own<K: Key, V: Value, O: Clone>(
    writes: &Writes<K, V, O>,
    left: &mut KeyRange<K>,
    end: End,
) -> Option<(K, Option<Found<V, O>>)> {
    let (key, write) = match end {
        End::Front => writes.first_from(left.start.as_ref()),
        End::Back => writes.last_to(left.end.as_ref()),
    }
    .filter(|(key, _)| left.contains(key))?;
    let (key, found) = (key.clone(), Found::Own(write.clone()));
    match end {
        End::Front => left.start = Bound::Excluded(key.clone()),
        End::Back => left.end = Bound::Excluded(key.clone()),
    }
    Some((key, Some(found)))
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> Iterator for Walk<'_, '_, K, V, M> {
    type Item = Entry<K, V, M::Operand>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> DoubleEndedIterator for Walk<'_, '_, K, V, M> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}

impl<'v, 'a, K: Key, V: Value, M: MergeOperator<K, V>> ViewKeys<'v, 'a, K, V, M> {
    pub(super) fn new(view: &'v TxView<'a, K, V, M>, range: KeyRange<K>, values: bool) -> Self {
        let own = view.run.borrow_mut().writes.freeze();
        let mut sources: Vec<Walk<'v, 'a, K, V, M>> = Vec::with_capacity(3);
        let ended = range.is_empty();
        if !ended {
            if !own.is_empty() {
                sources.push(Walk::Own { writes: own.clone(), left: range.clone() });
            }
            match &view.source {
                Source::Speculative(store) | Source::Frontier(store) => {
                    let slots = Box::new(store.listed(range.clone()));
                    sources.push(Walk::Listed { slots, store, view });
                    sources.push(Walk::Base(store.base().scan(range.clone())));
                }
                Source::Sequential(state) => {
                    sources.push(Walk::Written(Box::new(state.written(range.clone()))));
                    sources.push(Walk::Base(state.base().scan(range.clone())));
                }
            }
        }
        Self { view, merged: MergeIter::new(sources), range, own, record: None, values, ended }
    }

    /// The next entry from `end`; without a value for a walk of keys.
    fn step(&mut self, end: End) -> Option<Result<(K, Option<V>), ViewError>> {
        if self.ended {
            return None;
        }
        self.ended = true; // after a panic too
        let entry = self.advance(end).transpose()?;
        self.ended = entry.is_err();
        Some(entry)
    }

    fn advance(&mut self, end: End) -> Result<Option<(K, Option<V>)>, ViewError> {
        self.view.tick()?;
        if let (None, Source::Speculative(store)) = (self.record, &self.view.source) {
            store.note_range_reader(self.view.tx());
            self.record = Some(self.view.open_range(self.range.clone(), self.own.clone()));
        }
        loop {
            let Some(entry) = pull(&mut self.merged, end) else {
                self.pass(end, None)?;
                return Ok(None);
            };
            let (key, found) = entry.map_err(|error| self.view.taint(Taint::Base(error)))?;
            self.pass(end, Some(&key))?;
            if let Some(value) = self.arrive(end, &key, found)? {
                return Ok(Some((key, value)));
            }
        }
    }

    /// Records that the walk has passed from where it was to `to` (`None`: to its end) without meeting anything. A key
    /// there that this execution has seen existing is a contradiction.
    fn pass(&self, end: End, to: Option<&K>) -> Result<(), ViewError> {
        let Some(record) = self.record else { return Ok(()) };
        let mut run = self.view.run.borrow_mut();
        let Some(range) = run.reads.ranges.get(record) else { return Ok(()) };
        let (start, stop) = range.gap(end, to);
        let gap = KeyRange { start, end: stop };
        if self.view.is_unsettled() && !gap.is_empty() && self.contradicts(&mut run.reads, record, &gap) {
            drop(run);
            return Err(self.view.taint(Taint::Lost));
        }
        if let Some(range) = run.reads.ranges.get_mut(record) {
            match to {
                Some(key) => range.advance(end, key),
                None => range.exhaust(),
            }
        }
        Ok(())
    }

    fn contradicts(&self, reads: &mut ReadSet<K, V, M::Operand>, record: usize, gap: &KeyRange<K>) -> bool {
        let Source::Speculative(store) = &self.view.source else { return false };
        let points = reads.points.ordered(store.slots());
        if points.present_in(gap).any(|key| !self.own.contains(key)) {
            return true;
        }
        let others = reads.ranges.iter().enumerate().filter(|(at, _)| *at != record).map(|(_, range)| range);
        others.flat_map(|range| range.present_in(gap)).any(|key| !self.own.contains(key))
    }

    /// Observes what the walk found at `key`; `None` if there is nothing to yield.
    fn arrive(&self, end: End, key: &K, found: Option<Found<V, M::Operand>>) -> Result<Option<Option<V>>, ViewError> {
        let (origin, seen) = match found {
            Some(Found::Own(Write::Put(value))) => return Ok(Some(Some(value))),
            Some(Found::Own(Write::Merge(operands))) => {
                let value = if self.values { Some(self.view.merged(key, &operands)?) } else { None };
                return Ok(Some(value));
            }
            Some(Found::Own(Write::Delete)) | None => return Ok(None),
            Some(Found::Deleted(version)) => (Origin::Version(version), Seen::Existence(false)),
            Some(Found::Estimate(tx)) => return Err(self.view.taint(Taint::Blocked(tx))),
            Some(Found::Versioned(slot, origin)) if self.values => self.read_slot(slot, origin)?,
            Some(Found::Versioned(_, origin)) => (origin, Seen::Existence(true)),
            Some(Found::Base(value)) if self.values => (Origin::Base, Seen::Value(Some(value))),
            Some(Found::Base(_)) => (Origin::Base, Seen::Existence(true)),
        };
        self.record(end, key, origin, &seen)?;
        Ok(match seen {
            Seen::Existence(false) | Seen::Value(None) => None,
            Seen::Existence(true) => Some(None),
            Seen::Value(value) => Some(value),
        })
    }

    /// The value a slot has now. It may differ from what the merge saw when it read ahead, and may be gone.
    fn read_slot(&self, slot: SlotId, origin: Origin) -> Result<(Origin, Seen<V>), ViewError> {
        let (Source::Speculative(store) | Source::Frontier(store)) = &self.view.source else {
            return Ok((origin, Seen::Existence(true)));
        };
        let slot = store.slot(slot);
        let read = slot.read::<M>(self.view.tx(), store.base());
        let (origin, value) = read.map_err(|unread| self.view.unread(unread))?;
        self.view.looked_at(slot);
        Ok((origin, Seen::Value(value)))
    }

    fn record(&self, end: End, key: &K, origin: Origin, seen: &Seen<V>) -> Result<(), ViewError> {
        let Some(record) = self.record else { return Ok(()) };
        let mut run = self.view.run.borrow_mut();
        if let Some(range) = run.reads.ranges.get_mut(record) {
            range.push(end, RangeEntry { key: key.clone(), origin, seen: seen.clone() });
        }
        if !self.view.is_unsettled() || run.reads.agrees(key, self.view.known_slot(key), seen) {
            return Ok(());
        }
        drop(run);
        Err(self.view.taint(Taint::Lost))
    }
}

impl<'v, 'a, K: Key, V: Value, M: MergeOperator<K, V>> ViewIter<'v, 'a, K, V, M> {
    pub(super) fn new(keys: ViewKeys<'v, 'a, K, V, M>) -> Self {
        Self(keys)
    }

    fn step(&mut self, end: End) -> Option<Result<(K, V), ViewError>> {
        let entry = self.0.step(end)?;
        // A walk of values yields a value with every entry.
        entry.map(|(key, value)| value.map(|value| (key, value))).transpose()
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> Iterator for ViewKeys<'_, '_, K, V, M> {
    type Item = Result<K, ViewError>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.step(End::Front)?.map(|(key, _)| key))
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> DoubleEndedIterator for ViewKeys<'_, '_, K, V, M> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.step(End::Back)?.map(|(key, _)| key))
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> Iterator for ViewIter<'_, '_, K, V, M> {
    type Item = Result<(K, V), ViewError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> DoubleEndedIterator for ViewIter<'_, '_, K, V, M> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> fmt::Debug for ViewKeys<'_, '_, K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewKeys").field("range", &self.range).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, M: MergeOperator<K, V>> fmt::Debug for ViewIter<'_, '_, K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewIter").field("range", &self.0.range).finish_non_exhaustive()
    }
}
