//! The two contracts: an immutable readable state, and a store that hands such states out.

use super::dynamic::DynRead;
use super::{Error, KeyRange, Op, WriteBatch};
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::RangeBounds;
use std::sync::Arc;

/// What can be a key: ordered, hashed, cheap enough to clone, and shared between threads. Implemented for all that are.
pub trait Key: Ord + Hash + Clone + Debug + Send + Sync + 'static {}
impl<T: Ord + Hash + Clone + Debug + Send + Sync + 'static> Key for T {}

/// What can be a value. Equality is what validation compares by, so every value should equal itself: one that does not (a
/// NaN) costs executions. Implemented for all types that have it.
pub trait Value: Clone + PartialEq + Debug + Send + Sync + 'static {}
impl<T: Clone + PartialEq + Debug + Send + Sync + 'static> Value for T {}

/// The writes of one layer: a persistent ordered map, cloned in O(1), that says of some keys what lies over them.
pub type Overlay<K, V> = im::OrdMap<K, Op<V>>;

/// An immutable state: every read of it, whenever and from whichever thread, answers from the same cut.
pub trait KvRead: Clone + Send + Sync + 'static {
    /// The keys.
    type Key: Key;
    /// The values.
    type Value: Value;
    /// What [`range`](Self::range) gives. It owns what it walks, and outlives the snapshot and the store.
    type Iter: DoubleEndedIterator<Item = Result<(Self::Key, Self::Value), Error>> + Send + 'static;
    /// The state at the bottom, below every overlay. A plain store's snapshot is its own root.
    type Root: KvRead<Key = Self::Key, Value = Self::Value>;

    /// The value of `key`, `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Read`] if the store below could not be read; the state is unchanged and may be asked again.
    fn get(&self, key: &Self::Key) -> Result<Option<Self::Value>, Error>;

    /// Whether `key` exists. Stores that can answer without the value override it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn contains(&self, key: &Self::Key) -> Result<bool, Error> {
        self.get(key).map(|value| value.is_some())
    }

    /// The entries of `range` in ascending key order; [`rev`](Iterator::rev) gives them descending. An inverted or
    /// empty range yields nothing. After an `Err` the iterator yields nothing more.
    fn scan(&self, range: KeyRange<Self::Key>) -> Self::Iter;

    /// The entries within `bounds`, as [`scan`](Self::scan).
    fn range(&self, bounds: impl RangeBounds<Self::Key>) -> Self::Iter {
        self.scan(KeyRange::new(bounds))
    }

    /// The state below every overlay.
    fn root(&self) -> &Self::Root;

    /// The non-empty overlays over the root, newest first; none for a plain store.
    fn overlays(&self) -> &[Overlay<Self::Key, Self::Value>] {
        &[]
    }

    /// The same state behind one type, whatever store it came from. Costs one allocation, or nothing if it is one already.
    fn into_dyn(self) -> DynRead<Self::Key, Self::Value> {
        DynRead::new(self)
    }
}

/// A store: immutable snapshots out, atomic batches in.
pub trait KvStore: Send + Sync + 'static {
    /// The keys.
    type Key: Key;
    /// The values.
    type Value: Value;
    /// What [`snapshot`](Self::snapshot) gives.
    type Snapshot: KvRead<Key = Self::Key, Value = Self::Value>;

    /// The current state, which later commits do not change.
    ///
    /// # Errors
    /// [`Error::Read`] if the store cannot be read.
    fn snapshot(&self) -> Result<Self::Snapshot, Error>;

    /// Applies `batch` as one: every snapshot shows all of it or nothing. Returns a snapshot that shows it.
    /// An empty batch is legal and changes nothing.
    ///
    /// # Errors
    /// [`Error::Commit`]: the store holds what it held before, and the same batch may be committed again.
    fn commit(&self, batch: WriteBatch<Self::Key, Self::Value>) -> Result<Self::Snapshot, Error>;
}

impl<S: KvStore> KvStore for Arc<S> {
    type Key = S::Key;
    type Value = S::Value;
    type Snapshot = S::Snapshot;
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        (**self).snapshot()
    }
    fn commit(&self, batch: WriteBatch<Self::Key, Self::Value>) -> Result<Self::Snapshot, Error> {
        (**self).commit(batch)
    }
}
