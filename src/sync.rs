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
    //! loom's types with the calls of the real ones. `Arc` stays the standard one: it carries data here, no protocol.

    use loom::sync as model;
    pub(crate) use loom::sync::RwLockReadGuard;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    use std::ops::{Deref, DerefMut};
    pub(crate) use std::sync::Arc;
    use std::time::Instant;

    /// Another thread's turn.
    pub(crate) fn pause(_: u32) {
        loom::thread::yield_now();
    }

    /// The model of a lock is never poisoned: a panic ends the model.
    const ALIVE: &str = "a panic ends the model";

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(model::Mutex<T>);

    /// A guard that a condition variable can take and give back.
    pub(crate) struct MutexGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(model::Mutex::new(value))
        }
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(self.0.lock().ok())
        }
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
        #[expect(clippy::expect_used, reason = "see ALIVE")]
        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner().expect(ALIVE)
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        #[expect(clippy::expect_used, reason = "see ALIVE")]
        fn deref(&self) -> &T {
            self.0.as_ref().expect(ALIVE)
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[expect(clippy::expect_used, reason = "see ALIVE")]
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect(ALIVE)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(model::RwLock<T>);

    #[expect(clippy::expect_used, reason = "see ALIVE")]
    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(model::RwLock::new(value))
        }
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect(ALIVE)
        }
        pub(crate) fn write(&self) -> model::RwLockWriteGuard<'_, T> {
            self.0.write().expect(ALIVE)
        }
        pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            self.0.try_read().ok()
        }
        pub(crate) fn try_write(&self) -> Option<model::RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(model::Condvar);

    /// A model has no clock: nothing times out.
    pub(crate) struct Waited;

    impl Waited {
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().and_then(|guard| self.0.wait(guard).ok());
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
