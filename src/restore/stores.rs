//! The stores a restore writes to: one that holds everything or one part, or two, the values in one and the tree in the
//! other.
//!
//! With two stores, each chunk is committed to the values first and to the tree second, each with its own progress. So at
//! every moment the values are as far as the tree or one chunk further, and a restore goes on from the smaller of the two;
//! a store without progress means from the start. What is written twice is the same both times. A store that is complete
//! may have been used since, and is not written again: beside one that lacks more than the end, nothing goes on.

use super::error::Error;
use super::hash::Hash;
use super::layout;
use super::manifest::Manifest;
use super::progress::{Parts, Progress};
use super::spine::{Records, Spine};
use super::tree::first_version;
use crate::kv::{KvRead, KvStore, Op, WriteBatch};
use crate::sync::Arc;
use bytes::Bytes;

/// Where a state is to be restored.
#[derive(Clone, Debug)]
pub enum Target<S> {
    /// One store, and what of the state it is to hold.
    One(S, Parts),
    /// Two stores.
    Two {
        /// Holds the entries under their own keys.
        values: S,
        /// Holds the tree.
        tree: S,
    },
}

/// A store, and what it is to hold.
#[derive(Debug)]
pub(super) struct Part<S> {
    store: S,
    parts: Parts,
    paired: bool,
}

impl<S> Part<S> {
    /// The store, if it is to hold entries.
    pub(super) fn values(&self) -> Option<&S> {
        (self.parts != Parts::Tree).then_some(&self.store)
    }
}

/// The batches of one chunk, or of the end: one for each store, in the order in which they are committed.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) chunk: Option<u32>,
    batches: Vec<WriteBatch<Bytes, Bytes>>,
}

/// What a chunk, or the end, adds to a state. One store of a target at most holds entries, and one nodes.
#[derive(Debug, Default)]
pub(super) struct New {
    pub(super) entries: Vec<(Bytes, Bytes)>,
    pub(super) nodes: Records,
}

/// All of a target's stores, in the order in which they are written.
pub(super) type Stores<S> = Arc<Vec<Part<S>>>;

/// The parts of `target` in the order in which they are written.
pub(super) fn stores<S>(target: Target<S>) -> Stores<S> {
    Arc::new(match target {
        Target::One(store, parts) => vec![Part { store, parts, paired: false }],
        Target::Two { values, tree } => vec![
            Part { store: values, parts: Parts::Values, paired: true },
            Part { store: tree, parts: Parts::Tree, paired: true },
        ],
    })
}

/// What [`stores`] was made of.
pub(super) fn target<S>(stores: Vec<Part<S>>) -> Option<Target<S>> {
    let mut stores = stores.into_iter();
    let first = stores.next()?;
    Some(match stores.next() {
        None => Target::One(first.store, first.parts),
        Some(second) => Target::Two { values: first.store, tree: second.store },
    })
}

/// Where a restore stands.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) complete: bool,
    pub(super) chunks: u32,
    pub(super) spine: Spine,
}

impl<S: KvStore<Key = Bytes, Value = Bytes>> Part<S> {
    /// Where this store stands; `None` if it is empty.
    fn position(&self, root: &Hash, version: u64) -> Result<Option<Position>, Error> {
        let state = self.store.snapshot()?;
        let Some(Progress { complete, parts, paired, root: other, version: at, chunks, spine }) =
            Progress::read(&state)?
        else {
            return state.range(..).next().transpose()?.map_or(Ok(None), |_| Err(Error::NotEmpty));
        };
        if other != *root || at != version {
            return Err(Error::OtherRestore(format!("of root {other} at block {at}")));
        }
        if (parts, paired) != (self.parts, self.paired) {
            let how = if paired { ", beside another store" } else { "" };
            return Err(Error::OtherRestore(format!("of {}{how}", words(parts))));
        }
        Ok(Some(Position { complete, chunks, spine }))
    }

