//! Writes, publications and readers of one layer.

use super::*;
use loom::sync::atomic::{AtomicBool, Ordering};

/// A snapshot shows all of a batch or nothing, and every write that was complete before it.
#[test]
fn a_snapshot_is_one_cut() {
    explore(|| {
        let store = store();
        let writer = beside(&store, |store| drop(store.commit(pair(1)).unwrap()));
        seen(&store.snapshot().unwrap());
        writer.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
    });
}

/// A set that has returned is seen by a point read and by a snapshot, whatever publication it races with.
#[test]
fn a_completed_set_is_seen() {
    explore(|| {
        let store = store();
        let reader = beside(&store, |store| drop(store.snapshot().unwrap()));
        store.set(1, 7);
        assert_eq!(store.get(&1).unwrap(), Some(7));
        store.set(1, 8);
        assert_eq!(shown(&store, 1), Some(8));
        reader.join().unwrap();
        assert_eq!(store.get(&1).unwrap(), Some(8));
    });
}

/// Two readers that publish at once both see the write.
#[test]
fn readers_that_publish_at_once_agree() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let other = beside(&store, |store| assert_eq!(shown(store, 1), Some(1)));
        assert_eq!(shown(&store, 1), Some(1));
        assert_eq!(store.get(&1).unwrap(), Some(1));
        other.join().unwrap();
    });
}

/// A set whose completion was announced, not by the store, is seen by `read` while a third thread publishes it: it asks
/// twice, since what one reader alone asks for is not put into the cell.
fn an_announced_set_is_seen_by(read: impl Fn(&Store<Mem>) -> Option<u8> + Send + Sync + 'static) {
    explore(move || {
        let store = store();
        let complete = Arc::new(AtomicBool::new(false));
        let writer = {
            let complete = Arc::clone(&complete);
            beside(&store, move |store| {
                store.set(1, 1);
                complete.store(true, Ordering::Release);
            })
        };
        let publisher = beside(&store, |store| (0..2).for_each(|_| drop(store.snapshot().unwrap())));
        let must = complete.load(Ordering::Acquire);
        let found = read(&store);
        assert!(found == Some(1) || found.is_none() && !must, "a complete write is missed");
        writer.join().unwrap();
        publisher.join().unwrap();
    });
}

/// A point read that finds nothing pending sees every write that it can know to be complete.
#[test]
fn an_announced_set_is_seen_by_a_point_read() {
    an_announced_set_is_seen_by(|store| store.get(&1).unwrap());
}

/// A snapshot that finds nothing pending, or takes another's publication, shows every write that it can know to be complete.
#[test]
fn an_announced_set_is_seen_by_a_snapshot() {
    an_announced_set_is_seen_by(|store| shown(store, 1));
}

/// A reader that is kept from the lock, and takes the cut that a writer publishes for it, misses no complete write.
#[test]
fn a_reader_kept_waiting_is_given_a_cut_that_will_do() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let writer = beside(&store, |store| {
            store.set(2, 2);
            store.set(3, 3);
        });
        let cut = store.snapshot().unwrap();
        assert_eq!(cut.get(&1).unwrap(), Some(1));
        assert!(
            cut.get(&3).unwrap().is_none() || cut.get(&2).unwrap().is_some(),
            "the later write without the earlier"
        );
        writer.join().unwrap();
        assert_eq!(store.range(..).count(), 3);
    });
}

/// A reader that is kept from the lock by another's publication, and takes its cut, misses no complete write.
#[test]
fn a_cut_that_another_publishes_will_do() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        // Not by the thread that made the store: after a pause the checker shows it nothing older than what it made.
        let reader = beside(&store, |store| assert_eq!(shown(store, 1), Some(1)));
        store.refresh().unwrap();
        reader.join().unwrap();
    });
}

/// Answers never go back: what one answer has shown, the next shows too.
#[test]
fn answers_never_go_back() {
    explore(|| {
        let store = store();
        let writer = beside(&store, |store| {
            store.set(1, 1);
            store.set(1, 2);
        });
        let answers = [shown(&store, 1), store.get(&1).unwrap(), shown(&store, 1)];
        assert!(answers.is_sorted(), "{answers:?}");
        writer.join().unwrap();
    });
}

/// Answers never go back while another reader publishes, either.
#[test]
fn answers_never_go_back_beside_a_publication() {
    explore_within(2, || {
        let store = store();
        store.set(1, 1);
        let writer = beside(&store, |store| store.set(1, 2));
        let publisher = beside(&store, |store| drop(store.snapshot().unwrap()));
        let answers = [store.get(&1).unwrap(), shown(&store, 1), store.get(&1).unwrap()];
        assert!(answers[0] >= Some(1) && answers.is_sorted(), "{answers:?}");
        writer.join().unwrap();
        publisher.join().unwrap();
    });
}

/// A set beside a batch that is being applied is not lost, nor is any of the batch.
#[test]
fn a_set_beside_a_batch_is_not_lost() {
    explore(|| {
        let store = store();
        let batch = beside(&store, |store| drop(store.commit(pair(1)).unwrap()));
        store.set(3, 3);
        assert_eq!(store.get(&3).unwrap(), Some(3));
        batch.join().unwrap();
        assert_eq!((seen(&store.snapshot().unwrap()), shown(&store, 3)), (Some(1), Some(3)));
    });
}

/// Of two batches at once one is the later, wholly.
#[test]
fn batches_follow_one_another() {
    explore(|| {
        let store = store();
        let batch = beside(&store, |store| assert_eq!(seen(&store.commit(pair(1)).unwrap()), Some(1)));
        assert_eq!(seen(&store.commit(pair(2)).unwrap()), Some(2));
        batch.join().unwrap();
        assert!(seen(&store.snapshot().unwrap()).is_some());
    });
}
