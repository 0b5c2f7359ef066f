//! The store: writes buffered over a parent, reads of one state, and the parent's own contract on top.
//!
//! **Lock order:** `renewal`, then the two of `layers` (`writing`, `state`). The parent is called under `renewal` alone, so
//! that a parent that parks holds up other flushes and refreshes, and nobody who reads or writes.

use super::cut::Cut;
use super::iter::Iter;
use super::layers::Layers;
use super::snapshot::Snapshot;
use crate::kv::{Error, KeyRange, KvRead, KvStore, Op, WriteBatch};
use crate::sync::TriedMutex;
use std::fmt;
use std::ops::RangeBounds;

/// What lies at the bottom of a stack whose top layer lies over `P`.
pub(super) type Root<P> = <<P as KvStore>::Snapshot as KvRead>::Root;

/// A store that buffers writes over a parent: a `cachekv` layer.
///
/// **What a reader observes.** [`get`](Self::get) sees every completed write at once, whoever made it. A
/// [`snapshot`](KvStore::snapshot) and an iterator show one cut: the base and the writes of one instant, at or after the
/// call, and never change. The base is the parent's state at [`new`](Self::new) and is renewed by
/// [`flush`](Self::flush), [`refresh`](Self::refresh) and [`discard`](Self::discard) alone.
///
/// **What waits for what.** Readers wait for a few pointers to be swapped or one key inserted, at most. Writers wait for
/// each other, a batch being applied included. Flushes and refreshes wait for each other. The parent is never
/// called with anything held that a reader or writer needs.
///
/// It nests to any depth, and is shared between threads by reference or in an `Arc`. Comparing and cloning keys happens
/// under its locks: `Ord` and `Clone` of a key or value must not use the store itself.
///
/// ```
/// use cachekv::{cachekv::Store, kv::MemStore};
/// # fn main() -> Result<(), cachekv::kv::Error> {
/// let transaction = Store::new(Store::new(MemStore::from_iter([("a", 1)]))?)?; // a layer over a layer
/// transaction.set("b", 2);
/// assert_eq!(transaction.get(&"b")?, Some(2));
/// assert_eq!(transaction.parent().get(&"b")?, None);
/// transaction.flush()?; // one layer down
/// assert_eq!(transaction.parent().get(&"b")?, Some(2));
/// # Ok(())
/// # }
/// ```
pub struct Store<P: KvStore> {
    pub(super) parent: P,
    /// One renewal of the base at a time, so that bases follow each other as the parent's states did, and that of the
    /// frozen layer there is one. Held while the parent is called; taken before any other lock.
    pub(super) renewal: TriedMutex<()>,
    pub(super) layers: Layers<Root<P>>,
}

impl<P: KvStore> Store<P> {
    /// A layer without writes over the present state of `parent`.
    ///
    /// # Errors
    /// [`Error::Read`] if the parent cannot give its snapshot.
    pub fn new(parent: P) -> Result<Self, Error> {
        let base = Cut::of(&parent.snapshot()?);
        Ok(Self { parent, renewal: TriedMutex::new(()), layers: Layers::new(base) })
    }

    /// The store below. What is written to it directly shows here from the next renewal of the base.
    pub fn parent(&self) -> &P {
        &self.parent
    }

    /// The value of `key`, `None` if it does not exist: as of now, every completed write included.
    ///
    /// O(log n) a layer that holds something, then one read of the root; the latter is all that it may wait for.
    ///
    /// # Errors
    /// [`Error::Read`] if the root could not be read; nothing changed, and the same read may be tried again.
    pub fn get(&self, key: &P::Key) -> Result<Option<P::Value>, Error> {
        self.layers.find(key, |value| value.cloned(), |root| root.get(key))
    }

    /// Whether `key` exists, as [`get`](Self::get) would find.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &P::Key) -> Result<bool, Error> {
        self.layers.find(key, |value| value.is_some(), |root| root.contains(key))
    }

    /// Gives `key` the value `value`, in this layer. Visible to every read and snapshot that begins after it returns.
    ///
    /// O(log n); copies the nodes on its way that a snapshot or iterator still shares, once after each. Waits for other writers
    /// only.
    pub fn set(&self, key: P::Key, value: P::Value) {
        self.layers.write(key, Op::Put(value));
    }

    /// Deletes `key`, in this layer: a tombstone hides what the parent has. Deleting an absent key is legal, and is passed
    /// on to the parent all the same. Costs and waits as [`set`](Self::set).
    pub fn delete(&self, key: P::Key) {
        self.layers.write(key, Op::Delete);
    }

    /// The entries within `bounds` as of now, as one cut; an inverted or empty range yields nothing.
    ///
    /// Costs a [`snapshot`](KvStore::snapshot) and the opening of an [`Iter`], and never waits for more than they do.
    ///
    /// ```
    /// use cachekv::{cachekv::Store, kv::MemStore};
    /// # fn main() -> Result<(), cachekv::kv::Error> {
    /// let store = Store::new(MemStore::from_iter([(1, 'a'), (2, 'b'), (3, 'c')]))?;
    /// store.delete(2);
    /// let open = store.range(..);
    /// store.set(4, 'd'); // allowed, and invisible to the open iterator
    /// assert_eq!(open.collect::<Result<Vec<_>, _>>()?, [(1, 'a'), (3, 'c')]);
    /// assert_eq!(store.range(3..).rev().collect::<Result<Vec<_>, _>>()?, [(4, 'd'), (3, 'c')]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range(&self, bounds: impl RangeBounds<P::Key>) -> Iter<Root<P>> {
        self.layers.snapshot().into_scan(KeyRange::new(bounds))
    }

    /// Whether there is anything that a [`flush`](Self::flush) would commit, what a failed or running one has taken
    /// included. Writing what the parent has already counts.
    pub fn is_dirty(&self) -> bool {
        self.layers.is_dirty()
    }
}

impl<P: KvStore> KvStore for Store<P> {
    type Key = P::Key;
    type Value = P::Value;
    /// The same for a store over a store, however deep.
    type Snapshot = Snapshot<Root<P>>;

    /// The state as of now. One atomic load if nothing was written since the last but one; otherwise one short critical
    /// section, O(layers that hold something). Neither depends on the number of keys written; but whoever puts a new state in
    /// the place of one that nobody else holds frees that, which after many writes takes time by their number.
    ///
    /// # Errors
    /// None: it reads nothing from the parent.
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        Ok(self.layers.snapshot())
    }

    /// Applies `batch` to this layer as one: a snapshot or iterator shows all of it or nothing. The parent learns
    /// of it at the next [`flush`](Store::flush).
    ///
    /// O(log n) an operation. Waits for other writers, and they for it; readers do not.
    ///
    /// # Errors
    /// None: it writes nothing to the parent.
    fn commit(&self, batch: WriteBatch<P::Key, P::Value>) -> Result<Self::Snapshot, Error> {
        Ok(self.layers.apply(batch))
    }
}

impl<P: KvStore> fmt::Debug for Store<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("state", &self.layers.snapshot()).finish_non_exhaustive()
    }
}
