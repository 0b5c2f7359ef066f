//! The slots of a block: a key is interned once, and from then on a number stands for it.
//!
//! ```text
//! window  [ · | tag,7 | · | tag,2 | tag,5 | · … ]   a key's entry is one of WIDTH places from where its hash points
//! rest    for the keys whose places are all taken, behind locks
//! slots   0  1  2  3  4 …                           they never move: see `arena`
//! ```
//!
//! **One slot a key, whoever comes first.** An entry is written once, into the first free place of its window, by an
//! exchange that fails if another was quicker: two who come with one key look at the same places in the same order, so the
//! slower finds the entry of the quicker. A window that is full stays full, for everybody; what finds it so goes to the
//! rest. Finding a key that is in the window takes no lock and writes nothing.

use super::arena::Arena;
use super::slot::Slot;
use crate::kv::{Key, Value};
use crate::sync::{AtomicU64, Ordering, RwLock};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Whether a checker is at work: small tables, so that it meets full ones.
const CHECKED: bool = cfg!(any(kv_loom, kv_shuttle));

/// How many places a key may be in: two cache lines.
const WIDTH: usize = if CHECKED { 2 } else { 16 };

/// Enough that two dozen threads seldom meet in one; a power of two.
const SHARDS: usize = if CHECKED { 2 } else { 64 };

/// The entry of a place that is free.
const FREE: u64 = 0;

/// Seeded, where keys may come from somebody who wants them to collide. A schedule that is to be repeated needs the same
/// places again.
#[cfg(not(any(kv_loom, kv_shuttle)))]
type Hasher = foldhash::fast::RandomState;
#[cfg(any(kv_loom, kv_shuttle))]
type Hasher = foldhash::fast::FixedState;

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

/// Key → slot. Own code because a model checker must see how an entry is made; it holds no more than numbers. The table of
/// the rest is a library's.
pub(crate) struct Slots<K, V, O> {
    hasher: Hasher,
    /// The upper half of the key's hash, and the slot's number and one. As many places as a power of two.
    places: Box<[AtomicU64]>,
    rest: Box<[RwLock<HashTable<SlotId>>]>,
    slots: Arena<Slot<K, V, O>>,
}

impl SlotId {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a slot takes 64 bytes and more: memory ends long before numbers"
    )]
    pub(super) fn new(at: usize) -> Self {
        Self(at as u32)
    }

    /// For tables of them. Numbers are given out in turn, by us.
    pub(super) fn hash(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl<K: Key, V: Value, O: Clone> Slots<K, V, O> {
    /// For a block that touches about `keys` keys; any number will do.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        let places = if CHECKED { 4 } else { (2 * keys).clamp(1 << 9, 1 << 20).next_power_of_two() };
        Self {
            hasher: Hasher::default(),
            places: (0..places).map(|_| AtomicU64::new(FREE)).collect(),
            rest: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect(),
            slots: Arena::new(),
        }
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot<K, V, O> {
        #[expect(clippy::expect_used, reason = "a number is given out when its slot is there, and none is removed")]
        self.slots.get(id.0 as usize).expect("the slot of a number")
    }

    /// The slot of `key`, made if it is not there: everybody gets the same one.
    pub(crate) fn intern(&self, key: &K) -> (SlotId, &Slot<K, V, O>) {
        let hash = self.hasher.hash_one(key);
        let mut made = None;
        for place in self.window(hash) {
            let mut entry = place.load(Ordering::Acquire); // with the release below: the slot is there
            if entry == FREE {
                let id = *made.get_or_insert_with(|| self.make(key));
                let mine = (hash >> 32 << 32) | (u64::from(id.0) + 1);
                match place.compare_exchange(FREE, mine, Ordering::Release, Ordering::Acquire) {
                    Ok(_) => return (id, self.slot(id)),
                    Err(quicker) => entry = quicker,
                }
            }
            if let Some(found) = self.matching(entry, hash, key) {
                return found; // what may have been made is never found, and stays without a version
            }
        }
        let id = self.intern_in_rest(hash, key, made);
        (id, self.slot(id))
    }

    /// The slot of `key`, if it has been touched.
    pub(crate) fn find(&self, key: &K) -> Option<SlotId> {
        let hash = self.hasher.hash_one(key);
        for place in self.window(hash) {
            let entry = place.load(Ordering::Acquire);
            if entry == FREE {
                return None;
            }
            if let Some((id, _)) = self.matching(entry, hash, key) {
                return Some(id);
            }
        }
        self.shard(hash).read().find(hash, |id| self.slot(*id).key() == key).copied()
    }

    fn intern_in_rest(&self, hash: u64, key: &K, made: Option<SlotId>) -> SlotId {
        if let Some(id) = self.shard(hash).read().find(hash, |id| self.slot(*id).key() == key) {
            return *id;
        }
        let mut table = self.shard(hash).write();
        let same = |id: &SlotId| self.slot(*id).key() == key;
        let entry = table.entry(hash, same, |id| self.hasher.hash_one(self.slot(*id).key()));
        *entry.or_insert_with(|| made.unwrap_or_else(|| self.make(key))).get()
    }

    fn make(&self, key: &K) -> SlotId {
        SlotId::new(self.slots.push(Slot::new(key.clone())))
    }

    /// The slot that `entry` names, if that is the slot of `key`.
    fn matching(&self, entry: u64, hash: u64, key: &K) -> Option<(SlotId, &Slot<K, V, O>)> {
        if entry >> 32 != hash >> 32 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
        let id = SlotId((entry as u32).wrapping_sub(1));
        let slot = self.slot(id);
        (slot.key() == key).then_some((id, slot))
    }

    /// The places where the entry of a key with this hash may be, in the order in which everybody looks at them.
    fn window(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.places.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let start = hash as usize;
        (0..WIDTH).filter_map(move |step| self.places.get(start.wrapping_add(step) & mask)) // there are as many
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<SlotId>> {
        // The table takes the lowest and the highest bits; the shard is chosen by others.
        #[expect(clippy::indexing_slicing, reason = "masked by the number of shards")]
        &self.rest[(hash >> 32) as usize & (SHARDS - 1)]
    }
}