    fn progress(&self, root: Hash, position: &Position) -> (Bytes, Bytes) {
        let Position { complete, chunks, ref spine } = *position;
        let (parts, paired, version) = (self.parts, self.paired, spine.version);
        let progress = Progress { complete, parts, paired, root, version, chunks, spine: spine.clone() };
        (layout::RESTORE, progress.encode())
    }

    /// What of a chunk, or of the end, belongs into this store, taken out of what there is, with how far it has come then.
    fn batch(&self, new: &mut New, progress: (Bytes, Bytes)) -> WriteBatch<Bytes, Bytes> {
        let entries = if self.parts.values() { std::mem::take(&mut new.entries) } else { Vec::new() };
        let nodes = if self.parts.tree() { std::mem::take(&mut new.nodes) } else { Vec::new() };
        let writes = entries.into_iter().chain(nodes).chain([progress]);
        writes.map(|(key, value)| (key, Op::Put(value))).collect()
    }
}

/// Where the restore of `root` stands in `stores`: at the smaller of their positions.
///
/// # Errors
/// [`Error::NotEmpty`], [`Error::OtherRestore`], [`Error::Read`], [`Error::Damaged`].
pub(super) fn resume<S>(stores: &Stores<S>, root: &Hash, manifest: &Manifest) -> Result<Position, Error>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let start = Position { complete: false, chunks: 0, spine: Spine::new(manifest.version) };
    let positions: Result<Vec<_>, _> = stores.iter().map(|part| part.position(root, manifest.version)).collect();
    let positions: Vec<_> = positions?.into_iter().map(|position| position.unwrap_or_else(|| start.clone())).collect();
    let used = positions.iter().any(|position| position.complete);
    let position = positions.into_iter().min_by_key(|position| (position.complete, position.chunks)).unwrap_or(start);
    if used && !position.complete && position.chunks < manifest.len() {
        return Err(Error::OtherRestore("which is complete here and not in the store beside it".into()));
    }
    let listed = position.chunks.checked_sub(1).map(|last| manifest.chunk(last).map(|chunk| chunk.last));
    match listed {
        Some(last) if !position.complete && last != position.spine.end() => {
            Err(Error::OtherRestore("from a snapshot that was cut into other chunks".into()))
        }
        _ => Ok(position),
    }
}

/// The batches of a chunk that leads to `position`.
pub(super) fn chunk_job<S>(stores: &Stores<S>, root: Hash, position: &Position, mut new: New) -> Job
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let batch = |part: &Part<S>| part.batch(&mut new, part.progress(root, position));
    Job { chunk: position.chunks.checked_sub(1), batches: stores.iter().map(batch).collect() }
}

/// The batches that end a restore: the tree's last nodes, its root among them, and the mark that all is there.
pub(super) fn last_job<S>(stores: &Stores<S>, root: Hash, position: &Position, mut nodes: Records) -> Job
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let spine = Spine { leaves: position.spine.leaves, ..Spine::new(position.spine.version) };
    let end = Position { complete: true, chunks: position.chunks, spine };
    nodes.push(first_version(end.spine.version, root));
    let mut new = New { nodes, ..New::default() };
    let batch = |part: &Part<S>| part.batch(&mut new, part.progress(root, &end));
    Job { chunk: None, batches: stores.iter().map(batch).collect() }
}

/// Commits a job, store by store, and stops at the first that fails.
///
/// # Errors
/// [`Error::Write`].
pub(super) fn write<S>(stores: &Stores<S>, job: Job) -> Result<(), Error>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let Job { chunk, batches } = job;
    for (part, batch) in stores.iter().zip(batches) {
        part.store.commit(batch).map_err(|source| Error::Write { chunk, source })?;
    }
    Ok(())
}

fn words(parts: Parts) -> &'static str {
    match parts {
        Parts::Everything => "values and tree",
        Parts::Values => "values alone",
        Parts::Tree => "the tree alone",
    }
}
