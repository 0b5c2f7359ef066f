//! Transactions of the block that are executed elsewhere.

use super::parking::Parking;
use crate::kv::{Key, Op, Value};
use crate::multiversion::TxIndex;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet};

/// Places in the block whose transactions somebody else executes, and the keys each of them may write.
///
/// Until a key's outcome arrives by [`resolve`](Self::resolve), transactions after that place that read the key are put
/// aside, as for any value that is about to be written. A place commits once all its keys have arrived. Clones are the
/// same: keep one, and give one to the block by [`Options::elsewhere`](super::Options::elsewhere). Good for one block.
#[derive(Clone, Debug)]
pub struct Elsewhere<K: Key, V: Value> {
    inner: Arc<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    /// What was declared.
    declared: BTreeMap<TxIndex, BTreeSet<K>>,
    state: Mutex<State<K, V>>,
    /// Whether something has arrived that no worker has taken; it saves taking the lock. Changed under it. Relaxed: whoever
    /// sets it calls a sleeper after it, and who is about to sleep looks at it once more.
    pending: AtomicBool,
}

#[derive(Debug)]
struct State<K, V> {
    owed: BTreeMap<TxIndex, BTreeSet<K>>,
    arrived: Vec<Arrival<K, V>>,
    /// The block's sleepers.
    parking: Option<Arc<Parking>>,
}

/// An outcome that has arrived.
#[derive(Debug)]
pub(super) struct Arrival<K, V> {
    pub(super) index: TxIndex,
    pub(super) key: K,
    /// `None`: the transaction did not write the key.
    pub(super) outcome: Option<Op<V>>,
}

/// An outcome that was not expected; it was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The transaction at this place was not declared to write the key, or is not executed elsewhere.
    #[error("transaction {index} was not declared to write key {key}")]
    Undeclared {
        /// The place.
        index: TxIndex,
        /// The key, as it prints itself.
        key: String,
    },
    /// The key's outcome has arrived before; the first one stays.
    #[error("key {key} of transaction {index} has been resolved before")]
    Repeated {
        /// The place.
        index: TxIndex,
        /// The key, as it prints itself.
        key: String,
    },
}

impl<K: Key, V: Value> Elsewhere<K, V> {
    /// Declares, for each place in the block that is executed elsewhere, every key that its transaction may write.
    pub fn new(declared: impl IntoIterator<Item = (TxIndex, Vec<K>)>) -> Self {
        let declared: BTreeMap<_, BTreeSet<_>> =
            declared.into_iter().map(|(index, keys)| (index, keys.into_iter().collect())).collect();
        let state = State { owed: declared.clone(), arrived: Vec::new(), parking: None };
        Self { inner: Arc::new(Inner { declared, state: Mutex::new(state), pending: AtomicBool::new(false) }) }
    }

    /// Tells what the transaction at `index` did to `key`: `None` if it did not write it. Before the block begins or
    /// while it runs, from any thread; does not wait.
    ///
    /// # Errors
    /// [`ResolveError`] if the key was not declared there, or has been resolved; nothing is changed.
    pub fn resolve(&self, index: TxIndex, key: &K, outcome: Option<Op<V>>) -> Result<(), ResolveError> {
        if !self.inner.declared.get(&index).is_some_and(|keys| keys.contains(key)) {
            return Err(ResolveError::Undeclared { index, key: format!("{key:?}") });
        }
        let mut state = self.inner.state.lock();
        let Some(key) = state.owed.get_mut(&index).and_then(|owed| owed.take(key)) else {
            return Err(ResolveError::Repeated { index, key: format!("{key:?}") });
        };
        state.arrived.push(Arrival { index, key, outcome });
        self.inner.pending.store(true, Ordering::Relaxed);
        if let Some(parking) = &state.parking {
            parking.call(false);
        }
        Ok(())
    }

    pub(super) fn declared(&self) -> &BTreeMap<TxIndex, BTreeSet<K>> {
        &self.inner.declared
    }

    /// The lowest place that owes a key.
    pub(super) fn waiting_for(&self) -> Option<TxIndex> {
        self.inner.state.lock().owed.iter().find(|(_, owed)| !owed.is_empty()).map(|(index, _)| *index)
    }

    /// `parking` is told of arrivals from now on; those from before are pending. False, and nothing done, if another
    /// block has been here: it has taken what arrived, and this one would wait for ever.
    pub(super) fn attach(&self, parking: Arc<Parking>) -> bool {
        let mut state = self.inner.state.lock();
        let first = state.parking.is_none();
        state.parking.get_or_insert(parking);
        first
    }

    /// Whether something has arrived since the last call of [`take`](Self::take).
    pub(super) fn has_arrivals(&self) -> bool {
        self.inner.pending.load(Ordering::Relaxed)
    }

    /// What has arrived since the last call.
    pub(super) fn take(&self) -> Vec<Arrival<K, V>> {
        if !self.has_arrivals() {
            return Vec::new();
        }
        let mut state = self.inner.state.lock();
        self.inner.pending.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.arrived)
    }
}
