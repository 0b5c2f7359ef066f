//! The read set: what one execution has observed by key.

use super::TxIndex;
use super::chain::Origin;
use super::iterate_set::RangeRead;
use super::seen::Seen;
use super::slots::{SlotId, Slots};
use crate::kv::{Key, Value};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

/// The largest set that is searched from end to end.
const FEW: usize = 16;

/// One key observed, and where the answer came from.
#[derive(Clone, Debug)]
pub(crate) struct PointRead<V> {
    pub(crate) slot: SlotId,
    pub(crate) origin: Origin,
    pub(crate) seen: Seen<V>,
}

/// The keys one execution has observed, each once, in the order in which it did.
#[derive(Debug)]
pub(crate) struct Points<K, V> {
    reads: Vec<PointRead<V>>,
    /// Where in `reads` each slot is, once there are more than a few. Fixed hash: slots are numbered by us. Boxed, here and
    /// below: a read set is moved about, and mostly has neither.
    places: Option<Box<HashTable<usize>>>,
    /// The same by key, once a walk has asked.
    by_key: Option<Box<BTreeMap<K, usize>>>,
}

/// Everything one execution has observed.
#[derive(Debug)]
pub(crate) struct ReadSet<K: Key, V: Value, O: Clone> {
    /// When the run began, before anything was observed; see [`Frontier`](super::frontier::Frontier).
    pub(crate) began: TxIndex,
    pub(crate) points: Points<K, V>,
    /// The iterate set: a record for every iterator that was polled.
    pub(crate) ranges: Vec<RangeRead<K, V, O>>,
}

impl<K: Key, V: Value> Points<K, V> {
    pub(crate) fn get(&self, slot: SlotId) -> Option<&PointRead<V>> {
        self.reads.get(self.place(slot)?)
    }

    fn place(&self, slot: SlotId) -> Option<usize> {
        let Some(places) = &self.places else { return self.reads.iter().position(|read| read.slot == slot) };
        places.find(hash(slot), |place| self.reads.get(*place).is_some_and(|read| read.slot == slot)).copied()
    }

    /// Notes `read` of `key`, in place of an earlier observation of the same key.
    pub(crate) fn put(&mut self, key: &K, read: PointRead<V>) {
        if let Some(at) = self.place(read.slot) {
            if let Some(earlier) = self.reads.get_mut(at) {
                *earlier = read;
            }
            return;
        }
        let at = self.reads.len();
        if let Some(by_key) = &mut self.by_key {
            by_key.insert(key.clone(), at);
        }
        self.reads.push(read);
        let Self { reads, places, .. } = self;
        let of = |place: &usize| reads.get(*place).map_or(0, |read| hash(read.slot));
        match places {
            Some(places) => drop(places.insert_unique(of(&at), at, of)),
            None if reads.len() > FEW => {
                let mut all = HashTable::with_capacity(4 * FEW);
                (0..=at).for_each(|place| drop(all.insert_unique(of(&place), place, of)));
                *places = Some(Box::new(all));
            }
            None => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.reads.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PointRead<V>> {
        self.reads.iter()
    }

    /// The observations in key order, from now on: O(n log n) for the first call.
    pub(crate) fn ordered<O: Clone>(&mut self, slots: &Slots<K, V, O>) -> Ordered<'_, K, V> {
        let by_key = self.by_key.get_or_insert_with(|| {
            let keyed = self.reads.iter().enumerate();
            Box::new(keyed.map(|(at, read)| (slots.slot(read.slot).key().clone(), at)).collect())
        });
        Ordered { by_key, reads: &self.reads }
    }
}

/// The keys one execution has observed, in order.
pub(crate) struct Ordered<'p, K, V> {
    by_key: &'p BTreeMap<K, usize>,
    reads: &'p [PointRead<V>],
}

impl<K: Key, V: Value> Ordered<'_, K, V> {
    /// The keys within `bounds`, which must not be empty, that were seen existing.
    pub(crate) fn present_in(&self, bounds: &crate::kv::KeyRange<K>) -> impl Iterator<Item = &K> {
        let present = |at: &usize| self.reads.get(*at).is_some_and(|read| read.seen.exists());
        let range = self.by_key.range::<K, _>((bounds.start.as_ref(), bounds.end.as_ref()));
        range.filter(move |(_, at)| present(at)).map(|(key, _)| key)
    }
}

fn hash(slot: SlotId) -> u64 {
    FixedState::default().hash_one(slot)
}

impl<K: Key, V: Value, O: Clone> ReadSet<K, V, O> {
    /// Nothing observed by a run that begins at `began`.
    pub(crate) fn new(began: TxIndex) -> Self {
        let points = Points { reads: Vec::new(), places: None, by_key: None };
        Self { began, points, ranges: Vec::new() }
    }

    /// The number of observations, as a measure of what validating them costs.
    pub(crate) fn len(&self) -> usize {
        self.points.len() + self.ranges.iter().map(RangeRead::len).sum::<usize>()
    }

    /// Whether a fresh answer for `key`, whose slot is `slot` if it has one, agrees with every earlier answer that covers it.
    pub(crate) fn agrees(&self, key: &K, slot: Option<SlotId>, fresh: &Seen<V>) -> bool {
        let agree = |earlier: &Seen<V>| match (earlier, fresh) {
            (Seen::Value(earlier), Seen::Value(fresh)) => earlier == fresh,
            (earlier, fresh) => earlier.exists() == fresh.exists(),
        };
        slot.and_then(|slot| self.points.get(slot)).is_none_or(|point| agree(&point.seen))
            && self.ranges.iter().filter_map(|range| range.answer(key)).all(|earlier| agree(&earlier))
    }
}
