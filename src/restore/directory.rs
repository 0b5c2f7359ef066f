//! A snapshot as a directory of files.
//!
//! ```text
//! unfinished        the state and the cut of an export that is being made; goes last
//! chunk-00000000    a chunk; has this name once it is whole and on the disk
//! chunk-00000001
//! manifest          what they are; there once all of them are
//! ```
//!
//! A directory without a manifest is no snapshot, whatever else it holds; the export goes on there when it is made again.

use super::chunk::{Chunk, verify};
use super::error::{ChunkFault, Error, ManifestFault};
use super::export::{Cut, Exporter};
use super::hash::Hash;
use super::manifest::{ListedChunk, Manifest};
use super::restorer::{Restored, Restorer};
use super::spine::Spine;
use super::stores::Target;
use super::tree::StateTree;
use crate::kv::{KvRead, KvStore};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest";
const UNFINISHED: &str = "unfinished";
/// What is longer than this is not read: some ten million chunks.
const LONGEST_MANIFEST: u64 = 1 << 30;

/// How far an export or a restore has come: entries and chunks done, and entries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Entries done, those of earlier attempts included.
    pub entries: u64,
    /// Entries there are.
    pub of: u64,
    /// Chunks done.
    pub chunks: u32,
}

/// Exports `version` of `tree` into the directory `dir`, which is made if it is not there. An export of the same state that
/// was interrupted there is verified as far as it came, and goes on. Calls `step` once where it begins, and after
/// every chunk.
///
/// # Errors
/// [`Error::Directory`] if `dir` holds a whole export, an unfinished one of another state or cut, or something else;
/// [`Error::Io`], and those of [`Exporter`]. An export that fails is not whole, and can be made again.
pub fn export_to<R>(
    dir: &Path,
    tree: StateTree<R>,
    version: u64,
    cut: Cut,
    step: &mut dyn FnMut(Step),
) -> Result<Manifest, Error>
where
    R: KvRead<Key = Bytes, Value = Bytes>,
{
    let mut exporter = Exporter::new(tree, version, cut)?;
    claim(dir, &exporter.manifest(), cut)?;
    let of = exporter.entries()?;
    let mut report = |manifest: &Manifest| step(Step { entries: manifest.entries, of, chunks: manifest.len() });
    let mut spine = Spine::new(version);
    while let Some(chunk) = kept_chunk(dir, &exporter.manifest(), &mut spine)? {
        exporter.skip(chunk, spine.clone());
    }
    report(&exporter.manifest());
    while let Some(chunk) = exporter.next_chunk()? {
        let manifest = exporter.manifest();
        write_whole(&chunk_path(dir, manifest.len() - 1), &chunk.file)?;
        report(&manifest);
    }
    sync_directory(dir)?; // the names of the chunks last before that of the manifest does
    let manifest = exporter.manifest();
    write_whole(&dir.join(MANIFEST), &manifest.encode())?;
    sync_directory(dir)?;
    let unfinished = dir.join(UNFINISHED);
    fs::remove_file(&unfinished).map_err(Error::io(unfinished))?;
    Ok(manifest)
}

/// The manifest of the snapshot in `dir`.
///
/// # Errors
/// [`Error::Directory`] if there is none, [`Error::Manifest`] if it is not one, [`Error::Io`].
pub fn read_manifest(dir: &Path) -> Result<Manifest, Error> {
    let missing = || {
        let there = "it holds no manifest, so it is no snapshot, or one whose export was interrupted";
        let what = if dir.is_dir() { there } else { "there is no such directory" };
        Error::Directory { path: dir.to_owned(), what }
    };
    let bytes = read_list(&dir.join(MANIFEST))?.ok_or_else(missing)?;
    Manifest::decode(bytes).map_err(Error::Manifest)
}

/// Restores the snapshot in `dir`, whose state must have `root`; goes on where `target` says. Calls `step` once
/// where it begins, and after every chunk.
///
/// # Errors
/// Those of [`read_manifest`] and of [`Restorer`]; [`Error::Chunk`] with [`ChunkFault::Missing`] if a chunk is not there.
pub fn restore_from<S>(
    dir: &Path,
    target: Target<S>,
    root: Hash,
    step: &mut dyn FnMut(Step),
) -> Result<(Restored, Target<S>), Error>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let mut restorer = Restorer::open(target, root, read_manifest(dir)?)?;
    add_chunks_from(dir, &mut restorer, step)?;
    restorer.finish()
}

