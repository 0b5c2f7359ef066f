//! The cache-wrapped store under the model checker: what becomes visible when, and what a flush, a refresh and a discard
//! leave behind.
//!
//! The snapshot cell is a model of its contract (`src/sync`): who is not ordered after a publication may find an older
//! cut there. So these models see a missing or weakened order; the cell's own insides are for stress and the thread
//! sanitizer.

mod flush;
mod publication;
mod renewal;
mod stack;

use super::Store;
use crate::kv::{Error, KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use crate::loom_tests::{explore, explore_within};
use loom::thread;
use std::sync::Arc;

type Mem = MemStore<u8, u8>;

fn store() -> Arc<Store<Mem>> {
    Arc::new(Store::new(MemStore::new()).unwrap())
}

/// Runs `act` on a thread of its own.
fn beside<S: Send + Sync + 'static, T: 'static>(
    store: &Arc<S>,
    act: impl FnOnce(&S) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let store = Arc::clone(store);
    thread::spawn(move || act(&store))
}

/// Two keys that are always written together.
fn pair(value: u8) -> WriteBatch<u8, u8> {
    [(1, Op::Put(value)), (2, Op::Put(value))].into_iter().collect()
}

/// What a state shows of the pair; half of it, an entry missing or one twice is what no state shows.
fn seen(state: &impl KvRead<Key = u8, Value = u8>) -> Option<u8> {
    let values = (state.get(&1).unwrap(), state.get(&2).unwrap());
    assert_eq!(values.0, values.1, "half of a batch");
    let walked: Vec<_> = state.range(1..=2).map(Result::unwrap).collect();
    let expected: Vec<_> = values.0.into_iter().flat_map(|value| [(1, value), (2, value)]).collect();
    assert_eq!(walked, expected, "a walk and a point read differ");
    values.0
}

fn shown<P: KvStore<Key = u8, Value = u8>>(store: &Store<P>, key: u8) -> Option<u8> {
    store.snapshot().unwrap().get(&key).unwrap()
}

/// A parent whose first commits fail.
struct Failing {
    parent: Mem,
    failures: std::sync::atomic::AtomicUsize, // the model checker has nothing to try here
}

impl Failing {
    fn store(failures: usize) -> Arc<Store<Failing>> {
        let failures = std::sync::atomic::AtomicUsize::new(failures);
        Arc::new(Store::new(Failing { parent: MemStore::new(), failures }).unwrap())
    }
}

impl KvStore for Failing {
    type Key = u8;
    type Value = u8;
    type Snapshot = MemSnapshot<u8, u8>;
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.parent.snapshot()
    }
    fn commit(&self, batch: WriteBatch<u8, u8>) -> Result<Self::Snapshot, Error> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::Commit { store: "a failing one".into(), source: Arc::new(std::io::Error::other("no")) });
        }
        self.parent.commit(batch)
    }
}
