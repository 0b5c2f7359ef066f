//! The state tree: a root for every block, over the entries of the state that the block left.

use super::codec::{Malformed, Reader, Writer};
use super::error::Error;
use super::hash::Hash;
use super::layout::{self, RESERVED};
use super::node::{Leaf, Node};
use super::progress::Progress;
use super::proof::Proof;
use super::spine::{Records, Spine};
use super::update::{Change, Output, Update, damaged, read};
use super::walk::Leaves;
use super::witness::Witness;
use crate::kv::{KvRead, Op, WriteBatch};
use bytes::Bytes;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The format of the tree's records.
const FORMAT: u8 = 2;
/// So many lists of stale nodes are cleared by one update at most: a tree whose `keep` shrinks does so over some blocks.
const LISTS: usize = 16;

/// A Jellyfish Merkle tree over the entries of a state, kept in the store beside them: `jmt`'s over SHA-256.
///
/// A tree is seen through a snapshot, and changed by the batch of a block: [`update`](Self::update) gives the records of
/// the next version, to be committed together with the batch. All keys of the store take part but those that begin with
/// [`RESERVED`](super::RESERVED).
///
/// Versions are counted by their numbers, and numbers may be left out. One that is `keep` or more below the newest is needed
/// by nobody, and its records are deleted as far as no kept version shares them.
///
/// ```
/// use bytes::Bytes;
/// use cachekv::kv::{KvStore, MemStore, WriteBatch};
/// use cachekv::restore::{Hash, StateTree};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemStore::new();
/// let mut block = WriteBatch::new();
/// block.put(Bytes::from("k"), Bytes::from("v"));
/// let update = StateTree::open(store.snapshot()?)?.update(&block, 1, 100)?;
/// let root = update.root;
/// let state = store.commit(update.with(block))?;
///
/// let proof = StateTree::open(state)?.prove(&Bytes::from("k"), 1)?;
/// assert_eq!(proof.value(), Some(&Bytes::from("v")));
/// proof.verify(&root)?;
/// assert!(proof.verify(&Hash::EMPTY).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StateTree<R> {
    pub(super) state: R,
    versions: Option<Versions>,
    /// Whether the state has the record of a restore, and is still what was restored.
    restored: bool,
}

/// The versions of a tree: those that have a root to be read.
#[derive(Clone, Copy, Debug)]
struct Versions {
    oldest: u64,
    latest: u64,
    /// The newest root: what its record must come to, which no parent says.
    root: Hash,
}

/// The next version of a tree.
#[derive(Clone, Debug)]
pub struct TreeUpdate {
    /// Its root.
    pub root: Hash,
    /// Its records, which belong into the commit of the block, or into the tree's own store.
    pub records: WriteBatch<Bytes, Bytes>,
}

