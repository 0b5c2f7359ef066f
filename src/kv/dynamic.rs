//! Any readable state behind one type.

use super::{Error, Key, KeyRange, KvRead, Value};
use std::fmt;
use std::sync::Arc;

/// Any [`KvRead`] behind one type, a root of its own.
///
/// Cloning costs one reference count, a read one indirect call, a range one allocation more than without.
pub struct DynRead<K, V> {
    state: Arc<dyn ErasedRead<K, V>>,
}

/// What [`DynRead::scan`](KvRead::scan) gives.
pub type DynIter<K, V> = Box<dyn DoubleEndedIterator<Item = Result<(K, V), Error>> + Send>;

/// [`KvRead`] without its associated types.
trait ErasedRead<K, V>: Send + Sync {
    fn get(&self, key: &K) -> Result<Option<V>, Error>;
    fn contains(&self, key: &K) -> Result<bool, Error>;
    fn scan(&self, range: KeyRange<K>) -> DynIter<K, V>;
}

impl<R: KvRead> ErasedRead<R::Key, R::Value> for R {
    fn get(&self, key: &R::Key) -> Result<Option<R::Value>, Error> {
        KvRead::get(self, key)
    }
    fn contains(&self, key: &R::Key) -> Result<bool, Error> {
        KvRead::contains(self, key)
    }
    fn scan(&self, range: KeyRange<R::Key>) -> DynIter<R::Key, R::Value> {
        Box::new(KvRead::scan(self, range))
    }
}

impl<K: Key, V: Value> DynRead<K, V> {
    /// Puts `state` behind the one type; [`KvRead::into_dyn`] does so without wrapping twice.
    pub fn new(state: impl KvRead<Key = K, Value = V>) -> Self {
        Self { state: Arc::new(state) }
    }
}

impl<K: Key, V: Value> KvRead for DynRead<K, V> {
    type Key = K;
    type Value = V;
    type Iter = DynIter<K, V>;
    type Root = Self;

    fn get(&self, key: &K) -> Result<Option<V>, Error> {
        self.state.get(key)
    }
    fn contains(&self, key: &K) -> Result<bool, Error> {
        self.state.contains(key)
    }
    fn scan(&self, range: KeyRange<K>) -> Self::Iter {
        self.state.scan(range)
    }
    fn root(&self) -> &Self {
        self
    }
    fn into_dyn(self) -> Self {
        self
    }
}

impl<K, V> Clone for DynRead<K, V> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<K, V> fmt::Debug for DynRead<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynRead").finish_non_exhaustive()
    }
}
