//! The writes of a run under way, by key.
//!
//! Most runs write a handful of keys, and few ask for their order. Those that write many do not pay for it: past a sorted array
//! they are a hash map, until somebody walks them or marks a savepoint; from then on they are a persistent ordered map.

use super::small_map::SmallMap;
use crate::kv::Key;
use indexmap::IndexMap;

/// Entries in the order in which they came, found by hash.
type Hashed<K, T> = IndexMap<K, T, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(crate) enum Buffer<K: Key, T: Clone> {
    Ordered(SmallMap<K, T>),
    /// Boxed: a run is moved about, and mostly writes little.
    Hashed(Box<Hashed<K, T>>),
}

impl<K: Key, T: Clone> Default for Buffer<K, T> {
    fn default() -> Self {
        Buffer::Ordered(SmallMap::default())
    }
}

impl<K: Key, T: Clone> Buffer<K, T> {
    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        match self {
            Buffer::Ordered(ordered) => ordered.get(key),
            Buffer::Hashed(hashed) => hashed.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        match self {
            Buffer::Ordered(ordered) => ordered.get_mut(key),
            Buffer::Hashed(hashed) => hashed.get_mut(key),
        }
    }

    /// Gives `key` the value `value`.
    pub(crate) fn insert(&mut self, key: K, value: T) {
        // Copied, not moved: a key's code that panics here leaves all as it was.
        if let Buffer::Ordered(ordered) = self
            && let Some(array) = ordered.full()
        {
            *self = Buffer::Hashed(Box::new(array.iter().cloned().collect()));
        }
        match self {
            Buffer::Ordered(ordered) => drop(ordered.insert(key, value)),
            Buffer::Hashed(hashed) => drop(hashed.insert(key, value)),
        }
    }

    /// The entries as they are now, in key order, whatever follows. O(1); the first time O(n log n) where there are many.
    pub(crate) fn freeze(&mut self) -> SmallMap<K, T> {
        let ordered = match self {
            Buffer::Ordered(ordered) => return ordered.clone(),
            Buffer::Hashed(hashed) => hashed.iter().map(|(key, value)| (key.clone(), value.clone())),
        };
        let ordered = SmallMap::Many(ordered.collect());
        *self = Buffer::Ordered(ordered.clone());
        ordered
    }

    /// The entries in no order.
    pub(crate) fn into_unordered(self) -> Vec<(K, T)> {
        match self {
            Buffer::Ordered(ordered) => ordered.into_vec(),
            Buffer::Hashed(hashed) => hashed.into_iter().collect(),
        }
    }

    /// The entries in ascending order: O(n log n) where there are many that nobody has asked for in order.
    pub(crate) fn into_vec(self) -> Vec<(K, T)> {
        let ordered = matches!(self, Buffer::Ordered(_));
        let mut entries = self.into_unordered();
        if !ordered {
            entries.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn is_a_map_that_is_put_in_order_when_asked(
            ops in prop::collection::vec((0u8..60, any::<u8>()), 0..90),
            asked in prop::collection::btree_set(0usize..90, 0..2),
        ) {
            let mut buffer = Buffer::default();
            let mut model = BTreeMap::new();
            let mut frozen = Vec::new();
            for (step, (key, value)) in ops.into_iter().enumerate() {
                if asked.contains(&step) {
                    frozen.push((buffer.freeze(), model.clone()));
                }
                buffer.insert(key, value);
                model.insert(key, value);
                if let Some(present) = buffer.get_mut(&key.wrapping_add(7)) {
                    *present = value;
                    model.insert(key.wrapping_add(7), value);
                }
                prop_assert!((0..70).all(|key| buffer.get(&key) == model.get(&key)));
            }
            for (frozen, model) in frozen {
                prop_assert!(frozen.into_vec().into_iter().eq(model));
            }
            prop_assert!(buffer.into_vec().into_iter().eq(model));
        }
    }
}
