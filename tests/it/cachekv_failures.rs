//! A parent that fails, panics or parks: what is visible, what is kept, and who goes on meanwhile.

use crate::faulty::{Call, Faulty, Parked, finishes};
use cachekv::cachekv::Store;
use cachekv::kv::{Error, KvRead, KvStore, MemStore, Op, WriteBatch};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

type Shared = Arc<Store<Faulty<MemStore<u32, u32>>>>;

/// A store over `1 = 1, 2 = 2`.
fn store() -> Shared {
    Arc::new(Store::new(Faulty::new(MemStore::from_iter([(1, 1), (2, 2)]))).unwrap())
}

fn entries<K, V>(walk: impl Iterator<Item = Result<(K, V), Error>>) -> Vec<(K, V)> {
    walk.collect::<Result<_, _>>().unwrap()
}

/// What the parent holds.
fn below(store: &Shared) -> Vec<(u32, u32)> {
    entries(store.parent().store().snapshot().unwrap().range(..))
}

/// Reads everything in every way there is, and fails unless it is `expected`.
fn assert_shows(store: &Shared, expected: &[(u32, u32)]) {
    assert_eq!(entries(store.range(..)), expected);
    assert_eq!(entries(store.range(..).rev()), expected.iter().rev().copied().collect::<Vec<_>>());
    for key in 0..10 {
        let value = expected.iter().find(|(present, _)| *present == key).map(|(_, value)| *value);
        assert_eq!(store.get(&key).unwrap(), value);
        assert_eq!(store.contains(&key).unwrap(), value.is_some());
        assert_eq!(store.snapshot().unwrap().get(&key).unwrap(), value);
    }
}

fn write(store: &Shared) {
    store.set(3, 3);
    store.set(1, 11);
    store.delete(2);
}

fn written() -> WriteBatch<u32, u32> {
    WriteBatch::from_iter([(1, Op::Put(11)), (2, Op::Delete), (3, Op::Put(3))])
}

#[test]
fn a_failed_flush_loses_nothing_and_the_next_writes_the_same() {
    let store = store();
    write(&store);
    for _ in 0..3 {
        store.parent().fail(Call::Commit, 1);
        assert!(matches!(store.flush(), Err(Error::Commit { .. })));
        assert_shows(&store, &[(1, 11), (3, 3)]);
        assert!(store.is_dirty());
        assert_eq!(below(&store), [(1, 1), (2, 2)]);
        assert_eq!(store.snapshot().unwrap().overlays().len(), 1, "failures do not pile up");
    }
    store.flush().unwrap();
    assert_shows(&store, &[(1, 11), (3, 3)]);
    assert!(!store.is_dirty());
    assert_eq!(below(&store), [(1, 11), (3, 3)]);
    assert_eq!(store.snapshot().unwrap().overlays().len(), 0);
    assert_eq!(store.parent().batches(), vec![written(); 4]);
    store.flush().unwrap();
    assert_eq!(store.parent().calls(Call::Commit), 4, "nothing is written twice");
}

#[test]
fn after_a_failed_flush_the_newer_write_stands() {
    let store = store();
    write(&store);
    store.parent().fail(Call::Commit, 1);
    store.parent().fail(Call::Commit, 2);
    store.flush().unwrap_err();
    store.set(2, 22); // over a tombstone that failed to go down
    store.delete(3);
    store.set(4, 4);
    assert_shows(&store, &[(1, 11), (2, 22), (4, 4)]);
    assert_eq!(store.snapshot().unwrap().overlays().len(), 2);
    store.flush().unwrap_err();
    assert_shows(&store, &[(1, 11), (2, 22), (4, 4)]);
    assert_eq!(store.snapshot().unwrap().overlays().len(), 1);
    store.flush().unwrap();
    assert_shows(&store, &[(1, 11), (2, 22), (4, 4)]);
    let merged = [(1, Op::Put(11)), (2, Op::Put(22)), (3, Op::Delete), (4, Op::Put(4))];
    assert_eq!(store.parent().batches()[1..], [WriteBatch::from_iter(merged.clone()), WriteBatch::from_iter(merged)]);
    assert_eq!(below(&store), [(1, 11), (2, 22), (4, 4)]);
}

