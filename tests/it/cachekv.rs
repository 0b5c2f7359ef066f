//! What one thread observes of a store: layers, iterators, bounds, tombstones, the base, nesting.
//!
//! Each test is one behaviour. Those of the Cosmos and Sei stores that are right are here under what they promise, and
//! those that are wrong under what must be instead.

use crate::faulty::{Call, Faulty};
use bytes::Bytes;
use cachekv::cachekv::{DynStore, Iter, Snapshot, Store};
use cachekv::kv::{Error, KeyRange, KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use std::collections::BTreeMap;
use std::sync::Arc;

type Mem = MemStore<u32, u32>;

fn layer() -> Store<Mem> {
    Store::new(MemStore::new()).unwrap()
}

fn over(keys: impl IntoIterator<Item = u32>) -> Store<Mem> {
    Store::new(keys.into_iter().map(|key| (key, key)).collect()).unwrap()
}

/// The keys of a walk.
fn keys<K, V>(walk: impl Iterator<Item = Result<(K, V), Error>>) -> Vec<K> {
    walk.map(|entry| entry.unwrap().0).collect()
}

/// The entries of a walk.
fn entries<K, V>(walk: impl Iterator<Item = Result<(K, V), Error>>) -> Vec<(K, V)> {
    walk.collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_types_can_be_shared_sent_and_kept() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Store<Mem>>();
    shared::<Snapshot<MemSnapshot<u32, u32>>>();
    shared::<DynStore<Bytes, Bytes>>();
    sent::<Iter<MemSnapshot<Bytes, Bytes>>>();
}

#[test]
fn a_store_over_a_store_has_the_snapshot_type_of_one() {
    fn of<P: KvStore<Snapshot = Snapshot<MemSnapshot<u32, u32>>>>(_: &P) {}
    of(&layer());
    of(&Store::new(layer()).unwrap());
    of(&Store::new(Arc::new(Store::new(layer()).unwrap())).unwrap());
}

#[test]
fn writes_stay_in_the_layer_until_flushed() {
    let store = layer();
    store.set(1, 10);
    assert_eq!(store.get(&1).unwrap(), Some(10));
    assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), None);
    store.set(1, 11);
    store.flush().unwrap();
    assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(11));
    store.flush().unwrap(); // again: changes nothing
    assert_eq!(store.parent().snapshot().unwrap().get(&1).unwrap(), Some(11));
    let store = Store::new(store).unwrap();
    assert_eq!(store.get(&1).unwrap(), Some(11));
    store.delete(1);
    assert_eq!((store.get(&1).unwrap(), store.contains(&1).unwrap()), (None, false));
    assert_eq!(store.parent().get(&1).unwrap(), Some(11));
    store.flush().unwrap();
    assert_eq!((store.get(&1).unwrap(), store.parent().get(&1).unwrap()), (None, None));
}

#[test]
fn flush_goes_one_layer_down() {
    let top = Store::new(layer()).unwrap();
    top.set(1, 10);
    assert_eq!(top.parent().get(&1).unwrap(), None);
    top.flush().unwrap();
    assert_eq!(top.parent().get(&1).unwrap(), Some(10));
    assert_eq!(top.parent().parent().snapshot().unwrap().get(&1).unwrap(), None);
    top.parent().flush().unwrap();
    assert_eq!(top.parent().parent().snapshot().unwrap().get(&1).unwrap(), Some(10));
}

#[test]
fn the_last_write_to_a_key_stands() {
    let store = over([1, 2]);
    store.delete(1);
    store.set(1, 11);
    store.set(2, 22);
    store.delete(2);
    assert_eq!(entries(store.range(..)), [(1, 11)]);
    store.commit(WriteBatch::from_iter([(1, Op::Delete), (1, Op::Put(12)), (3, Op::Put(3)), (3, Op::Delete)])).unwrap();
    assert_eq!(entries(store.range(..)), [(1, 12)]);
    store.flush().unwrap();
    assert_eq!(entries(store.parent().snapshot().unwrap().range(..)), [(1, 12)]);
}

