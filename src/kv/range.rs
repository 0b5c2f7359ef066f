//! Key ranges: an owned pair of bounds, and what can be asked of it.

use bytes::Bytes;
use std::ops::{Bound, RangeBounds};

/// An owned range of keys: the standard pair of [`Bound`]s, kept as a value.
///
/// Made from any [`RangeBounds`] by [`KeyRange::new`]. A range that holds no key (inverted, or empty) is legal
/// everywhere and yields nothing; where the standard collections panic on it, ask [`is_empty`](Self::is_empty) first.
///
/// ```
/// use cachekv::kv::KeyRange;
/// let range = KeyRange::new(3..7);
/// assert!(range.contains(&3) && !range.contains(&7));
/// assert!(KeyRange::new(7..3).is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange<K> {
    /// Where the range begins.
    pub start: Bound<K>,
    /// Where it ends.
    pub end: Bound<K>,
}

impl<K: Clone + Ord> KeyRange<K> {
    /// The range that `bounds` names.
    pub fn new(bounds: impl RangeBounds<K>) -> Self {
        Self { start: bounds.start_bound().cloned(), end: bounds.end_bound().cloned() }
    }

    /// Every key.
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Whether no key can lie in the range: its end comes before its start, or both name one key and either excludes it.
    ///
    /// `(3, 4)` with both ends excluded is not empty in this sense: whether a key lies between two keys depends on the
    /// key type, and every container answers it by finding nothing.
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
                start >= end
            }
        }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &K) -> bool {
        RangeBounds::contains(self, key)
    }
}

impl KeyRange<Bytes> {
    /// Every key that begins with `prefix`; the empty prefix is every key.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use cachekv::kv::KeyRange;
    /// let range = KeyRange::prefix(b"a/");
    /// assert!(range.contains(&Bytes::from("a/1")) && !range.contains(&Bytes::from("b")));
    /// assert!(KeyRange::prefix(&[0xff]).contains(&Bytes::from(vec![0xff, 0xff])));
    /// ```
    pub fn prefix(prefix: &[u8]) -> Self {
        // The end is the prefix with its last byte that can grow grown, and all after it dropped; a prefix of 0xff
        // bytes alone has no end.
        let end = prefix.iter().rposition(|&byte| byte != u8::MAX).map_or(Bound::Unbounded, |last| {
            let mut end = prefix.get(..=last).unwrap_or_default().to_vec();
            if let Some(byte) = end.last_mut() {
                *byte = byte.saturating_add(1); // it is not 0xff: `rposition` looked for that
            }
            Bound::Excluded(Bytes::from(end))
        });
        Self { start: Bound::Included(Bytes::copy_from_slice(prefix)), end }
    }
}

impl<K> RangeBounds<K> for KeyRange<K> {
    fn start_bound(&self) -> Bound<&K> {
        self.start.as_ref()
    }
    fn end_bound(&self) -> Bound<&K> {
        self.end.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_empty_when_no_key_can_lie_in_it() {
        let bounds = |key| [Bound::Unbounded, Bound::Included(key), Bound::Excluded(key)];
        for start in (0..8).step_by(2).flat_map(bounds) {
            for end in (0..8).step_by(2).flat_map(bounds) {
                let range = KeyRange { start, end };
                // The odd keys lie between the bounds: two different bounds in order always have one between them.
                assert_eq!(range.is_empty(), !(-1..9).any(|key| range.contains(&key)), "{range:?}");
            }
        }
    }

    #[test]
    fn a_prefix_is_the_range_of_what_begins_with_it() {
        let strings = [0, 1, 0xfe, 0xff].map(|byte| vec![byte]);
        let longer = |s: &Vec<u8>| [0, 1, 0xfe, 0xff].map(|byte| [s.as_slice(), &[byte]].concat());
        let two: Vec<_> = strings.iter().flat_map(longer).collect();
        let three = two.iter().flat_map(longer);
        let all: Vec<_> = [vec![]].into_iter().chain(strings).chain(three).chain(two.clone()).collect();
        for prefix in &all {
            let range = KeyRange::prefix(prefix);
            for key in &all {
                assert_eq!(range.contains(&Bytes::from(key.clone())), key.starts_with(prefix), "{key:?} in {range:?}");
            }
        }
    }
}
