//! What can go wrong with a tree, an export, a restore; each error says what was wrong and what state is left.

use super::hash::Hash;
use crate::kv;
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// An error of the state tree, of an export or of a restore.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store could not be read. Nothing was changed; the same call may be made again.
    #[error(transparent)]
    Read(kv::Error),
    /// A store could not be written. The restorer has failed: open it again, and it goes on from what the store holds.
    #[error("{}: {source}", at(*chunk))]
    Write {
        /// The chunk whose batch it was; `None` for the batch that ends a restore.
        chunk: Option<u32>,
        /// What the store said.
        source: kv::Error,
    },
    /// The store panicked while it wrote. As [`Write`](Self::Write).
    #[error("the store panicked while it wrote")]
    WriterPanicked,
    /// The restorer failed before, and does nothing more until it is opened again.
    #[error("the restore has failed before and must be opened again: {0}")]
    Failed(Box<Error>),
    /// A chunk was refused. Nothing of it was written, and the restorer waits for the same chunk.
    #[error("chunk {chunk} is refused: {cause}")]
    Chunk {
        /// The chunk's number, from 0.
        chunk: u32,
        /// What is wrong with it.
        cause: ChunkFault,
    },
    /// A manifest was refused. Nothing was written.
    #[error("the manifest is refused: {0}")]
    Manifest(ManifestFault),
    /// What was restored does not have the root it must have. It stays unfinished.
    #[error("the root is {found}, and must be {expected}")]
    WrongRoot {
        /// The root asked for.
        expected: Hash,
        /// The root of what there is.
        found: Hash,
    },
    /// A restore was to end before its last chunk. It stays unfinished.
    #[error("{have} of {chunks} chunks have been restored")]
    Incomplete {
        /// Chunks restored.
        have: u32,
        /// Chunks the manifest names.
        chunks: u32,
    },
    /// The store to restore into holds something that is no restore, or has gone on since. Nothing was changed.
    #[error("the store is not empty, and what it holds is no restore, or has changed since")]
    NotEmpty,
    /// The store holds a restore that is another one. Nothing was changed.
    #[error("the store holds another restore: {0}")]
    OtherRestore(String),
    /// The store holds a part of a state.
    #[error(
        "the store holds an unfinished restore of root {root} ({chunks} chunks so far): run the restore again to finish it"
    )]
    Unfinished {
        /// What it is to become.
        root: Hash,
        /// The chunks it has.
        chunks: u32,
    },
    /// The store has no state tree.
    #[error("the store has no state tree")]
    NoTree,
    /// The tree has no such version.
    #[error("the state tree has no root at block {version}: it keeps blocks {oldest} to {latest}")]
    NoVersion {
        /// The version asked for.
        version: u64,
        /// The oldest it keeps.
        oldest: u64,
        /// The newest.
        latest: u64,
    },
    /// A version must come after all others.
    #[error("block {version} does not come after block {latest}")]
    NotAfter {
        /// The version given.
        version: u64,
        /// The newest there is.
        latest: u64,
    },
    /// A key begins with what the tree's own records begin with. Nothing was changed.
    #[error("the key {} is reserved for the state tree", .0.escape_ascii())]
    Reserved(Bytes),
    /// A record of the tree is damaged or missing.
    #[error("the state tree is damaged: {0}")]
    Damaged(String),
    /// A proof does not prove what it is said to.
    #[error("the proof does not hold: {0}")]
    Proof(String),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A directory holds something that an export must not touch, or nothing that a restore could use.
    #[error("{}: {what}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Why a chunk is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkFault {
    /// The manifest names no such chunk.
    #[error("the manifest has no such chunk")]
    Unknown,
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It has been restored.
    #[error("it has been restored already")]
    Repeated,
    /// An earlier one has not been restored.
    #[error("chunk {0} comes first")]
    OutOfOrder(u32),
    /// It says that it is another chunk.
    #[error("it says that it is chunk {0}")]
    Misplaced(u32),
    /// Its bytes are not those the manifest names.
    #[error("its digest is {found}, the manifest says {expected}")]
    Digest {
        /// What the manifest says.
        expected: Hash,
        /// What it has.
        found: Hash,
    },
    /// It is written in a format that this version does not read.
    #[error("it has format {0}, this version reads format 1")]
    Format(u16),
    /// It is no chunk, or was cut short or damaged.
    #[error("it is damaged or cut short: {0}")]
    Malformed(&'static str),
    /// It is larger than the restorer takes.
    #[error("it takes {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size, uncompressed.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It has no entries.
    #[error("it has no entries")]
    Empty,
    /// Its entries are not in the order of their keys' hashes, or one comes twice.
    #[error("entry {0} does not come after the one before it")]
    Unordered(u64),
    /// It begins with or before what has been restored.
    #[error("it overlaps what has been restored")]
    Overlapping,
    /// It has another number of entries, or other ends, than the manifest says.
    #[error("it is not what the manifest says: {0}")]
    NotAsListed(&'static str),
    /// An entry has a key that no state may have.
    #[error("the key {} is reserved for the state tree", .0.escape_ascii())]
    Reserved(Bytes),
    /// It has more entries than a chunk may.
    #[error("it has {0} entries, more than the {limit} of a chunk", limit = super::chunk::ENTRIES)]
    TooManyEntries(usize),
    /// Its proof has more siblings than a path has places for.
    #[error("its proof has {0} siblings, more than its last key has places for")]
    TooManySiblings(usize),
    /// With its proof, it does not lead to the root asked for: an entry is wrong, or missing, or the proof is.
    #[error("its entries and its proof do not lead to the root")]
    BadProof,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// It is written in a format that this version does not read.
    #[error("it has format {0}, this version reads format 1")]
    Format(u16),
    /// It is no manifest, or was cut short or damaged.
    #[error("it is damaged or cut short: {0}")]
    Malformed(&'static str),
    /// What it says of the whole is not what it says of the chunks.
    #[error("it says {said} {what}, and its chunks have {sum}")]
    Counts {
        /// What is counted.
        what: &'static str,
        /// The total it names.
        said: u64,
        /// The sum over its chunks.
        sum: u64,
    },
    /// A chunk is empty, ends before it begins, or does not come after the one before it.
    #[error("chunk {0} is empty, or not in order")]
    Chunk(u32),
}

/// Whose batch could not be written, in words.
fn at(chunk: Option<u32>) -> String {
    chunk.map_or_else(
        || "the end of the restore was not written".into(),
        |chunk| format!("chunk {chunk} was not written"),
    )
}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Self {
        Error::Read(error)
    }
}

impl Error {
    /// What became of the file or directory at `path`.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source: Arc::new(source) }
    }
}
