//! The tree against `jmt`'s own: roots after every block, proofs of what is and is not there, old versions, pruning.

use super::reference::{self, Memory, key_hash};
use super::{Draw, Mem, State, batch, contents, planted, state, tree, values};
use bytes::Bytes;
use cachekv::kv::{KvStore, Op, WriteBatch};
use cachekv::restore::{Cut, Error, Exporter, Hash, Proof, StateTree};
use jmt::RootHash;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Commits `block` to `store` with its tree.
fn commit(store: &Mem, block: WriteBatch<Bytes, Bytes>, version: u64, keep: u64) -> Hash {
    let update = tree(store).update(&block, version, keep).unwrap();
    let root = update.root;
    store.commit(update.with(block)).unwrap();
    root
}

fn of_jmt(root: RootHash) -> Hash {
    Hash::new(root.0)
}

/// Keys whose hashes begin alike, for deep trees: found by trying.
fn neighbours() -> Vec<Bytes> {
    let all = (0..60_000u32).map(|n| Bytes::from(n.to_string()));
    all.filter(|key| Hash::of(key).bytes()[..1] == [0xab] && Hash::of(key).bytes()[1] >> 4 == 3).collect()
}

/// `CACHEKV_KEYS` says how many keys the largest state has.
#[test]
fn roots_are_those_of_jmt() {
    let asked = std::env::var("CACHEKV_KEYS").ok().and_then(|keys| keys.parse().ok());
    let most = asked.unwrap_or(if cfg!(debug_assertions) { 5_000 } else { 100_000 });
    for keys in [0, 1, 2, 3, 16, 17, 100, 1_000, most] {
        let state = state(keys, keys);
        let (store, root) = planted(&state);
        assert_eq!(root, if keys == 0 { Hash::EMPTY } else { of_jmt(reference::root(&state)) }, "{keys} keys");
        assert_eq!((tree(&store).root(7).unwrap(), tree(&store).entries(7).unwrap()), (root, keys));
        assert_eq!(values(&store), state);
        println!("{keys} keys: {root}");
    }
}

/// Blocks of puts, changes and deletes, with neighbours in the tree; also so large that subtrees are worked on in parallel.
#[test]
fn roots_are_those_of_jmt_after_every_block() {
    let mut draw = Draw(5);
    for (keys, changes) in [(6, 3), (40, 20), (300, 60), (3_000, 700)] {
        let mut names: Vec<_> = (0..keys).map(|n: u64| Bytes::from(n.to_string())).collect();
        names.extend(neighbours().into_iter().take(keys as usize / 2));
        let (store, memory) = (Mem::new(), Memory::default());
        for version in 0..25 {
            // Every fifth block deletes much.
            let deletes = if version % 5 == 4 { 9 } else { 3 };
            let op = |draw: &mut Draw| {
                let key = names[draw.below(names.len() as u64) as usize].clone();
                let value = Bytes::from(vec![draw.below(3) as u8]);
                (key, if draw.below(10) < deletes { Op::Delete } else { Op::Put(value) })
            };
            let block: WriteBatch<_, _> = (0..draw.below(changes) + 1).map(|_| op(&mut draw)).collect();
            let due = memory.update(block.iter().map(|(key, op)| (key.clone(), op.value().cloned())), version);
            assert_eq!(commit(&store, block, version, u64::MAX), of_jmt(due), "{keys} keys, block {version}");
        }
    }
}

#[test]
fn everything_deleted_is_the_empty_state_and_can_be_filled_again() {
    let state = state(1, 50);
    let (store, root) = planted(&state);
    let none = state.keys().map(|key| (key.clone(), Op::Delete)).collect();
    assert_eq!(commit(&store, none, 8, 3), Hash::EMPTY);
    assert_eq!(tree(&store).entries(8).unwrap(), 0);
    assert_eq!(commit(&store, WriteBatch::new(), 9, 3), Hash::EMPTY);
    assert_eq!(commit(&store, batch(&state), 10, 3), root);
}