#[test]
fn an_empty_value_is_a_value_and_an_empty_key_a_key() {
    let store = Store::new(MemStore::new()).unwrap();
    store.set(Bytes::new(), Bytes::new());
    assert!(store.contains(&Bytes::new()).unwrap());
    assert_eq!(store.get(&Bytes::new()).unwrap(), Some(Bytes::new()));
    store.flush().unwrap();
    assert_eq!(entries(store.range(..)), [(Bytes::new(), Bytes::new())]);
}

#[test]
fn the_delete_of_an_absent_key_reaches_the_parent() {
    let store = Store::new(Faulty::new(Mem::new())).unwrap();
    store.delete(7);
    assert!(store.is_dirty());
    store.flush().unwrap();
    assert_eq!(store.parent().batches(), [WriteBatch::from_iter([(7, Op::Delete)])]);
    assert!(!store.is_dirty());
}

#[test]
fn a_flush_is_one_batch_in_key_order() {
    let store = Store::new(Faulty::new(Mem::new())).unwrap();
    for key in (0..100).rev() {
        store.set(key, key);
    }
    store.flush().unwrap();
    let [batch] = <[_; 1]>::try_from(store.parent().batches()).unwrap();
    assert!(batch.iter().map(|(key, _)| *key).eq(0..100));
}

#[test]
fn ranges_have_the_bounds_asked_for_in_both_directions() {
    let store = layer();
    for key in 0..5 {
        store.set(key, key);
    }
    for flushed in [false, true] {
        assert_eq!(keys(store.range(..)), [0, 1, 2, 3, 4]);
        assert_eq!(keys(store.range(9..)), [0; 0]);
        assert_eq!(keys(store.range(0..3)), [0, 1, 2]);
        assert_eq!(keys(store.range(2..4)), [2, 3]);
        assert_eq!(keys(store.range(..=1)), [0, 1]);
        assert_eq!(keys(store.range(..).rev()), [4, 3, 2, 1, 0]);
        assert_eq!(keys(store.range(2..4).rev()), [3, 2]);
        assert_eq!(keys(store.range(3..).rev()), [4, 3]);
        assert!(!flushed || !store.is_dirty());
        store.flush().unwrap();
    }
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "that they are is the point")]
fn an_inverted_or_empty_range_yields_nothing() {
    let store = over(0..5);
    store.set(2, 22);
    assert_eq!(keys(store.range(4..1)), [0; 0]);
    assert_eq!(keys(store.range(2..2).rev()), [0; 0]);
}

#[test]
fn a_range_without_end_meets_three_thousand_keys() {
    let store = layer();
    for key in 0..3000 {
        store.set(key, key);
    }
    for _ in 0..2 {
        assert!(keys(store.range(1000..)).into_iter().eq(1000..3000));
        assert!(keys(store.range(2000..3000).rev()).into_iter().eq((2000..3000).rev()));
        store.flush().unwrap();
    }
}

#[test]
fn both_ends_of_a_merged_walk_meet() {
    let store = over((0..20).step_by(2));
    for key in (1..20).step_by(2) {
        store.set(key, key);
    }
    store.delete(8);
    let mut walk = store.range(..);
    let mut seen = BTreeMap::new();
    while let (Some(front), back) = (walk.next(), walk.next_back()) {
        for (key, value) in [Some(front), back].into_iter().flatten().map(Result::unwrap) {
            assert_eq!(seen.insert(key, value), None, "{key} came twice");
        }
    }
    assert!(seen.into_keys().eq((0..20).filter(|key| *key != 8)));
    assert!(walk.next().is_none() && walk.next_back().is_none());
}