impl TreeUpdate {
    /// The block's own batch and the tree's records as one, for the store that holds both.
    pub fn with(self, block: WriteBatch<Bytes, Bytes>) -> WriteBatch<Bytes, Bytes> {
        block.into_iter().chain(self.records).collect()
    }
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> StateTree<R> {
    /// The tree in `state`, which may have none yet.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if the state is a part of one that is being restored; [`Error::Damaged`].
    pub fn open(state: R) -> Result<Self, Error> {
        let restored = finished(&state)?.is_some();
        let versions = state.get(&layout::VERSIONS)?.map(Versions::decode).transpose();
        let versions = versions.map_err(|_| Error::Damaged("no list of versions".into()))?;
        Ok(Self { state, versions, restored })
    }

    /// The versions whose root can be asked for, from the oldest kept on, but for those left out; `None` for a state without
    /// a tree.
    pub fn versions(&self) -> Option<RangeInclusive<u64>> {
        self.versions.map(|Versions { oldest, latest, .. }| oldest..=latest)
    }

    /// The newest version, or `version` if it can be asked for: if it is kept, and was not left out.
    ///
    /// # Errors
    /// [`Error::NoTree`], [`Error::NoVersion`], [`Error::Read`].
    pub fn version(&self, version: Option<u64>) -> Result<u64, Error> {
        let Versions { oldest, latest, .. } = self.versions.ok_or(Error::NoTree)?;
        let there = |version| self.state.get(&layout::node(version, &Hash::EMPTY, 0)).map(|root| root.is_some());
        match version.unwrap_or(latest) {
            version if version == latest || (oldest..latest).contains(&version) && there(version)? => Ok(version),
            version => Err(Error::NoVersion { version, oldest, latest }),
        }
    }

    /// The root of the state after block `version`. One or two reads.
    ///
    /// # Errors
    /// [`Error::NoTree`], [`Error::NoVersion`], [`Error::Read`], [`Error::Damaged`].
    pub fn root(&self, version: u64) -> Result<Hash, Error> {
        self.root_node(version).map(|node| node.hash())
    }

    /// How many entries the state had after block `version`. One or two reads; errors as [`root`](Self::root).
    pub fn entries(&self, version: u64) -> Result<u64, Error> {
        self.root_node(version).map(|node| node.leaves())
    }

    /// The value of `key` after block `version`, with the proof that the root of that block says so.
    ///
    /// # Errors
    /// As [`root`](Self::root).
    pub fn prove(&self, key: &Bytes, version: u64) -> Result<Proof, Error> {
        let witness = Witness::read(&self.state, self.version(Some(version))?, Hash::of(key))?;
        Ok(Proof { version, key: key.clone(), value: witness.value().cloned(), proof: witness.proof()? })
    }

    /// The root after `block`, and the records to commit with it; versions that are not among the newest `keep` (1 at
    /// least) go. Nothing is written.
    ///
    /// The records are right over the state that this tree was opened on, and no other: between that snapshot and their
    /// commit nothing else may be committed. A state that was restored is one like any other from then on.
    ///
    /// Reads the nodes on the paths of the block's keys, on all cores of the current `rayon` pool. A state that has
    /// entries and no tree yet is read entirely, once, and held in memory meanwhile.
    ///
    /// # Errors
    /// [`Error::NotAfter`] if there is a newer version, or this one; [`Error::Reserved`]; [`Error::Read`] and
    /// [`Error::Damaged`].
    pub fn update(&self, block: &WriteBatch<Bytes, Bytes>, version: u64, keep: u64) -> Result<TreeUpdate, Error> {
        if let Some((key, _)) = block.iter().find(|(key, _)| layout::is_reserved(key)) {
            return Err(Error::Reserved(key.clone()));
        }
        let Some(Versions { oldest, latest, .. }) = self.versions else { return self.plant(block, version) };
        if version <= latest {
            return Err(Error::NotAfter { version, latest });
        }
        let root = self.root_node(latest)?;
        let changes = changes(block);
        let (root, output) = Update { state: &self.state, version }.run(latest, &root, &changes)?;
        let oldest = oldest.max(version.saturating_sub(keep.saturating_sub(1)));
        let kept = Versions { oldest, latest: version, root };
        let records = self.records(&kept, output)?;
        Ok(TreeUpdate { root, records })
    }

    /// The first version: the tree of all entries.
    fn plant(&self, block: &WriteBatch<Bytes, Bytes>, version: u64) -> Result<TreeUpdate, Error> {
        let entries: Result<BTreeMap<_, _>, _> = self.state.range(..Bytes::from_static(RESERVED)).collect();
        let mut entries = entries?;
        for entry in self.state.range(Bytes::from_static(RESERVED)..) {
            match entry? {
                (key, _) if key == layout::RESTORE => {} // of values alone
                (key, _) => return Err(Error::Reserved(key)),
            }
        }
        for (key, op) in block.iter() {
            match op {
                Op::Put(value) => entries.insert(key.clone(), value.clone()),
                Op::Delete => entries.remove(key),
            };
        }
        let mut spine = Spine::new(version);
        let mut nodes = Records::new();
        leaves(entries.into_iter().collect()).into_iter().for_each(|leaf| spine.push(leaf, &mut nodes));
        let root = spine.close(&mut nodes);
        let kept = Versions { oldest: version, latest: version, root };
        Ok(TreeUpdate { root, records: self.records(&kept, Output { nodes, stale: Vec::new() })? })
    }

    /// What is to be written: nodes, the list of the stale ones, and deletions of those that no kept version needs.
    fn records(&self, kept: &Versions, output: Output) -> Result<WriteBatch<Bytes, Bytes>, Error> {
        let mut records: Vec<(Bytes, Op<Bytes>)> = Vec::with_capacity(output.nodes.len() + 2);
        for list in self.state.range(layout::stale_up_to(kept.oldest)).take(LISTS) {
            let (key, list) = list?;
            records.extend(decode_stale(list)?.into_iter().map(|node| (node, Op::Delete)));
            records.push((key, Op::Delete));
        }
        if kept.oldest == kept.latest {
            records.extend(output.stale.into_iter().map(|node| (node, Op::Delete)));
        } else if !output.stale.is_empty() {
            records.push((layout::stale(kept.latest), Op::Put(encode_stale(&output.stale))));
        }
        records.extend(output.nodes.into_iter().map(|(key, record)| (key, Op::Put(record))));
        records.push((layout::VERSIONS, Op::Put(kept.encode())));
        if self.restored {
            records.push((layout::RESTORE, Op::Delete)); // from here on it is another state
        }
        Ok(records.into_iter().collect())
    }

    fn root_node(&self, version: u64) -> Result<Node, Error> {
        self.version(Some(version))?;
        let node = read(&self.state, version, &Hash::EMPTY, 0)?;
        match self.versions {
            Some(Versions { latest, root, .. }) if version == latest && node.hash() != root => {
                Err(damaged(&Hash::EMPTY, 0))
            }
            _ => Ok(node),
        }
    }

    /// The leaves of a version that come after `after`, in the order of their paths.
    pub(super) fn leaves(&self, version: u64, after: Option<Hash>) -> Leaves<R> {
        Leaves::new(self.state.clone(), version, after)
    }
}

/// Checks that `state` is not a part of one that is being restored.
///
/// # Errors
/// [`Error::Unfinished`] if it is; [`Error::Read`], [`Error::Damaged`].
pub fn check_finished<R>(state: &R) -> Result<(), Error>
where
    R: KvRead<Key = Bytes, Value = Bytes>,
{
    finished(state).map(drop)
}

/// The record of the restore that `state` comes from, if it does, and has not gone on since.
fn finished<R>(state: &R) -> Result<Option<Progress>, Error>
where
    R: KvRead<Key = Bytes, Value = Bytes>,
{
    match Progress::read(state)? {
        Some(progress) if !progress.complete => Err(Error::Unfinished { root: progress.root, chunks: progress.chunks }),
        progress => Ok(progress),
    }
}

/// What to do with the tree's records when a restore ends.
pub(super) fn first_version(version: u64, root: Hash) -> (Bytes, Bytes) {
    (layout::VERSIONS, Versions { oldest: version, latest: version, root }.encode())
}

impl Versions {
    fn encode(&self) -> Bytes {
        let mut record = Writer::default();
        record.u8(FORMAT).u64(self.oldest).u64(self.latest).hash(&self.root);
        record.done()
    }