/// An empty block has the root of the one before.
#[test]
fn a_block_that_changes_nothing_keeps_the_root_and_the_nodes() {
    let state = state(2, 100);
    let (store, root) = planted(&state);
    let before = contents(&store).len();
    assert_eq!(commit(&store, WriteBatch::new(), 8, 1), root);
    assert_eq!(commit(&store, batch(&state), 9, 1), root, "the same values again");
    assert_eq!(commit(&store, [(Bytes::from("not there"), Op::Delete)].into_iter().collect(), 10, 1), root);
    assert_eq!(contents(&store).len(), before, "one version is kept, with as many records");
    assert_eq!(tree(&store).versions(), Some(10..=10));
}

#[test]
fn proofs_hold_by_ours_and_by_jmts_verifier() {
    for keys in [0, 1, 2, 20, 500] {
        let state = state(3, keys);
        let (store, root) = planted(&state);
        let tree = tree(&store);
        let asked = state.keys().take(60).cloned().chain((0..60).map(|n| Bytes::from(format!("absent {n}"))));
        for key in asked {
            let proof = tree.prove(&key, 7).unwrap();
            assert_eq!((proof.key(), proof.value(), proof.version()), (&key, state.get(&key), 7));
            let proof = Proof::decode(proof.encode()).unwrap();
            proof.verify(&root).unwrap();
            proof.as_jmt().verify(RootHash(*root.bytes()), key_hash(&key), proof.value()).unwrap();
            assert!(matches!(proof.verify(&Hash::of(b"another")), Err(Error::Proof(_))));
        }
    }
}

