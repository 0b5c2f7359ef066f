//! Transactions that are to be executed again, the lowest first.

use crate::multiversion::TxIndex;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: Mutex<BinaryHeap<Reverse<TxIndex>>>,
    /// Its length, so that an empty queue costs no lock. Relaxed: whoever adds looks here again itself before it sleeps.
    len: AtomicUsize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    pub(super) fn push(&self, tx: TxIndex) {
        let mut heap = self.heap.lock();
        heap.push(Reverse(tx));
        self.len.store(heap.len(), Ordering::Relaxed);
    }

    pub(super) fn pop(&self) -> Option<TxIndex> {
        if self.is_empty() {
            return None;
        }
        let mut heap = self.heap.lock();
        let Reverse(tx) = heap.pop()?;
        self.len.store(heap.len(), Ordering::Relaxed);
        Some(tx)
    }
}
