//! The one door to atomics, locks, condition variables and the snapshot cell.
//!
//! Every other file takes these from here, and none from `std::sync`, `parking_lot` or `arc_swap`: under the private
//! cfgs `kv_loom` and `kv_shuttle` the same names are those of [loom], which tries every interleaving of a small model,
//! and of [shuttle], which tries random schedules of whole blocks. The protocols built on them are checked as they are.
//!
//! [loom]: https://docs.rs/loom
//! [shuttle]: https://docs.rs/shuttle

#[cfg(any(kv_loom, kv_shuttle))]
pub(crate) use model_side::*;
#[cfg(not(any(kv_loom, kv_shuttle)))]
pub(crate) use real_side::*;

/// The threads that workers live on.
#[derive(Debug)]
#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
pub(crate) struct Pool(rayon::ThreadPool);

#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
impl Pool {
    /// `threads` of them, 0 for as many as the machine has.
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        Ok(Self(pool.thread_name(|index| format!("cachekv-{index}")).build()?))
    }

    pub(crate) fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on every thread at once and returns when all have.
    pub(crate) fn broadcast(&self, work: impl Fn() + Sync) {
        self.0.broadcast(|_| work());
    }
}

/// Threads made for each call, where a checker has to know of them. The thread sanitizer sees the begin and end of a thread,
/// and nothing of the waiting inside a pool, which is the standard library's and not instrumented.
#[derive(Debug)]
#[cfg(any(kv_loom, kv_shuttle, kv_tsan))]
pub(crate) struct Pool(usize);

#[cfg(any(kv_loom, kv_shuttle, kv_tsan))]
impl Pool {
    #[expect(clippy::unnecessary_wraps, reason = "the real one can fail")]
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        Ok(Self(threads.max(1)))
    }

    pub(crate) fn threads(&self) -> usize {
        self.0
    }

    #[cfg(not(kv_loom))]
    pub(crate) fn broadcast(&self, work: impl Fn() + Sync) {
        #[cfg(kv_shuttle)]
        use shuttle::thread;
        #[cfg(not(kv_shuttle))]
        use std::thread;
        thread::scope(|scope| (0..self.0).for_each(|_| drop(scope.spawn(&work))));
    }

    /// loom has no scoped threads: its models run the workers themselves.
    #[cfg(kv_loom)]
    pub(crate) fn broadcast(&self, work: impl Fn() + Sync) {
        (0..self.0).for_each(|_| work());
    }
}

#[cfg(not(any(kv_loom, kv_shuttle)))]
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

#[cfg(any(kv_loom, kv_shuttle))]
mod model_side {
    //! The checkers' types with the calls of the real ones. `Arc` stays the standard one: it carries data, no protocol.

    #[cfg(kv_loom)]
    use loom as checker;
    #[cfg(all(kv_shuttle, not(kv_loom)))]
    use shuttle as checker;

    pub(crate) use checker::sync::RwLockReadGuard;
    pub(crate) use checker::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    use std::ops::{Deref, DerefMut};
    pub(crate) use std::sync::Arc;
    use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
    use std::time::Instant;

    /// Another thread's turn.
    pub(crate) fn pause(_: u32) {
        checker::thread::yield_now();
    }

    /// The real locks know no poison.
    fn locked<G>(guard: LockResult<G>) -> G {
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn tried<G>(guard: TryLockResult<G>) -> Option<G> {
        match guard {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

    /// A guard that a condition variable can take and give back.
    pub(crate) struct MutexGuard<'a, T>(Option<checker::sync::MutexGuard<'a, T>>);

    /// Why a guard is there: only a condition variable takes it, and gives it back before it returns.
    const HELD: &str = "the lock is held for as long as its guard lives";

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(checker::sync::Mutex::new(value))
        }
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(locked(self.0.lock())))
        }
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            tried(self.0.try_lock()).map(|guard| MutexGuard(Some(guard)))
        }
        pub(crate) fn into_inner(self) -> T {
            locked(self.0.into_inner())
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        #[expect(clippy::expect_used, reason = "see HELD")]
        fn deref(&self) -> &T {
            self.0.as_ref().expect(HELD)
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[expect(clippy::expect_used, reason = "see HELD")]
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect(HELD)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(checker::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(checker::sync::RwLock::new(value))
        }
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            locked(self.0.read())
        }
        pub(crate) fn write(&self) -> checker::sync::RwLockWriteGuard<'_, T> {
            locked(self.0.write())
        }
        pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            tried(self.0.try_read())
        }
        pub(crate) fn try_write(&self) -> Option<checker::sync::RwLockWriteGuard<'_, T>> {
            tried(self.0.try_write())
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(checker::sync::Condvar);

    /// A model has no clock: nothing times out.
    pub(crate) struct Waited;

    impl Waited {
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().map(|guard| locked(self.0.wait(guard)));
        }
        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Waited {
            self.wait(guard);
            Waited
        }
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A model of the cell's contract, not of `arc_swap`: a pointer behind a lock.
    #[derive(Debug)]
    pub(crate) struct SnapshotCell<T>(RwLock<Arc<T>>);

    impl<T> SnapshotCell<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(RwLock::new(value))
        }
        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.read())
        }
        pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.load())
        }
        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.write(), value)
        }
    }
}
