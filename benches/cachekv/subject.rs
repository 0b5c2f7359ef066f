//! What is compared: `Store` and the three ways to do without it.
//!
//! * `ours`: a `Store`, its parent a `MemStore`.
//! * `cloned`: an `RwLock<BTreeMap>`, cloned for every iterator: consistent, at the price of the copy.
//! * `locked`: the same, its lock held for an iterator's life: consistent, and every writer waits.
//! * `skiplist`: `crossbeam_skiplist::SkipMap`: nobody waits, and an iterator sees what is written under it.
//!
//! Each may lie over a parent: another map below, whose entries those above hide.

use bytes::Bytes;
use cachekv::cachekv::Store;
use cachekv::kv::{Error, Key, KvStore, MemStore, MergeIter, Value};
use crossbeam_skiplist::SkipMap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;

/// The keys and values of a benchmark, by number.
pub(crate) trait Entry: Key + Value {
    const NAME: &'static str;
    type Value: Value;
    fn key(at: u64) -> Self;
    fn value(at: u64) -> Self::Value;
}

impl Entry for u64 {
    const NAME: &'static str = "u64";
    type Value = u64;
    fn key(at: u64) -> u64 {
        at
    }
    fn value(at: u64) -> u64 {
        at
    }
}

impl Entry for Bytes {
    const NAME: &'static str = "bytes";
    type Value = Bytes;
    fn key(at: u64) -> Bytes {
        Bytes::from(format!("account/{at:016}"))
    }
    fn value(at: u64) -> Bytes {
        Bytes::from(vec![at as u8; 64])
    }
}

/// As the former, where keys have one length: a comparison reads the node and nothing else.
impl Entry for [u8; 24] {
    const NAME: &'static str = "[u8; 24]";
    type Value = Bytes;
    fn key(at: u64) -> [u8; 24] {
        let mut key = *b"account/................";
        key[8..].copy_from_slice(format!("{at:016}").as_bytes());
        key
    }
    fn value(at: u64) -> Bytes {
        <Bytes as Entry>::value(at)
    }
}

/// Numbers below `end` in an order without pattern, the same in every run.
pub(crate) struct Shuffle(pub u64);

