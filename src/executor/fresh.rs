//! Fresh transactions, those never executed: in which order they are claimed, and which are left.
//!
//! What is so short that to hand it over takes longer than to execute it is left to who commits, who executes it when it is at the
//! frontier. It is no part of the window: a place is one of the others, that are executed in advance. Who has nothing else to do while
//! the frontier stands still takes from what was left, too.

use crate::multiversion::TxIndex;
use crate::sync::{Apart, AtomicU32, Ordering};

/// How many transactions behind one that was left, and executed in advance in vain, are not executed in advance if they are left.
const NEXT: TxIndex = 64;

/// The transactions of a block in the order in which they are claimed. All relaxed: it hands out transactions and no data, and each
/// one's lock orders what is behind it.
#[derive(Debug)]
pub(super) struct Fresh {
    /// How many transactions the block has.
    len: TxIndex,
    /// The transaction at each place; `None` if none is left.
    ahead: Option<Box<[TxIndex]>>,
    /// The first place not claimed.
    claimed: Apart<AtomicU32>,
    /// The first place not below the frontier; changed by who commits.
    passed: Apart<AtomicU32>,
    /// Of those that are left, the ones below this are claimed, or left to who commits for good.
    left: Apart<AtomicU32>,
}

impl Fresh {
    /// Of a block of `len` transactions none of which is left.
    pub(super) fn all(len: TxIndex) -> Self {
        let zero = || AtomicU32::new(0);
        Self { len, ahead: None, claimed: Apart(zero()), passed: Apart(zero()), left: Apart(zero()) }
    }

    /// The same where those of `left`, in ascending order, are.
    pub(super) fn leaving(self, left: &[TxIndex]) -> Self {
        Self { ahead: Some((0..self.len).filter(|index| left.binary_search(index).is_err()).collect()), ..self }
    }

    /// How many places there are.
    #[expect(clippy::cast_possible_truncation, reason = "a part of the block")]
    pub(super) fn places(&self) -> u32 {
        self.ahead.as_ref().map_or(self.len, |ahead| ahead.len() as u32)
    }

    /// The transaction at `place`, or the end of the block.
    fn at(&self, place: u32) -> TxIndex {
        match &self.ahead {
            None => place,
            Some(ahead) => ahead.get(place as usize).copied().unwrap_or(self.len),
        }
    }

    /// The place of the transaction at `index`, or of the next one that has a place.
    #[expect(clippy::cast_possible_truncation, reason = "a part of the block")]
    fn place(&self, index: TxIndex) -> u32 {
        self.ahead.as_ref().map_or(index, |ahead| ahead.partition_point(|other| *other < index) as u32)
    }

    /// How many places `index` is beyond the `frontier`.
    pub(super) fn beyond(&self, frontier: TxIndex, index: TxIndex) -> u32 {
        self.place(index).saturating_sub(self.place(frontier))
    }

    /// What may be executed is below this, while the first place beyond the window is `limit`: what is left, before the last place within.
    pub(super) fn end(&self, frontier: TxIndex, limit: u32) -> TxIndex {
        match limit.checked_sub(1) {
            _ if limit >= self.places() => self.len,
            last => last.map_or(0, |last| self.at(last)).max(frontier) + 1,
        }
    }

    /// The transaction at the next place, if that is below `limit`.
    pub(super) fn claim(&self, limit: u32) -> Option<TxIndex> {
        let mut place = self.claimed.load(Ordering::Relaxed);
        while place < limit {
            match self.claimed.compare_exchange(place, place + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(self.at(place)),
                Err(now) => place = now,
            }
        }
        None
    }

    /// The next of those that are left, behind the `frontier`, and before the last place that is below `limit`, if there is another
    /// behind it. None while the frontier is at one that is left: who commits is at it, and will be at the next.
    pub(super) fn claim_left(&self, frontier: TxIndex, limit: u32) -> Option<TxIndex> {
        let ahead = self.ahead.as_ref()?;
        ahead.binary_search(&frontier).ok()?;
        let end = self.end(frontier, limit);
        let mut below = self.left.load(Ordering::Relaxed);
        loop {
            let from = below.max(frontier + 1);
            let others = ahead.get(ahead.partition_point(|index| *index < from)..).unwrap_or_default();
            let next = (from..end).find(|index| others.get((index - from) as usize) != Some(index))?;
            match self.left.compare_exchange(below, next + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(next),
                Err(now) => below = now,
            }
        }
    }

    /// The one at `index` was left, and executed in advance in vain: the next ones are left to who commits for good.
    pub(super) fn leave_next(&self, index: TxIndex) {
        self.left.fetch_max(index.saturating_add(NEXT).min(self.len), Ordering::Relaxed);
    }

    /// How many places below `limit` are not claimed.
    pub(super) fn claimable(&self, limit: u32) -> u32 {
        limit.saturating_sub(self.claimed.load(Ordering::Relaxed))
    }

    /// Who is executed in advance is below this.
    pub(super) fn claimed_end(&self) -> TxIndex {
        self.at(self.claimed.load(Ordering::Relaxed)).max(self.left.load(Ordering::Relaxed))
    }

