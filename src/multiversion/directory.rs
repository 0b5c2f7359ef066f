//! The ordered directory of the keys that a block has written: ranges walk it.
//!
//! Most blocks walk no range, so there is none until somebody does. Until then a slot is only noted; the first range
//! enters all that are noted, and from then on each key enters with its first write, once, and stays until the end.

use super::slot::Slot;
use super::slots::{SlotId, Slots};
use crate::kv::{Key, KeyRange, Value};
use crate::sync::{Apart, InsertOnlySet, Mutex, OnceLock, thread_number};
use std::borrow::Borrow;
use std::cmp;

pub(crate) struct Directory<K: Key> {
    keys: OnceLock<InsertOnlySet<Listed<K>>>,
    /// The slots that have been listed, each in the lane of the thread that listed it. Who lists one holds his lane while he looks
    /// whether there is a directory yet; who makes it and enters what has been listed holds them all. One lock, or one list, for
    /// everybody would pass between the cores with every new key.
    lanes: [Apart<Mutex<Vec<SlotId>>>; LANES],
}

/// Enough that threads seldom meet in one; a power of two.
pub(crate) const LANES: usize = if cfg!(any(kv_loom, kv_shuttle)) { 2 } else { 16 };

/// A slot's number, ordered as its key is.
#[derive(Clone)]
struct Listed<K> {
    key: K,
    id: SlotId,
}

impl<K: Key> Directory<K> {
    pub(crate) fn new() -> Self {
        Self { keys: OnceLock::new(), lanes: std::array::from_fn(|_| Apart(Mutex::new(Vec::new()))) }
    }

    /// Lists a slot unless it is. The caller puts no version into a chain before this has returned: a key that a point read
    /// can see is one that a range can see. Commit would find the difference; a run that began in between might not.
    pub(crate) fn list<V: Value, O: Clone>(&self, id: SlotId, slot: &Slot<K, V, O>) {
        if slot.is_listed() {
            return;
        }
        #[expect(clippy::indexing_slicing, reason = "masked by the number of lanes")]
        let mut lane = self.lanes[thread_number() & (LANES - 1)].lock();
        if let Some(keys) = self.keys.get() {
            // Two first writers may both come here. The slot is one, so whichever entry stays is right.
            keys.insert(Listed { key: slot.key().clone(), id });
        }
        // The quicker of two notes it before he gives back his lane, and so before a directory is made.
        if slot.set_listed() {
            lane.push(id);
        }
    }

    /// The slots that have been listed in the lane `lane`, in no order; each slot is in one of [`LANES`].
    pub(crate) fn lane(&self, lane: usize) -> Vec<SlotId> {
        self.lanes.get(lane).map_or_else(Vec::new, |lane| lane.lock().clone())
    }

    /// The listed slots in `range`, from both ends. What is listed while the walk is under way may show or not. The first
    /// call makes the directory: O(n log n) in the keys written so far; whoever writes a key for the first time then waits.
    pub(crate) fn range<V: Value, O: Clone>(
        &self,
        range: KeyRange<K>,
        slots: &Slots<K, V, O>,
    ) -> impl DoubleEndedIterator<Item = SlotId> + use<'_, K, V, O> {
        let some = (!range.is_empty()).then(|| self.made(slots).range::<K, _>(range));
        some.into_iter().flatten().map(|listed| listed.id)
    }

    fn made<V: Value, O: Clone>(&self, slots: &Slots<K, V, O>) -> &InsertOnlySet<Listed<K>> {
        loop {
            if let Some(keys) = self.keys.get() {
                return keys;
            }
            let alone = self.lanes.each_ref().map(|lane| lane.lock());
            if self.keys.get().is_none() {
                let keys = InsertOnlySet::new();
                for id in alone.iter().flat_map(|lane| lane.iter()) {
                    keys.insert(Listed { key: slots.slot(*id).key().clone(), id: *id });
                }
                drop(self.keys.set(keys)); // the first: nobody else is here
            }
        }
    }
}

impl<K: Key> Borrow<K> for Listed<K> {
    fn borrow(&self) -> &K {
        &self.key
    }
}

impl<K: Key> Ord for Listed<K> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<K: Key> PartialOrd for Listed<K> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> Eq for Listed<K> {}

impl<K: Key> PartialEq for Listed<K> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