/// A proof says what it says of its own key and value, and a spoilt one says nothing.
#[test]
fn a_spoilt_proof_does_not_hold() {
    let state = state(4, 200);
    let (store, root) = planted(&state);
    for key in [state.keys().next().unwrap().clone(), Bytes::from("absent")] {
        let good = tree(&store).prove(&key, 7).unwrap().encode();
        for at in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.to_vec();
                bad[at] ^= bit;
                let held = Proof::decode(bad.into()).is_ok_and(|proof| proof.verify(&root).is_ok());
                assert!(!held || (9..17).contains(&at), "byte {at}"); // the block's number is a note
            }
            assert!(Proof::decode(good.slice(..at)).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn what_cannot_be_asked_or_done_is_an_error_and_changes_nothing() {
    let none = tree(&Mem::new());
    assert!(matches!(none.root(0), Err(Error::NoTree)));
    let (store, _) = planted(&state(1, 5));
    let tree = tree(&store);
    let missing = Error::NoVersion { version: 8, oldest: 7, latest: 7 }.to_string();
    assert_eq!(tree.root(8).unwrap_err().to_string(), missing);
    assert!(matches!(tree.prove(&Bytes::from("k"), 6), Err(Error::NoVersion { version: 6, .. })));
    assert!(matches!(tree.update(&WriteBatch::new(), 7, 1), Err(Error::NotAfter { version: 7, latest: 7 })));
    let reserved: WriteBatch<_, _> = [(Bytes::from_static(b"\xff\xffR"), Op::Delete)].into_iter().collect();
    assert!(matches!(tree.update(&reserved, 8, 1), Err(Error::Reserved(_))));
}

/// A record that is missing or damaged is an error, wherever it is, and never a panic or a wrong answer.
#[test]
fn a_damaged_tree_is_an_error() {
    let state = state(6, 40);
    let (whole, root) = planted(&state);
    let records: Vec<_> = contents(&whole).into_iter().filter(|(key, _)| key.starts_with(b"\xff\xffN")).collect();
    for (key, record) in records {
        let odd = [Op::Delete, Op::Put(Bytes::new()), Op::Put(record.slice(..record.len() / 2)), Op::Put("odd".into())];
        for op in odd {
            let (store, _) = planted(&state);
            store.commit([(key.clone(), op)].into_iter().collect()).unwrap();
            let tree = tree(&store);
            let mut failed = tree.root(7).is_err() || tree.root(7).unwrap() != root;
            for key in state.keys() {
                match tree.prove(key, 7) {
                    Ok(proof) => assert!(proof.verify(&root).is_err() || proof.value() == state.get(key)),
                    Err(_) => failed = true,
                }
            }
            assert!(failed);
            let all = state.keys().map(|key| (key.clone(), Op::Delete)).collect();
            drop(tree.update(&all, 8, 1)); // an error or, where the value alone is odd, not
        }
    }
}

/// The records of nodes in a store.
fn nodes(store: &Mem) -> usize {
    contents(store).keys().filter(|key| key.starts_with(b"\xff\xffN")).count()
}

/// The entries of a version, read through its tree by its proofs' leaves: all of them must be there.
fn entries_of(store: &Mem, version: u64) -> State {
    let snapshot = super::export(store.snapshot().unwrap(), version, usize::MAX);
    let mut all = State::new();
    for file in &snapshot.files {
        all.extend(cachekv::restore::Chunk::decode(file.clone(), u32::MAX).unwrap().entries);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is kept is whole: every kept root has all its entries. And nothing else is: when one version is left, the
    /// store holds the records of that version alone.
    #[test]
    fn pruning_takes_what_no_kept_root_needs_and_nothing_else(
        blocks in proptest::collection::vec(
            proptest::collection::vec((0..30u8, proptest::option::of(0..3u8)), 0..12), 1..14),
        keep in 1..6u64,
    ) {
        let store = Mem::new();
        let mut due = BTreeMap::from([]);
        let mut now = State::new();
        let last = blocks.len() as u64 - 1;
        for (version, block) in (0u64..).zip(blocks) {
            for (key, value) in &block {
                let (key, value) = (Bytes::from(vec![*key]), value.map(|value| Bytes::from(vec![value])));
                match value {
                    Some(value) => drop(now.insert(key, value)),
                    None => drop(now.remove(&key)),
                }
            }
            let op = |(key, value): (u8, Option<u8>)| {
                (Bytes::from(vec![key]), value.map_or(Op::Delete, |value| Op::Put(Bytes::from(vec![value]))))
            };
            let root = commit(&store, block.into_iter().map(op).collect(), version, keep);
            due.insert(version, (root, now.clone()));
            let tree = tree(&store);
            let kept = tree.versions().unwrap();
            prop_assert_eq!((*kept.start(), *kept.end()), ((version + 1).saturating_sub(keep), version));
            for version in kept {
                prop_assert_eq!(&(tree.root(version).unwrap(), entries_of(&store, version)), &due[&version]);
            }
        }
        for version in last + 1..=last + 8 {
            commit(&store, WriteBatch::new(), version, 1);
        }
        let fresh = Mem::new();
        commit(&fresh, batch(&now), 0, 1);
        prop_assert_eq!(nodes(&store), nodes(&fresh));
        prop_assert_eq!(contents(&store).len(), contents(&fresh).len());
    }
}

/// The tree of a store that has had none is that of its entries.
#[test]
fn a_tree_can_be_planted_late() {
    let state = state(9, 300);
    let store = Mem::new();
    store.commit(batch(&state)).unwrap();
    let gone = state.keys().next().unwrap().clone();
    let block: WriteBatch<_, _> =
        [(gone.clone(), Op::Delete), ("new".into(), Op::Put("v".into()))].into_iter().collect();
    let root = commit(&store, block, 41, 5);
    let mut after = state;
    after.remove(&gone);
    after.insert("new".into(), "v".into());
    assert_eq!(root, of_jmt(reference::root(&after)));
    assert_eq!(StateTree::open(store.snapshot().unwrap()).unwrap().versions(), Some(41..=41));
}

/// Blocks that were left out have no root, and those that are there have theirs.
#[test]
fn versions_may_be_left_out() {
    let store = Mem::new();
    let block = |value: &'static str| [(Bytes::from("k"), Op::Put(Bytes::from(value)))].into_iter().collect();
    let roots =
        [2, 5, 9].map(|version| (version, commit(&store, block(["a", "b", "c"][version as usize / 4]), version, 5)));
    let tree = tree(&store);
    for (version, root) in &roots[1..] {
        assert_eq!(tree.root(*version).unwrap(), *root);
        tree.prove(&Bytes::from("k"), *version).unwrap().verify(root).unwrap();
    }
    assert_eq!(tree.versions(), Some(5..=9));
    for version in [2, 4, 6, 8, 10] {
        assert!(matches!(tree.root(version), Err(Error::NoVersion { oldest: 5, latest: 9, .. })), "{version}");
        assert!(matches!(tree.prove(&Bytes::from("k"), version), Err(Error::NoVersion { .. })), "{version}");
        assert!(matches!(Exporter::new(tree.clone(), version, Cut::default()), Err(Error::NoVersion { .. })));
    }
}

/// A snapshot may say that it is of any block.
#[test]
fn the_largest_version_is_one() {
    let (store, _) = planted(&state(1, 5));
    let root = commit(&store, batch(&state(2, 9)), u64::MAX, u64::MAX);
    assert_eq!(tree(&store).root(u64::MAX).unwrap(), root);
    assert_eq!(tree(&store).versions(), Some(7..=u64::MAX));
    assert!(matches!(tree(&store).update(&WriteBatch::new(), u64::MAX, 1), Err(Error::NotAfter { .. })));
}

/// An inner node that is still one, and not the one that its parent knows, or for the root not that of the newest version:
/// no block is built on it, wherever it is and whatever of it the block changes.
#[test]
fn a_changed_inner_node_is_noticed_before_a_block_is_built_on_it() {
    let state = state(7, 300);
    let (whole, _) = planted(&state);
    let inner: Vec<_> =
        contents(&whole).into_iter().filter(|(key, node)| key.starts_with(b"\xff\xffN") && node[0] == 2).collect();
    assert!(inner.len() > 16 && inner.iter().any(|(key, _)| key[11] == 2), "no tree of three levels");
    for (key, record) in inner {
        let (store, _) = planted(&state);
        let mut changed = record.to_vec();
        changed[5] ^= 1; // of its first child's hash
        store.commit([(key.clone(), Op::Put(changed.into()))].into_iter().collect()).unwrap();
        for op in [Op::Put(Bytes::from("new")), Op::Delete] {
            let all = state.keys().map(|key| (key.clone(), op.clone())).collect();
            assert!(matches!(tree(&store).update(&all, 8, 1), Err(Error::Damaged(_))), "{key:?}");
        }
        let is_root = key[11] == 0;
        assert_eq!(matches!(tree(&store).root(7), Err(Error::Damaged(_))), is_root);
        assert_eq!(matches!(tree(&store).update(&WriteBatch::new(), 8, 1), Err(Error::Damaged(_))), is_root);
    }
}

/// A leaf whose only neighbour is deleted moves up, and is looked at before it does.
#[test]
fn a_changed_leaf_does_not_move_up() {
    let (left, right) = (Bytes::from("a"), Bytes::from("b"));
    for (gone, stays) in [(&left, &right), (&right, &left)] {
        let (store, _) = planted(&[(left.clone(), "1".into()), (right.clone(), "2".into())].into());
        let (key, record) = contents(&store)
            .into_iter()
            .find(|(_, node)| node.starts_with(&[&[1, 1, 0, 0, 0], &stays[..]].concat()))
            .unwrap();
        store.commit([(key, Op::Put([&record[..], b"!"].concat().into()))].into_iter().collect()).unwrap();
        let delete = [(gone.clone(), Op::Delete)].into_iter().collect();
        assert!(matches!(tree(&store).update(&delete, 8, 1), Err(Error::Damaged(_))));
    }
}

/// A leaf that is still one, and not the one that its parent knows: no block is built on it, and no snapshot made of it.
#[test]
fn a_changed_leaf_is_noticed_before_anything_is_made_of_it() {
    let state = state(7, 40);
    let (whole, _) = planted(&state);
    let leaves =
        |store: &Mem| contents(store).into_iter().filter(|(key, node)| key.starts_with(b"\xff\xffN") && node[0] == 1);
    for (key, record) in leaves(&whole) {
        let (store, _) = planted(&state);
        let changed = [&record[..], b"!"].concat().into();
        store.commit([(key, Op::Put(changed))].into_iter().collect()).unwrap();
        let all = state.keys().map(|key| (key.clone(), Op::Put("new".into()))).collect();
        assert!(matches!(tree(&store).update(&all, 8, 1), Err(Error::Damaged(_))));
        let mut exporter = Exporter::new(tree(&store), 7, Cut { chunk_bytes: 200, level: 1 }).unwrap();
        let refused = std::iter::repeat_with(|| exporter.next_chunk()).find(|next| !matches!(next, Ok(Some(_))));
        assert!(matches!(refused, Some(Err(Error::Damaged(_)))), "{refused:?}");
    }
}
