//! An open database file, and how it is read.

use super::super::Error;
use redb::{Database, TableDefinition};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// The table of the entries.
pub(super) const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cachekv");

/// Something of redb's whose going cannot panic: after a panic in a commit, redb's own `drop`s may.
pub(super) struct Held<T>(Option<T>);

/// A database, closed without a panic.
pub(super) type Db = Held<Database>;

impl<T> Held<T> {
    pub(super) fn new(held: T) -> Self {
        Self(Some(held))
    }

    pub(super) fn get(&self) -> Result<&T, redb::Error> {
        self.0.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    pub(super) fn get_mut(&mut self) -> Result<&mut T, redb::Error> {
        self.0.as_mut().ok_or(redb::Error::DatabaseClosed)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        // A database that is not closed properly is repaired when it is opened next.
        let _gone = guarded(|| {
            drop(held);
            Ok(())
        });
    }
}

/// An open database file, closed with the last that uses it.
pub(super) struct OpenFile {
    pub(super) db: Db,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_as_it_goes_goes_without_a_panic() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("poisoned"));
            }
        }
        let mut held = Held::new(Panics);
        assert!(held.get().is_ok() && held.get_mut().is_ok());
        drop(held);
    }
}
