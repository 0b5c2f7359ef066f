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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) slot: SlotId,
    pub(crate) origin: Origin,
}

/// The keys one execution has observed, each once, in the order in which it did.
///
/// What was seen stands apart from where: a check mostly needs no values, and is made by another core, which fetches all
/// that it looks at.
#[derive(Debug)]
pub(crate) struct Points<K, V> {
    looks: Vec<Look>,
    /// What each look saw.
    seen: Vec<Seen<V>>,
    /// Where in `looks` each slot is, once there are more than a few. Boxed: a read set is moved about, and mostly has none.
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
    fn new() -> Self {
        Self { looks: Vec::new(), seen: Vec::new(), places: None, by_key: None }
    }

    /// Forgets all, and keeps the room.
    fn clear(&mut self) {
        self.looks.clear();
        self.seen.clear();
        (self.places, self.by_key) = (None, None);
    }

    /// What was seen of a slot.
    pub(crate) fn get(&self, slot: SlotId) -> Option<&Seen<V>> {
        self.seen.get(self.place(slot)?)
    }

    fn place(&self, slot: SlotId) -> Option<usize> {
        let Some(places) = &self.places else { return self.looks.iter().position(|look| look.slot == slot) };
        let same = |place: &u32| at(&self.looks, *place).is_some_and(|look| look.slot == slot);
        places.find(slot.hash(), same).map(|place| *place as usize)
    }

    /// Notes what was seen of `key`, of which nothing has been noted.
    pub(crate) fn push(&mut self, key: &K, look: Look, seen: Seen<V>) {
        #[expect(clippy::cast_possible_truncation, reason = "there are no more than slots")]
        let (place, slot) = (self.looks.len() as u32, look.slot);
        if let Some(by_key) = &mut self.by_key {
            by_key.insert(key.clone(), place);
        }
        self.looks.push(look);
        self.seen.push(seen);
        let Self { looks, places, .. } = self;
        let hash = |place: &u32| at(looks, *place).map_or(0, |look| look.slot.hash());
        match places {
            Some(places) => {
                places.insert_unique(slot.hash(), place, hash);
            }
            None if looks.len() > FEW => {
                let mut all = HashTable::with_capacity(8 * FEW);
                for place in 0..=place {
                    all.insert_unique(hash(&place), place, hash);
                }
                *places = Some(Box::new(all));
            }
            None => {}
        }
    }

    /// Notes that more was seen where something has been noted.
    pub(crate) fn replace(&mut self, look: Look, seen: Seen<V>) {
        let Some(place) = self.place(look.slot) else { return };
        if let (Some(earlier), Some(saw)) = (self.looks.get_mut(place), self.seen.get_mut(place)) {
            (*earlier, *saw) = (look, seen);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.looks.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Look, &Seen<V>)> {
        self.looks.iter().copied().zip(&self.seen)
    }

    /// The observations in key order, from now on: O(n log n) for the first call.
    pub(crate) fn ordered<O: Clone>(&mut self, slots: &Slots<K, V, O>) -> Ordered<'_, K, V> {
        let by_key = self.by_key.get_or_insert_with(|| {
            let keyed = self.looks.iter().zip(0..);
            keyed.map(|(look, place)| (slots.slot(look.slot).key().clone(), place)).collect()
        });
        Ordered { by_key, seen: &self.seen }
    }
}

/// The keys one execution has observed, in order.
pub(crate) struct Ordered<'p, K, V> {
    by_key: &'p BTreeMap<K, u32>,
    seen: &'p [Seen<V>],
}

impl<K: Key, V: Value> Ordered<'_, K, V> {
    /// The keys within `bounds`, which must not be empty, that were seen existing.
    pub(crate) fn present_in(&self, bounds: &crate::kv::KeyRange<K>) -> impl Iterator<Item = &K> {
        let present = |place: &u32| at(self.seen, *place).is_some_and(Seen::exists);
        let range = self.by_key.range::<K, _>((bounds.start.as_ref(), bounds.end.as_ref()));
        range.filter(move |(_, place)| present(place)).map(|(key, _)| key)
    }
}

fn at<T>(all: &[T], place: u32) -> Option<&T> {
    all.get(place as usize)
}

impl<K: Key, V: Value, O: Clone> ReadSet<K, V, O> {
    /// Nothing observed.
    pub(crate) fn new() -> Self {
        Self { began: 0, points: Points::new(), ranges: Vec::new() }
    }

    /// Forgets what a run has observed, for the next, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.points.clear();
        self.ranges.clear();
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
        slot.and_then(|slot| self.points.get(slot)).is_none_or(agree)
            && self.ranges.iter().filter_map(|range| range.answer(key)).all(|earlier| agree(&earlier))
    }
}
