//! The ordered directory of the keys that a block has written: ranges walk it.
//!
//! Each key enters once, with its slot, and stays until the directory goes with the block.

use super::slot::Slot;
use crate::kv::{Key, KeyRange, Value};
use crate::sync::{Arc, InsertOnlySet};
use std::borrow::Borrow;
use std::cmp::Ordering;

pub(crate) struct Directory<K: Key, V: Value, O: Clone> {
    keys: InsertOnlySet<Listed<K, V, O>>,
}

/// A slot, ordered as its key is.
struct Listed<K, V, O>(Arc<Slot<K, V, O>>);

impl<K, V, O> Clone for Listed<K, V, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Key, V: Value, O: Clone + Send + Sync + 'static> Directory<K, V, O> {
    pub(crate) fn new() -> Self {
        Self { keys: InsertOnlySet::new() }
    }

    /// Lists `slot` unless it is. The caller puts no version into a chain before this has returned: a key that a point
    /// read can see is one that a range can see. Commit would find the difference; a run that began in between would not,
    /// since no slot has changed since then, and would have two answers for one key.
    pub(crate) fn list(&self, slot: &Arc<Slot<K, V, O>>) {
        if slot.is_listed() {
            return;
        }
        // Two first writers may both come here. The index gave them one slot, so whichever entry stays is right.
        self.keys.insert(Listed(Arc::clone(slot)));
        slot.set_listed();
    }

    /// The listed slots in `range`, from both ends. What is listed while the walk is under way may show or not.
    pub(crate) fn range(&self, range: KeyRange<K>) -> impl DoubleEndedIterator<Item = Arc<Slot<K, V, O>>> {
        let some = (!range.is_empty()).then(|| self.keys.range::<K, _>(range));
        some.into_iter().flatten().map(|Listed(slot)| slot)
    }
}

impl<K: Key, V: Value, O: Clone> Borrow<K> for Listed<K, V, O> {
    fn borrow(&self) -> &K {
        self.0.key()
    }
}

impl<K: Key, V: Value, O: Clone> Ord for Listed<K, V, O> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(other.0.key())
    }
}

impl<K: Key, V: Value, O: Clone> PartialOrd for Listed<K, V, O> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key, V: Value, O: Clone> Eq for Listed<K, V, O> {}

impl<K: Key, V: Value, O: Clone> PartialEq for Listed<K, V, O> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}
