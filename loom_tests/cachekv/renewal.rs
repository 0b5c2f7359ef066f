//! Refresh and discard beside readers, writers and a flush.

use super::*;

/// A discard takes all of a batch or none, and no open iterator notices.
#[test]
fn a_discard_takes_all_or_nothing() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let open = store.range(..);
        let discard = beside(&store, |store| store.discard().unwrap());
        seen(&store.snapshot().unwrap());
        assert_eq!(open.count(), 2);
        discard.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), None);
    });
}

/// A set beside a discard stays or goes; what was complete before the discard does not come back with it.
#[test]
fn a_set_beside_a_discard_brings_nothing_back() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let discard = beside(&store, |store| store.discard().unwrap());
        store.set(2, 2);
        discard.join().unwrap();
        assert_eq!(store.get(&1).unwrap(), None);
        assert_eq!(store.get(&2).unwrap(), shown(&store, 2));
    });
}

/// A batch that is applied beside a discard stays or goes, wholly; what was discarded does not come back with it.
#[test]
fn a_batch_beside_a_discard_brings_nothing_back() {
    explore(|| {
        let store = store();
        store.set(3, 3);
        let batch = beside(&store, |store| drop(store.commit(pair(1)).unwrap()));
        store.discard().unwrap();
        assert_eq!(store.get(&3).unwrap(), None);
        batch.join().unwrap();
        assert_eq!(store.get(&3).unwrap(), None);
        seen(&store.snapshot().unwrap());
    });
}

/// A discard beside a flush leaves the store as its parent is; what a reader has seen dropped does not come back.
#[test]
fn a_discard_beside_a_flush_leaves_the_parents_state() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| store.flush().unwrap());
        store.discard().unwrap();
        let after = seen(&store.snapshot().unwrap());
        flush.join().unwrap();
        let (now, parent) = (seen(&store.snapshot().unwrap()), seen(&store.parent().snapshot().unwrap()));
        assert_eq!(now, parent, "the base is not the parent's state");
        assert_eq!(now, after, "what was dropped came back");
        assert!(!store.is_dirty());
    });
}

/// A discard beside a flush that fails takes all or, since the flush had it, nothing; the next one takes the rest.
#[test]
fn a_discard_beside_a_failing_flush_takes_all_or_nothing() {
    explore(|| {
        let store = Failing::store(1);
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| store.flush().is_ok()); // with nothing left to commit it does not fail
        store.discard().unwrap();
        seen(&store.snapshot().unwrap());
        let done = flush.join().unwrap();
        assert!(!done || !store.is_dirty());
        store.discard().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), None);
        assert!(!store.is_dirty());
    });
}

/// A refresh beside a flush does not put back the state from before it.
#[test]
fn a_refresh_beside_a_flush_does_not_go_back() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| store.flush().unwrap());
        store.refresh().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        flush.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        assert!(!store.is_dirty());
    });
}

/// A refresh shows what others wrote to the parent as one cut, under what is written here.
#[test]
fn a_refresh_is_one_cut() {
    explore(|| {
        let store = store();
        store.set(3, 3);
        store.parent().commit(pair(1)).unwrap();
        let refresh = beside(&store, |store| store.refresh().unwrap());
        let now = store.snapshot().unwrap();
        let before = seen(&now);
        assert_eq!((now.get(&3).unwrap(), store.get(&3).unwrap()), (Some(3), Some(3)));
        assert!(seen(&store.snapshot().unwrap()) >= before);
        refresh.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
    });
}

/// A point read takes what is written and what lies below from one moment: it does not pass over a write to find, below, what
/// the write had hidden ever since it showed.
#[test]
fn a_point_read_beside_a_refresh_is_of_one_moment() {
    explore(|| {
        let store = store();
        store.set(2, 0); // something pending, so that the reader does not go by the cell
        store.parent().commit([(1, Op::Put(9))].into_iter().collect()).unwrap();
        let writer = beside(&store, |store| {
            store.set(1, 1);
            store.refresh().unwrap();
        });
        let found = store.get(&1).unwrap();
        assert!(found != Some(9), "what the parent has, from under the write that hid it");
        writer.join().unwrap();
    });
}
