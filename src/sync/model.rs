//! The checkers' types with the calls of the real ones. `Arc` stays the standard one: it carries data, no protocol.

#[cfg(kv_loom)]
use loom as checker;
#[cfg(all(kv_shuttle, not(kv_loom)))]
use shuttle as checker;

pub(crate) use checker::sync::RwLockReadGuard;
pub(crate) use checker::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, RangeBounds};
pub(crate) use std::sync::Arc;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Instant;

/// Another thread's turn.
pub(crate) fn pause(_: u32) {
    checker::thread::yield_now();
}

/// As the real one: threads that are there at once have different numbers. The checkers show no more of an identity than
/// how it prints.
pub(crate) fn thread_number() -> usize {
    let id = format!("{:?}", checker::thread::current().id());
    id.bytes().filter(u8::is_ascii_digit).fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
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
}

/// A lock that is tried as well as waited for.
///
/// Loom orders two users of a lock by their acquisitions and has no reason to let one try while the other is inside. The
/// mark is that reason: stored inside, and looked at before a try.
#[derive(Debug, Default)]
pub(crate) struct TriedMutex<T> {
    lock: Mutex<T>,
    inside: AtomicBool,
}

impl<T> TriedMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: Mutex::new(value), inside: AtomicBool::new(false) }
    }
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.lock.lock();
        self.inside.store(true, Ordering::Relaxed);
        guard
    }
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.inside.load(Ordering::Relaxed);
        let guard = tried(self.lock.0.try_lock())?;
        self.inside.store(true, Ordering::Relaxed);
        Some(MutexGuard(Some(guard)))
    }
}

/// As [`TriedMutex`].
#[derive(Debug, Default)]
pub(crate) struct TriedRwLock<T> {
    lock: RwLock<T>,
    inside: AtomicBool,
}

impl<T> TriedRwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: RwLock::new(value), inside: AtomicBool::new(false) }
    }
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        let guard = self.lock.read();
        self.inside.store(true, Ordering::Relaxed);
        guard
    }
    pub(crate) fn write(&self) -> checker::sync::RwLockWriteGuard<'_, T> {
        let guard = self.lock.write();
        self.inside.store(true, Ordering::Relaxed);
        guard
    }
    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.inside.load(Ordering::Relaxed);
        let guard = tried(self.lock.0.try_read())?;
        self.inside.store(true, Ordering::Relaxed);
        Some(guard)
    }
    pub(crate) fn try_write(&self) -> Option<checker::sync::RwLockWriteGuard<'_, T>> {
        self.inside.load(Ordering::Relaxed);
        let guard = tried(self.lock.0.try_write())?;
        self.inside.store(true, Ordering::Relaxed);
        Some(guard)
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

/// A model of the cell's contract, not of `arc_swap`: which value is published is an atomic number, so that whoever is not
/// ordered after a publication may find an older one.
#[derive(Debug)]
pub(crate) struct SnapshotCell<T> {
    /// All that was ever published. Not the checker's lock, which would order who passes through it.
    values: std::sync::Mutex<Vec<Arc<T>>>,
    at: AtomicUsize,
}

impl<T> SnapshotCell<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self { values: std::sync::Mutex::new(vec![value]), at: AtomicUsize::new(0) }
    }
    pub(crate) fn load(&self) -> Arc<T> {
        self.value(self.at.load(Ordering::Acquire))
    }
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.load())
    }
    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        let new = {
            let mut values = locked(self.values.lock());
            values.push(value);
            values.len() - 1
        };
        self.value(self.at.swap(new, Ordering::AcqRel))
    }
    #[expect(clippy::indexing_slicing, reason = "numbers are given out when their value is there, and none is removed")]
    fn value(&self, at: usize) -> Arc<T> {
        Arc::clone(&locked(self.values.lock())[at])
    }
}

