//! Panics in user code, at every place where the library calls it: `Ord`, `Hash`, `Clone` and `PartialEq` of keys and values,
//! a parent's methods, merge operators, transactions, hooks.
//!
//! A [`Fuse`] counts these calls and panics at one of them. A test runs the same operations again and again, with the fuse
//! one call longer each time, until nothing panics any more. After each panic the thing it went through must be in a state
//! that the operation allows, and must go on, for this thread and for others.

mod blocks;
mod stores;

use cachekv::kv::{DynIter, Error, KeyRange, KvRead, KvStore, MemSnapshot, MemStore, WriteBatch};
use std::cmp::Ordering as Order;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What a planned panic carries. It is thrown without the panic hook: thousands of them would be said otherwise.
const WORDS: &str = "as planned";

/// Counts calls of user code, and panics at one.
#[derive(Debug, Default)]
struct Fuse {
    /// Calls left, the one that panics included; not positive: none will.
    left: AtomicI64,
}

impl Fuse {
    /// The `nth` call from now on panics (1: the next).
    fn light(&self, nth: i64) {
        self.left.store(nth, Ordering::Relaxed);
    }

    fn put_out(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Whether it has not burnt down, nor was put out.
    fn burns(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// A call of user code.
    fn burn(&self) {
        // Most calls find it out, and need no write.
        if self.burns() && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            resume_unwind(Box::new(WORDS));
        }
    }
}

/// A number whose every operation is user code.
struct Touchy {
    n: u32,
    fuse: Arc<Fuse>,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        self.fuse.burn();
        Self { n: self.n, fuse: Arc::clone(&self.fuse) }
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        self.fuse.burn();
        self.n == other.n
    }
}

impl Eq for Touchy {}

impl Ord for Touchy {
    fn cmp(&self, other: &Self) -> Order {
        self.fuse.burn();
        self.n.cmp(&other.n)
    }
}

impl PartialOrd for Touchy {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fuse.burn();
        self.n.hash(state);
    }
}

impl fmt::Debug for Touchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.n.fmt(f)
    }
}

/// A store whose every operation, and every operation of whose states, is user code.
struct TouchyStore {
    store: MemStore<Touchy, Touchy>,
    fuse: Arc<Fuse>,
}

/// A state of a [`TouchyStore`], a root of its own.
struct TouchyState {
    state: MemSnapshot<Touchy, Touchy>,
    fuse: Arc<Fuse>,
}

/// A walk of a [`TouchyState`].
struct TouchyIter {
    entries: DynIter<Touchy, Touchy>,
    fuse: Arc<Fuse>,
}

impl TouchyStore {
    fn new(fuse: &Arc<Fuse>, entries: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let touchy = |n| Touchy { n, fuse: Arc::clone(fuse) };
        let entries = entries.into_iter().map(|(key, value)| (touchy(key), touchy(value)));
        Self { store: MemStore::from_iter(entries), fuse: Arc::clone(fuse) }
    }

    fn state(&self, state: MemSnapshot<Touchy, Touchy>) -> TouchyState {
        TouchyState { state, fuse: Arc::clone(&self.fuse) }
    }
}

impl KvStore for TouchyStore {
    type Key = Touchy;
    type Value = Touchy;
    type Snapshot = TouchyState;

    fn snapshot(&self) -> Result<TouchyState, Error> {
        self.fuse.burn();
        Ok(self.state(self.store.snapshot()?))
    }

    fn commit(&self, batch: WriteBatch<Touchy, Touchy>) -> Result<TouchyState, Error> {
        self.fuse.burn();
        let after = self.store.commit(batch)?;
        self.fuse.burn(); // committed, and not said so
        Ok(self.state(after))
    }
}

impl Clone for TouchyState {
    fn clone(&self) -> Self {
        self.fuse.burn();
        Self { state: self.state.clone(), fuse: Arc::clone(&self.fuse) }
    }
}

impl KvRead for TouchyState {
    type Key = Touchy;
    type Value = Touchy;
    type Iter = TouchyIter;
    type Root = Self;

    fn get(&self, key: &Touchy) -> Result<Option<Touchy>, Error> {
        self.fuse.burn();
        self.state.get(key)
    }

    fn scan(&self, range: KeyRange<Touchy>) -> TouchyIter {
        self.fuse.burn();
        TouchyIter { entries: Box::new(self.state.scan(range)), fuse: Arc::clone(&self.fuse) }
    }

    fn root(&self) -> &Self {
        self
    }
}

impl Iterator for TouchyIter {
    type Item = Result<(Touchy, Touchy), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.fuse.burn();
        self.entries.next()
    }
}

impl DoubleEndedIterator for TouchyIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.fuse.burn();
        self.entries.next_back()
    }
}
