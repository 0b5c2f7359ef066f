//! What is copied, and what is not: a value is cloned when a reader is given it, and when a snapshot in use shares its place.

use cachekv::cachekv::Store;
use cachekv::kv::{KvStore, MemStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value that counts how often it and its like were cloned.
#[derive(Debug)]
struct Counted(u32, Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.1.fetch_add(1, Ordering::Relaxed);
        Self(self.0, Arc::clone(&self.1))
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// A store with 1,000 keys written over as many others, and how many clones were made since the last question.
fn written() -> (Store<MemStore<u32, Counted>>, impl Fn() -> usize, impl Fn(u32) -> Counted) {
    let clones = Arc::new(AtomicUsize::new(0));
    let value = {
        let clones = Arc::clone(&clones);
        move |at| Counted(at, Arc::clone(&clones))
    };
    let parent = (0..1_000).map(|at| (2 * at, value(at))).collect::<MemStore<_, _>>();
    let store = Store::new(parent).unwrap();
    (0..1_000).for_each(|at| store.set(2 * at + 1, value(at)));
    (store, move || clones.swap(0, Ordering::Relaxed), value)
}

#[test]
fn a_write_copies_nothing_that_no_reader_holds() {
    let (store, clones, value) = written();
    for at in 0..100 {
        drop(store.snapshot().unwrap());
        assert_eq!(store.range(..).take(3).count(), 3);
        clones();
        store.set(2 * at + 1, value(at));
        // The second reader published the cut, so the first write after it copies its path; the rest is in place.
        let first = clones();
        assert!(first <= 64, "a write has cloned {first} values");
        store.set(2 * at + 1, value(at));
        assert_eq!(clones(), 0, "the path was copied already");
        assert_eq!(store.range(..).take(3).count(), 3);
        clones();
        store.set(2 * at + 1, value(at));
        assert_eq!(clones(), 0, "the only reader since the last write is gone");
    }
}

#[test]
fn a_write_copies_what_an_open_iterator_holds_once() {
    let (store, clones, value) = written();
    let open = store.range(..);
    store.set(1, value(7));
    assert!(clones() > 0);
    store.set(1, value(8));
    assert_eq!(clones(), 0);
    assert!(open.map(Result::unwrap).nth(1).is_some_and(|(key, value)| key == 1 && value.0 == 0));
}

#[test]
fn a_walk_clones_what_it_yields_and_nothing_hidden() {
    let (lower, clones, value) = written();
    let upper = Store::new(lower).unwrap();
    (0..1_000).for_each(|at| upper.set(2 * at + 1, value(at)));
    clones();
    // Of 100 keys 50 are the root's, which gives what it has; 50 are in both layers, and the lower's are hidden.
    assert_eq!((upper.range(1_000..1_100).count(), clones()), (100, 100));
    assert_eq!((upper.range(1_000..1_100).rev().count(), clones()), (100, 100));
    let mut open = upper.range(1_001..=1_003);
    clones();
    assert!(open.next().is_some_and(|entry| entry.is_ok_and(|(key, _)| key == 1_001)));
    assert_eq!(clones(), 2, "the one that was yielded, and the root's next");
}
