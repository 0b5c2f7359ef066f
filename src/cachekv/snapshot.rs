//! The cut: one immutable state, the overlays of every layer laid flat over one root.

use super::iter::Iter;
use crate::kv::{Error, KeyRange, KvRead, Overlay};
use crate::sync::Arc;
use smallvec::SmallVec;
use std::fmt;

/// One state of a [`Store`](super::Store), for ever: base and buffered writes as they were at one instant.
///
/// Every read of it answers from that instant, on any thread, whatever the store, its parent or a flush does meanwhile,
/// and none of them waits for it. Cloning costs one reference count. A point read looks through the layers that hold
/// something, newest first, O(log n) each, then asks the root.
///
/// Holding one keeps the memory of its state; dropping the last that shows a state frees what only that state held.
///
/// ```
/// use cachekv::{cachekv::Store, kv::{KvRead, KvStore, MemStore}};
/// # fn main() -> Result<(), cachekv::kv::Error> {
/// let store = Store::new(MemStore::from_iter([("a", 1)]))?;
/// store.delete("a");
/// let before = store.snapshot()?;
/// store.set("a", 2);
/// assert_eq!((before.get(&"a")?, store.get(&"a")?), (None, Some(2)));
/// assert_eq!(before.overlays().len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Snapshot<R: KvRead> {
    cut: Arc<Cut<R>>,
}

/// What a snapshot shares: built once at publication, never changed.
pub(super) struct Cut<R: KvRead> {
    /// Newest first, none of them empty: a store's own, then those of the stores below it, already laid flat.
    overlays: SmallVec<[Overlay<R::Key, R::Value>; 2]>,
    root: R,
}

impl<R: KvRead> Cut<R> {
    /// The state `root` under `overlays`, newest first; empty ones are left out. O(overlays), whatever they hold.
    pub(super) fn new<'a>(overlays: impl IntoIterator<Item = &'a Overlay<R::Key, R::Value>>, root: R) -> Self {
        Self { overlays: overlays.into_iter().filter(|overlay| !overlay.is_empty()).cloned().collect(), root }
    }

    /// Any state, laid flat.
    pub(super) fn of<S>(state: &S) -> Self
    where
        S: KvRead<Key = R::Key, Value = R::Value, Root = R>,
    {
        Self::new(state.overlays(), state.root().clone())
    }

    /// `top` over `below`. The very same cut if `top` says nothing.
    pub(super) fn over(top: &Overlay<R::Key, R::Value>, below: &Arc<Self>) -> Arc<Self> {
        if top.is_empty() {
            return Arc::clone(below);
        }
        Arc::new(Self::new(std::iter::once(top).chain(&below.overlays), below.root.clone()))
    }

    /// What this state says of `key`: `written` of the newest overlay that speaks of it (`None`: a tombstone), or what
    /// `base` finds in the root.
    pub(super) fn find<T>(
        &self,
        key: &R::Key,
        written: impl FnOnce(Option<&R::Value>) -> T,
        base: impl FnOnce(&R) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.overlays.iter().find_map(|overlay| overlay.get(key)) {
            Some(op) => Ok(written(op.value())),
            None => base(&self.root),
        }
    }
}

impl<R: KvRead> Snapshot<R> {
    pub(super) fn new(cut: Arc<Cut<R>>) -> Self {
        Self { cut }
    }

    pub(super) fn cut(&self) -> &Cut<R> {
        &self.cut
    }
}

impl<R: KvRead> KvRead for Snapshot<R> {
    type Key = R::Key;
    type Value = R::Value;
    type Iter = Iter<R>;
    type Root = R;

    fn get(&self, key: &R::Key) -> Result<Option<R::Value>, Error> {
        self.cut.find(key, |value| value.cloned(), |root| root.get(key))
    }

    fn contains(&self, key: &R::Key) -> Result<bool, Error> {
        self.cut.find(key, |value| value.is_some(), |root| root.contains(key))
    }

    fn scan(&self, range: KeyRange<R::Key>) -> Iter<R> {
        Iter::new(&self.cut.overlays, &self.cut.root, range)
    }

    fn root(&self) -> &R {
        &self.cut.root
    }

    fn overlays(&self) -> &[Overlay<R::Key, R::Value>] {
        &self.cut.overlays
    }
}

impl<R: KvRead> Clone for Snapshot<R> {
    fn clone(&self) -> Self {
        Self { cut: Arc::clone(&self.cut) }
    }
}

impl<R: KvRead> fmt::Debug for Snapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sizes say what can be said at a glance; the entries may be millions.
        let written: Vec<_> = self.cut.overlays.iter().map(|overlay| overlay.len()).collect();
        f.debug_struct("Snapshot").field("written", &written).finish_non_exhaustive()
    }
}
