//! Settlement: what the operands of committed transactions come to.
//!
//! A key that nearly every transaction merges into, as the one that gets the fees, has its chain in the cache of whoever merged
//! last: to look the operands up there at each commit, and to write there what they resolve to, costs more than many a
//! transaction. So whoever commits keeps the running value of the keys last merged into, and tells the chain one time in
//! [`SELDOM`]. Until it does, readers find the operands and resolve them as before: the answers are the same.

use super::TxIndex;
use super::slots::SlotId;
use smallvec::SmallVec;

/// How many commits at most leave their operands in a chain: so many a reader may have to pass.
const SELDOM: u32 = 8;
/// How many keys' values are kept.
const KEPT: usize = 4;

/// The running values of some keys, as of the commit frontier. It belongs to whoever commits.
#[derive(Debug)]
pub(crate) struct Settlement<V> {
    /// Whether any are kept.
    keeps: bool,
    running: SmallVec<[Running<V>; KEPT]>,
}

/// The value of a key after the last committed transaction that wrote it, who left operands there.
#[derive(Debug)]
pub(crate) struct Running<V> {
    pub(crate) slot: SlotId,
    /// The transaction.
    pub(crate) tx: TxIndex,
    pub(crate) value: V,
    /// How many commits have left operands since the chain was told.
    untold: u32,
}

impl<V> Settlement<V> {
    /// One that keeps nothing, and tells each chain at each commit. For blocks of which a part is executed elsewhere, whose
    /// commits do not pass here, and for those whose commits are looked at one by one.
    pub(crate) fn at_once() -> Self {
        Self { keeps: false, running: SmallVec::new() }
    }

    /// One that keeps the values of a few keys. **Every commit has to pass here**: with its operands, or as one that overwrote.
    pub(crate) fn keeping() -> Self {
        Self { keeps: true, running: SmallVec::new() }
    }

    /// The value at the commit frontier, if it is kept.
    pub(super) fn value(&self, slot: SlotId) -> Option<&V> {
        self.running.iter().find(|running| running.slot == slot).map(|running| &running.value)
    }

    /// Whether the chain is to be told of the operands that are about to be committed at `slot`.
    pub(super) fn is_due(&self, slot: SlotId) -> bool {
        let kept = self.running.iter().find(|running| running.slot == slot);
        !self.keeps || kept.is_some_and(|running| running.untold + 1 >= SELDOM)
    }

    /// The operands of `tx`, now committed, come to `value`; `told`: the chain knows. Returns what had to make room, if its
    /// chain is to be told.
    pub(super) fn committed(&mut self, slot: SlotId, tx: TxIndex, value: V, told: bool) -> Option<Running<V>> {
        if !self.keeps {
            return None;
        }
        if let Some(running) = self.running.iter_mut().find(|running| running.slot == slot) {
            (running.tx, running.value) = (tx, value);
            running.untold = if told { 0 } else { running.untold + 1 };
            return None;
        }
        let new = Running { slot, tx, value, untold: u32::from(!told) };
        if self.running.len() < KEPT {
            self.running.push(new);
            return None;
        }
        let oldest = self.running.iter_mut().min_by_key(|running| running.tx)?;
        Some(std::mem::replace(oldest, new)).filter(|running| running.untold > 0)
    }

    /// A committed transaction has put or deleted here: what was kept is of the past, and its operands lie hidden.
    pub(super) fn overwritten(&mut self, slot: SlotId) {
        if !self.running.is_empty() {
            self.running.retain(|running| running.slot != slot);
        }
    }

    /// Those of which the chains have not been told. The block is over.
    pub(super) fn untold(self) -> impl Iterator<Item = Running<V>> {
        self.running.into_iter().filter(|running| running.untold > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: usize) -> SlotId {
        SlotId::new(number)
    }

    #[test]
    fn a_chain_is_told_one_time_in_so_many() {
        let mut settlement = Settlement::keeping();
        let told: Vec<bool> = (0..3 * SELDOM)
            .map(|tx| {
                let due = settlement.is_due(slot(1));
                assert!(settlement.committed(slot(1), tx, tx, due).is_none());
                assert_eq!(settlement.value(slot(1)), Some(&tx));
                due
            })
            .collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 3);
        assert!(told[SELDOM as usize - 1]);
        assert_eq!(settlement.untold().count(), 0);
    }

    #[test]
    fn the_one_longest_ago_makes_room_and_its_chain_is_told() {
        let mut settlement = Settlement::keeping();
        for tx in 0..KEPT as u32 {
            assert!(settlement.committed(slot(tx as usize), tx, "value", false).is_none());
        }
        assert!(settlement.committed(slot(0), 8, "later", false).is_none());
        let out = settlement.committed(slot(9), 9, "new", false).unwrap();
        assert_eq!((out.slot, out.tx, out.value), (slot(1), 1, "value"));
        assert_eq!(settlement.value(slot(1)), None);
        assert_eq!(settlement.untold().count(), KEPT);
    }

    #[test]
    fn what_was_overwritten_is_forgotten() {
        let mut settlement = Settlement::keeping();
        settlement.committed(slot(1), 0, 5, false);
        settlement.overwritten(slot(2));
        assert_eq!(settlement.value(slot(1)), Some(&5));
        settlement.overwritten(slot(1));
        assert_eq!(settlement.value(slot(1)), None);
        assert_eq!(settlement.untold().count(), 0);
    }

    #[test]
    fn at_once_is_always_due_and_keeps_nothing() {
        let mut settlement = Settlement::at_once();
        assert!(settlement.is_due(slot(1)));
        assert!(settlement.committed(slot(1), 0, 5, true).is_none());
        assert!(settlement.value(slot(1)).is_none() && settlement.is_due(slot(1)));
    }
}
