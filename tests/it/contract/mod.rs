//! The contract suite: one test for each promise of a store, run on every adapter.
//!
//! An adapter joins with one line, `contract!(name, fixture)`, whose second part makes a [`Fixture`] around an empty
//! store of byte strings.

mod commits;
mod history;
mod ranges;
mod snapshots;

use bytes::Bytes;
use cachekv::cachekv::{DynStore, Store};
use cachekv::kv::{KvRead, KvStore, MemStore, Op, WriteBatch};
use commits::*;
use history::*;
use ranges::*;
use snapshots::*;
use std::any::Any;

/// A store under test, and what has to live as long.
struct Fixture<S> {
    store: S,
    keep: Box<dyn Any>,
    stir: Box<dyn Fn(&S)>,
}

impl<S: KvStore<Key = Bytes, Value = Bytes>> Fixture<S> {
    fn new(store: S) -> Self {
        Self { store, keep: Box::new(()), stir: Box::new(|_| {}) }
    }

    /// Keeps `what` (a temporary directory) until the end of the test.
    #[cfg_attr(not(feature = "redb"), expect(dead_code, reason = "stores in memory need nothing kept"))]
    fn keep(self, what: impl Any) -> Self {
        Self { keep: Box::new((self.keep, what)), ..self }
    }

    /// The store that `wrap` puts over this one; both live as long.
    fn over<T: KvStore<Key = Bytes, Value = Bytes>>(self, wrap: impl FnOnce(S) -> T) -> Fixture<T> {
        Fixture { keep: self.keep, ..Fixture::new(wrap(self.store)) }
    }

    /// Does `stir` after every commit: what must not change what a reader sees (a flush).
    fn stirred(self, stir: impl Fn(&S) + 'static) -> Self {
        Self { stir: Box::new(stir), ..self }
    }

    fn snapshot(&self) -> S::Snapshot {
        self.store.snapshot().unwrap()
    }

    fn commit(&self, batch: WriteBatch<Bytes, Bytes>) -> S::Snapshot {
        let after = self.store.commit(batch).unwrap();
        (self.stir)(&self.store);
        after
    }

    /// Commits `(key, Some(value))` as a put, `(key, None)` as a delete.
    fn write<'a>(&self, ops: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> S::Snapshot {
        self.commit(ops.into_iter().map(|(key, value)| (bytes(key), op(value.map(bytes)))).collect())
    }
}

macro_rules! contract {
    ($name:ident, $fixture:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "what a fixture is made of differs")]
            use super::*;
            contract!(@each $fixture;
                a_new_store_is_empty
                what_is_put_can_be_got
                a_missing_key_is_not_an_empty_value
                the_empty_key_is_a_key
                the_last_write_wins
                deleting_an_absent_key_is_legal
                within_a_batch_the_last_operation_counts
                a_batch_is_seen_whole_or_not_at_all
                no_concurrent_commit_is_lost
                commit_returns_a_snapshot_of_its_batch
                an_empty_batch_changes_nothing
                a_snapshot_never_changes
                a_clone_of_a_snapshot_is_the_same_state
                every_kind_of_bound_is_kept
                ranges_without_keys_yield_nothing
                both_ends_meet_without_loss_or_repetition
                a_finished_iterator_stays_finished
                an_iterator_does_not_see_later_commits
                snapshots_and_iterators_outlive_the_store
                a_large_batch_is_kept
                keys_are_ordered_as_bytes
                overlays_over_the_root_are_the_state
                the_erased_snapshot_is_the_same_state
                random_histories_agree_with_a_map
            );
        }
    };
    (@each $fixture:expr; $($test:ident)*) => {
        $(#[test] fn $test() { super::$test(|| $fixture) })*
    };
}

contract!(mem, mem());
contract!(cached_mem, mem().over(cached));
contract!(cached_twice_mem, mem().over(cached).over(cached));
contract!(cached_mem_flushed, mem().over(cached).stirred(|store| store.flush().unwrap()));
contract!(cached_twice_mem_flushed, mem().over(cached).over(cached).stirred(|store| store.flush().unwrap()));
contract!(dynamic_mem, mem().over(cached).over(DynStore::new).over(cached));
#[cfg(feature = "redb")]
contract!(redb, redb_fixture());
#[cfg(feature = "redb")]
contract!(cached_redb, redb_fixture().over(cached));
#[cfg(feature = "redb")]
contract!(cached_redb_flushed, redb_fixture().over(cached).stirred(|store| store.flush().unwrap()));
#[cfg(feature = "redb")]
contract!(cached_twice_redb, redb_fixture().over(cached).over(cached));

fn mem() -> Fixture<MemStore<Bytes, Bytes>> {
    Fixture::new(MemStore::new())
}

fn cached<P: KvStore>(parent: P) -> Store<P> {
    Store::new(parent).unwrap()
}

#[cfg(feature = "redb")]
fn redb_fixture() -> Fixture<cachekv::kv::RedbStore> {
    let dir = tempfile::tempdir().unwrap();
    Fixture::new(cachekv::kv::RedbStore::create(dir.path().join("store")).unwrap()).keep(dir)
}

/// What the tests ask of a store; any adapter's.
trait ByteStore: KvStore<Key = Bytes, Value = Bytes> {}
impl<S: KvStore<Key = Bytes, Value = Bytes>> ByteStore for S {}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn op(value: Option<Bytes>) -> Op<Bytes> {
    value.map_or(Op::Delete, Op::Put)
}

fn get(state: &impl KvRead<Key = Bytes, Value = Bytes>, key: &str) -> Option<Bytes> {
    let value = state.get(&bytes(key)).unwrap();
    assert_eq!(state.contains(&bytes(key)).unwrap(), value.is_some(), "contains and get agree on {key:?}");
    value
}

/// The keys that `walk` yields, joined by spaces.
fn keys<E: std::fmt::Debug>(walk: impl Iterator<Item = Result<(Bytes, Bytes), E>>) -> String {
    let keys: Vec<_> = walk.map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect();
    keys.join(" ")
}
