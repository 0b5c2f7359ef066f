//! The read set: what one execution has observed by key.

use super::TxIndex;
use super::chain::Origin;
use super::iterate_set::RangeRead;
use super::seen::Seen;
use super::slots::{SlotId, Slots};
use crate::kv::{Key, Value};
use hashbrown::HashTable;
use std::collections::BTreeMap;

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
    /// Where in `reads` each slot is, once there are more than a few. Boxed: a read set is moved about, and mostly has none.
    places: Option<Box<HashTable<u32>>>,
    /// The same by key, once a walk has asked.
    by_key: Option<BTreeMap<K, u32>>,
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
        let same = |place: &u32| at(&self.reads, *place).is_some_and(|read| read.slot == slot);
        places.find(slot.hash(), same).map(|place| *place as usize)
    }

    /// Notes what was read of `key`, of which nothing has been noted.
    pub(crate) fn push(&mut self, key: &K, read: PointRead<V>) {
        #[expect(clippy::cast_possible_truncation, reason = "there are no more than slots")]
        let (place, slot) = (self.reads.len() as u32, read.slot);
        if let Some(by_key) = &mut self.by_key {
            by_key.insert(key.clone(), place);
        }
        self.reads.push(read);
        let Self { reads, places, .. } = self;
        let hash = |place: &u32| at(reads, *place).map_or(0, |read| read.slot.hash());
        match places {
            Some(places) => {
                places.insert_unique(slot.hash(), place, hash);
            }
            None if reads.len() > FEW => {
                let mut all = HashTable::with_capacity(8 * FEW);
                for place in 0..=place {
                    all.insert_unique(hash(&place), place, hash);
                }
                *places = Some(Box::new(all));
            }
            None => {}
        }
    }

    /// Notes that more was read where something has been noted.
    pub(crate) fn replace(&mut self, read: PointRead<V>) {
        if let Some(earlier) = self.place(read.slot).and_then(|place| self.reads.get_mut(place)) {
            *earlier = read;
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
            let keyed = self.reads.iter().zip(0..);
            keyed.map(|(read, place)| (slots.slot(read.slot).key().clone(), place)).collect()
        });
        Ordered { by_key, reads: &self.reads }
    }
}

/// The keys one execution has observed, in order.
pub(crate) struct Ordered<'p, K, V> {
    by_key: &'p BTreeMap<K, u32>,
    reads: &'p [PointRead<V>],
}

impl<K: Key, V: Value> Ordered<'_, K, V> {
    /// The keys within `bounds`, which must not be empty, that were seen existing.
    pub(crate) fn present_in(&self, bounds: &crate::kv::KeyRange<K>) -> impl Iterator<Item = &K> {
        let present = |place: &u32| at(self.reads, *place).is_some_and(|read| read.seen.exists());
        let range = self.by_key.range::<K, _>((bounds.start.as_ref(), bounds.end.as_ref()));
        range.filter(move |(_, place)| present(place)).map(|(key, _)| key)
    }
}

fn at<V>(reads: &[PointRead<V>], place: u32) -> Option<&PointRead<V>> {
    reads.get(place as usize)
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
