//! An ordered map that is a sorted array while it is small.
//!
//! What one transaction reads and writes is mostly a handful of keys: a sorted array of them is faster to search, to
//! fill and to copy than any tree. Past [`FEW`] keys it becomes a persistent map. Either way a clone costs O(1): at most
//! [`FEW`] entries, or a reference count. That makes savepoints and iterators over a transaction's own writes cheap.

use im::OrdMap;
use std::ops::Bound;

/// The largest array.
const FEW: usize = 24;

#[derive(Clone, Debug)]
pub(crate) enum SmallMap<K: Ord + Clone, T: Clone> {
    /// Strictly ascending.
    Few(Vec<(K, T)>),
    Many(OrdMap<K, T>),
}

impl<K: Ord + Clone, T: Clone> Default for SmallMap<K, T> {
    fn default() -> Self {
        SmallMap::Few(Vec::new())
    }
}

impl<K: Ord + Clone, T: Clone> SmallMap<K, T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            SmallMap::Few(entries) => entries.len(),
            SmallMap::Many(map) => map.len(),
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        match self {
            SmallMap::Few(entries) => {
                let at = entries.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
                entries.get(at).map(|(_, value)| value)
            }
            SmallMap::Many(map) => map.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        match self {
            SmallMap::Few(entries) => {
                let at = entries.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
                entries.get_mut(at).map(|(_, value)| value)
            }
            SmallMap::Many(map) => map.get_mut(key),
        }
    }

    /// Gives `key` the value `value`, and returns the one it had.
    pub(crate) fn insert(&mut self, key: K, value: T) -> Option<T> {
        match self {
            SmallMap::Few(entries) => match entries.binary_search_by(|(present, _)| present.cmp(&key)) {
                Ok(at) => entries.get_mut(at).map(|(_, present)| std::mem::replace(present, value)),
                Err(at) if entries.len() < FEW => {
                    entries.insert(at, (key, value));
                    None
                }
                Err(_) => {
                    let mut map: OrdMap<K, T> = entries.drain(..).collect();
                    map.insert(key, value);
                    *self = SmallMap::Many(map);
                    None
                }
            },
            SmallMap::Many(map) => map.insert(key, value),
        }
    }

    /// The entries of an array that has no room for another.
    pub(crate) fn full(&self) -> Option<&[(K, T)]> {
        match self {
            SmallMap::Few(entries) if entries.len() >= FEW => Some(entries),
            SmallMap::Few(_) | SmallMap::Many(_) => None,
        }
    }

    /// The first entry whose key is at or after `from`. O(log n).
    pub(crate) fn first_from(&self, from: Bound<&K>) -> Option<(&K, &T)> {
        match self {
            SmallMap::Few(entries) => {
                let at = entries.partition_point(|(key, _)| match from {
                    Bound::Unbounded => false,
                    Bound::Included(from) => key < from,
                    Bound::Excluded(from) => key <= from,
                });
                entries.get(at).map(|(key, value)| (key, value))
            }
            SmallMap::Many(map) => map.range::<_, K>((from, Bound::Unbounded)).next(),
        }
    }

    /// The last entry whose key is at or before `to`. O(log n).
    pub(crate) fn last_to(&self, to: Bound<&K>) -> Option<(&K, &T)> {
        match self {
            SmallMap::Few(entries) => {
                let after = entries.partition_point(|(key, _)| match to {
                    Bound::Unbounded => true,
                    Bound::Included(to) => key <= to,
                    Bound::Excluded(to) => key < to,
                });
                entries.get(after.checked_sub(1)?).map(|(key, value)| (key, value))
            }
            SmallMap::Many(map) => map.range::<_, K>((Bound::Unbounded, to)).next_back(),
        }
    }

    /// The entries in ascending order, owned.
    pub(crate) fn into_vec(self) -> Vec<(K, T)> {
        match self {
            SmallMap::Few(entries) => entries,
            SmallMap::Many(map) => map.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn is_an_ordered_map_on_both_sides_of_its_threshold(ops in prop::collection::vec((0u8..60, any::<u8>()), 0..80)) {
            let mut map = SmallMap::default();
            let mut model = BTreeMap::new();
            for (key, value) in ops {
                prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                prop_assert_eq!(map.len(), model.len());
            }
            prop_assert!(map.clone().into_vec().into_iter().eq(model.clone()));
            for key in 0..61 {
                prop_assert_eq!(map.get(&key), model.get(&key));
                for (from, to) in [
                    (Bound::Included(&key), Bound::Included(&key)),
                    (Bound::Excluded(&key), Bound::Excluded(&key)),
                ] {
                    prop_assert_eq!(map.first_from(from), model.range((from, Bound::Unbounded)).next());
                    prop_assert_eq!(map.last_to(to), model.range((Bound::Unbounded, to)).next_back());
                }
            }
        }
    }
}
