//! Cutting one version of a state into chunks.

use super::chunk::{Chunk, ENTRIES, verify};
use super::error::{ChunkFault, Error};
use super::hash::Hash;
use super::manifest::{ListedChunk, Manifest};
use super::node::Leaf;
use super::spine::{Records, Spine};
use super::tree::StateTree;
use super::walk::Leaves;
use super::witness::Witness;
use crate::kv::KvRead;
use bytes::Bytes;

/// How a state is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// A chunk ends with the entry that brings it to so many bytes; it has one entry at least.
    pub chunk_bytes: usize,
    /// The level of compression, as zstd counts.
    pub level: i32,
}

impl Default for Cut {
    /// 4 MiB, level 3.
    fn default() -> Self {
        Self { chunk_bytes: 4 << 20, level: 3 }
    }
}

/// A chunk ready to be stored or sent.
#[derive(Clone, Debug)]
pub struct ExportedChunk {
    /// What the manifest says of it.
    pub listed: ListedChunk,
    /// The file.
    pub file: Bytes,
}

/// Gives the chunks of one version of a state, one after the other.
///
/// It reads one immutable snapshot, so blocks may go on committing, and old versions may be pruned meanwhile. It holds one
/// chunk at a time, and verifies each as a restore will: what it gives is right, or it is an error.
///
/// ```
/// use bytes::Bytes;
/// use cachekv::kv::{KvRead, KvStore, MemStore, WriteBatch};
/// use cachekv::restore::{Cut, Exporter, Parts, Restorer, StateTree, Target};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemStore::new();
/// let block: WriteBatch<_, _> = (0..100u8).map(|n| (Bytes::from(vec![n]), cachekv::kv::Op::Put(Bytes::from("v")))).collect();
/// let update = StateTree::open(store.snapshot()?)?.update(&block, 1, 1)?;
/// let root = update.root; // known, in earnest, from a source that is trusted
/// let state = store.commit(update.with(block))?;
///
/// let mut exporter = Exporter::new(StateTree::open(state)?, 1, Cut { chunk_bytes: 200, level: 3 })?;
/// let mut files = Vec::new();
/// while let Some(chunk) = exporter.next_chunk()? {
///     files.push(chunk.file);
/// }
/// let manifest = exporter.manifest();
///
/// let copy = MemStore::new();
/// let mut restorer = Restorer::open(Target::One(copy, Parts::Everything), root, manifest)?;
/// for (index, file) in (0..).zip(files) {
///     restorer.add_chunk(index, file)?;
/// }
/// let (restored, Target::One(copy, _)) = restorer.finish()? else { unreachable!() };
/// assert_eq!(restored.entries, 100);
/// assert_eq!(StateTree::open(copy.snapshot()?)?.root(1)?, root);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Exporter<R> {
    tree: StateTree<R>,
    cut: Cut,
    leaves: Leaves<R>,
    /// The right edge of what was given so far.
    spine: Spine,
    manifest: Manifest,
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> Exporter<R> {
    /// Begins with the first chunk of `version`.
    ///
    /// # Errors
    /// [`Error::NoTree`], [`Error::NoVersion`], [`Error::Read`], [`Error::Damaged`].
    pub fn new(tree: StateTree<R>, version: u64, cut: Cut) -> Result<Self, Error> {
        let root = tree.root(version)?;
        let leaves = tree.leaves(version, None);
        let manifest = Manifest { version, root, entries: 0, bytes: 0, chunks: Vec::new() };
        Ok(Self { tree, cut, leaves, spine: Spine::new(version), manifest })
    }

    /// Goes on after `chunk`, which has been exported before, and comes to `spine` with those before it.
    pub(super) fn skip(&mut self, chunk: ListedChunk, spine: Spine) {
        self.spine = spine;
        self.leaves = self.tree.leaves(self.manifest.version, Some(chunk.last));
        self.list(chunk);
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Damaged`] if the tree is, or the entries in it are not those of its root;
    /// [`Error::Chunk`] if an entry is larger than a chunk can hold.
    pub fn next_chunk(&mut self) -> Result<Option<ExportedChunk>, Error> {
        let mut entries = Vec::new();
        let mut ends: Option<(Hash, Hash)> = None;
        let mut size = 0;
        while size < self.cut.chunk_bytes.max(1)
            && entries.len() < ENTRIES
            && let Some(leaf) = self.leaves.next().transpose()?
        {
            let Leaf { path, key, value, .. } = leaf;
            size += key.len() + value.len() + 8;
            ends = Some((ends.map_or(path, |(first, _)| first), path));
            entries.push((key, value));
        }
        let Some((first, last)) = ends else { return self.whole().map(|()| None) };
        let index = self.manifest.len();
        let refused = |cause: ChunkFault| Error::Chunk { chunk: index, cause };
        let proof = Witness::read(&self.tree.state, self.manifest.version, last)?.range_proof()?;
        let proof = borsh::to_vec(&proof).map_err(|error| Error::Proof(error.to_string()))?.into();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let chunk = Chunk { index, proof, entries };
        let wrong = |cause| Error::Damaged(format!("chunk {index} of its leaves: {cause}"));
        self.spine = verify(&chunk, &self.spine, &self.manifest.root).map_err(wrong)?.spine;
        let (file, bytes) = chunk.encode(self.cut.level).map_err(refused)?;
        let listed = ListedChunk { first, last, entries: count, bytes, digest: Hash::of(&file) };
        self.list(listed.clone());
        Ok(Some(ExportedChunk { listed, file }))
    }

    /// Checks that the leaves so far are all.
    fn whole(&self) -> Result<(), Error> {
        if self.spine.clone().close(&mut Records::new()) == self.manifest.root {
            return Ok(());
        }
        Err(Error::Damaged("its leaves are not all there".into()))
    }

    fn list(&mut self, chunk: ListedChunk) {
        self.manifest.entries += u64::from(chunk.entries);
        self.manifest.bytes += u64::from(chunk.bytes);
        self.manifest.chunks.push(chunk);
    }

    /// The manifest of the chunks given so far; the whole one after the last.
    pub fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    /// How many entries there are in all.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn entries(&self) -> Result<u64, Error> {
        self.tree.entries(self.manifest.version)
    }
}
