//! The real ones: the libraries' own where nothing is to be said, and what is asked of them where there is.

/// A list to which is only added, and whose values never move: what was pushed before (in the order of happening) is
/// found under its number. Nobody waits for anybody. A push takes the lines that every look reads.
pub(crate) use boxcar::Vec as AppendVec;
use crossbeam_skiplist::SkipSet;
pub(crate) use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
/// Those that are tried as well as waited for: a checker has to know, see there.
pub(crate) use parking_lot::{Mutex as TriedMutex, RwLock as TriedRwLock};
use std::borrow::Borrow;
use std::ops::RangeBounds;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(kv_tsan))]
pub(crate) use std::sync::{Arc, OnceLock};

#[cfg(kv_tsan)]
pub(crate) use super::sanitized::{Arc, OnceLock, SnapshotCell};

/// Lets a little time pass between two looks at what another thread does shortly: spins at first, longer each
/// round, then gives up the rest of the time slice.
pub(crate) fn pause(round: u32) {
    if round < 6 {
        (0..1_u32 << round).for_each(|_| std::hint::spin_loop());
    } else {
        std::thread::yield_now();
    }
}

/// The number of the calling thread, from 0 up in the order in which threads first ask.
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed)); // no more than distinct numbers are asked for
    NUMBER.with(|number| *number)
}

/// A cell that holds one published `Arc` and swaps it atomically.
///
/// Contract: [`load`](Self::load) and [`with`](Self::with) give a value that was published, entire, and never one
/// older than a value whose publication happened before the call. Neither side waits for the other, however long the
/// reading inside `with` takes.
#[cfg(not(kv_tsan))]
#[derive(Debug)]
pub(crate) struct SnapshotCell<T>(arc_swap::ArcSwap<T>);

#[cfg(not(kv_tsan))]
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

/// An ordered set into which is only inserted: a skip list.
///
/// Contract: of equal values the first stays. A walk yields, in order, every value whose insertion (by whoever inserted
/// it, or came second) happened before the walk comes to its place, and perhaps others. Nobody waits for anybody.
///
/// Insert-only, because release 0.1.3 of `crossbeam-skiplist` can lose a present value for concurrent readers while it is
/// overwritten, leaks under `range` after overwrites and removals, and lets two removers both win.
pub(crate) struct InsertOnlySet<T>(SkipSet<T>);

impl<T: Ord + Clone + Send + 'static> InsertOnlySet<T> {
    pub(crate) fn new() -> Self {
        Self(SkipSet::new())
    }

    /// Inserts `value` unless an equal one is there.
    pub(crate) fn insert(&self, value: T) {
        self.0.get_or_insert(value);
    }

    /// The values within `bounds`, which must not be inverted, from both ends.
    pub(crate) fn range<Q: Ord, R: RangeBounds<Q>>(&self, bounds: R) -> impl DoubleEndedIterator<Item = T>
    where
        T: Borrow<Q>,
    {
        self.0.range(bounds).map(|entry| entry.value().clone())
    }
}
