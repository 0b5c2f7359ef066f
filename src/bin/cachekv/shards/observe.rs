//! What the transactions of a block touch, found by executing them one after the other.
//!
//! A chain declares it beforehand (access lists) or finds it while it makes the block. Where a block comes without, this finds
//! it: each transaction is executed at its place, alone, over a state that notes what is read.

use crate::failure::Failure;
use cachekv::executor::{BlockError, BlockExecutor, Elsewhere, Options, Vm};
use cachekv::kv::{Error, KeyRange, KvRead, KvStore};
use cachekv::remote::Access;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A state that notes the keys that are read, one by one.
#[derive(Clone)]
struct Noted<S: KvRead> {
    state: S,
    read: Arc<Mutex<BTreeSet<S::Key>>>,
}

impl<S: KvRead> KvRead for Noted<S> {
    type Key = S::Key;
    type Value = S::Value;
    type Iter = S::Iter;
    type Root = Self;

    fn get(&self, key: &S::Key) -> Result<Option<S::Value>, Error> {
        self.read.lock().insert(key.clone());
        self.state.get(key)
    }

    fn scan(&self, range: KeyRange<S::Key>) -> S::Iter {
        self.state.scan(range)
    }

    fn root(&self) -> &Self {
        self
    }
}

type Ended<V> = Box<BlockError<<V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output, <V as Vm>::Error>>;

/// What each transaction of `block` reads and writes, executed over `store`, which holds what the block leaves afterwards.
/// Keys read in ranges are not among them.
///
/// # Errors
/// If a transaction cannot be executed: `ended` says why.
pub(crate) fn accesses<V: Vm>(
    vm: &V,
    store: &impl KvStore<Key = V::Key, Value = V::Value>,
    block: &[V::Transaction],
    ended: impl Fn(Ended<V>) -> Failure,
) -> Result<Vec<Access<V::Key>>, Failure> {
    let one = BlockExecutor::new(1).map_err(|error| Failure::System(format!("no threads: {error}")))?;
    let mut accesses = Vec::with_capacity(block.len());
    for (place, transaction) in (0..).zip(block) {
        let state = Noted { state: store.snapshot()?, read: Arc::default() };
        // It is executed at its place: all before it are executed elsewhere, and have been.
        let elsewhere = Some(Elsewhere::new((0..place).map(|place| (place, Vec::new()))));
        let options = Options { elsewhere, ..Options::default() };
        let done = one.execute_with(&state, std::slice::from_ref(transaction), vm, options).map_err(&ended)?;
        let reads = std::mem::take(&mut *state.read.lock());
        let writes = done.batch.iter().map(|(key, _)| key.clone()).collect();
        accesses.push(Access { reads: reads.into_iter().collect(), writes });
        store.commit(done.batch)?;
    }
    Ok(accesses)
}
