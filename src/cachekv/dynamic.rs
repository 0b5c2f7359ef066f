//! Any store behind one type, so that layers nest at run time.

use super::cut::Cut;
use super::snapshot::Snapshot;
use crate::kv::{DynRead, Error, Key, KvRead, KvStore, Value, WriteBatch};
use crate::sync::Arc;
use std::fmt;

/// Any [`KvStore`] behind one type.
///
/// Its snapshots are flat like any other's: the layers of the store inside over its root, which alone is behind an
/// indirect call. So a stack built at run time reads like one built of types. Cloning gives another handle to the same
/// store and costs one reference count; a call costs one indirect call, a snapshot O(layers that hold something).
///
/// ```
/// use cachekv::{cachekv::{DynStore, Store}, kv::{KvRead, KvStore, MemStore}};
/// # fn main() -> Result<(), cachekv::kv::Error> {
/// let mut top = DynStore::new(MemStore::from_iter([("a", 1)]));
/// for _ in 0..64 {
///     top = DynStore::new(Store::new(top)?); // layers without writes
/// }
/// let store = Store::new(top)?;
/// assert_eq!(store.get(&"a")?, Some(1));
/// assert!(store.snapshot()?.overlays().is_empty()); // and so without cost
/// # Ok(())
/// # }
/// ```
pub struct DynStore<K: Key, V: Value> {
    store: std::sync::Arc<dyn ErasedStore<K, V>>,
}

/// [`KvStore`] without its associated types.
trait ErasedStore<K: Key, V: Value>: Send + Sync {
    fn snapshot(&self) -> Result<Snapshot<DynRead<K, V>>, Error>;
    fn commit(&self, batch: WriteBatch<K, V>) -> Result<Snapshot<DynRead<K, V>>, Error>;
}

impl<S: KvStore> ErasedStore<S::Key, S::Value> for S {
    fn snapshot(&self) -> Result<Snapshot<DynRead<S::Key, S::Value>>, Error> {
        KvStore::snapshot(self).map(erased)
    }
    fn commit(&self, batch: WriteBatch<S::Key, S::Value>) -> Result<Snapshot<DynRead<S::Key, S::Value>>, Error> {
        KvStore::commit(self, batch).map(erased)
    }
}

/// The same layers over the same root behind the one type, which it may be already.
fn erased<S: KvRead>(state: S) -> Snapshot<DynRead<S::Key, S::Value>> {
    Snapshot::new(Arc::new(Cut::new(state.overlays(), state.root().clone().into_dyn())))
}

impl<K: Key, V: Value> DynStore<K, V> {
    /// Puts `store` behind the one type.
    pub fn new(store: impl KvStore<Key = K, Value = V>) -> Self {
        Self { store: std::sync::Arc::new(store) }
    }
}

impl<K: Key, V: Value> KvStore for DynStore<K, V> {
    type Key = K;
    type Value = V;
    type Snapshot = Snapshot<DynRead<K, V>>;

    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.store.snapshot()
    }
    fn commit(&self, batch: WriteBatch<K, V>) -> Result<Self::Snapshot, Error> {
        self.store.commit(batch)
    }
}

impl<K: Key, V: Value> Clone for DynStore<K, V> {
    fn clone(&self) -> Self {
        Self { store: std::sync::Arc::clone(&self.store) }
    }
}

impl<K: Key, V: Value> fmt::Debug for DynStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynStore").finish_non_exhaustive()
    }
}
