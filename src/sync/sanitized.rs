//! The real ones, with the order that they promise said by atomics, for a sanitizer that knows no fences and does not see
//! into the standard library.

use super::{AtomicUsize, Ordering};
pub(crate) use once_cell::sync::OnceCell as OnceLock; // as the standard one, in code that it sees
use std::ops::Deref;

/// The standard one. Whoever lets go of it says so, and the last owner, whom there a fence orders after the others, looks.
#[derive(Debug)]
pub(crate) struct Arc<T>(Option<Counted<T>>);

/// A box, so that the last owner takes out no more than its place before it looks.
type Counted<T> = std::sync::Arc<Box<Owned<T>>>;

#[derive(Debug, Default)]
struct Owned<T> {
    gone: AtomicUsize,
    value: T,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(std::sync::Arc::new(Box::new(Owned { gone: AtomicUsize::new(0), value }))))
    }
    pub(crate) fn ptr_eq(one: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(one.counted(), other.counted())
    }
    #[expect(clippy::expect_used, reason = "taken where it is dropped")]
    fn counted(&self) -> &Counted<T> {
        self.0.as_ref().expect("what is not dropped")
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Default> Default for Arc<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        self.counted().gone.fetch_add(1, Ordering::Release);
        // Here, and not in the standard library, where nobody looks.
        drop(self.0.take().and_then(std::sync::Arc::into_inner));
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.gone.load(Ordering::Acquire);
    }
}

#[derive(Debug)]
pub(crate) struct SnapshotCell<T>(arc_swap::ArcSwap<Box<Owned<T>>>);

impl<T> SnapshotCell<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(std::sync::Arc::clone(value.counted())))
    }
    pub(crate) fn load(&self) -> Arc<T> {
        Arc(Some(self.0.load_full()))
    }
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let lent = self.0.load();
        let answer = read(&lent.value);
        lent.gone.fetch_add(1, Ordering::Release);
        answer
    }
    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        Arc(Some(self.0.swap(std::sync::Arc::clone(value.counted()))))
    }
}
