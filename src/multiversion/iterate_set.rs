//! The iterate set: what one execution has observed by range.
//!
//! ```text
//! range     [a ─────────────────────────────── z)
//! observed  [a ── front]            [back ──── z)      or all of it, once exhausted
//! entries    b  c⌫  d                 w   y            below the transaction, its own writes left out
//! ```
//!
//! An iterator that is opened and never polled has no record: it depends on nothing. One that is never dropped has its
//! record all the same, since the record is kept at every step.

use super::chain::Origin;
use super::seen::Seen;
use super::write_set::Writes;
use crate::kv::{Key, KeyRange, Value};
use std::cmp::Ordering;
use std::ops::Bound;

/// One key that a walk came across below the transaction's own writes.
#[derive(Clone, Debug)]
pub(crate) struct RangeEntry<K, V> {
    pub(crate) key: K,
    pub(crate) origin: Origin,
    /// Existence for a walk of keys and for a tombstone, else the value.
    pub(crate) seen: Seen<V>,
}

/// The record of one iterator.
#[derive(Debug)]
pub(crate) struct RangeRead<K: Key, V: Value, O: Clone> {
    range: KeyRange<K>,
    /// The transaction's own writes when the iterator was made: they hide what lies below.
    own: Writes<K, V, O>,
    /// The last key crossed from the front, if any.
    front: Option<K>,
    /// The last key crossed from the back, if any.
    back: Option<K>,
    exhausted: bool,
    /// Ascending.
    from_front: Vec<RangeEntry<K, V>>,
    /// Descending.
    from_back: Vec<RangeEntry<K, V>>,
}

/// Which end of a range a step is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

impl<K: Key, V: Value, O: Clone> RangeRead<K, V, O> {
    pub(crate) fn new(range: KeyRange<K>, own: Writes<K, V, O>) -> Self {
        Self { range, own, front: None, back: None, exhausted: false, from_front: Vec::new(), from_back: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        1 + self.from_front.len() + self.from_back.len()
    }

    /// Whether the transaction's own writes hid `key` from the walk.
    pub(crate) fn hides(&self, key: &K) -> bool {
        self.own.contains(key)
    }

    /// The keys that a step to `to` (`None`: to the end) passes over without an entry, bounds excluded.
    pub(crate) fn gap(&self, end: End, to: Option<&K>) -> (Bound<K>, Bound<K>) {
        let from = |last: &Option<K>, edge: &Bound<K>| last.clone().map_or(edge.clone(), Bound::Excluded);
        let (low, high) = (from(&self.front, &self.range.start), from(&self.back, &self.range.end));
        match (end, to.cloned()) {
            (End::Front, Some(to)) => (low, Bound::Excluded(to)),
            (End::Back, Some(to)) => (Bound::Excluded(to), high),
            (_, None) => (low, high),
        }
    }

    /// Notes that the walk has come to `key` from `end`.
    pub(crate) fn advance(&mut self, end: End, key: &K) {
        match end {
            End::Front => self.front = Some(key.clone()),
            End::Back => self.back = Some(key.clone()),
        }
    }

    /// Notes what the walk found at the key it has come to.
    pub(crate) fn push(&mut self, end: End, entry: RangeEntry<K, V>) {
        match end {
            End::Front => self.from_front.push(entry),
            End::Back => self.from_back.push(entry),
        }
    }

    pub(crate) fn exhaust(&mut self) {
        self.exhausted = true;
    }

    /// The ranges that were observed.
    pub(crate) fn observed(&self) -> impl Iterator<Item = KeyRange<K>> {
        let all = self.exhausted.then(|| self.range.clone());
        let partly = |last: &Option<K>| if self.exhausted { None } else { last.clone().map(Bound::Included) };
        let front = partly(&self.front).map(|end| KeyRange { start: self.range.start.clone(), end });
        let back = partly(&self.back).map(|start| KeyRange { start, end: self.range.end.clone() });
        all.into_iter().chain(front).chain(back)
    }

    /// The entry at `key`, if the walk came across one.
    pub(crate) fn entry(&self, key: &K) -> Option<&RangeEntry<K, V>> {
        let search = |entries: &[RangeEntry<K, V>], order: fn(Ordering) -> Ordering| {
            entries.binary_search_by(|entry| order(entry.key.cmp(key))).ok()
        };
        if let Some(at) = search(&self.from_front, |order| order) {
            return self.from_front.get(at);
        }
        search(&self.from_back, Ordering::reverse).and_then(|at| self.from_back.get(at))
    }

    /// What the walk said of `key`: nothing if it lies outside what was observed or behind an own write, absence if it
    /// was passed over.
    pub(crate) fn answer(&self, key: &K) -> Option<Seen<V>> {
        let covered = self.range.contains(key)
            && (self.exhausted
                || self.front.as_ref().is_some_and(|front| key <= front)
                || self.back.as_ref().is_some_and(|back| back <= key));
        if !covered || self.hides(key) {
            return None;
        }
        Some(self.entry(key).map_or(Seen::Existence(false), |entry| entry.seen.clone()))
    }

    /// The keys within the bounds that the walk found existing.
    pub(crate) fn present_in<'s>(&'s self, bounds: &'s KeyRange<K>) -> impl Iterator<Item = &'s K> {
        let start = self.from_front.partition_point(|entry| match &bounds.start {
            Bound::Unbounded => false,
            Bound::Included(start) => entry.key < *start,
            Bound::Excluded(start) => entry.key <= *start,
        });
        let end = self.from_back.partition_point(|entry| match &bounds.end {
            Bound::Unbounded => false,
            Bound::Included(end) => entry.key > *end,
            Bound::Excluded(end) => entry.key >= *end,
        });
        let front = self.from_front.iter().skip(start).take_while(|entry| bounds.contains(&entry.key));
        let back = self.from_back.iter().skip(end).take_while(|entry| bounds.contains(&entry.key));
        front.chain(back).filter(|entry| entry.seen.exists()).map(|entry| &entry.key)
    }
}
