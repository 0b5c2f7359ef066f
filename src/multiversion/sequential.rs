//! The state of a block that executes one transaction after the other: no versions, no conflicts.

use super::chain::Write;
use crate::kv::{self, DynRead, Key, KeyRange, KvRead, Op, Value, WriteBatch};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Every key read or written so far, with what it is now.
type Known<K, V> = HashMap<K, Option<V>, foldhash::fast::RandomState>;

/// The state before the block, and what its transactions so far have written.
#[derive(Debug)]
pub(crate) struct SequentialState<K: Key, V: Value> {
    base: DynRead<K, V>,
    /// For points: the base is read once a key.
    known: Known<K, V>,
    /// For ranges, and for the outcome.
    written: BTreeMap<K, Op<V>>,
}

/// What one transaction reads of a [`SequentialState`].
pub(crate) struct SequentialSource<'a, K: Key, V: Value> {
    base: &'a DynRead<K, V>,
    known: RefCell<&'a mut Known<K, V>>,
    written: &'a BTreeMap<K, Op<V>>,
}

impl<K: Key, V: Value> SequentialState<K, V> {
    pub(crate) fn new(base: DynRead<K, V>) -> Self {
        Self { base, known: Known::default(), written: BTreeMap::new() }
    }

    pub(crate) fn source(&mut self) -> SequentialSource<'_, K, V> {
        SequentialSource { base: &self.base, known: RefCell::new(&mut self.known), written: &self.written }
    }

    /// The writes of a transaction that has finished, resolved.
    pub(crate) fn resolve<O>(&self, writes: impl Iterator<Item = (K, Write<V, O>)>) -> Vec<(K, Op<V>)> {
        let resolved = writes.filter_map(|(key, write)| match write {
            Write::Put(value) => Some((key, Op::Put(value))),
            Write::Delete => Some((key, Op::Delete)),
            Write::Merge(_) => None, // a sequential view merges into values at once
        });
        resolved.collect()
    }

    /// Takes over resolved writes.
    pub(crate) fn apply(&mut self, writes: Vec<(K, Op<V>)>) {
        for (key, op) in writes {
            self.known.insert(key.clone(), op.value().cloned());
            self.written.insert(key, op);
        }
    }

    /// Everything written, in key order.
    pub(crate) fn into_batch(self) -> WriteBatch<K, V> {
        self.written.into_iter().collect()
    }
}

impl<'a, K: Key, V: Value> SequentialSource<'a, K, V> {
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, kv::Error> {
        if let Some(known) = self.known.borrow().get(key) {
            return Ok(known.clone());
        }
        let value = self.base.get(key)?;
        self.known.borrow_mut().insert(key.clone(), value.clone());
        Ok(value)
    }

    pub(super) fn contains(&self, key: &K) -> Result<bool, kv::Error> {
        if let Some(known) = self.known.borrow().get(key) {
            return Ok(known.is_some());
        }
        self.get(key).map(|value| value.is_some())
    }

    /// The written keys in `range`, tombstones included.
    pub(super) fn written(
        &self,
        range: KeyRange<K>,
    ) -> impl DoubleEndedIterator<Item = (K, Option<V>)> + use<'a, K, V> {
        let some = (!range.is_empty()).then(|| self.written.range(range));
        some.into_iter().flatten().map(|(key, op)| (key.clone(), op.value().cloned()))
    }

    pub(super) fn base(&self) -> &DynRead<K, V> {
        self.base
    }
}
