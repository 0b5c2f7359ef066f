//! The commit frontier and the window beyond it, in one word.

use crate::multiversion::TxIndex;
use crate::sync::{AtomicU64, Ordering};

/// Lower half: the lowest transaction not committed. Upper half: up to which place transactions may be claimed, the end of the
/// window. Changed by one thread at a time, who commits; one word, so that a worker that looks pays for one look.
#[derive(Debug)]
pub(super) struct Front(AtomicU64);

impl Front {
    /// Of a block of `len` transactions, with a window of `width`.
    pub(super) fn new(width: u32, len: TxIndex) -> Self {
        Self(AtomicU64::new(word(0, 0, width.max(1), len)))
    }

    /// The frontier, and the limit of the window. Acquire, with the release in [`set`](Self::set): the writes of all below the
    /// frontier are in their chains.
    pub(super) fn get(&self) -> (TxIndex, TxIndex) {
        let word = self.0.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "its halves")]
        let halves = (word as TxIndex, (word >> 32) as TxIndex);
        halves
    }

    /// Moves the frontier, and the limit to `width` beyond the `place` that is the first not below it, of so many `places`. Release:
    /// whoever sees it sees the writes of all below as they will stay.
    pub(super) fn set(&self, frontier: TxIndex, place: u32, width: u32, places: u32) {
        self.0.store(word(frontier, place, width, places), Ordering::Release);
    }
}

fn word(frontier: TxIndex, place: u32, width: u32, places: u32) -> u64 {
    u64::from(frontier) | u64::from(place.saturating_add(width).min(places)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lies_beyond_the_frontier_and_not_beyond_the_block() {
        let front = Front::new(0, 9);
        assert_eq!(front.get(), (0, 1));
        front.set(7, 7, 1, 9);
        assert_eq!(front.get(), (7, 8));
        front.set(7, 7, u32::MAX, 9);
        assert_eq!(front.get(), (7, 9));
        front.set(TxIndex::MAX - 1, TxIndex::MAX - 1, 5, TxIndex::MAX);
        assert_eq!(front.get(), (TxIndex::MAX - 1, TxIndex::MAX));
        front.set(7, 2, 1, 4);
        assert_eq!(front.get(), (7, 3));
    }
}