/// A value that is written once: whoever is not ordered after that may not see it.
#[derive(Debug, Default)]
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    there: AtomicBool,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), there: AtomicBool::new(false) }
    }
    pub(crate) fn get(&self) -> Option<&T> {
        self.there.load(Ordering::Acquire).then(|| self.value.get()).flatten()
    }
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }
    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let set = self.value.set(value);
        self.there.swap(true, Ordering::AcqRel);
        set
    }
}

/// A model of the list's contract, not of `boxcar`.
pub(crate) struct AppendVec<T> {
    values: Box<[OnceLock<T>]>,
    pushed: std::sync::atomic::AtomicUsize,
}

impl<T> AppendVec<T> {
    pub(crate) fn new() -> Self {
        let most = if cfg!(kv_loom) { 24 } else { 1024 }; // more than any model pushes
        let values = (0..most).map(|_| OnceLock::new()).collect();
        Self { values, pushed: std::sync::atomic::AtomicUsize::new(0) }
    }
    #[expect(clippy::indexing_slicing, reason = "more than any model pushes")]
    pub(crate) fn push(&self, value: T) -> usize {
        let at = self.pushed.fetch_add(1, Ordering::AcqRel);
        drop(self.values[at].set(value));
        at
    }
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.values.get(at)?.get()
    }
}

/// A model of the set's contract, not of the skip list: how many insertions have been made is an atomic number, so that a
/// walk that is not ordered after an insertion may pass over it.
pub(crate) struct InsertOnlySet<T> {
    /// All that were begun, in order.
    values: std::sync::Mutex<Vec<T>>,
    made: AtomicUsize,
}

impl<T: Ord + Clone> InsertOnlySet<T> {
    pub(crate) fn new() -> Self {
        Self { values: std::sync::Mutex::new(Vec::new()), made: AtomicUsize::new(0) }
    }
    pub(crate) fn insert(&self, value: T) {
        let place = {
            let mut values = locked(self.values.lock());
            let there = values.iter().position(|present| *present == value);
            there.unwrap_or_else(|| {
                values.push(value);
                values.len() - 1
            })
        };
        self.made.fetch_max(place + 1, Ordering::AcqRel); // by whoever comes second, too
    }
    pub(crate) fn range<Q: Ord, R: RangeBounds<Q>>(&self, bounds: R) -> impl DoubleEndedIterator<Item = T>
    where
        T: Borrow<Q>,
    {
        SetWalk { set: self, bounds, front: None, back: None, of: PhantomData }
    }
}

struct SetWalk<'s, T, Q, R> {
    set: &'s InsertOnlySet<T>,
    bounds: R,
    front: Option<T>,
    back: Option<T>,
    of: PhantomData<fn(&Q)>,
}

impl<T: Ord + Clone + Borrow<Q>, Q: Ord, R: RangeBounds<Q>> SetWalk<'_, T, Q, R> {
    /// What is left, as of now.
    fn left(&self) -> impl Iterator<Item = T> {
        let made = self.set.made.load(Ordering::Acquire);
        let (front, back) = (self.front.as_ref(), self.back.as_ref());
        let between = |value: &T| front.is_none_or(|front| front < value) && back.is_none_or(|back| value < back);
        let values = locked(self.set.values.lock());
        let left = values.iter().take(made).filter(|&value| self.bounds.contains(value.borrow()) && between(value));
        left.cloned().collect::<Vec<_>>().into_iter()
    }
}

impl<T: Ord + Clone + Borrow<Q>, Q: Ord, R: RangeBounds<Q>> Iterator for SetWalk<'_, T, Q, R> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.front = Some(self.left().min()?);
        self.front.clone()
    }
}

impl<T: Ord + Clone + Borrow<Q>, Q: Ord, R: RangeBounds<Q>> DoubleEndedIterator for SetWalk<'_, T, Q, R> {
    fn next_back(&mut self) -> Option<T> {
        self.back = Some(self.left().max()?);
        self.back.clone()
    }
}
