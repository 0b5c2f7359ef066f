//! The embedded store beyond the contract.

/// What damage does.
mod damage;
/// What is refused, and why.
mod open;
/// What outlives a commit: a crash, another process, later commits.
mod survival;

use bytes::Bytes;
use cachekv::kv::{Error, KvRead, Op, OpenCause, RedbStore, WriteBatch};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn dir() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(entries: impl IntoIterator<Item = (String, String)>) -> WriteBatch<Bytes, Bytes> {
    entries.into_iter().map(|(key, value)| (bytes(&key), Op::Put(bytes(&value)))).collect()
}

fn entries(state: &impl KvRead<Key = Bytes, Value = Bytes>) -> Result<Vec<(Bytes, Bytes)>, Error> {
    state.range(..).collect()
}

/// The cause of the refusal to open or create `path`, which names the path and leaves the file as it was.
fn refused(path: &Path, open: impl Fn(&Path) -> Result<RedbStore, Error>) -> OpenCause {
    let before = fs::read(path).ok();
    let error = open(path).expect_err("opened");
    assert_eq!(fs::read(path).ok(), before, "the file was changed");
    let words = error.to_string();
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    match error {
        Error::Open { path: named, cause } => {
            assert_eq!(named, path);
            assert!(words.ends_with(&cause.to_string()), "{words}");
            cause
        }
        other => panic!("{other:?}"),
    }
}

/// As [`refused`], the same by `open` and `create`.
fn refused_both(path: &Path) -> OpenCause {
    let opened = refused(path, |path| RedbStore::open(path));
    assert_eq!(format!("{opened:?}"), format!("{:?}", refused(path, |path| RedbStore::create(path))));
    opened
}