    fn decode(record: Bytes) -> Result<Self, Malformed> {
        let mut record = Reader::new(record);
        let (format, oldest, latest, root) = (record.u8()?, record.u64()?, record.u64()?, record.hash()?);
        record.end()?;
        if format == FORMAT && oldest <= latest { Ok(Self { oldest, latest, root }) } else { Err(Malformed) }
    }
}

/// The changes of a block in the order of their paths.
fn changes(block: &WriteBatch<Bytes, Bytes>) -> Vec<Change> {
    let ops: Vec<_> = block.iter().collect();
    let change = |(key, op): (&Bytes, &Op<Bytes>)| {
        let leaf = op.value().map(|value| Leaf::new(key.clone(), value.clone()));
        Change { path: leaf.as_ref().map_or_else(|| Hash::of(key), |leaf| leaf.path), leaf }
    };
    let mut changes: Vec<_> = ops.into_par_iter().with_min_len(64).map(change).collect();
    changes.par_sort_unstable_by_key(|change| change.path);
    changes
}

/// Entries as leaves in the order of their paths.
fn leaves(entries: Vec<(Bytes, Bytes)>) -> Vec<Leaf> {
    let mut leaves: Vec<_> =
        entries.into_par_iter().with_min_len(64).map(|(key, value)| Leaf::new(key, value)).collect();
    leaves.par_sort_unstable_by_key(|leaf| leaf.path);
    leaves
}

fn encode_stale(nodes: &[Bytes]) -> Bytes {
    let mut list = Writer::default();
    for node in nodes {
        list.sized(node);
    }
    list.done()
}

fn decode_stale(list: Bytes) -> Result<Vec<Bytes>, Error> {
    let mut list = Reader::new(list);
    let mut nodes = Vec::new();
    while list.left() > 0 {
        let node = list.sized().ok().filter(layout::is_node);
        nodes.push(node.ok_or_else(|| Error::Damaged("no list of stale nodes".into()))?);
    }
    Ok(nodes)
}
