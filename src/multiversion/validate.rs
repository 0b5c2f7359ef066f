//! Validation: whether what an execution observed is still what it would observe.
//!
//! By time first: a slot that has not changed since the run began answers as it did. Then by version: an answer from the same
//! origin is the same answer. Where the origin differs, by value: an execution that wrote again what had been read invalidates
//! nobody. Existence-only observations depend on existence only.
//!
//! A range is validated without walking the state below: that does not change, so whatever came from it is still there
//! unless a version hides it. Only the listed keys inside what was observed are looked at.

use super::chain::{Origin, Top};
use super::iterate_set::{RangeEntry, RangeRead};
use super::read_set::{Look, ReadSet};
use super::seen::Seen;
use super::slot::{Slot, Unread};
use super::store::MultiVersionStore;
use super::{MergeOperator, TxIndex};
use crate::kv::{Key, Value};

/// The first observation that no longer holds.
#[derive(Clone, Debug)]
pub(crate) struct Conflict<K> {
    /// The key it is about.
    pub(crate) key: K,
    /// Whether a range observed it, rather than a point read.
    pub(crate) in_range: bool,
}

/// Whether everything in `reads` still holds for a transaction at `tx`.
///
/// At the commit frontier the answer is final: nothing below can change any more.
pub(crate) fn validate<K: Key, V: Value, M: MergeOperator<K, V>>(
    store: &MultiVersionStore<K, V, M>,
    tx: TxIndex,
    reads: &ReadSet<K, V, M::Operand>,
) -> Result<(), Conflict<K>> {
    for (Look { slot, origin }, seen) in reads.points.iter() {
        let slot = store.slot(slot);
        // What has not changed since the run began has not changed since it looked.
        if slot.changed_since(reads.began) && !holds(store, tx, slot, origin, seen) {
            return Err(Conflict { key: slot.key().clone(), in_range: false });
        }
    }
    reads.ranges.iter().try_for_each(|range| validate_range(store, tx, range))
}

/// Whether a read of `slot` would still see what was `seen`. A base that cannot be read now validates nothing: the run is
/// executed again and meets the error itself.
fn holds<K: Key, V: Value, M: MergeOperator<K, V>>(
    store: &MultiVersionStore<K, V, M>,
    tx: TxIndex,
    slot: &Slot<K, V, M::Operand>,
    origin: Origin,
    seen: &Seen<V>,
) -> bool {
    let (top, tombstone) = match slot.top(tx) {
        Top::Nothing => (Origin::Base, false),
        Top::Present(top) => (top, false),
        Top::Deleted(version) => (Origin::Version(version), true),
        Top::Estimate(_) => return false,
    };
    let resolved = matches!(top, Origin::Merged(_));
    match seen {
        _ if top == origin && !resolved => true,
        Seen::Existence(exists) if top != Origin::Base => *exists != tombstone,
        Seen::Existence(exists) => slot.base(store.base()).is_ok_and(|base| base.is_some() == *exists),
        Seen::Value(value) => match slot.read::<M>(tx, store.base()) {
            Ok((_, now)) => now == *value,
            Err(Unread::Estimate(_) | Unread::Base(_)) => false,
        },
    }
}

fn validate_range<K: Key, V: Value, M: MergeOperator<K, V>>(
    store: &MultiVersionStore<K, V, M>,
    tx: TxIndex,
    range: &RangeRead<K, V, M::Operand>,
) -> Result<(), Conflict<K>> {
    for observed in range.observed() {
        for slot in store.listed(observed).map(|id| store.slot(id)) {
            if range.hides(slot.key()) {
                continue;
            }
            let still = match range.entry(slot.key()) {
                Some(RangeEntry { origin, seen, .. }) => holds(store, tx, slot, *origin, seen),
                // Passed over without a trace: no version was visible, and the state below has no such key. So it is
                // still, unless a version shows one.
                None => matches!(slot.top(tx), Top::Nothing | Top::Deleted(_)),
            };
            if !still {
                return Err(Conflict { key: slot.key().clone(), in_range: true });
            }
        }
    }
    Ok(())
}
