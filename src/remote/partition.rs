//! Which shard executes which transaction.
//!
//! The serial order is the order of the block and nothing else; a partition only says who executes what. It is
//! **conflict-aware** (transactions that touch a key that one of them writes go together where they can), **balanced** (no
//! shard has more than its share and a quarter) and **deterministic** (the same block, the same partition).
//!
//! What is declared of a transaction decides where it goes and whom its writes are told to. It decides no result: what a
//! transaction does beyond it is found, and the block is executed unsharded.

use crate::kv::Key;
use crate::multiversion::TxIndex;
use std::collections::{BTreeSet, HashMap};

type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What a transaction is declared to touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access<K> {
    /// The keys it may read, and those it may merge into: what operands come to is read at the commit. Their values are sent to
    /// the shard before it asks.
    pub reads: Vec<K>,
    /// The keys it may write.
    pub writes: Vec<K>,
}

impl<K> Access<K> {
    /// Every key of it.
    fn keys(&self) -> impl Iterator<Item = &K> {
        self.writes.iter().chain(&self.reads)
    }
}

/// A write that another shard waits for: it is declared to touch the key, and has transactions after the write.
///
/// Whether one of *these* is declared to touch the key is not asked. Once a shard knows a key, it reads it without asking the
/// coordinator, which would notice that it was not declared to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge<K> {
    /// The transaction that may write.
    pub from: TxIndex,
    /// The key.
    pub key: K,
    /// The shard.
    pub to: usize,
}

/// Who executes what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition<K> {
    /// The shard of each transaction.
    pub shard_of: Vec<usize>,
    /// The dependencies between shards, by place, key and shard.
    pub edges: Vec<Edge<K>>,
    shards: usize,
}

impl<K: Key> Partition<K> {
    /// Divides a block of transactions with these accesses between `shards` shards, at least one.
    ///
    /// Takes O(n log n) in the number of accesses.
    ///
    /// ```
    /// use cachekv::remote::{Access, Partition};
    /// let touches = |key| Access { reads: vec![], writes: vec![key] };
    /// let partition = Partition::new(&[touches('a'), touches('b'), touches('a'), touches('b')], 2);
    /// assert_eq!(partition.shard_of, [0, 1, 0, 1]);
    /// assert!(partition.edges.is_empty());
    /// ```
    pub fn new(accesses: &[Access<K>], shards: usize) -> Self {
        let shards = shards.max(1);
        if shards == 1 {
            return Self { shard_of: vec![0; accesses.len()], edges: Vec::new(), shards };
        }
        let groups = groups(accesses, share(accesses.len(), shards));
        let shard_of = assign(&groups, shards);
        let edges = edges(accesses, &shard_of);
        Self { shard_of, edges, shards }
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The places of a shard's transactions, ascending.
    pub fn places_of(&self, shard: usize) -> impl Iterator<Item = TxIndex> {
        let all = (0..TxIndex::MAX).zip(&self.shard_of);
        all.filter(move |(_, of)| **of == shard).map(|(place, _)| place)
    }
}

/// The most transactions a group may have: an even share and a quarter.
fn share(len: usize, shards: usize) -> usize {
    let even = len.div_ceil(shards);
    even.saturating_add(even / 4).max(1)
}

/// The group of each transaction, named after its first.
///
/// Each transaction joins the group of the last one that touched a key of its, if either writes the key. A group that would
/// become too large is not joined: so a key that everybody writes cuts the block into runs of neighbours, and its value
/// crosses from shard to shard once a run rather than once a transaction.
fn groups<K: Key>(accesses: &[Access<K>], most: usize) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..accesses.len()).collect();
    let mut size = vec![1_usize; accesses.len()];
    let mut last_writer: Table<&K, usize> = Table::default();
    let mut readers: Table<&K, usize> = Table::default();
    for (place, access) in accesses.iter().enumerate() {
        let mut join = |other: Option<usize>| {
            let Some(other) = other else { return };
            let (a, b) = (find(&mut parent, other), find(&mut parent, place));
            let (Some(&m), Some(&n)) = (size.get(a), size.get(b)) else { return };
            let both = m.saturating_add(n);
            if a == b || both > most {
                return;
            }
            let (root, child) = (a.min(b), a.max(b));
            if let (Some(parent), Some(size)) = (parent.get_mut(child), size.get_mut(root)) {
                (*parent, *size) = (root, both);
            }
        };
        for key in &access.writes {
            join(last_writer.insert(key, place));
            join(readers.remove(key));
        }
        for key in &access.reads {
            join(last_writer.get(key).copied());
            join(readers.insert(key, place).filter(|_| last_writer.contains_key(key)));
        }
    }
    (0..accesses.len()).map(|place| find(&mut parent, place)).collect()
}

/// The root of a group; halves the way to it.
fn find(parent: &mut [usize], mut at: usize) -> usize {
    loop {
        let up = parent.get(at).copied().unwrap_or(at);
        let above = parent.get(up).copied().unwrap_or(up);
        if up == at {
            return at;
        }
        if let Some(parent) = parent.get_mut(at) {
            *parent = above;
        }
        at = above;
    }
}

