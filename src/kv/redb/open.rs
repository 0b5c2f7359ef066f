//! Opening a file as a store: telling what it is before anything is written to it, and saying why not.

use super::super::OpenCause;
use super::file::{Db, ENTRIES, guarded};
use super::gate::Gate;
use super::options::RedbOptions;
use redb::backends::FileBackend;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, StorageError, TableDefinition, TableError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const META: TableDefinition<&str, u64> = TableDefinition::new("cachekv.meta");
/// The row of the meta table that holds the format number.
const FORMAT_ROW: &str = "format";
/// The format this version writes, and the only one it reads.
const FORMAT: u64 = 1;
/// What every database file begins with.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Opens the store at `path`, and makes it if it is not there and `create` says so. The file is as it was if that fails.
pub(super) fn open(path: &Path, create: bool, options: RedbOptions) -> Result<Db, OpenCause> {
    if create
        && matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
        && let Some(db) = make(path, options)?
    {
        return Ok(db);
    }
    let (db, gate) = open_gated(path, create, options)?;
    gate.pass().map_err(io_cause)?;
    Ok(db)
}

/// Makes a store beside `path` and gives it that name once it is one: whoever is killed meanwhile leaves no file there
/// that is a store in part, and so none that could not be told from somebody else's. `None` if the name is taken by then,
/// or the file system has no links.
fn make(path: &Path, options: RedbOptions) -> Result<Option<Db>, OpenCause> {
    let (file, beside) = create_beside(path)?;
    let made = open_file_gated(file, true, options).and_then(|(db, gate)| {
        gate.pass().map_err(io_cause)?;
        Ok(fs::hard_link(&beside, path).is_ok().then_some(db)) // a link, unlike a renaming, replaces nothing
    });
    drop(fs::remove_file(&beside)); // if it fails there is a second name for the file
    if let Ok(directory) = File::open(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        drop(directory.sync_all()); // so that the name outlives a loss of power, where the system can
    }
    made
}

/// A new file in the directory of `path`, under a name that no other call takes.
fn create_beside(path: &Path) -> Result<(File, PathBuf), OpenCause> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut taken = 0u64;
    loop {
        let beside = path.with_file_name(format!(".{name}.{}-{taken}.new", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = taken.saturating_add(1),
            file => return file.map(|file| (file, beside)).map_err(|error| not_opened(path, true, error)),
        }
    }
}

/// Opens the database at `path` behind a gate, and checks that it is a store; makes it one if it holds nothing yet and
/// `create` says so. The file is as it was until the gate is passed.
pub(super) fn open_gated(path: &Path, create: bool, options: RedbOptions) -> Result<(Db, Gate), OpenCause> {
    open_file_gated(open_file(path, create)?, create, options)
}

fn open_file_gated(file: File, create: bool, options: RedbOptions) -> Result<(Db, Gate), OpenCause> {
    let backend = FileBackend::new(file).map_err(cause)?;
    check_magic(&backend, create)?;
    let gate = Gate::new(backend);
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    let db = guarded(|| Ok(builder.create_with_backend(gate.clone())?)).map(Db::new).map_err(cause)?;
    guarded(|| Ok(recognise(db.get()?, create))).map_err(cause)??;
    Ok((db, gate))
}

fn open_file(path: &Path, create: bool) -> Result<File, OpenCause> {
    let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path);
    let file = file.map_err(|error| not_opened(path, create, error))?;
    if file.metadata().map_err(io_cause)?.is_file() { Ok(file) } else { Err(foreign("it is no ordinary file")) }
}

/// Why there is no file at `path`; a missing directory is named.
fn not_opened(path: &Path, create: bool, error: io::Error) -> OpenCause {
    match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(dir)) if !dir.as_os_str().is_empty() && !dir.exists() => {
            io_cause(io::Error::new(error.kind(), format!("there is no directory {}", dir.display())))
        }
        (io::ErrorKind::NotFound, _) if !create => OpenCause::Missing,
        _ => io_cause(error),
    }
}

/// Refuses what is no database at all. The database would too, in words of its own.
fn check_magic(file: &FileBackend, create: bool) -> Result<(), OpenCause> {
    let len = file.len().map_err(io_cause)?;
    if len == 0 {
        return if create { Ok(()) } else { Err(foreign("it is empty")) };
    }
    let mut magic = [0; MAGIC.len()];
    if len >= magic.len() as u64 {
        file.read(0, &mut magic).map_err(io_cause)?;
    }
    if magic == MAGIC { Ok(()) } else { Err(foreign("it is no database file")) }
}

/// Checks that `db` is a store of the format we read. A database without any table becomes one if `create` says so: it is
/// new, or a crash came between its making and this.
fn recognise(db: &Database, create: bool) -> Result<(), OpenCause> {
    let read = db.begin_read().map_err(cause)?;
    if create && has_no_table(&read).map_err(cause)? {
        return initialise(db).map_err(cause);
    }
    let meta = read.open_table(META).map_err(|error| match error {
        TableError::Storage(error) => cause(error),
        _ => foreign("it is a database of another program"),
    })?;
    let format = meta.get(FORMAT_ROW).map_err(cause)?.map(|row| row.value());
    match format {
        Some(FORMAT) => {}
        Some(found) => return Err(OpenCause::Format { found, expected: FORMAT }),
        None => return Err(OpenCause::Corrupted("it names no format".into())),
    }
    read.open_table(ENTRIES).map(drop).map_err(cause)
}

fn has_no_table(read: &ReadTransaction) -> Result<bool, StorageError> {
    Ok(read.list_tables()?.next().is_none() && read.list_multimap_tables()?.next().is_none())
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT_ROW, FORMAT)?;
    transaction.open_table(ENTRIES)?;
    Ok(transaction.commit()?)
}

/// Why the database could not be opened, in our terms.
pub(super) fn cause(error: impl Into<redb::Error>) -> OpenCause {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => OpenCause::Locked,
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            OpenCause::Corrupted("it is cut short".into())
        }
        redb::Error::Io(error) => io_cause(error),
        redb::Error::Corrupted(words) => OpenCause::Corrupted(words),
        redb::Error::UpgradeRequired(version) => foreign(format!("it is a redb database of version {version}")),
        other => OpenCause::Corrupted(other.to_string()),
    }
}

pub(super) fn io_cause(error: io::Error) -> OpenCause {
    OpenCause::Io(Arc::new(error))
}

fn foreign(words: impl Into<String>) -> OpenCause {
    OpenCause::Foreign(words.into())
}