#[test]
fn a_parent_that_panics_in_commit_leaves_what_an_error_leaves() {
    let store = store();
    write(&store);
    store.parent().panic(Call::Commit, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| store.flush())).is_err());
    assert_shows(&store, &[(1, 11), (3, 3)]);
    assert!(store.is_dirty());
    store.set(4, 4);
    store.flush().unwrap();
    assert_shows(&store, &[(1, 11), (3, 3), (4, 4)]);
    assert_eq!(below(&store), [(1, 11), (3, 3), (4, 4)]);
}

#[test]
fn discard_drops_what_a_failed_flush_left() {
    for panics in [false, true] {
        let store = store();
        write(&store);
        if panics {
            store.parent().panic(Call::Commit, 1);
        } else {
            store.parent().fail(Call::Commit, 1);
        }
        assert!(!matches!(catch_unwind(AssertUnwindSafe(|| store.flush())), Ok(Ok(()))));
        store.set(5, 5);
        store.discard().unwrap();
        assert_shows(&store, &[(1, 1), (2, 2)]);
        assert!(!store.is_dirty());
        store.flush().unwrap();
        assert_eq!(store.parent().calls(Call::Commit), 1);
    }
}

#[test]
fn a_refresh_keeps_what_a_failed_flush_left() {
    let store = store();
    write(&store);
    store.parent().fail(Call::Commit, 1);
    store.flush().unwrap_err();
    store.set(4, 4);
    store.parent().store().commit(WriteBatch::from_iter([(2, Op::Put(99)), (7, Op::Put(7))])).unwrap();
    store.refresh().unwrap();
    assert_shows(&store, &[(1, 11), (3, 3), (4, 4), (7, 7)]);
}

#[test]
fn a_parent_that_cannot_be_seen_changes_nothing() {
    let store = store();
    write(&store);
    for renew in [Store::refresh, Store::discard] {
        store.parent().fail(Call::Snapshot, 1);
        assert!(matches!(renew(&store), Err(Error::Read { .. })));
        assert_shows(&store, &[(1, 11), (3, 3)]);
    }
    store.flush().unwrap();
    store.parent().fail(Call::Snapshot, 1);
    store.flush().unwrap_err();
    assert_shows(&store, &[(1, 11), (3, 3)]);

    let faulty = Faulty::new(MemStore::<u32, u32>::new());
    faulty.fail(Call::Snapshot, 1);
    assert!(matches!(Store::new(faulty), Err(Error::Read { .. })));
}

#[test]
fn a_failed_read_is_an_error_and_may_be_tried_again() {
    let store = store();
    for dirty in [false, true] {
        if dirty {
            store.set(3, 3); // the other path: over what is not published yet
        }
        store.parent().fail(Call::Read, 1);
        assert!(matches!(store.get(&1), Err(Error::Read { .. })));
        assert_eq!(store.get(&1).unwrap(), Some(1));
    }
    store.parent().fail(Call::Scan, 1);
    let mut walk = store.range(..);
    assert!(matches!(walk.next(), Some(Err(Error::Read { .. }))));
    assert!(walk.next().is_none() && walk.next_back().is_none());
    assert_eq!(store.range(..).count(), 3);
}