#[test]
fn set_and_delete_take_turns_across_flushes() {
    let store = layer();
    store.set(1, 1);
    store.delete(1);
    assert_eq!(keys(store.range(..)), [0; 0]);
    store.set(1, 1);
    assert_eq!(keys(store.range(..)), [1]);
    store.flush().unwrap();
    assert_eq!(keys(store.range(..)), [1]);
    store.delete(1);
    assert_eq!(keys(store.range(..)), [0; 0]);
    store.flush().unwrap();
    assert_eq!(keys(store.range(..)), [0; 0]);
    store.set(1, 1);
    store.set(2, 2);
    store.delete(1);
    assert_eq!(keys(store.range(..)), [2]);
}

#[test]
fn deletes_from_the_last_to_the_first_take_one_each() {
    let store = over(0..5);
    for key in 5..10 {
        store.set(key, key);
    }
    for left in (0..10).rev() {
        store.delete(left);
        assert!(keys(store.range(..)).into_iter().eq(0..left));
        assert!(keys(store.range(..).rev()).into_iter().eq((0..left).rev()));
    }
}

#[test]
fn chunks_of_parent_and_layer_interleave() {
    let store = over((0..20).chain(40..60));
    for key in (20..40).chain(60..80) {
        store.set(key, key);
    }
    assert!(keys(store.range(..)).into_iter().eq(0..80));
    for key in (15..25).chain(35..45) {
        store.delete(key);
    }
    let left = || (0..15).chain(25..35).chain(45..80);
    assert!(keys(store.range(..)).into_iter().eq(left()));
    store.flush().unwrap();
    assert!(keys(store.range(..)).into_iter().eq(left()));
    for key in 38..42 {
        store.set(key, key);
    }
    for key in 40..43 {
        store.delete(key);
    }
    assert!(keys(store.range(..)).into_iter().eq((0..15).chain(25..35).chain(38..40).chain(45..80)));
}

/// Upstream, the second iterator waits for the first, which holds a lock as long as more than 64 keys are unread.
#[test]
fn an_open_iterator_a_set_and_a_second_iterator() {
    let store = layer();
    for key in 0..66 {
        store.set(key, key);
    }
    let mut first = store.range(..);
    assert_eq!(first.next().unwrap().unwrap(), (0, 0));
    store.set(66, 66);
    let second = store.range(..);
    assert_eq!(first.count(), 65);
    assert_eq!(second.count(), 67);
}

/// Upstream, a delete ahead of an open iterator shows in it and an overwrite does not. Here it makes no difference
/// where the entry lives, or what happens to it.
#[test]
fn nothing_written_ahead_of_an_open_iterator_shows_in_it() {
    for flushed in [false, true] {
        let store = layer();
        for key in 0..6 {
            store.set(key, key);
        }
        if flushed {
            store.flush().unwrap();
        }
        let (mut ahead, mut back) = (store.range(..), store.range(..).rev());
        assert_eq!((ahead.next().unwrap().unwrap(), back.next().unwrap().unwrap()), ((0, 0), (5, 5)));
        store.delete(2);
        store.set(3, 33);
        store.set(9, 9);
        assert_eq!(entries(ahead), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], "flushed: {flushed}");
        assert_eq!(keys(back), [4, 3, 2, 1, 0]);
        assert_eq!(entries(store.range(2..)), [(3, 33), (4, 4), (5, 5), (9, 9)]);
    }
}

#[test]
fn deleting_what_is_walked_skips_nothing_wherever_it_lives() {
    let store = over(0..3);
    for key in 3..6 {
        store.set(key, key);
    }
    let mut visited = Vec::new();
    for entry in store.range(..) {
        let (key, _) = entry.unwrap();
        visited.push(key);
        store.delete(key);
    }
    assert_eq!(visited, [0, 1, 2, 3, 4, 5]);
    assert_eq!(keys(store.range(..)), [0; 0]);
}

