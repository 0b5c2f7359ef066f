//! An export is of one snapshot: blocks that commit meanwhile, and the pruning they bring, change nothing in it. And a
//! restore on one thread is that on many.

use super::{Draw, Mem, batch, contents, export, planted, restore, snapshot, state, tree};
use crate::faulty::{Call, Faulty};
use bytes::Bytes;
use cachekv::cachekv::Store;
use cachekv::kv::{KvStore, Op, WriteBatch};
use cachekv::restore::{Cut, Exporter, Parts, StateTree, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A block that changes about a tenth of the keys of `state(_, keys)`.
fn block(draw: &mut Draw, keys: u64) -> WriteBatch<Bytes, Bytes> {
    let op = |draw: &mut Draw| {
        let key = Bytes::from(format!("key {}", draw.below(keys)));
        (key, if draw.below(4) == 0 { Op::Delete } else { Op::Put(Bytes::from(draw.next().to_be_bytes().to_vec())) })
    };
    (0..keys / 10).map(|_| op(draw)).collect()
}

#[test]
fn an_export_while_blocks_commit_is_that_of_a_quiet_copy() {
    let (store, _) = planted(&state(41, 400));
    let store = Arc::new(store);
    let mut draw = Draw(4);
    let mut height = 7;
    for _ in 0..4 {
        let pinned = store.snapshot().unwrap();
        let quiet = Mem::from_iter(contents(&*store));
        let due = export(quiet.snapshot().unwrap(), height, 500);
        let stop = AtomicBool::new(false);
        let (last, found) = thread::scope(|scope| {
            let blocks = scope.spawn(|| {
                let mut at = height;
                // At least enough of them to prune everything that the export reads.
                while !stop.load(Ordering::Relaxed) || at < height + 20 {
                    at += 1;
                    let block = block(&mut draw, 400);
                    let update = tree(&store).update(&block, at, 2).unwrap();
                    store.commit(update.with(block)).unwrap();
                }
                at
            });
            let exporter = Exporter::new(StateTree::open(pinned).unwrap(), height, Cut { chunk_bytes: 500, level: 1 });
            let mut exporter = exporter.unwrap();
            let mut files = Vec::new();
            while let Some(chunk) = exporter.next_chunk().unwrap() {
                files.push(chunk.file);
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            (blocks.join().unwrap(), (exporter.manifest(), files))
        });
        assert_eq!(found, (due.manifest, due.files));
        height = last;
    }
}

/// The same under a cache layer: the tree grows in it, and an export reads what has not been flushed.
#[test]
fn a_tree_grows_in_a_cache_layer() {
    let (base, _) = planted(&state(42, 300));
    let plain = Mem::from_iter(contents(&base));
    let layer = Store::new(base).unwrap();
    let (mut left, mut right) = (Draw(1), Draw(1));
    for height in 8..20 {
        let block_left = block(&mut left, 300);
        let tree_left = StateTree::open(layer.snapshot().unwrap()).unwrap();
        layer.commit(tree_left.update(&block_left, height, 3).unwrap().with(block_left)).unwrap();
        let block_right = block(&mut right, 300);
        plain.commit(tree(&plain).update(&block_right, height, 3).unwrap().with(block_right)).unwrap();
        assert_eq!(contents(&layer), contents(&plain));
        let (due, found) =
            (export(plain.snapshot().unwrap(), height, 900), export(layer.snapshot().unwrap(), height, 900));
        assert_eq!((found.manifest, found.files), (due.manifest, due.files));
        if height % 4 == 0 {
            layer.flush().unwrap();
        }
    }
}

/// A tree that is made by one thread is the tree that is made by many.
#[test]
fn the_number_of_threads_changes_nothing() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (store, _) = planted(&state(43, 2_000));
            let all = block(&mut Draw(2), 20_000);
            store.commit(tree(&store).update(&all, 8, 5).unwrap().with(all)).unwrap();
            contents(&store)
        })
    };
    assert_eq!(on(1), on(4));
}

/// A failed commit of a block leaves neither its values nor its tree, and the block can be committed again.
#[test]
fn values_and_tree_of_a_block_are_one_commit() {
    let state = state(44, 50);
    let store = Faulty::new(Mem::new());
    store.fail(Call::Commit, 1);
    let first = batch(&state);
    let update = StateTree::open(store.store().snapshot().unwrap()).unwrap().update(&first, 1, 5).unwrap();
    assert!(store.commit(update.clone().with(first.clone())).is_err());
    assert!(contents(store.store()).is_empty());
    store.commit(update.clone().with(first)).unwrap();
    assert_eq!(tree(store.store()).root(1).unwrap(), update.root);
}

/// Two restores at once, each into its own store.
#[test]
fn restores_do_not_know_of_each_other() {
    let snapshots = [snapshot(&state(45, 200), 100), snapshot(&state(46, 200), 100)];
    thread::scope(|scope| {
        for snapshot in &snapshots {
            scope.spawn(|| {
                let store = Arc::new(Mem::new());
                restore(snapshot, Target::One(Arc::clone(&store), Parts::Everything)).unwrap();
                assert_eq!(tree(&store).root(7).unwrap(), snapshot.root);
            });
        }
    });
}
