//! How far the block is committed, which is also the clock of its changes.

use super::TxIndex;
use crate::sync::{AtomicU32, Ordering};

/// The lowest transaction that is not committed, as a clock: what changes at a slot bears the next moment.
///
/// A run takes the moment at its begin. Of a slot that it looks at, with the slot's lock:
///
/// * **a change after the look bears a later moment**. The lock orders the look before the change, and so the moment that the
///   run took before the one that the writer reads inside the lock: that is no older. A slot without a later moment
///   therefore answers as it did, and needs no further look;
/// * two looks of one run at one slot agree, if the second finds no later moment.
///
/// A key that has not been listed when a range passes over it has no slot to look at: see
/// [`Directory::additions`](super::directory::Directory::additions).
#[derive(Debug)]
pub(crate) struct Frontier(AtomicU32);

impl Frontier {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Now. Acquire, with the release in [`advance`](Self::advance): what the committed transactions wrote is in its chains.
    pub(crate) fn now(&self) -> TxIndex {
        self.0.load(Ordering::Acquire)
    }

    /// The moment of a change; the caller holds the slot's lock for writing. Relaxed: the lock is what orders it.
    pub(super) fn next_moment(&self) -> TxIndex {
        self.0.load(Ordering::Relaxed).saturating_add(1)
    }

    /// Everything below `end` is committed. Called by one thread at a time, with growing numbers.
    pub(crate) fn advance(&self, end: TxIndex) {
        self.0.store(end, Ordering::Release);
    }
}
