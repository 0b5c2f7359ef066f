//! The merge iterator: ordered sources laid over each other, newest first, walked from both ends.
//!
//! ```text
//! newest   source 0    -    b=⌫   c=3    -
//!          source 1   a=1   b=2    -     -
//! oldest   source 2    -    b=0   c=0   d=4
//!          ─────────  ───   ───   ───   ───
//!          yields     a=1   b=⌫   c=3   d=4
//! ```
//!
//! Each source yields `(key, Some(payload))` for what exists and `(key, None)` for a tombstone. Of several entries for a
//! key the newest source's stands, tombstones included: whoever wants only what exists filters them out.
//!
//! Each source is read one entry ahead at each end at the most. An entry that one end has read ahead is still the other
//! end's to take, so the two ends meet without losing or repeating a key.

use smallvec::SmallVec;
use std::cmp::Ordering;

/// An iterator over several ordered sources, newest first; of several entries for a key the newest source's stands.
///
/// Sources must be strictly ascending from the front and descending from the back. A source's error is yielded when the
/// walk needs an entry of that source, and ends it. So does a panic in a source or in a key's `Ord`.
#[derive(Debug)]
pub struct MergeIter<K, P, E, S> {
    sources: SmallVec<[Source<K, P, E, S>; 3]>,
    /// Whether a source was found used up since they were last gone through: those are left out of the comparing.
    spent: bool,
    /// After an error, and after a panic in a step.
    failed: bool,
}

/// What a source yields: an entry (`None`: a tombstone), or an error.
type Entry<K, P, E> = Result<(K, Option<P>), E>;

#[derive(Debug)]
struct Source<K, P, E, S> {
    iter: S,
    front: Option<Entry<K, P, E>>,
    back: Option<Entry<K, P, E>>,
    /// Nothing left, neither in it nor read ahead.
    spent: bool,
}

/// The two ends, so that one walk serves both.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl<K, P, E, S: DoubleEndedIterator<Item = Entry<K, P, E>>> Source<K, P, E, S> {
    /// The entry at `end`, read ahead if it was not yet.
    fn peek(&mut self, end: End) -> Option<&Entry<K, P, E>> {
        // When the source itself is used up, what the other end has read ahead is all that is left of it.
        match end {
            End::Front => {
                if self.front.is_none() {
                    self.front = self.iter.next().or_else(|| self.back.take());
                    self.spent = self.front.is_none();
                }
                self.front.as_ref()
            }
            End::Back => {
                if self.back.is_none() {
                    self.back = self.iter.next_back().or_else(|| self.front.take());
                    self.spent = self.back.is_none();
                }
                self.back.as_ref()
            }
        }
    }

    /// The key at `end`, if one was read ahead.
    fn peeked(&self, end: End) -> Option<&K> {
        let entry = match end {
            End::Front => &self.front,
            End::Back => &self.back,
        };
        entry.as_ref()?.as_ref().ok().map(|(key, _)| key)
    }

    fn take(&mut self, end: End) -> Option<Entry<K, P, E>> {
        match end {
            End::Front => self.front.take(),
            End::Back => self.back.take(),
        }
    }

    /// The entry at `end`, without reading ahead.
    #[inline]
    fn pop(&mut self, end: End) -> Option<Entry<K, P, E>> {
        match end {
            End::Front => self.front.take().or_else(|| self.iter.next()).or_else(|| self.back.take()),
            End::Back => self.back.take().or_else(|| self.iter.next_back()).or_else(|| self.front.take()),
        }
    }
}

impl<K: Ord, P, E, S: DoubleEndedIterator<Item = Entry<K, P, E>>> MergeIter<K, P, E, S> {
    /// Lays `sources` over each other, the first being the newest. Reads nothing yet.
    pub fn new(sources: impl IntoIterator<Item = S>) -> Self {
        let sources = sources.into_iter().map(|iter| Source { iter, front: None, back: None, spent: false }).collect();
        Self { sources, spent: false, failed: false }
    }

    #[inline]
    fn step(&mut self, end: End) -> Option<Entry<K, P, E>> {
        if self.failed {
            return None;
        }
        self.failed = true; // stays so if a source or a comparison panics: an entry taken and one it hides may be apart
        let entry = self.next_at(end);
        self.failed = matches!(entry, Some(Err(_)));
        entry
    }

    #[inline]
    fn next_at(&mut self, end: End) -> Option<Entry<K, P, E>> {
        if self.spent {
            self.drop_spent();
        }
        if let [only] = self.sources.as_mut_slice() {
            return only.pop(end); // nothing to compare with
        }
        let (winner, hides) = self.winner(end)?;
        let entry = self.sources.get_mut(winner)?.take(end)?;
        if let (true, Ok((key, _))) = (hides, &entry) {
            self.drop_shadowed(winner, end, key);
        }
        Some(entry)
    }

    /// Leaves out the sources that have nothing more. Once a source, so kept out of the way of the walk.
    #[cold]
    #[inline(never)]
    fn drop_spent(&mut self) {
        self.spent = false;
        self.sources.retain(|source| !source.spent);
    }

    /// The source whose entry comes next at `end`, of equal keys the newest source's, and whether it hides another's. An
    /// error comes before any key.
    fn winner(&mut self, end: End) -> Option<(usize, bool)> {
        let mut best: Option<(usize, &K)> = None;
        let mut hides = false;
        for (at, source) in self.sources.iter_mut().enumerate() {
            let key = match source.peek(end) {
                None => {
                    self.spent = true;
                    continue;
                }
                Some(Err(_)) => return Some((at, false)),
                Some(Ok((key, _))) => key,
            };
            let order = best.map_or(Ordering::Less, |(_, nearest)| match end {
                End::Front => key.cmp(nearest),
                End::Back => nearest.cmp(key),
            });
            if order == Ordering::Less {
                best = Some((at, key));
            }
            hides = order != Ordering::Less && (hides || order == Ordering::Equal);
        }
        best.map(|(at, _)| (at, hides))
    }

    /// Older entries of `key` are hidden by the winner's. Every source has been peeked at `end` by now.
    #[cold]
    fn drop_shadowed(&mut self, winner: usize, end: End, key: &K) {
        for source in self.sources.iter_mut().skip(winner.saturating_add(1)) {
            if matches!(source.peeked(end), Some(shadowed) if shadowed == key) {
                source.take(end);
            }
        }
    }
}

impl<K: Ord, P, E, S: DoubleEndedIterator<Item = Entry<K, P, E>>> Iterator for MergeIter<K, P, E, S> {
    type Item = Entry<K, P, E>;
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl<K: Ord, P, E, S: DoubleEndedIterator<Item = Entry<K, P, E>>> DoubleEndedIterator for MergeIter<K, P, E, S> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}
