//! The store in a file: opening, committing, taking snapshots.

use super::super::{Error, KvStore, Op, OpenCause, WriteBatch};
use super::file::{ENTRIES, OpenFile, guarded};
use super::open::{cause, open, open_gated};
use super::options::RedbOptions;
use super::snapshot::RedbSnapshot;
use crate::sync::Mutex;
use bytes::Bytes;
use redb::{Database, Durability};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What one entry may hold, key and value together: redb takes 3 GiB of each, and a little more together.
const ENTRY_LIMIT: usize = 3 << 30;

/// A store in a file.
///
/// A commit is on the disk before it returns, whole or not at all, and costs an `fsync`: commit in batches. Commits wait
/// for each other; snapshots, reads and iterators wait for nobody. A snapshot pins the pages of its state, which the file
/// cannot reuse until the snapshot and the iterators taken from it are gone: held long under many commits, it makes the
/// file grow.
///
/// Its pages take at most [`RedbOptions::cache_bytes`] of memory, 64 MiB where nobody says otherwise, however large the file is;
/// the batch that is committed comes on top.
///
/// A file has one owner at a time, in one process. It is closed when the store, its snapshots and its iterators are all
/// gone; the last of them to go writes what makes the next opening quick, and blocks for that. After a crash the next
/// opening walks the whole file once to repair it.
///
/// **Damage.** Opening checks that the file is a store and that what it needs to begin is whole; after a crash, which it
/// repairs, it checks every page. Reads check nothing: damage to a page of a file that was closed properly is an
/// [`Error::Read`] where a read can make no sense of the page, and otherwise goes unnoticed: an entry may be wrong, or
/// missing. [`verify`](Self::verify) finds it; what passes that holds what was committed. A damaged page that says how large
/// it is can make the database ask for up to 4 GiB of memory at once.
///
/// After an input or output error the store refuses everything until it is opened again. If it was a commit that failed
/// so, the file may then show that batch, always as a whole: committing it again is harmless.
///
/// ```
/// use bytes::Bytes;
/// use cachekv::kv::{KvRead, KvStore, RedbStore, WriteBatch};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("state.redb");
/// let store = RedbStore::create(&path)?;
/// let mut batch = WriteBatch::new();
/// batch.put(Bytes::from("a"), Bytes::from("1"));
/// let after = store.commit(batch)?;
/// assert_eq!(after.get(&Bytes::from("a"))?, Some(Bytes::from("1")));
/// drop((after, store));
/// let again = RedbStore::open(&path)?.snapshot()?;
/// assert_eq!(again.range(..).count(), 1);
/// # Ok(())
/// # }
/// ```
pub struct RedbStore {
    file: Arc<OpenFile>,
    /// So that the snapshot a commit returns shows its batch and none after it.
    commit: Mutex<()>,
}

impl RedbStore {
    /// Opens the store in the file at `path`, and makes it if there is no file or an empty one.
    ///
    /// A new store is made beside `path` and gets that name once it is whole: a process killed in the middle leaves a
    /// file whose name ends in `.new` and nothing at `path`.
    ///
    /// # Errors
    /// [`Error::Open`]; a file that was there has the contents it had.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::create_with(path, RedbOptions::default())
    }

    /// As [`create`](Self::create), with `options`.
    ///
    /// # Errors
    /// As there.
    pub fn create_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, Error> {
        Self::new(path.as_ref(), true, options)
    }

    /// Opens the store in the file at `path`, which must be there.
    ///
    /// # Errors
    /// [`Error::Open`]; the file has the contents it had.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, RedbOptions::default())
    }

    /// As [`open`](Self::open), with `options`.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, Error> {
        Self::new(path.as_ref(), false, options)
    }

    /// Reads every page of the store at `path` and checks it against its checksum, without changing the file, also where
    /// opening would repair it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Open`]: what opening says, or [`OpenCause::Corrupted`] for what is damaged.
    pub fn verify(path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let check = || {
            let (mut db, _gate) = open_gated(path, false, RedbOptions::default())?; // never passed: nothing is written
            match guarded(|| Ok(db.get_mut()?.check_integrity()?)) {
                Ok(true) => Ok(()),
                Ok(false) => Err(OpenCause::Corrupted("pages do not agree with each other".into())),
                Err(error) => Err(cause(error)),
            }
        };
        check().map_err(|cause| Error::Open { path: path.to_owned(), cause })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    fn new(path: &Path, create: bool, options: RedbOptions) -> Result<Self, Error> {
        let db = open(path, create, options).map_err(|cause| Error::Open { path: path.to_owned(), cause })?;
        let file = OpenFile { db, path: path.to_owned(), name: path.display().to_string().into() };
        Ok(Self { file: Arc::new(file), commit: Mutex::new(()) })
    }
}

impl KvStore for RedbStore {
    type Key = Bytes;
    type Value = Bytes;
    type Snapshot = RedbSnapshot;

    fn snapshot(&self) -> Result<RedbSnapshot, Error> {
        RedbSnapshot::new(&self.file)
    }

    /// As [`KvStore::commit`] says; blocks until the batch is on the disk.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Commit`]; [`Error::Read`] if the batch was committed and the snapshot of it could
    /// not be taken.
    fn commit(&self, batch: WriteBatch<Bytes, Bytes>) -> Result<RedbSnapshot, Error> {
        if batch.is_empty() {
            return self.snapshot();
        }
        check_sizes(&self.file.name, &batch)?;
        let _one = self.commit.lock();
        guarded(|| write(self.file.db.get()?, &batch))
            .map_err(|error| Error::Commit { store: Arc::clone(&self.file.name), source: Arc::new(error) })?;
        self.snapshot()
    }
}

/// Writes `batch` in one transaction, which goes without a trace if it fails before its end.
fn write(db: &Database, batch: &WriteBatch<Bytes, Bytes>) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for (key, op) in batch.iter() {
            match op {
                Op::Put(value) => entries.insert(key.as_ref(), value.as_ref())?,
                Op::Delete => entries.remove(key.as_ref())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// Refuses what the database would, before anything is begun.
fn check_sizes(store: &Arc<str>, batch: &WriteBatch<Bytes, Bytes>) -> Result<(), Error> {
    for (key, op) in batch.iter() {
        let size = op.value().map_or(0, |value| key.len().saturating_add(value.len()));
        if size > ENTRY_LIMIT {
            let key = key.iter().take(32).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
            return Err(Error::TooLarge { store: Arc::clone(store), key, size, limit: ENTRY_LIMIT });
        }
    }
    Ok(())
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.file.path).finish_non_exhaustive()
    }
}