/// Upstream, an iterator over one prefix that is open while another is opened yields keys of the other.
#[test]
fn nested_prefix_iterators_keep_apart() {
    let store = Store::new(MemStore::new()).unwrap();
    for name in ["a/1", "a/2", "b/1", "b/2"] {
        store.set(Bytes::from(name), 0);
    }
    let mut pairs = Vec::new();
    for outer in keys(store.range(KeyRange::prefix(b"a/"))) {
        store.set(Bytes::from([&outer[..], b"!"].concat()), 1);
        for inner in keys(store.range(KeyRange::prefix(b"b/"))) {
            store.delete(Bytes::from([&inner[..], b"!"].concat()));
            pairs.push(format!("{outer:?}{inner:?}").replace("b\"", "").replace('"', " "));
        }
    }
    assert_eq!(pairs, ["a/1 b/1 ", "a/1 b/2 ", "a/2 b/1 ", "a/2 b/2 "]);
}

#[test]
fn an_iterator_survives_flush_discard_and_the_store() {
    let store = over([1, 2]);
    store.set(3, 3);
    let (walk, snapshot) = (store.range(..), store.snapshot().unwrap());
    store.flush().unwrap();
    store.set(4, 4);
    store.discard().unwrap();
    drop(store);
    assert_eq!(keys(walk), [1, 2, 3]);
    assert_eq!(snapshot.get(&3).unwrap(), Some(3));
}

#[test]
fn the_cut_is_rebuilt_only_after_a_write() {
    let store = over([1]);
    let same = |a: &Snapshot<_>, b: &Snapshot<_>| std::ptr::eq(a.overlays(), b.overlays());
    let clean = store.snapshot().unwrap();
    assert!(clean.overlays().is_empty() && same(&clean, &store.snapshot().unwrap()));
    store.set(2, 2);
    let dirty = store.snapshot().unwrap();
    assert!(!same(&clean, &dirty) && same(&dirty, &store.snapshot().unwrap()));
    store.get(&2).unwrap();
    drop(store.range(..));
    assert!(same(&dirty, &store.snapshot().unwrap()));
    let batch = store.commit(WriteBatch::from_iter([(3, Op::Put(3))])).unwrap();
    assert!(same(&batch, &store.snapshot().unwrap()));
    assert_eq!((clean.range(..).count(), dirty.range(..).count(), batch.range(..).count()), (1, 2, 3));
}

#[test]
fn commit_returns_a_snapshot_that_shows_the_batch() {
    let store = over([1, 2]);
    let shown = store.commit(WriteBatch::from_iter([(1, Op::Delete), (3, Op::Put(3))])).unwrap();
    store.set(4, 4);
    assert_eq!(keys(shown.range(..)), [2, 3]);
    assert_eq!(keys(store.commit(WriteBatch::new()).unwrap().range(..)), [2, 3, 4]);
    assert_eq!(keys(store.parent().snapshot().unwrap().range(..)), [1, 2]);
}

#[test]
fn the_base_stays_until_flush_refresh_or_discard() {
    type Renew = fn(&Store<Arc<Mem>>) -> Result<(), Error>;
    let renewals: [(&str, Renew); 3] =
        [("flush", Store::flush), ("refresh", Store::refresh), ("discard", Store::discard)];
    for (name, renew) in renewals {
        for dirty in [false, true] {
            let parent = Arc::new(Mem::from_iter([(1, 1)]));
            let store = Store::new(Arc::clone(&parent)).unwrap();
            if dirty {
                store.set(5, 5);
            }
            parent.commit(WriteBatch::from_iter([(1, Op::Delete), (2, Op::Put(2))])).unwrap();
            assert_eq!((store.get(&1).unwrap(), store.get(&2).unwrap()), (Some(1), None), "before {name}");
            assert!(!store.range(..3).any(|entry| entry.unwrap().0 == 2), "before {name}");
            renew(&store).unwrap();
            assert_eq!((store.get(&1).unwrap(), store.get(&2).unwrap()), (None, Some(2)), "after {name}");
            let kept = dirty && name != "discard";
            assert_eq!(store.contains(&5).unwrap(), kept, "{name}");
            assert_eq!(store.is_dirty(), dirty && name == "refresh", "{name}");
            assert_eq!(parent.snapshot().unwrap().contains(&5).unwrap(), dirty && name == "flush", "{name}");
        }
    }
}

