//! The real ones, with the order that they promise said by atomics, for a sanitizer that knows no fences and does not see
//! into the standard library.

use super::{AtomicUsize, Ordering};
pub(crate) use once_cell::sync::OnceCell as OnceLock; // as the standard one, in code that it sees
use std::ops::Deref;

/// The standard one. Whoever lets go of it says so, and the last owner, whom there a fence orders after the others, looks.
#[derive(Debug, Default)]
pub(crate) struct Arc<T>(std::sync::Arc<Owned<T>>);

#[derive(Debug, Default)]
pub(crate) struct Owned<T> {
    gone: AtomicUsize,
    value: T,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Arc::new(Owned { gone: AtomicUsize::new(0), value }))
    }
    pub(crate) fn ptr_eq(one: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&one.0, &other.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(std::sync::Arc::clone(&self.0))
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::Release);
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.gone.load(Ordering::Acquire);
    }
}

#[derive(Debug)]
pub(crate) struct SnapshotCell<T>(arc_swap::ArcSwap<Owned<T>>);

impl<T> SnapshotCell<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(std::sync::Arc::clone(&value.0)))
    }
    pub(crate) fn load(&self) -> Arc<T> {
        Arc(self.0.load_full())
    }
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let lent = self.0.load();
        let answer = read(&lent.value);
        lent.gone.fetch_add(1, Ordering::Release);
        answer
    }
    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        Arc(self.0.swap(std::sync::Arc::clone(&value.0)))
    }
}
