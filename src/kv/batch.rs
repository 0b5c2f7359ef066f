//! The write batch: the single currency in which writes move from one store to another.

/// What a batch or an overlay says of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op<V> {
    /// The key has this value.
    Put(V),
    /// The key does not exist: a tombstone, which hides what lies below.
    Delete,
}

impl<V> Op<V> {
    /// The value, or `None` for a tombstone.
    pub fn value(&self) -> Option<&V> {
        match self {
            Op::Put(value) => Some(value),
            Op::Delete => None,
        }
    }

    /// The value, or `None` for a tombstone.
    pub fn into_value(self) -> Option<V> {
        match self {
            Op::Put(value) => Some(value),
            Op::Delete => None,
        }
    }
}

/// Writes to be applied together: sorted by key, one operation a key, the last one given wins.
///
/// ```
/// use cachekv::kv::{Op, WriteBatch};
/// let mut batch = WriteBatch::new();
/// batch.put("b", 1);
/// batch.delete("a");
/// batch.put("b", 2);
/// assert_eq!(batch.iter().collect::<Vec<_>>(), [(&"a", &Op::Delete), (&"b", &Op::Put(2))]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBatch<K, V> {
    /// Strictly ascending by key.
    ops: Vec<(K, Op<V>)>,
}

impl<K, V> Default for WriteBatch<K, V> {
    fn default() -> Self {
        Self { ops: Vec::new() }
    }
}

impl<K: Ord, V> WriteBatch<K, V> {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of `ops`, which are in strictly ascending order.
    pub(crate) fn from_ascending(ops: Vec<(K, Op<V>)>) -> Self {
        debug_assert!(ops.is_sorted_by(|(left, _), (right, _)| left < right), "each key once, in order");
        Self { ops }
    }

    /// Gives `key` the value `value`. O(1) for a key after all others, O(n) otherwise: build large batches in key
    /// order, or by `collect`, which sorts once.
    pub fn put(&mut self, key: K, value: V) {
        self.set(key, Op::Put(value));
    }

    /// Deletes `key`; deleting a key that does not exist is legal. Costs as [`put`](Self::put).
    pub fn delete(&mut self, key: K) {
        self.set(key, Op::Delete);
    }

    /// Says `op` of `key`. Costs as [`put`](Self::put).
    pub fn set(&mut self, key: K, op: Op<V>) {
        if self.ops.last().is_none_or(|(last, _)| *last < key) {
            self.ops.push((key, op));
            return;
        }
        match self.ops.binary_search_by(|(present, _)| present.cmp(&key)) {
            Ok(at) => {
                if let Some(entry) = self.ops.get_mut(at) {
                    entry.1 = op;
                }
            }
            Err(at) => self.ops.insert(at, (key, op)),
        }
    }

    /// What the batch says of `key`, if anything. O(log n).
    pub fn get(&self, key: &K) -> Option<&Op<V>> {
        let at = self.ops.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
        self.ops.get(at).map(|(_, op)| op)
    }

    /// The number of keys it writes.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Its operations in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &Op<V>)> + ExactSizeIterator {
        self.ops.iter().map(|(key, op)| (key, op))
    }
}

impl<K, V> IntoIterator for WriteBatch<K, V> {
    type Item = (K, Op<V>);
    type IntoIter = std::vec::IntoIter<(K, Op<V>)>;
    fn into_iter(self) -> Self::IntoIter {
        self.ops.into_iter()
    }
}

/// Sorts once, O(n log n) and O(n) when already sorted; of several operations on one key the last given stays.
impl<K: Ord, V> FromIterator<(K, Op<V>)> for WriteBatch<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Op<V>)>>(ops: I) -> Self {
        let mut ops = sorted(ops.into_iter().collect());
        ops.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(&mut later.1, &mut earlier.1);
            }
            same
        });
        Self { ops }
    }
}

/// By key, and writes to one key in the order given. What is large is moved to its place once, and not at every step.
fn sorted<K: Ord, V>(mut ops: Vec<(K, Op<V>)>) -> Vec<(K, Op<V>)> {
    if size_of::<(K, Op<V>)>() <= LARGE {
        ops.sort_by(|(a, _), (b, _)| a.cmp(b));
        return ops;
    }
    let mut places: Vec<_> = ops.iter().map(|(key, _)| key).zip(0..).collect();
    places.sort_unstable(); // no two places are equal: of one key they come in the order given
    let places: Vec<usize> = places.into_iter().map(|(_, place)| place).collect();
    if places.is_sorted() {
        return ops;
    }
    let mut ops: Vec<_> = ops.into_iter().map(Some).collect();
    places.into_iter().filter_map(|at| ops.get_mut(at)?.take()).collect()
}

/// In bytes: about where moving an operation takes as long as comparing two keys by way of their places.
const LARGE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// One by one or collected, a batch is the map of each key's last operation, in key order.
        #[test]
        fn it_is_a_map_of_last_operations(ops in proptest::collection::vec((0..12u8, any::<Option<u8>>()), 0..40)) {
            let ops: Vec<_> = ops.into_iter().map(|(key, value)| (key, value.map_or(Op::Delete, Op::Put))).collect();
            let large = ops.iter().map(|(key, op)| (*key, op.value().map_or(Op::Delete, |value| Op::Put([*value; LARGE]))));
            let large: WriteBatch<_, _> = large.collect();
            let due: BTreeMap<_, _> = ops.iter().cloned().collect();
            let collected: WriteBatch<_, _> = ops.iter().cloned().collect();
            let mut one_by_one = WriteBatch::new();
            for (key, op) in ops {
                match op {
                    Op::Put(value) => one_by_one.put(key, value),
                    Op::Delete => one_by_one.delete(key),
                }
            }
            prop_assert_eq!(&one_by_one, &collected);
            prop_assert!(collected.iter().eq(due.iter()));
            let small = large.iter().map(|(key, op)| (*key, op.value().map(|value| value[0])));
            prop_assert!(small.eq(due.iter().map(|(key, op)| (*key, op.value().copied()))));
            prop_assert_eq!((collected.len(), collected.is_empty()), (due.len(), due.is_empty()));
            prop_assert!((0..12).all(|key| collected.get(&key) == due.get(&key)));
            prop_assert!(collected.into_iter().eq(due));
        }
    }
}