/// Everything that must not wait: reads and writes in every way, and what they show.
fn everything_goes_on(store: &Shared) {
    let store = Arc::clone(store);
    finishes("a read or write", move || {
        let fresh = 100 + store.range(100..).count() as u32;
        store.set(fresh, 0);
        assert_eq!(store.get(&fresh).unwrap(), Some(0));
        assert_eq!(store.snapshot().unwrap().get(&fresh).unwrap(), Some(0));
        store.commit(WriteBatch::from_iter([(fresh, Op::Put(1)), (fresh + 1, Op::Put(1))])).unwrap();
        assert_eq!(entries(store.range(fresh..)), [(fresh, 1), (fresh + 1, 1)]);
        assert_eq!(store.get(&1).unwrap(), Some(11));
        assert_eq!((store.get(&2).unwrap(), store.contains(&3).unwrap()), (None, true));
        store.delete(fresh + 1);
        assert!(!store.contains(&(fresh + 1)).unwrap());
        assert!(store.is_dirty());
    });
}

#[test]
fn while_the_parent_commits_everybody_goes_on() {
    let store = store();
    write(&store);
    let before = store.range(..);
    let commit = store.parent().park(Call::Commit, 1);
    let flush = thread::spawn({
        let store = Arc::clone(&store);
        move || store.flush()
    });
    commit.arrived();
    everything_goes_on(&store);
    everything_goes_on(&store);
    assert_eq!(entries(before), [(1, 11), (3, 3)]);
    store.set(1, 12);
    commit.release();
    flush.join().unwrap().unwrap();
    assert_eq!(below(&store), [(1, 11), (3, 3)], "the flush took what was written when it began");
    assert_eq!(entries(store.range(..)), [(1, 12), (3, 3), (100, 1), (101, 1)]);
    assert!(store.is_dirty());
    store.flush().unwrap();
    assert_eq!(below(&store), [(1, 12), (3, 3), (100, 1), (101, 1)]);
}

/// Stops whoever clones the root, as is done to build a cut, at each time until `over`, beginning with `step`. Readers go on
/// meanwhile, with what is published by then.
fn at_every_cut(store: &Shared, mut step: Parked, over: impl Fn() -> bool, expected: &[(u32, u32)]) {
    while step.arrived_unless(&over) {
        let reader = Arc::clone(store);
        let seen = finishes("a reader", move || {
            let points = (0..10).filter_map(|key| Some((key, reader.get(&key).unwrap()?))).collect::<Vec<_>>();
            (points, entries(reader.range(..)))
        });
        assert_eq!(seen, (expected.to_vec(), expected.to_vec()));
        let next = store.parent().park(Call::Clone, 1);
        step.release();
        step = next;
    }
}

/// What is written is in the published cut, as the second reader after a write puts it there: readers need no lock.
fn published(store: &Shared) {
    (0..2).for_each(|_| drop(store.snapshot().unwrap()));
}

#[test]
fn every_step_of_a_flush_shows_the_same() {
    for fails in [false, true] {
        let store = store();
        write(&store);
        published(&store);
        let (commit, step) = (store.parent().park(Call::Commit, 1), store.parent().park(Call::Clone, 1));
        let flush = thread::spawn({
            let store = Arc::clone(&store);
            move || store.flush()
        });
        at_every_cut(&store, step, || commit.has_arrived(), &[(1, 11), (3, 3)]);
        store.set(4, 4);
        published(&store);
        let step = store.parent().park(Call::Clone, 1);
        if fails {
            commit.fail()
        } else {
            commit.release()
        }
        at_every_cut(&store, step, || flush.is_finished(), &[(1, 11), (3, 3), (4, 4)]);
        assert_eq!(flush.join().unwrap().is_err(), fails);
        assert_shows(&store, &[(1, 11), (3, 3), (4, 4)]);
    }
}

