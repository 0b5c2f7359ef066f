//! Cancelling a block from outside.

use super::parking::Parking;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// A switch that ends a block early. Clones are the same switch; once thrown it stays thrown, for every block that is
/// given it.
///
/// ```
/// use cachekv::executor::CancelToken;
/// let token = CancelToken::new();
/// let same = token.clone();
/// same.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    /// The blocks to be told. A block adds itself, then looks at the flag; the switch sets the flag, then tells those who
    /// are here: the lock orders the two, so that no block misses it.
    blocks: Mutex<Vec<Block>>,
}

/// How a block under way is told: its runs by the flag their views look at, its sleepers by a call.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) interrupted: Arc<AtomicBool>,
    pub(super) parking: Arc<Parking>,
}

impl CancelToken {
    /// A switch not yet thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the blocks that have this token: every read of theirs answers `Interrupted`, and they return
    /// [`Cancelled`](super::Cause::Cancelled) with what they have committed as soon as the runs under way have returned.
    /// Does not wait for that.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::Release);
        for block in self.inner.blocks.lock().iter() {
            block.interrupted.store(true, Ordering::Release);
            block.parking.call(true);
        }
    }

    /// Whether the switch has been thrown. Who finds it thrown sees what was done before that.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn attach(&self, block: &Block) {
        self.inner.blocks.lock().push(block.clone());
        if self.is_cancelled() {
            block.interrupted.store(true, Ordering::Relaxed); // its workers have not begun
        }
    }

    pub(super) fn detach(&self, block: &Block) {
        self.inner.blocks.lock().retain(|other| !Arc::ptr_eq(&other.parking, &block.parking));
    }
}
