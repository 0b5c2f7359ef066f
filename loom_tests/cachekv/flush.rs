//! A flush beside readers, writers and another flush.

use super::*;

/// While a flush moves entries down, every reader sees each exactly once.
#[test]
fn a_flush_shows_the_same_throughout() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| store.flush().unwrap());
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        assert_eq!(store.get(&2).unwrap(), Some(1));
        flush.join().unwrap();
        assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(1));
        assert!(!store.is_dirty());
    });
}

/// A point read of what nobody has published yet finds it while a flush moves it down.
#[test]
fn a_point_read_beside_a_flush_misses_nothing() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let flush = beside(&store, |store| store.flush().unwrap());
        assert_eq!(store.get(&1).unwrap(), Some(1));
        assert!(store.contains(&1).unwrap());
        flush.join().unwrap();
    });
}

/// A set that races with a flush is in the parent or still dirty: it is not lost, and the newer value stands.
#[test]
fn a_set_beside_a_flush_is_not_lost() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let flush = beside(&store, |store| store.flush().unwrap());
        store.set(1, 2);
        assert_eq!(store.get(&1).unwrap(), Some(2));
        flush.join().unwrap();
        assert_eq!(store.get(&1).unwrap(), Some(2));
        store.flush().unwrap();
        assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(2));
    });
}

/// A batch that is applied while a flush freezes what was dirty is not lost, and nothing of what was flushed is dirty again.
#[test]
fn a_batch_beside_a_flush_is_not_lost() {
    explore(|| {
        let store = store();
        store.set(3, 3);
        let batch = beside(&store, |store| drop(store.commit(pair(1)).unwrap()));
        store.flush().unwrap();
        assert_eq!(store.parent().snapshot().unwrap().get(&3).unwrap(), Some(3));
        batch.join().unwrap();
        assert_eq!((seen(&store.snapshot().unwrap()), store.get(&3).unwrap()), (Some(1), Some(3)));
        let written: usize = store.snapshot().unwrap().overlays().iter().map(|overlay| overlay.len()).sum();
        assert!(written == 0 || written == 2, "{written} entries are dirty");
    });
}

/// A set, a snapshot and a flush at once: the snapshot shows what was there before all three, the set is not lost.
#[test]
fn set_snapshot_and_flush_at_once() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| store.flush().unwrap());
        let writer = beside(&store, |store| store.set(3, 3));
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        flush.join().unwrap();
        writer.join().unwrap();
        assert_eq!((seen(&store.snapshot().unwrap()), store.get(&3).unwrap()), (Some(1), Some(3)));
        assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(1));
    });
}

/// The same with a flush that fails: nothing is lost, and the next one takes it all, the newer value over the older.
#[test]
fn set_snapshot_and_failing_flush_at_once() {
    explore(|| {
        let store = Failing::store(1);
        store.commit(pair(1)).unwrap();
        let flush = beside(&store, |store| assert!(store.flush().is_err()));
        let writer = beside(&store, |store| drop(store.commit(pair(2)).unwrap()));
        assert!(seen(&store.snapshot().unwrap()) >= Some(1));
        flush.join().unwrap();
        writer.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), Some(2));
        assert_eq!(seen(&store.parent().snapshot().unwrap()), None);
        store.flush().unwrap();
        assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(2));
    });
}

/// A flush that fails loses nothing, whatever is written meanwhile.
#[test]
fn a_failing_flush_loses_nothing() {
    explore(|| {
        let store = Failing::store(usize::MAX);
        store.commit(pair(1)).unwrap();
        let writer = beside(&store, |store| store.set(3, 3));
        assert!(store.flush().is_err());
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        writer.join().unwrap();
        assert_eq!(store.range(..).count(), 3);
    });
}

/// Of two flushes at once the one that takes the older value does not put it over the newer.
#[test]
fn flushes_at_once_keep_the_order_of_writes() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let other = beside(&store, |store| store.flush().unwrap());
        store.set(1, 2);
        store.flush().unwrap();
        assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(2));
        other.join().unwrap();
        assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(2));
        assert_eq!(store.get(&1).unwrap(), Some(2));
    });
}

/// When a flush returns, what was complete when it began is in the parent, though another flush took it there.
#[test]
fn flushes_follow_one_another() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let other = beside(&store, |store| {
            store.flush().unwrap();
            assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(1));
        });
        store.flush().unwrap();
        assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(1));
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        other.join().unwrap();
        assert!(!store.is_dirty());
    });
}

/// A parent that, while it commits, is written to from above.
struct WrittenOver {
    parent: Mem,
    above: std::sync::OnceLock<std::sync::Weak<Store<WrittenOver>>>,
}

impl KvStore for WrittenOver {
    type Key = u8;
    type Value = u8;
    type Snapshot = MemSnapshot<u8, u8>;
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.parent.snapshot()
    }
    fn commit(&self, batch: WriteBatch<u8, u8>) -> Result<Self::Snapshot, Error> {
        self.above.get().and_then(std::sync::Weak::upgrade).unwrap().set(2, 2);
        self.parent.commit(batch)
    }
}

/// A store that at no moment has nothing to flush never says so, though a flush moves what it has.
#[test]
fn a_store_is_dirty_while_anything_is() {
    explore(|| {
        let parent = WrittenOver { parent: MemStore::new(), above: std::sync::OnceLock::new() };
        let store = Arc::new(Store::new(parent).unwrap());
        store.parent().above.set(Arc::downgrade(&store)).unwrap();
        store.set(1, 1);
        let flush = beside(&store, |store| store.flush().unwrap());
        assert!(store.is_dirty());
        flush.join().unwrap();
        assert!(store.is_dirty());
    });
}