/// The largest group first, each to the shard with the least to do; of equals, the first.
fn assign(groups: &[usize], shards: usize) -> Vec<usize> {
    let mut sizes: Table<usize, usize> = Table::default();
    for group in groups {
        let size = sizes.entry(*group).or_default();
        *size = size.saturating_add(1);
    }
    let mut order: Vec<_> = sizes.into_iter().collect();
    order.sort_by_key(|(group, size)| (std::cmp::Reverse(*size), *group));
    let mut loads: BTreeSet<(usize, usize)> = (0..shards).map(|shard| (0, shard)).collect();
    let mut shard_of_group = Table::default();
    for (group, size) in order {
        let Some((load, shard)) = loads.pop_first() else { break };
        loads.insert((load.saturating_add(size), shard));
        shard_of_group.insert(group, shard);
    }
    groups.iter().map(|group| shard_of_group.get(group).copied().unwrap_or(0)).collect()
}

/// Every declared write of a key that a shard with later transactions is declared to touch.
fn edges<K: Key>(accesses: &[Access<K>], shard_of: &[usize]) -> Vec<Edge<K>> {
    let all = || (0..TxIndex::MAX).zip(accesses).zip(shard_of);
    let mut touching: Table<&K, BTreeSet<usize>> = Table::default();
    let mut last: Table<usize, TxIndex> = Table::default();
    for ((place, access), shard) in all() {
        last.insert(*shard, place);
        for key in access.keys() {
            touching.entry(key).or_default().insert(*shard);
        }
    }
    let mut edges = Vec::new();
    for ((from, access), shard) in all() {
        for key in &access.writes {
            let touching = touching.get(key).into_iter().flatten();
            let waiting = touching.filter(|to| *to != shard && last.get(*to).is_some_and(|last| *last > from));
            edges.extend(waiting.map(|to| Edge { from, key: key.clone(), to: *to }));
        }
    }
    edges.sort();
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access(reads: &[u8], writes: &[u8]) -> Access<u8> {
        Access { reads: reads.to_vec(), writes: writes.to_vec() }
    }

    #[test]
    fn a_key_that_everybody_writes_crosses_once_a_run() {
        let block = vec![access(&[1], &[1]); 100];
        let partition = Partition::new(&block, 2);
        let crossings = partition.shard_of.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(crossings, 1, "{:?}", partition.shard_of);
    }

    #[test]
    fn what_everybody_reads_and_nobody_writes_binds_nobody() {
        let block: Vec<_> = (0..100).map(|key| access(&[200], &[key])).collect();
        let partition = Partition::new(&block, 4);
        assert!((0..4).all(|shard| partition.places_of(shard).count() == 25));
        assert!(partition.edges.is_empty());
    }

    #[test]
    fn one_shard_and_no_transactions_are_ordinary() {
        assert_eq!(Partition::new(&[access(&[], &[1]), access(&[1], &[])], 1).shard_of, [0, 0]);
        assert_eq!(Partition::<u8>::new(&[], 3).shard_of, [0; 0]);
        assert_eq!(Partition::new(&[access(&[], &[1])], 0).shards(), 1);
    }

    fn block() -> impl Strategy<Value = Vec<Access<u8>>> {
        let keys = || prop::collection::vec(0..30u8, 0..3);
        prop::collection::vec((keys(), keys()).prop_map(|(reads, writes)| Access { reads, writes }), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Every transaction has a shard that is there; no shard has more than twice its share and what is indivisible; the
        /// edges are just those that the accesses make; and the same block is divided the same.
        #[test]
        fn a_partition_is_whole_balanced_and_the_same_again(block in block(), shards in 1..6usize) {
            let partition = Partition::new(&block, shards);
            prop_assert_eq!(partition.shard_of.len(), block.len());
            prop_assert!(partition.shard_of.iter().all(|shard| *shard < shards));
            let most = share(block.len(), shards);
            for shard in 0..shards {
                let load = partition.places_of(shard).count();
                prop_assert!(load <= block.len().div_ceil(shards) + most, "{} of {}", load, block.len());
            }
            let mut due = Vec::new();
            for (from, a) in block.iter().enumerate() {
                for to in (0..shards).filter(|to| *to != partition.shard_of[from]) {
                    let of_it = || block.iter().zip(&partition.shard_of).filter(|(_, of)| **of == to);
                    let goes_on = partition.shard_of[from + 1..].contains(&to);
                    let touched = a.writes.iter().filter(|key| of_it().any(|(b, _)| b.keys().any(|k| k == *key)));
                    due.extend(touched.filter(|_| goes_on).map(|key| Edge { from: from as TxIndex, key: *key, to }));
                }
            }
            due.sort();
            due.dedup();
            prop_assert_eq!(&partition.edges, &due);
            prop_assert_eq!(Partition::new(&block, shards), partition);
        }
    }
}
