//! The cache-wrapped store: publication, flush, discard.

use crate::cachekv::Store;
use crate::kv::{Error, KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use crate::loom_tests::explore;
use loom::thread;
use std::sync::Arc;

type Mem = MemStore<u8, u8>;

fn store() -> Arc<Store<Mem>> {
    Arc::new(Store::new(MemStore::new()).unwrap())
}

fn pair(value: u8) -> WriteBatch<u8, u8> {
    [(1, Op::Put(value)), (2, Op::Put(value))].into_iter().collect()
}

/// Both keys of a pair, which are always written together.
fn seen(state: &impl KvRead<Key = u8, Value = u8>) -> Option<u8> {
    let values = (state.get(&1).unwrap(), state.get(&2).unwrap());
    assert_eq!(values.0, values.1, "half of a batch");
    let walked: Vec<_> = state.range(..).map(Result::unwrap).collect();
    assert_eq!(walked.len(), if values.0.is_some() { 2 } else { 0 }, "an entry missing, or twice");
    values.0
}

/// A snapshot shows all of a batch or nothing, and every write that was complete before it.
#[test]
fn a_snapshot_is_one_cut() {
    explore(|| {
        let store = store();
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || drop(store.commit(pair(1)).unwrap()))
        };
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
        let reader = {
            let store = Arc::clone(&store);
            thread::spawn(move || drop(store.snapshot().unwrap()))
        };
        store.set(1, 7);
        assert_eq!(store.get(&1).unwrap(), Some(7));
        store.set(1, 8);
        assert_eq!(store.snapshot().unwrap().get(&1).unwrap(), Some(8));
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
        let other = {
            let store = Arc::clone(&store);
            thread::spawn(move || assert_eq!(store.snapshot().unwrap().get(&1).unwrap(), Some(1)))
        };
        assert_eq!(store.snapshot().unwrap().get(&1).unwrap(), Some(1));
        assert_eq!(store.get(&1).unwrap(), Some(1));
        other.join().unwrap();
    });
}

/// While a flush moves entries down, every reader sees each exactly once.
#[test]
fn a_flush_shows_the_same_throughout() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let flush = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.flush().unwrap())
        };
        assert_eq!(seen(&store.snapshot().unwrap()), Some(1));
        assert_eq!(store.get(&2).unwrap(), Some(1));
        flush.join().unwrap();
        assert_eq!(seen(&store.parent().snapshot().unwrap()), Some(1));
        assert!(!store.is_dirty());
    });
}

/// A set that races with a flush is in the parent or still dirty: it is not lost, and the newer value stands.
#[test]
fn a_set_beside_a_flush_is_not_lost() {
    explore(|| {
        let store = store();
        store.set(1, 1);
        let flush = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.flush().unwrap())
        };
        store.set(1, 2);
        assert_eq!(store.get(&1).unwrap(), Some(2));
        flush.join().unwrap();
        assert_eq!(store.get(&1).unwrap(), Some(2));
        store.flush().unwrap();
        assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(2));
    });
}

/// A parent whose commits fail.
struct Failing(Mem);

impl KvStore for Failing {
    type Key = u8;
    type Value = u8;
    type Snapshot = MemSnapshot<u8, u8>;
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.0.snapshot()
    }
    fn commit(&self, _: WriteBatch<u8, u8>) -> Result<Self::Snapshot, Error> {
        Err(Error::Commit { store: "a failing one".into(), source: Arc::new(std::io::Error::other("no")) })
    }
}

/// A flush that fails loses nothing, whatever is written meanwhile.
#[test]
fn a_failing_flush_loses_nothing() {
    explore(|| {
        let store = Arc::new(Store::new(Failing(MemStore::new())).unwrap());
        store.commit(pair(1)).unwrap();
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.set(3, 3))
        };
        assert!(store.flush().is_err());
        let now = store.snapshot().unwrap();
        assert_eq!((now.get(&1).unwrap(), now.get(&2).unwrap()), (Some(1), Some(1)));
        writer.join().unwrap();
        assert_eq!(store.range(..).count(), 3);
    });
}

/// A discard takes all of a batch or none, and no open iterator notices.
#[test]
fn a_discard_takes_all_or_nothing() {
    explore(|| {
        let store = store();
        store.commit(pair(1)).unwrap();
        let open = store.range(..);
        let discard = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.discard().unwrap())
        };
        seen(&store.snapshot().unwrap());
        assert_eq!(open.count(), 2);
        discard.join().unwrap();
        assert_eq!(seen(&store.snapshot().unwrap()), None);
    });
}
