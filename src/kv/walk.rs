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
/// Opening costs one allocation and O(log n), or nothing over an empty map; a step clones the key and the value. A panic
/// of either clone ends the walk.
pub struct MapWalk<K: Ord + Clone + 'static, T: Clone + 'static> {
    /// `None` over an empty map.
    inner: Option<Inner<K, T>>,
    /// Nothing left, or a clone panicked.
    ended: bool,
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
        Self { inner: some.then(|| Inner::new(map.clone(), |map| map.range(range))), ended: !some }
    }

    /// The entry that `take` takes, cloned.
    fn step<'s>(
        &'s mut self,
        take: impl for<'m> FnOnce(&'s mut RangedIter<'m, K, T, DefaultSharedPtr>) -> Option<(&'s K, &'s T)>,
    ) -> Option<(K, T)> {
        let inner = self.inner.as_mut().filter(|_| !self.ended)?;
        self.ended = true; // until the entry is whole
        let (key, value) = inner.with_entries_mut(take)?;
        let entry = (key.clone(), value.clone());
        self.ended = false;
        Some(entry)
    }
}

impl<K: Ord + Clone, T: Clone> Iterator for MapWalk<K, T> {
    type Item = (K, T);
    fn next(&mut self) -> Option<(K, T)> {
        self.step(|entries| entries.next())
    }
    /// No more than nothing where it knows that nothing is left.
    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.inner {
            Some(inner) if !self.ended => (0, inner.with_entries(|entries| entries.size_hint().1)),
            _ => (0, Some(0)),
        }
    }
}

impl<K: Ord + Clone, T: Clone> DoubleEndedIterator for MapWalk<K, T> {
    fn next_back(&mut self) -> Option<(K, T)> {
        self.step(|entries| entries.next_back())
    }
}

impl<K: Ord + Clone, T: Clone> Debug for MapWalk<K, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapWalk").finish_non_exhaustive()
    }
}
