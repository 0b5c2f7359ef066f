//! Taking a state in, chunk by chunk, without its ever being half there.

use super::chunk::{Chunk, verify};
use super::error::{ChunkFault, Error, ManifestFault};
use super::hash::Hash;
use super::manifest::Manifest;
use super::pipe::Pipe;
use super::spine::Records;
use super::stores::{Job, New, Position, Stores, Target, chunk_job, last_job, resume, stores, target, write};
use crate::kv::KvStore;
use crate::sync::{Arc, AtomicU64, Ordering};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most that a chunk may take, uncompressed, if nobody says otherwise: 1 GiB.
const LIMIT: u32 = 1 << 30;

/// Restores a state of a known root from chunks that nobody has to be trusted for.
///
/// * A chunk is verified against the root before anything of it is written. One that is refused changes nothing, and the
///   right one may follow.
/// * A chunk's entries, the nodes they finish and the progress are one batch to a store. While a chunk is written the next
///   one is verified; a failure to write is told by the next call, and nothing is written after it.
/// * The root's record and the mark of completion come last, once the computed root is the expected one. Until then every
///   [`StateTree::open`](super::StateTree::open) of the store is refused.
/// * After a failure or a stop at any moment, [`open`](Self::open) goes on where the store says.
///
/// Nobody else may write to the stores meanwhile. Dropped, it waits until what is being written is.
/// Memory is bounded by the size of a chunk, and does not grow with the state but for the manifest's 104 bytes a chunk: two
/// chunks are on their way at once, and one comes to its size and some hundreds of bytes for each of its entries, of which there are
/// 1,048,576 at most, as entries, hashes, nodes and batch. What the stores keep comes on top (`kv::RedbOptions` says how much, for the embedded one).
/// [`Exporter`](super::Exporter) has an example.
#[derive(Debug)]
pub struct Restorer<S: KvStore<Key = Bytes, Value = Bytes>> {
    stores: Stores<S>,
    root: Hash,
    manifest: Manifest,
    position: Position,
    limit: u32,
    failure: Option<Error>,
    writer: Writer,
    times: Times,
}

/// What has been restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The root, which was computed and is the one asked for.
    pub root: Hash,
    /// The block, as the manifest says: the root does not prove it.
    pub version: u64,
    /// Entries of the state.
    pub entries: u64,
    /// Chunks.
    pub chunks: u32,
}

/// What a restorer has spent its time on since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// Digests and decompression.
    pub unpacking: Duration,
    /// Hashing keys and values, in wall-clock time on all cores.
    pub hashing: Duration,
    /// Building the tree and verifying proofs.
    pub tree: Duration,
    /// Making batches, and waiting until the chunk before was written.
    pub waiting: Duration,
    /// Writing, on a thread of its own.
    pub writing: Duration,
}

/// The thread that writes, and the way to it.
#[derive(Debug)]
struct Writer {
    pipe: Arc<Pipe<Job, Error>>,
    thread: Option<JoinHandle<()>>,
    nanos: Arc<AtomicU64>,
}

impl<S: KvStore<Key = Bytes, Value = Bytes>> Restorer<S> {
    /// Begins to restore the state with `root` into empty stores, or goes on where they say.
    ///
    /// `root` must come from a source that is trusted, and so not from where the chunks are. `manifest` need not be trusted.
    ///
    /// # Errors
    /// [`Error::WrongRoot`] if `manifest` is of another root, [`Error::Manifest`] if it contradicts itself;
    /// [`Error::NotEmpty`] and [`Error::OtherRestore`] if a store holds something else, has gone on since it was restored, or
    /// is complete beside one that lacks chunks; [`Error::Read`] and [`Error::Damaged`]. No store is changed.
    pub fn open(target: Target<S>, root: Hash, manifest: Manifest) -> Result<Self, Error> {
        if manifest.root != root {
            return Err(Error::WrongRoot { expected: root, found: manifest.root });
        }
        manifest.check().map_err(Error::Manifest)?;
        let stores = stores(target);
        let position = resume(&stores, &root, &manifest)?;
        let writer = Writer::start(Arc::clone(&stores))?;
        let times = Times::default();
        Ok(Self { stores, root, manifest, position, limit: LIMIT, failure: None, writer, times })
    }

    /// Takes no chunk that is larger than `bytes` uncompressed.
    #[must_use]
    pub fn with_limit(mut self, bytes: u32) -> Self {
        self.limit = bytes;
        self
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The number of the chunk that is expected next, which is that of the chunks there are: the resume point.
    pub fn next_chunk(&self) -> u32 {
        self.position.chunks
    }

    /// The entries there are so far.
    pub fn entries(&self) -> u64 {
        self.position.spine.leaves
    }

    /// Whether the stores already hold the whole state.
    pub fn is_complete(&self) -> bool {
        self.position.complete
    }

    /// The store that the entries go into, if they are restored: after [`flush`](Self::flush) it holds those of all chunks taken.
    pub fn values(&self) -> Option<&S> {
        self.stores.iter().find_map(|part| part.values())
    }

    /// What is to be restored.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the time was spent on.
    pub fn times(&self) -> Times {
        // Relaxed: a figure, which nothing depends on.
        Times { writing: Duration::from_nanos(self.writer.nanos.load(Ordering::Relaxed)), ..self.times }
    }

    /// Verifies chunk `index` in `file`, and hands it to the writer. Waits until the chunk before it is written.
    ///
    /// # Errors
    /// [`Error::Chunk`]: it is refused, nothing of it was or will be written, and the same chunk is still expected.
    /// [`Error::Write`] or [`Error::WriterPanicked`]: the chunk before it could not be written, or only in part of two
    /// stores; the restorer has failed, and answers [`Error::Failed`] from then on.
    pub fn add_chunk(&mut self, index: u32, file: Bytes) -> Result<(), Error> {
        self.alive()?;
        let (new, position) = self.verified(index, file).map_err(|cause| Error::Chunk { chunk: index, cause })?;
        let began = Instant::now();
        let job = chunk_job(&self.stores, self.root, &position, new);
        let sent = self.writer.pipe.submit(job);
        self.times.waiting += began.elapsed();
        sent.map_err(|error| self.fail(error))?;
        self.position = position;
        Ok(())
    }

    /// Waits until everything handed over is written.
    ///
    /// # Errors
    /// As [`add_chunk`](Self::add_chunk), of a chunk that could not be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.alive()?;
        self.writer.pipe.drain().map_err(|error| self.fail(error))
    }

