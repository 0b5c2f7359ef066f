//! The snapshot: a cut, shared and read.

use super::cut::Cut;
use super::iter::Iter;
use crate::kv::{Error, KeyRange, KvRead, Overlay};
use crate::sync::Arc;
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

impl<R: KvRead> Snapshot<R> {
    pub(super) fn new(cut: Arc<Cut<R>>) -> Self {
        Self { cut }
    }

    pub(super) fn cut(&self) -> &Cut<R> {
        &self.cut
    }

    /// [`scan`](KvRead::scan), without another reference to the cut.
    pub(super) fn into_scan(self, range: KeyRange<R::Key>) -> Iter<R> {
        Iter::new(self.cut, range)
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
        Iter::new(Arc::clone(&self.cut), range)
    }

    fn root(&self) -> &R {
        self.cut.root()
    }

    fn overlays(&self) -> &[Overlay<R::Key, R::Value>] {
        self.cut.overlays()
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
        let written: Vec<_> = self.cut.overlays().iter().map(|overlay| overlay.len()).collect();
        f.debug_struct("Snapshot").field("written", &written).finish_non_exhaustive()
    }
}
