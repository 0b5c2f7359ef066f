//! Stores that have gone on since they were restored: they are no restores any more, and none is made into them.

use super::{Mem, Snapshot, contents, restore, snapshot, state, tree};
use bytes::Bytes;
use cachekv::kv::{KvStore, Op, WriteBatch};
use cachekv::restore::{Error, Parts, Restorer, StateTree, Target};
use std::sync::Arc;

fn sample() -> Snapshot {
    snapshot(&state(61, 60), 200)
}

fn block() -> WriteBatch<Bytes, Bytes> {
    [(Bytes::from("later"), Op::Put(Bytes::from("v")))].into_iter().collect()
}

/// What is said when `snapshot` is restored into `target`, which must leave all of `stores` as they were.
fn refused(snapshot: &Snapshot, target: Target<Arc<Mem>>, stores: &[&Arc<Mem>]) -> Error {
    let before: Vec<_> = stores.iter().map(|store| contents(*store)).collect();
    let said = restore(snapshot, target).unwrap_err();
    assert!(stores.iter().map(|store| contents(*store)).eq(before), "{said}: something was written");
    said
}

/// One store: a block with its tree ends what was restored. That it is complete would be said of another state.
#[test]
fn a_restored_store_that_went_on_is_not_complete() {
    let snapshot = sample();
    for parts in [Parts::Everything, Parts::Values] {
        let store = Arc::new(Mem::new());
        let target = || Target::One(Arc::clone(&store), parts);
        restore(&snapshot, target()).unwrap();
        let update = tree(&store).update(&block(), 8, 1).unwrap();
        let root = update.root;
        store.commit(update.with(block())).unwrap();
        assert!(matches!(refused(&snapshot, target(), &[&store]), Error::NotEmpty));
        assert_eq!(tree(&store).root(8).unwrap(), root);
        assert!(!contents(&*store).contains_key(&b"\xff\xffR"[..]));
    }
}

/// Two stores, one of which was lost and begins anew: the other may have been used since, and is not written again.
#[test]
fn a_complete_store_is_not_restored_again_beside_a_new_one() {
    let snapshot = sample();
    for (lost, used) in [(0, false), (1, false), (1, true)] {
        let mut stores = [Arc::new(Mem::new()), Arc::new(Mem::new())];
        let two = |stores: &[Arc<Mem>; 2]| Target::Two { values: Arc::clone(&stores[0]), tree: Arc::clone(&stores[1]) };
        restore(&snapshot, two(&stores)).unwrap();
        if used {
            stores[0].commit(block()).unwrap();
        }
        stores[lost] = Arc::new(Mem::new());
        let said = refused(&snapshot, two(&stores), &[&stores[0], &stores[1]]);
        assert!(matches!(said, Error::OtherRestore(_)), "{said}");
    }
}

/// The values are complete one write before the tree: from there it goes on, and touches no value.
#[test]
fn values_that_are_complete_wait_for_the_end_of_the_tree() {
    let snapshot = sample();
    let [values, tree] = [Arc::new(Mem::new()), Arc::new(Mem::new())];
    let two = || Target::Two { values: Arc::clone(&values), tree: Arc::clone(&tree) };
    let mut restorer = Restorer::open(two(), snapshot.root, snapshot.manifest.clone()).unwrap();
    for (index, file) in (0..).zip(&snapshot.files) {
        restorer.add_chunk(index, file.clone()).unwrap();
    }
    restorer.flush().unwrap();
    drop(restorer);
    let unfinished = contents(&*tree);
    restore(&snapshot, two()).unwrap();
    let anew = Mem::from_iter(unfinished);
    let tree = Arc::new(anew);
    values.commit(block()).unwrap();
    let before = contents(&*values);
    restore(&snapshot, Target::Two { values: Arc::clone(&values), tree: Arc::clone(&tree) }).unwrap();
    assert_eq!(contents(&*values), before);
    assert_eq!(StateTree::open(tree.snapshot().unwrap()).unwrap().root(7).unwrap(), snapshot.root);
}
