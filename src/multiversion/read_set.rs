//! The read set: what one execution has observed by key.

use super::chain::Origin;
use super::iterate_set::RangeRead;
use super::seen::Seen;
use super::slot::Slot;
use super::small_map::SmallMap;
use crate::kv::{Key, Value};
use crate::sync::Arc;

/// One key observed, and where the answer came from.
#[derive(Clone, Debug)]
pub(crate) struct PointRead<K, V, O> {
    /// The slot, so that validation looks nothing up.
    pub(crate) slot: Arc<Slot<K, V, O>>,
    pub(crate) origin: Origin,
    pub(crate) seen: Seen<V>,
}

/// Everything one execution has observed.
#[derive(Debug)]
pub(crate) struct ReadSet<K: Key, V: Value, O: Clone> {
    pub(crate) points: SmallMap<K, PointRead<K, V, O>>,
    /// The iterate set: a record for every iterator that was polled.
    pub(crate) ranges: Vec<RangeRead<K, V, O>>,
}

impl<K: Key, V: Value, O: Clone> Default for ReadSet<K, V, O> {
    fn default() -> Self {
        Self { points: SmallMap::default(), ranges: Vec::new() }
    }
}

impl<K: Key, V: Value, O: Clone> ReadSet<K, V, O> {
    /// The number of observations, as a measure of what validating them costs.
    pub(crate) fn len(&self) -> usize {
        self.points.len() + self.ranges.iter().map(RangeRead::len).sum::<usize>()
    }

    /// Whether a fresh answer for `key` agrees with every earlier answer that covers it.
    pub(crate) fn agrees(&self, key: &K, fresh: &Seen<V>) -> bool {
        let agree = |earlier: &Seen<V>| match (earlier, fresh) {
            (Seen::Value(earlier), Seen::Value(fresh)) => earlier == fresh,
            (earlier, fresh) => earlier.exists() == fresh.exists(),
        };
        self.points.get(key).is_none_or(|point| agree(&point.seen))
            && self.ranges.iter().filter_map(|range| range.answer(key)).all(|earlier| agree(&earlier))
    }
}