    /// Ends the restore: writes the root and the mark of completion, if all chunks are there and the root is the expected
    /// one. Gives back the stores.
    ///
    /// # Errors
    /// [`Error::Incomplete`] and [`Error::WrongRoot`]: the stores stay unfinished, and can be opened again. Else as
    /// [`add_chunk`](Self::add_chunk).
    pub fn finish(mut self) -> Result<(Restored, Target<S>), Error> {
        self.flush()?;
        let (have, chunks) = (self.position.chunks, self.manifest.len());
        let entries = self.position.spine.leaves;
        if !self.position.complete {
            if have < chunks {
                return Err(Error::Incomplete { have, chunks });
            }
            let mut nodes = Records::new();
            let found = self.position.spine.clone().close(&mut nodes);
            if found != self.root {
                return Err(Error::WrongRoot { expected: self.root, found });
            }
            if entries != self.manifest.entries {
                let (said, sum) = (self.manifest.entries, entries);
                return Err(Error::Manifest(ManifestFault::Counts { what: "entries", said, sum }));
            }
            let last = last_job(&self.stores, self.root, &self.position, nodes);
            self.writer.pipe.submit(last)?;
            self.writer.pipe.drain()?;
        }
        let restored = Restored { root: self.root, version: self.manifest.version, entries, chunks: have };
        let Self { stores, writer, .. } = self;
        drop(writer); // it ends, and lets go of the stores
        let stores = Arc::into_inner(stores).and_then(target).ok_or(Error::WriterPanicked)?;
        Ok((restored, stores))
    }

    /// What verifying chunk `index` comes to: its entries and the nodes it finishes, and where the restore stands then.
    fn verified(&mut self, index: u32, file: Bytes) -> Result<(New, Position), ChunkFault> {
        let next = self.position.chunks;
        let listed = self.manifest.chunk(index).ok_or(ChunkFault::Unknown)?;
        if index < next || self.position.complete {
            return Err(ChunkFault::Repeated);
        }
        if index > next {
            return Err(ChunkFault::OutOfOrder(next));
        }
        let began = Instant::now();
        let found = Hash::of(&file);
        if found != listed.digest {
            return Err(ChunkFault::Digest { expected: listed.digest, found });
        }
        let chunk = Chunk::decode(file, self.limit)?;
        if chunk.index != index {
            return Err(ChunkFault::Misplaced(chunk.index));
        }
        if chunk.entries.len() != listed.entries as usize {
            let entries = if chunk.entries.is_empty() { ChunkFault::Empty } else { ChunkFault::NotAsListed("entries") };
            return Err(entries);
        }
        if chunk.unpacked() != listed.bytes {
            return Err(ChunkFault::NotAsListed("bytes"));
        }
        let unpacked = Instant::now();
        let verified = verify(&chunk, &self.position.spine, &self.root)?;
        self.times.unpacking += unpacked - began;
        self.times.hashing += verified.hashing;
        self.times.tree += unpacked.elapsed().saturating_sub(verified.hashing);
        let first = chunk.entries.first().map(|(key, _)| Hash::of(key));
        if first != Some(listed.first) || verified.spine.end() != Some(listed.last) {
            return Err(ChunkFault::NotAsListed("its ends"));
        }
        let position = Position { complete: false, chunks: next + 1, spine: verified.spine };
        Ok((New { entries: chunk.entries, nodes: verified.nodes }, position))
    }

    /// Whether anything may still be done.
    fn alive(&mut self) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(Error::Failed(Box::new(failure.clone())));
        }
        self.writer.pipe.poll().map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some(error.clone());
        error
    }
}

impl Writer {
    fn start<S>(stores: Stores<S>) -> Result<Self, Error>
    where
        S: KvStore<Key = Bytes, Value = Bytes>,
    {
        let (pipe, nanos) = (Arc::new(Pipe::new()), Arc::new(AtomicU64::new(0)));
        let work = {
            let (pipe, nanos) = (Arc::clone(&pipe), Arc::clone(&nanos));
            move || {
                pipe.serve(|job| {
                    let began = Instant::now();
                    // Unwind safe: after a panic the restorer has failed, and reads nothing of this any more.
                    let written = catch_unwind(AssertUnwindSafe(|| write(&stores, job)));
                    let spent = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    nanos.fetch_add(spent, Ordering::Relaxed);
                    written.unwrap_or(Err(Error::WriterPanicked))
                });
            }
        };
        let thread = thread::Builder::new().name("restore".into()).spawn(work).map_err(Error::io("a thread"))?;
        Ok(Self { pipe, thread: Some(thread), nanos })
    }
}

/// Ends the thread once what is in flight is written, and waits for that, so that the stores are free afterwards.
impl Drop for Writer {
    fn drop(&mut self) {
        self.pipe.close();
        drop(self.thread.take().map(JoinHandle::join));
    }
}