/// Adds all chunks in `dir` that are still to come; the restore is then to be finished. Calls `step` once where it begins, and after
/// every chunk.
///
/// # Errors
/// Those of [`Restorer::add_chunk`]; [`Error::Chunk`] with [`ChunkFault::Missing`] if a chunk is not there.
pub fn add_chunks_from<S>(dir: &Path, restorer: &mut Restorer<S>, step: &mut dyn FnMut(Step)) -> Result<(), Error>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let mut report = |restorer: &Restorer<S>| {
        step(Step { entries: restorer.entries(), of: restorer.manifest().entries, chunks: restorer.next_chunk() });
    };
    report(restorer);
    if !restorer.is_complete() {
        for chunk in restorer.next_chunk()..restorer.manifest().len() {
            let missing = Error::Chunk { chunk, cause: ChunkFault::Missing };
            let listed = restorer.manifest().chunk(chunk).map_or(0, |listed| listed.bytes);
            let file = read_chunk(dir, chunk, listed.min(restorer.limit()))?.ok_or(missing)?;
            restorer.add_chunk(chunk, file)?;
            report(restorer);
        }
    }
    restorer.flush()
}

/// Makes `dir` the place of this export, unless it is the place of something else.
fn claim(dir: &Path, manifest: &Manifest, cut: Cut) -> Result<(), Error> {
    let refused = |what| Error::Directory { path: dir.to_owned(), what };
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    if dir.join(MANIFEST).exists() {
        return Err(refused("it holds a whole snapshot: export into another directory"));
    }
    let size = (cut.chunk_bytes as u64).to_le_bytes();
    let claim: Bytes = [&manifest.encode()[..], &size].concat().into();
    match read_list(&dir.join(UNFINISHED))? {
        Some(other) if other == claim => Ok(()),
        Some(_) => Err(refused("it holds an unfinished export of another state or of other chunks: remove it first")),
        None if fs::read_dir(dir).map_err(Error::io(dir))?.any(|file| !is_part(&file)) => {
            Err(refused("it holds something else"))
        }
        None => write_whole(&dir.join(UNFINISHED), &claim),
    }
}

/// Whether a file is one that was being written when an export was stopped.
fn is_part(file: &io::Result<fs::DirEntry>) -> bool {
    file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "part"))
}

/// The chunk that comes after those of `manifest`, if it is there and right.
fn kept_chunk(dir: &Path, manifest: &Manifest, spine: &mut Spine) -> Result<Option<ListedChunk>, Error> {
    let Some(file) = read_chunk(dir, manifest.len(), u32::MAX)? else { return Ok(None) };
    let digest = Hash::of(&file);
    let Ok(chunk) = Chunk::decode(file, u32::MAX) else { return Ok(None) };
    let Ok(verified) = verify(&chunk, spine, &manifest.root) else { return Ok(None) };
    let first = chunk.entries.first().map(|(key, _)| Hash::of(key));
    let (Some(first), Some(last), true) = (first, verified.spine.end(), chunk.index == manifest.len()) else {
        return Ok(None);
    };
    *spine = verified.spine;
    let entries = u32::try_from(chunk.entries.len()).unwrap_or(u32::MAX);
    Ok(Some(ListedChunk { first, last, entries, bytes: chunk.unpacked(), digest }))
}

fn chunk_path(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("chunk-{index:08}"))
}

/// The contents of a file, if it is there. One that is longer than `limit` is not read, nor is what is no file: to open a pipe
/// may wait for ever.
fn read_file(path: &Path, limit: u64, longer: impl FnOnce(u64) -> Error) -> Result<Option<Bytes>, Error> {
    let opened = || match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    };
    let file = match opened() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io(path))?,
    };
    let size = file.metadata().map_err(Error::io(path))?.len();
    let mut bytes = Vec::new();
    if size <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    let size = size.max(bytes.len() as u64);
    if size > limit { Err(longer(size)) } else { Ok(Some(bytes.into())) }
}

/// The file of chunk `index`, whose body says or is listed to take `body` bytes.
fn read_chunk(dir: &Path, index: u32, body: u32) -> Result<Option<Bytes>, Error> {
    let limit = Chunk::longest(body);
    let longer = |size| Error::Chunk { chunk: index, cause: ChunkFault::TooLarge { size, limit } };
    read_file(&chunk_path(dir, index), limit, longer)
}

/// What `path`, a manifest or the claim of one, holds.
fn read_list(path: &Path) -> Result<Option<Bytes>, Error> {
    read_file(path, LONGEST_MANIFEST, |_| Error::Manifest(ManifestFault::Malformed("it is longer than any")))
}

/// Writes a file that has its name only once it is whole and on the disk.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(Error::io(path))
}

/// Makes the names in `dir` last, where the system can.
fn sync_directory(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))
}