impl Shuffle {
    pub(crate) fn next(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The numbers below `end`, each once, in an order without pattern.
pub(crate) fn mixed(end: u64) -> Vec<u64> {
    let mut order: Vec<_> = (0..end).collect();
    order.sort_by_key(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    order
}

/// Takes an entry, as a caller would that uses it.
pub(crate) fn pass<T>(entry: T) {
    black_box(entry);
}

/// A map that is written while it is walked.
pub(crate) trait Subject<K: Entry>: Send + Sync {
    fn set(&self, key: K, value: K::Value);
    fn get(&self, key: &K) -> Option<K::Value>;
    /// Opens an iterator at `from` and takes `keys` of it.
    fn walk(&self, from: &K, keys: usize);
    /// Takes every key, from the last to the first.
    fn walk_back(&self);
}

impl<K: Entry> Subject<K> for Store<MemStore<K, K::Value>> {
    fn set(&self, key: K, value: K::Value) {
        Store::set(self, key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        Store::get(self, key).unwrap()
    }
    fn walk(&self, from: &K, keys: usize) {
        self.range((Bound::Included(from.clone()), Bound::Unbounded)).take(keys).for_each(pass)
    }
    fn walk_back(&self) {
        self.range(..).rev().for_each(pass)
    }
}

/// A map over a parent that does not change.
struct Over<M, K: Entry> {
    map: M,
    parent: BTreeMap<K, K::Value>,
}

type Map<K> = BTreeMap<K, <K as Entry>::Value>;
struct Cloned<K: Entry>(Over<RwLock<Map<K>>, K>);
struct Locked<K: Entry>(Over<RwLock<Map<K>>, K>);
struct Skipping<K: Entry>(Over<SkipMap<K, K::Value>, K>);

/// The entries of `above` and `below` in order, those above hiding those below; nothing is merged where nothing is below.
fn merged<'m, K: Entry>(
    above: impl DoubleEndedIterator<Item = (K, K::Value)> + 'm,
    below: &'m Map<K>,
    from: Bound<&K>,
) -> Box<dyn DoubleEndedIterator<Item = (K, K::Value)> + 'm> {
    if below.is_empty() {
        return Box::new(above);
    }
    type Layer<'m, K> = Box<dyn DoubleEndedIterator<Item = Result<(K, Option<<K as Entry>::Value>), Error>> + 'm>;
    let below = below.range((from, Bound::Unbounded)).map(|(key, value)| Ok((key.clone(), Some(value.clone()))));
    let layers: [Layer<'m, K>; 2] = [Box::new(above.map(|(key, value)| Ok((key, Some(value))))), Box::new(below)];
    Box::new(MergeIter::new(layers).filter_map(|entry| entry.ok().and_then(|(key, value)| Some((key, value?)))))
}

fn owned<'m, K: Entry>((key, value): (&'m K, &'m K::Value)) -> (K, K::Value) {
    (key.clone(), value.clone())
}

impl<K: Entry> Subject<K> for Cloned<K> {
    fn set(&self, key: K, value: K::Value) {
        self.0.map.write().insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        self.0.map.read().get(key).cloned()
    }
    fn walk(&self, from: &K, keys: usize) {
        let map = self.0.map.read().clone();
        merged(map.range(from..).map(owned), &self.0.parent, Bound::Included(from)).take(keys).for_each(pass)
    }
    fn walk_back(&self) {
        let map = self.0.map.read().clone();
        merged(map.iter().map(owned), &self.0.parent, Bound::Unbounded).rev().for_each(pass)
    }
}

impl<K: Entry> Subject<K> for Locked<K> {
    fn set(&self, key: K, value: K::Value) {
        self.0.map.write().insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        self.0.map.read().get(key).cloned()
    }
    fn walk(&self, from: &K, keys: usize) {
        let map = self.0.map.read();
        merged(map.range(from..).map(owned), &self.0.parent, Bound::Included(from)).take(keys).for_each(pass)
    }
    fn walk_back(&self) {
        let map = self.0.map.read();
        merged(map.iter().map(owned), &self.0.parent, Bound::Unbounded).rev().for_each(pass)
    }
}

impl<K: Entry> Subject<K> for Skipping<K> {
    fn set(&self, key: K, value: K::Value) {
        self.0.map.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<K::Value> {
        self.0.map.get(key).map(|entry| entry.value().clone())
    }
    fn walk(&self, from: &K, keys: usize) {
        let above = self.0.map.range(from.clone()..).map(|entry| (entry.key().clone(), entry.value().clone()));
        merged(above, &self.0.parent, Bound::Included(from)).take(keys).for_each(pass)
    }
    fn walk_back(&self) {
        let above = self.0.map.range::<K, _>(..).map(|entry| (entry.key().clone(), entry.value().clone()));
        merged(above, &self.0.parent, Bound::Unbounded).rev().for_each(pass)
    }
}

pub(crate) const NAMES: [&str; 4] = ["ours", "cloned", "locked", "skiplist"];

/// The subject of this name with the keys of `above` written, in their order, over a parent that has those of `below`.
pub(crate) fn subject<K: Entry>(name: &str, above: &[u64], below: &[u64]) -> Box<dyn Subject<K>> {
    let parent = || below.iter().map(|&at| (K::key(at), K::value(at))).collect::<BTreeMap<_, _>>();
    let subject: Box<dyn Subject<K>> = match name {
        "ours" => Box::new(Store::new(parent().into_iter().collect::<MemStore<_, _>>()).unwrap()),
        "cloned" => Box::new(Cloned(Over { map: RwLock::default(), parent: parent() })),
        "locked" => Box::new(Locked(Over { map: RwLock::default(), parent: parent() })),
        _ => Box::new(Skipping(Over { map: SkipMap::new(), parent: parent() })),
    };
    above.iter().for_each(|&at| subject.set(K::key(at), K::value(at)));
    subject
}

/// A `Store` with `keys` entries written.
pub(crate) fn store<K: Entry>(keys: u64) -> Store<MemStore<K, K::Value>> {
    let store = Store::new(MemStore::new()).unwrap();
    mixed(keys).into_iter().for_each(|at| store.set(K::key(at), K::value(at)));
    drop(store.snapshot());
    store
}
