//! An open database file, and how it is read.

use super::super::Error;
use redb::{Database, TableDefinition};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// The table of the entries.
pub(super) const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cachekv");

/// An open database file, closed with the last that uses it.
pub(super) struct OpenFile {
    pub(super) db: Database,
    pub(super) path: PathBuf,
    /// The path in words, for errors.
    pub(super) name: Arc<str>,
}

impl OpenFile {
    /// Reads from the file; what goes wrong is [`Error::Read`].
    pub(super) fn read<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
        guarded(work).map_err(|error| Error::Read { store: Arc::clone(&self.name), source: Arc::new(error) })
    }
}

/// Runs `work`, which calls into the database; a panic in there, on what a damaged file made of its state, is an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    // Unwind safe: the database poisons or rolls back what a panic leaves half done.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an assertion failed");
        Err(redb::Error::Corrupted(words.to_owned()))
    })
}