    /// Nobody is to claim the transactions below `begun`. Before there are workers, who come to it by the pool's own
    /// synchronisation.
    pub(super) fn begin_at(&self, begun: TxIndex) {
        self.claimed.store(self.passed(begun), Ordering::Relaxed);
    }

    /// The first place that is not below `frontier`. By who commits.
    pub(super) fn passed(&self, frontier: TxIndex) -> u32 {
        if self.ahead.is_none() {
            return frontier;
        }
        let passed = self.passed.load(Ordering::Relaxed);
        let mut place = passed;
        while self.at(place) < frontier {
            place += 1;
        }
        if place > passed {
            self.passed.store(place, Ordering::Relaxed);
        }
        place
    }

    /// Whether the transaction at the frontier, which is at `index`, is left. By who commits.
    pub(super) fn leaves(&self, index: TxIndex) -> bool {
        self.ahead.is_some() && self.at(self.passed(index)) != index
    }

    /// Whether the one at `index` is left.
    pub(super) fn is_left(&self, index: TxIndex) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.binary_search(&index).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of seven transactions 2 and 5 are executed in advance.
    fn fresh() -> Fresh {
        Fresh::all(7).leaving(&[0, 1, 3, 4, 6])
    }

    #[test]
    fn what_is_not_left_is_claimed_in_order_and_by_its_place() {
        let fresh = fresh();
        assert_eq!(fresh.places(), 2);
        assert_eq!((fresh.claim(1), fresh.claim(1), fresh.claimable(2)), (Some(2), None, 1));
        assert_eq!((fresh.claim(2), fresh.claim(2), fresh.claimed_end()), (Some(5), None, 7));
        let all = Fresh::all(2);
        assert_eq!((all.places(), all.claim(9), all.claim(2), all.claim(2)), (2, Some(0), Some(1), None));
        assert!(!all.leaves(0));
        assert_eq!(all.claim_left(0, 2), None);
    }

    #[test]
    fn a_place_is_passed_with_its_transaction() {
        let fresh = fresh();
        let passed = |frontier| (fresh.passed(frontier), fresh.leaves(frontier));
        let due = [(0, true), (0, true), (0, false), (1, true), (1, true), (1, false), (2, true), (2, false)];
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(passed), due);
    }

    #[test]
    fn what_is_left_is_claimed_behind_the_frontier_and_within_the_window() {
        let fresh = fresh();
        let claimed = |frontier, limit| std::iter::from_fn(|| fresh.claim_left(frontier, limit)).collect::<Vec<_>>();
        assert!(claimed(0, 2).is_empty() && claimed(1, 2).is_empty(), "who commits is at them");
        assert!(claimed(2, 1).is_empty(), "a window of one is one");
        assert_eq!(claimed(2, 2), [3, 4, 6]);
        assert_eq!(fresh.claimed_end(), 7);
    }

    #[test]
    fn what_is_within_the_window_ends_with_its_last_place() {
        let fresh = fresh();
        // At 0, 1 and 3 the frontier is at what is left; with 2 and 5 the window's places end.
        let ends = [(0, 0), (0, 1), (1, 1), (2, 1), (3, 1), (3, 2), (5, 2), (6, 2)]
            .map(|(frontier, limit)| fresh.end(frontier, limit));
        assert_eq!(ends, [1, 3, 3, 3, 4, 7, 7, 7]);
        let all = Fresh::all(3);
        assert_eq!([(0, 1), (0, 2), (1, 2), (2, 3)].map(|(frontier, limit)| all.end(frontier, limit)), [1, 2, 2, 3]);
        assert_eq!(Fresh::all(0).end(0, 0), 0);
    }

    #[test]
    fn only_places_are_counted() {
        let beyond = [(0, 2), (0, 3), (0, 5), (2, 5), (3, 5), (5, 6), (5, 5)]
            .map(|(frontier, index)| fresh().beyond(frontier, index));
        assert_eq!(beyond, [0, 1, 1, 1, 0, 1, 0]);
        assert_eq!(Fresh::all(9).beyond(3, 7), 4);
    }

    #[test]
    fn a_window_ends_before_its_last_place_for_what_is_left() {
        let fresh = Fresh::all(9).leaving(&[1, 2, 4, 5, 7, 8]); // 0, 3 and 6 are not
        let claimed = |frontier, limit| std::iter::from_fn(|| fresh.claim_left(frontier, limit)).collect::<Vec<_>>();
        assert_eq!((claimed(0, 1), claimed(0, 2)), (vec![], vec![1, 2]));
        assert_eq!(claimed(3, 3), [4, 5, 7, 8]);
    }

    #[test]
    fn behind_one_in_vain_they_are_left_for_good() {
        let left: Vec<_> = (1..100).collect();
        let fresh = Fresh::all(100).leaving(&left);
        assert_eq!(fresh.claim_left(0, 1), Some(1));
        fresh.leave_next(1);
        assert_eq!(fresh.claim_left(0, 1), Some(1 + NEXT));
        fresh.leave_next(99);
        assert_eq!((fresh.claim_left(0, 1), fresh.claimed_end()), (None, 100));
    }

    #[test]
    fn nothing_is_claimed_of_what_has_begun() {
        let fresh = fresh();
        fresh.begin_at(3);
        assert_eq!((fresh.claim(2), fresh.claim(2)), (Some(5), None));
    }
}
