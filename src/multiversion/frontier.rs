//! How far the block is committed, which is also the clock of its changes.

use super::TxIndex;
use crate::sync::{AtomicU32, Ordering, fence};

/// The lowest transaction that is not committed, as a clock: what changes at a slot bears the next moment.
///
/// A run takes the moment at its begin. Of a slot that it looks at:
///
/// * **a change after the look bears a later moment**. Where the look took the slot's lock, that orders it before the change, and
///   so the moment that the run took before the one that the writer reads inside the lock: that is no older. A look that found
///   the slot not listed took no lock. Then the run's fence stands between the moment it took and that look, the fence of the
///   slot's first writer between the listing and the moment it reads, and of two such fences one is first: not the
///   writer's, or the look would have found the slot listed; so the run's, and what it has seen the writer does not see older.
///   Later writers come after the first, by the lock. A slot without a later moment therefore answers as it did, and needs no
///   further look;
/// * two looks of one run at one slot agree, if the second finds no later moment.
///
/// A range that passes over a key which is not in the directory has no slot to look at, and is such a look without a lock: the
/// key enters before the fence of its first writer.
#[derive(Debug)]
pub(crate) struct Frontier(AtomicU32);

impl Frontier {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The moment at which a run begins. Acquire, with the release in [`advance`](Self::advance): what the committed transactions
    /// wrote is in its chains. The fence is for looks without a lock, see above.
    pub(crate) fn begin(&self) -> TxIndex {
        let now = self.0.load(Ordering::Acquire);
        fence(Ordering::SeqCst);
        now
    }

    /// To be called by who is about to change a listed slot for the first time, before he asks for the moment.
    pub(super) fn first_change(&self) {
        fence(Ordering::SeqCst);
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
