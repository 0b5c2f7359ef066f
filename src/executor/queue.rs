//! Transactions that are to be executed again, the lowest first.

use crate::multiversion::TxIndex;
use crate::sync::{AtomicU32, Mutex, Ordering};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(super) struct Queue {
    heap: Mutex<BinaryHeap<Reverse<TxIndex>>>,
    /// The lowest of them, or the highest number if there is none, so that to find nothing costs no lock. Relaxed: whoever adds looks
    /// at the window again before it sleeps, and whoever moves the window looks here before it calls, each behind a fence (`parking.rs`).
    lowest: AtomicU32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { heap: Mutex::default(), lowest: AtomicU32::new(TxIndex::MAX) }
    }
}

impl Queue {
    /// Whether there is one below `end`.
    pub(super) fn has_below(&self, end: TxIndex) -> bool {
        self.lowest.load(Ordering::Relaxed) < end
    }

    pub(super) fn push(&self, tx: TxIndex) {
        let mut heap = self.heap.lock();
        heap.push(Reverse(tx));
        self.note(&heap);
    }

    /// The lowest, if it is below the `end`, which is asked for only if there is one.
    pub(super) fn pop_below(&self, end: impl FnOnce() -> TxIndex) -> Option<TxIndex> {
        if !self.has_below(TxIndex::MAX) {
            return None;
        }
        let end = end();
        if !self.has_below(end) {
            return None;
        }
        let mut heap = self.heap.lock();
        heap.peek().filter(|Reverse(tx)| *tx < end)?;
        let taken = heap.pop();
        self.note(&heap);
        taken.map(|Reverse(tx)| tx)
    }

    fn note(&self, heap: &BinaryHeap<Reverse<TxIndex>>) {
        self.lowest.store(heap.peek().map_or(TxIndex::MAX, |Reverse(tx)| *tx), Ordering::Relaxed);
    }
}
