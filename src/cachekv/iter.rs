//! The walk over a snapshot: overlays and root merged, tombstones left out, from both ends.

use crate::kv::{Error, KeyRange, KvRead, MapWalk, MergeIter, Op, Overlay};
use std::fmt;

/// The entries of a range of a [`Snapshot`](super::Snapshot), in ascending key order; `rev` gives them descending.
///
/// It yields what the snapshot showed, whatever is written, flushed or discarded meanwhile. It owns what it walks: it is
/// `'static` and `Send`, outlives store and snapshot, and holds up nobody. It keeps the memory of its layers alive.
///
/// Opening costs O(log n) and one allocation a layer that holds something, and never waits; a step is amortised O(1) a
/// layer, tombstones passed over included. It yields an error where the root could not be read, and nothing after it.
pub struct Iter<R: KvRead> {
    merged: MergeIter<R::Key, R::Value, Error, Source<R>>,
}

/// One layer of the merge.
enum Source<R: KvRead> {
    Overlay(MapWalk<R::Key, Op<R::Value>>),
    Root(R::Iter),
}

impl<R: KvRead> Iter<R> {
    /// Walks `range` of `overlays`, newest first, over `root`.
    pub(super) fn new(overlays: &[Overlay<R::Key, R::Value>], root: &R, range: KeyRange<R::Key>) -> Self {
        let written = overlays.iter().map(|overlay| Source::Overlay(MapWalk::new(overlay, range.clone())));
        let merged = MergeIter::new(written.chain([Source::Root(root.scan(range.clone()))]));
        Self { merged }
    }
}

impl<R: KvRead> Iterator for Source<R> {
    type Item = Result<(R::Key, Option<R::Value>), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Source::Overlay(walk) => walk.next().map(|(key, op)| Ok((key, op.into_value()))),
            Source::Root(iter) => iter.next().map(|entry| entry.map(|(key, value)| (key, Some(value)))),
        }
    }
}

impl<R: KvRead> DoubleEndedIterator for Source<R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Source::Overlay(walk) => walk.next_back().map(|(key, op)| Ok((key, op.into_value()))),
            Source::Root(iter) => iter.next_back().map(|entry| entry.map(|(key, value)| (key, Some(value)))),
        }
    }
}

/// What a merged entry shows: `None` for a tombstone, which hides what lies below and is no entry itself.
fn shown<K, V>(entry: Result<(K, Option<V>), Error>) -> Option<Result<(K, V), Error>> {
    match entry {
        Ok((key, value)) => value.map(|value| Ok((key, value))),
        Err(error) => Some(Err(error)),
    }
}

impl<R: KvRead> Iterator for Iter<R> {
    type Item = Result<(R::Key, R::Value), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.merged.by_ref().find_map(shown)
    }
}

impl<R: KvRead> DoubleEndedIterator for Iter<R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.merged.by_ref().rev().find_map(shown)
    }
}

impl<R: KvRead> fmt::Debug for Iter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
