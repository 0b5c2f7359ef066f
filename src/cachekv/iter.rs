//! The walk over a cut: overlays and root merged, tombstones left out, from both ends.
//!
//! What the overlays hold is looked at where it lies, and cloned when it is yielded: an entry that is hidden, a tombstone
//! and an entry read ahead cost no copy. The walk owns the cut that it looks into.

use super::cut::Cut;
use crate::kv::{Error, KeyRange, KvRead, MergeIter, Op, Overlay};
use crate::sync::Arc;
use im::ordmap::RangedIter;
use im::shared_ptr::DefaultSharedPtr;
use ouroboros::self_referencing;
use std::cmp::Ordering;
use std::fmt;

/// The entries of a range of a [`Snapshot`](super::Snapshot), in ascending key order; `rev` gives them descending.
///
/// It yields what the snapshot showed, whatever is written, flushed or discarded meanwhile. It owns what it walks: it is
/// `'static` and `Send`, outlives store and snapshot, and holds up nobody. It keeps the memory of its layers alive.
///
/// Opening costs O(log n) a layer that holds something and waits for nobody (a root in a file may read there); a root
/// whose iterator knows that it has nothing to give (its [`size_hint`](Iterator::size_hint)) costs nothing more; a step is
/// amortised O(1) a layer, tombstones passed over included. It yields an error where the root could not be read, and nothing after it, nor after a panic of a
/// key's or value's own code.
pub struct Iter<R: KvRead> {
    walk: Walk<R>,
    /// After an error, and after a panic: an entry that was taken is not yielded.
    ended: bool,
}

/// By a name of its own, because the macro below takes whatever is called `Arc` for the standard one.
type SharedCut<R> = Arc<Cut<R>>;

#[self_referencing]
struct Walk<R: KvRead> {
    cut: SharedCut<R>,
    #[borrows(cut)]
    #[not_covariant]
    layers: Layers<'this, R>,
}

/// What is walked. One layer alone has nothing to be merged with, and is what most walks are over.
enum Layers<'c, R: KvRead> {
    One(Layer<'c, R>),
    Merged(Box<MergeIter<Held<'c, R::Key>, Held<'c, R::Value>, Box<Error>, Layer<'c, R>>>),
}

/// One layer of the merge.
enum Layer<'c, R: KvRead> {
    Overlay(RangedIter<'c, R::Key, Op<R::Value>, DefaultSharedPtr>),
    Root(R::Iter),
}

/// Of an overlay, where it lies; of the root, as it came.
enum Held<'c, T> {
    Lent(&'c T),
    Owned(T),
}

/// An entry of a layer: `None` for a tombstone. The error is boxed because every step carries the room for one.
type Entry<'c, R> = Result<(Held<'c, <R as KvRead>::Key>, Option<Held<'c, <R as KvRead>::Value>>), Box<Error>>;

impl<R: KvRead> Iter<R> {
    /// Walks `range` of `cut`.
    pub(super) fn new(cut: Arc<Cut<R>>, range: KeyRange<R::Key>) -> Self {
        let ended = range.is_empty();
        Self { walk: Walk::new(cut, |cut| Layers::new(cut, range)), ended }
    }

    /// The next entry that `take` finds, whole.
    #[inline]
    fn step(
        &mut self,
        take: impl for<'c> Fn(&mut Layers<'c, R>) -> Option<Entry<'c, R>>,
    ) -> Option<Result<(R::Key, R::Value), Error>> {
        if self.ended {
            return None;
        }
        self.ended = true; // until the entry is whole
        let entry = self.walk.with_layers_mut(|layers| {
            loop {
                match take(layers)? {
                    Ok((key, Some(value))) => return Some(Ok((key.into_owned(), value.into_owned()))),
                    Ok((_, None)) => {} // a tombstone hides what lies below and is no entry itself
                    Err(error) => return Some(Err(*error)),
                }
            }
        });
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl<R: KvRead> Iterator for Iter<R> {
    type Item = Result<(R::Key, R::Value), Error>;
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step(|layers| match layers {
            Layers::One(layer) => layer.next(),
            Layers::Merged(merged) => merged.next(),
        })
    }
}

impl<R: KvRead> DoubleEndedIterator for Iter<R> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(|layers| match layers {
            Layers::One(layer) => layer.next_back(),
            Layers::Merged(merged) => merged.next_back(),
        })
    }
}

impl<'c, R: KvRead> Layers<'c, R> {
    /// `range` of `cut`. A root that says it has nothing there is left out.
    fn new(cut: &'c Cut<R>, range: KeyRange<R::Key>) -> Self {
        let overlay = |overlay: &'c Overlay<R::Key, R::Value>| {
            Layer::Overlay(overlay.range::<_, R::Key>((range.start.as_ref(), range.end.as_ref())))
        };
        let root = cut.root().scan(range.clone());
        let nothing = root.size_hint().1 == Some(0);
        match cut.overlays() {
            [] => Self::One(Layer::Root(root)),
            [only] if nothing => Self::One(overlay(only)),
            overlays => {
                let root = (!nothing).then_some(Layer::Root(root));
                Self::Merged(Box::new(MergeIter::new(overlays.iter().map(overlay).chain(root))))
            }
        }
    }
}

impl<'c, R: KvRead> Iterator for Layer<'c, R> {
    type Item = Entry<'c, R>;
    #[inline]
    fn next(&mut self) -> Option<Entry<'c, R>> {
        match self {
            Self::Overlay(entries) => entries.next().map(lent::<R>),
            Self::Root(entries) => entries.next().map(owned::<R>),
        }
    }
}

impl<'c, R: KvRead> DoubleEndedIterator for Layer<'c, R> {
    #[inline]
    fn next_back(&mut self) -> Option<Entry<'c, R>> {
        match self {
            Self::Overlay(entries) => entries.next_back().map(lent::<R>),
            Self::Root(entries) => entries.next_back().map(owned::<R>),
        }
    }
}

#[inline]
fn lent<'c, R: KvRead>((key, op): (&'c R::Key, &'c Op<R::Value>)) -> Entry<'c, R> {
    Ok((Held::Lent(key), op.value().map(Held::Lent)))
}

#[inline]
fn owned<'c, R: KvRead>(entry: Result<(R::Key, R::Value), Error>) -> Entry<'c, R> {
    match entry {
        Ok((key, value)) => Ok((Held::Owned(key), Some(Held::Owned(value)))),
        Err(error) => Err(Box::new(error)),
    }
}

impl<T> Held<'_, T> {
    #[inline]
    fn get(&self) -> &T {
        match self {
            Held::Lent(lent) => lent,
            Held::Owned(owned) => owned,
        }
    }
}

impl<T: Clone> Held<'_, T> {
    #[inline]
    fn into_owned(self) -> T {
        match self {
            Held::Lent(lent) => lent.clone(),
            Held::Owned(owned) => owned,
        }
    }
}

impl<T: Ord> PartialEq for Held<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Held<'_, T> {}

impl<T: Ord> PartialOrd for Held<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Held<'_, T> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.get().cmp(other.get())
    }
}

impl<R: KvRead> fmt::Debug for Iter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