/// A write that is complete shows to a reader who comes while another is publishing it.
#[test]
fn a_reader_beside_a_publication_misses_nothing() {
    type Reading = fn(&Shared) -> Option<u32>;
    let readings: [Reading; 2] =
        [|store| store.get(&5).unwrap(), |store| store.range(5..).next().map(|entry| entry.unwrap().1)];
    for reading in readings {
        let store = store();
        store.set(5, 5);
        let publication = store.parent().park(Call::Clone, 1);
        let beside = |reading: Reading| {
            let store = Arc::clone(&store);
            thread::spawn(move || reading(&store))
        };
        let publisher = beside(|store| store.snapshot().unwrap().get(&5).unwrap());
        publication.arrived();
        let reader = beside(reading);
        thread::sleep(Duration::from_millis(20)); // gives the reader time to go wrong; too little would only hide it
        publication.release();
        assert_eq!((publisher.join().unwrap(), reader.join().unwrap()), (Some(5), Some(5)));
    }
}

#[test]
fn discard_while_the_parent_commits_drops_what_came_since() {
    for fails in [false, true] {
        let store = store();
        write(&store);
        let commit = store.parent().park(Call::Commit, 1);
        let flush = thread::spawn({
            let store = Arc::clone(&store);
            move || store.flush()
        });
        commit.arrived();
        store.set(1, 12);
        store.set(4, 4);
        let discarding = Arc::clone(&store);
        finishes("discard", move || discarding.discard().unwrap());
        assert_shows(&store, &[(1, 11), (3, 3)]);
        if fails {
            commit.fail()
        } else {
            commit.release()
        }
        assert_eq!(flush.join().unwrap().is_err(), fails);
        assert_shows(&store, &[(1, 11), (3, 3)]);
        assert_eq!(store.is_dirty(), fails);
        assert_eq!(below(&store) == [(1, 11), (3, 3)], !fails);
        store.discard().unwrap(); // nothing is in flight now
        assert_shows(&store, if fails { &[(1, 1), (2, 2)] } else { &[(1, 11), (3, 3)] });
    }
}

#[test]
fn while_a_reader_is_parked_everybody_goes_on() {
    for published in [false, true] {
        let store = store();
        write(&store);
        if published {
            store.snapshot().unwrap();
        }
        let read = store.parent().park(Call::Read, 1);
        let reader = thread::spawn({
            let store = Arc::clone(&store);
            move || store.get(&7)
        });
        read.arrived();
        everything_goes_on(&store);
        let renewing = Arc::clone(&store);
        finishes("flush or discard", move || {
            renewing.set(7, 7);
            renewing.flush().unwrap();
            renewing.refresh().unwrap();
            renewing.discard().unwrap();
        });
        assert_eq!(store.get(&7).unwrap(), Some(7));
        read.release();
        assert_eq!(reader.join().unwrap().unwrap(), None, "it answers from the state it began with");
    }
}

#[test]
fn while_an_iterator_is_open_everybody_goes_on() {
    let store = store();
    write(&store);
    let mut walk = store.range(..);
    assert_eq!(walk.next().unwrap().unwrap(), (1, 11));
    everything_goes_on(&store);
    let renewing = Arc::clone(&store);
    finishes("flush or discard", move || {
        renewing.flush().unwrap();
        renewing.delete(3);
        renewing.flush().unwrap();
        renewing.discard().unwrap();
    });
    assert_eq!(entries(walk), [(3, 3)]);
}

#[test]
fn a_parked_snapshot_of_the_parent_holds_up_no_reader_or_writer() {
    for renew in [Store::refresh, Store::discard, Store::flush] {
        let store = store();
        write(&store);
        store.flush().unwrap();
        let snapshot = store.parent().park(Call::Snapshot, 1);
        let renewing = thread::spawn({
            let store = Arc::clone(&store);
            move || renew(&store)
        });
        snapshot.arrived();
        let other = Arc::clone(&store);
        finishes("a write", move || {
            other.set(4, 4);
            assert_eq!(entries(other.range(..)), [(1, 11), (3, 3), (4, 4)]);
            assert_eq!(other.get(&1).unwrap(), Some(11));
            other.discard().unwrap(); // leaves the base to the one under way
            assert_eq!(entries(other.range(..)), [(1, 11), (3, 3)]);
        });
        snapshot.release();
        renewing.join().unwrap().unwrap();
    }
}
