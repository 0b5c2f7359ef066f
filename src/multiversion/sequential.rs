//! The state of a block that executes one transaction after the other: no versions, no conflicts.

use super::chain::Write;
use crate::kv::{self, DynRead, Key, KeyRange, KvRead, Op, Value, WriteBatch};
use crate::sync::OnceLock;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Every key read or written so far.
type Known<K, V> = HashMap<K, Now<V>, foldhash::fast::RandomState>;

/// What a key is now.
#[derive(Debug)]
struct Now<V> {
    value: Option<V>,
    /// Whether a transaction has written it.
    written: bool,
}

/// The state before the block, and what its transactions so far have written.
pub(crate) struct SequentialState<K: Key, V: Value> {
    base: DynRead<K, V>,
    /// The base is read once a key.
    known: Known<K, V>,
    /// What was written, in order, once a transaction has walked a range: most blocks do without. Set by the thread that executes the
    /// block; a lock of its kind only because a view may be sent to another thread.
    ordered: OnceLock<BTreeMap<K, Option<V>>>,
}

/// What one transaction reads of a [`SequentialState`].
pub(crate) struct SequentialSource<'a, K: Key, V: Value> {
    base: &'a DynRead<K, V>,
    known: RefCell<&'a mut Known<K, V>>,
    ordered: &'a OnceLock<BTreeMap<K, Option<V>>>,
}

impl<K: Key, V: Value> SequentialState<K, V> {
    pub(crate) fn new(base: DynRead<K, V>) -> Self {
        Self { base, known: Known::default(), ordered: OnceLock::new() }
    }

    pub(crate) fn source(&mut self) -> SequentialSource<'_, K, V> {
        SequentialSource { base: &self.base, known: RefCell::new(&mut self.known), ordered: &self.ordered }
    }

    /// The writes of a transaction that has finished, resolved.
    pub(crate) fn resolve<O>(writes: Vec<(K, Write<V, O>)>) -> impl Iterator<Item = (K, Op<V>)> {
        writes.into_iter().filter_map(|(key, write)| match write {
            Write::Put(value) => Some((key, Op::Put(value))),
            Write::Delete => Some((key, Op::Delete)),
            Write::Merge(_) => None, // a sequential view merges into values at once
        })
    }

    /// Takes over resolved writes.
    pub(crate) fn apply(&mut self, writes: impl IntoIterator<Item = (K, Op<V>)>) {
        for (key, op) in writes {
            let value = op.into_value();
            if let Some(ordered) = self.ordered.get_mut() {
                ordered.insert(key.clone(), value.clone());
            }
            self.known.insert(key, Now { value, written: true });
        }
    }

    /// Every key read or written, with its value, and whether it was written; in no order.
    pub(crate) fn into_known(self) -> impl Iterator<Item = (K, Option<V>, bool)> {
        self.known.into_iter().map(|(key, Now { value, written })| (key, value, written))
    }

    /// Everything written, in key order.
    pub(crate) fn into_batch(self) -> WriteBatch<K, V> {
        let written = self.known.into_iter().filter(|(_, now)| now.written);
        written.map(|(key, now)| (key, now.value.map_or(Op::Delete, Op::Put))).collect()
    }
}

impl<'a, K: Key, V: Value> SequentialSource<'a, K, V> {
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, kv::Error> {
        if let Some(now) = self.known.borrow().get(key) {
            return Ok(now.value.clone());
        }
        let value = self.base.get(key)?;
        self.known.borrow_mut().insert(key.clone(), Now { value: value.clone(), written: false });
        Ok(value)
    }

    pub(super) fn contains(&self, key: &K) -> Result<bool, kv::Error> {
        if let Some(now) = self.known.borrow().get(key) {
            return Ok(now.value.is_some());
        }
        self.get(key).map(|value| value.is_some())
    }

    /// The written keys in `range`, tombstones included. The first call of a block puts them in order.
    pub(super) fn written(
        &self,
        range: KeyRange<K>,
    ) -> impl DoubleEndedIterator<Item = (K, Option<V>)> + use<'a, K, V> {
        if self.ordered.get().is_none() {
            drop(self.ordered.set(self.in_order())); // the first: a block is executed by one thread
        }
        let some = self.ordered.get().filter(|_| !range.is_empty()).map(|ordered| ordered.range(range));
        some.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()))
    }

    fn in_order(&self) -> BTreeMap<K, Option<V>> {
        let known = self.known.borrow();
        let written = known.iter().filter(|(_, now)| now.written);
        written.map(|(key, now)| (key.clone(), now.value.clone())).collect()
    }

    pub(super) fn base(&self) -> &DynRead<K, V> {
        self.base
    }
}
