//! What a store may cost its process.

/// What [`RedbStore::open_with`](super::RedbStore::open_with) and [`create_with`](super::RedbStore::create_with) are told.
///
/// ```
/// use cachekv::kv::{RedbOptions, RedbStore};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let options = RedbOptions { cache_bytes: 1 << 20 };
/// let store = RedbStore::create_with(dir.path().join("state.redb"), options)?;
/// assert!(store.path().exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// The most that pages of the file may take in memory, read and not yet written ones together; a commit may have half of
    /// it, and writes what is beyond to the file before its end. The size of the file does not matter to it. What the
    /// cache lacks is read from the file, which costs a system call, and the disk where the system has not kept it either.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    /// 64 MiB.
    fn default() -> Self {
        Self { cache_bytes: 64 << 20 }
    }
}
