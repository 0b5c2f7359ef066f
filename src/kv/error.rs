//! What can go wrong in a store: opening it, reading from it, committing to it.

use std::path::PathBuf;
use std::sync::Arc;

/// An error of a [`KvRead`](super::KvRead) or [`KvStore`](super::KvStore).
///
/// Cheap to clone, so that one failed base read can be told to every reader that depends on it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file at `path` cannot be used as a store; nothing was changed.
    #[error("cannot open store {}: {cause}", path.display())]
    Open {
        /// The file that was to be opened.
        path: PathBuf,
        /// Why not.
        cause: OpenCause,
    },
    /// A read failed; the store is as it was, and the same read may be tried again.
    #[error("cannot read from store {store}: {source}")]
    Read {
        /// Which store, in words (the path of a file).
        store: Arc<str>,
        /// What the store said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A commit failed; the store holds what it held before, and the same batch may be committed again.
    #[error("cannot commit to store {store}: {source}")]
    Commit {
        /// Which store, in words (the path of a file).
        store: Arc<str>,
        /// What the store said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A batch puts an entry larger than the store can hold; nothing of the batch was committed.
    #[error("cannot commit to store {store}: the entry of key `{key}` has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Which store, in words (the path of a file).
        store: Arc<str>,
        /// The key, or its beginning, with what is not printable escaped.
        key: String,
        /// The bytes of key and value together.
        size: usize,
        /// The most they may be.
        limit: usize,
    },
}

/// Why a file could not be opened as a store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenCause {
    /// There is no such file, and the call was not to make one.
    #[error("there is no such file")]
    Missing,
    /// The file is something else: not a database, or another program's.
    #[error("it is not a cachekv store ({0})")]
    Foreign(String),
    /// Another process, or another handle in this one, has it open.
    #[error("it is open elsewhere; a store has one owner at a time")]
    Locked,
    /// It was a store, and its contents are damaged.
    #[error("its contents are damaged: {0}")]
    Corrupted(String),
    /// It was written in a format that this version does not read.
    #[error("it has format {found}, this version reads format {expected}")]
    Format {
        /// The format the file names.
        found: u64,
        /// The format that can be read.
        expected: u64,
    },
    /// The operating system refused.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
}
