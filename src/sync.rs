//! The one door to atomics, locks, condition variables and the snapshot cell.
//!
//! Every other file takes these from here, and none from `std::sync`, `parking_lot` or `arc_swap`: under the private
//! cfg `kv_loom` the same names are [loom]'s, so that the protocols built on them can be model-checked as they are.
//!
//! [loom]: https://docs.rs/loom

#[cfg(kv_loom)]
pub(crate) use loom_side::*;
#[cfg(not(kv_loom))]
pub(crate) use real_side::*;

#[cfg(not(kv_loom))]
mod real_side {
    pub(crate) use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    /// Lets a little time pass between two looks at what another thread does shortly: spins at first, longer each
    /// round, then gives up the rest of the time slice.
    pub(crate) fn pause(round: u32) {
        if round < 6 {
            (0..1_u32 << round).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::yield_now();
        }
    }

    /// A cell that holds one published `Arc` and swaps it atomically.
    ///
    /// Contract: [`load`](Self::load) and [`with`](Self::with) give a value that was published, entire, and never one
    /// older than a value whose publication happened before the call. Neither side waits for the other, however long the
    /// reading inside `with` takes.
    #[derive(Debug)]
    pub(crate) struct SnapshotCell<T>(arc_swap::ArcSwap<T>);

    impl<T> SnapshotCell<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(arc_swap::ArcSwap::new(value))
        }

        /// The published value, owned: it stays as it is for as long as the caller keeps it.
        pub(crate) fn load(&self) -> Arc<T> {
            self.0.load_full()
        }

        /// Runs `read` on the published value without taking a reference count.
        pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.0.load())
        }

        /// Publishes `value` and returns what it replaces, for the caller to drop where that holds up nobody.
        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            self.0.swap(value)
        }
    }
}

#[cfg(kv_loom)]
mod loom_side {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}
