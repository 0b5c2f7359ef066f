//! An iterator over a range of a persistent map that owns the map it walks.

use super::KeyRange;
use im::OrdMap;
use im::ordmap::RangedIter;
use im::shared_ptr::DefaultSharedPtr;
use ouroboros::self_referencing;
use std::fmt::Debug;

/// The entries of a range of a map, from both ends. It holds the map, which costs O(1) to clone and never changes: the
/// walk outlives whatever it was taken from, and no write anywhere shows in it.
///
/// Opening costs one allocation and O(log n), or nothing over an empty map; a step clones the key and the value.
pub struct MapWalk<K: Ord + Clone + 'static, T: Clone + 'static> {
    /// `None` over an empty map.
    inner: Option<Inner<K, T>>,
}

#[self_referencing]
struct Inner<K: Ord + Clone + 'static, T: Clone + 'static> {
    map: OrdMap<K, T>,
    #[borrows(map)]
    #[not_covariant]
    entries: RangedIter<'this, K, T, DefaultSharedPtr>,
}

impl<K: Ord + Clone, T: Clone> MapWalk<K, T> {
    /// Walks `range` of `map`; an inverted or empty range yields nothing.
    pub fn new(map: &OrdMap<K, T>, range: KeyRange<K>) -> Self {
        let some = !map.is_empty() && !range.is_empty();
        Self { inner: some.then(|| Inner::new(map.clone(), |map| map.range(range))) }
    }
}

impl<K: Ord + Clone, T: Clone> Iterator for MapWalk<K, T> {
    type Item = (K, T);
    fn next(&mut self) -> Option<(K, T)> {
        let (key, value) = self.inner.as_mut()?.with_entries_mut(|entries| entries.next())?;
        Some((key.clone(), value.clone()))
    }
}

impl<K: Ord + Clone, T: Clone> DoubleEndedIterator for MapWalk<K, T> {
    fn next_back(&mut self) -> Option<(K, T)> {
        let (key, value) = self.inner.as_mut()?.with_entries_mut(|entries| entries.next_back())?;
        Some((key.clone(), value.clone()))
    }
}

impl<K: Ord + Clone, T: Clone> Debug for MapWalk<K, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapWalk").finish_non_exhaustive()
    }
}