#[test]
fn a_flush_without_writes_commits_nothing() {
    let store = Store::new(Faulty::new(Mem::from_iter([(1, 1)]))).unwrap();
    store.flush().unwrap();
    assert_eq!((store.parent().calls(Call::Commit), store.parent().calls(Call::Snapshot)), (0, 2));
}

#[test]
fn discard_drops_what_is_dirty_and_leaves_the_parent() {
    let store = over([1, 2]);
    store.set(1, 11);
    store.delete(2);
    store.set(3, 3);
    let before = store.snapshot().unwrap();
    store.discard().unwrap();
    assert_eq!(entries(store.range(..)), [(1, 1), (2, 2)]);
    assert_eq!(entries(before.range(..)), [(1, 11), (3, 3)]);
    assert!(!store.is_dirty());
}

#[test]
fn layers_without_writes_cost_nothing_at_any_depth() {
    let bottom = Arc::new(Faulty::new(Mem::from_iter([(1, 1), (2, 2)])));
    let written = Arc::new(Store::new(Arc::clone(&bottom)).unwrap());
    written.set(3, 3);
    written.delete(1);
    let mut top = DynStore::new(Arc::clone(&written));
    for _ in 0..1024 {
        top = DynStore::new(Store::new(top).unwrap());
    }
    let store = Store::new(top).unwrap();
    let flat = store.snapshot().unwrap();
    assert_eq!(flat.overlays().len(), 1);
    assert!(flat.overlays()[0].ptr_eq(&written.snapshot().unwrap().overlays()[0]), "the layer itself, not a copy");

    let reads = bottom.calls(Call::Read);
    assert_eq!((store.get(&2).unwrap(), store.get(&1).unwrap(), store.get(&3).unwrap()), (Some(2), None, Some(3)));
    assert_eq!(bottom.calls(Call::Read) - reads, 1, "only the miss goes down, and in one step");
    assert_eq!((keys(store.range(..)), keys(store.range(..).rev())), (vec![2, 3], vec![3, 2]));
    assert_eq!(bottom.calls(Call::Scan), 2);
    store.set(4, 4);
    assert_eq!(store.snapshot().unwrap().overlays().len(), 2);
}

#[test]
fn a_stack_of_types_is_as_flat_as_one_built_at_run_time() {
    let s1 = over([1]);
    s1.set(2, 2);
    let s3 = Store::new(Store::new(s1).unwrap()).unwrap();
    s3.set(3, 3);
    let flat = s3.snapshot().unwrap();
    assert_eq!(flat.overlays().len(), 2);
    assert_eq!((keys(flat.overlays()[0].keys().map(|k| Ok((*k, ())))), flat.root().range(..).count()), (vec![3], 1));
    assert_eq!(keys(s3.range(..)), [1, 2, 3]);
}

/// A layer is left out of the cut while it is empty, and is back with its first write: no memo to go stale.
#[test]
fn a_layer_that_is_written_again_shows_again() {
    let middle = Arc::new(Store::new(over([1])).unwrap());
    let top = Store::new(Arc::clone(&middle)).unwrap();
    assert!(top.snapshot().unwrap().overlays().is_empty());
    middle.set(2, 2);
    top.refresh().unwrap();
    assert_eq!((top.snapshot().unwrap().overlays().len(), keys(top.range(..))), (1, vec![1, 2]));
    middle.discard().unwrap();
    top.refresh().unwrap();
    assert_eq!((top.snapshot().unwrap().overlays().len(), keys(top.range(..))), (0, vec![1]));
    middle.delete(1);
    top.refresh().unwrap();
    assert_eq!((keys(top.range(..)), top.contains(&1).unwrap()), (vec![], false));
}
