//! A state of the embedded store, and the walk over its entries.

use super::super::{Error, KeyRange, KvRead};
use super::file::{ENTRIES, Held, OpenFile};
use bytes::Bytes;
use redb::{AccessGuard, Range, ReadOnlyTable, ReadableDatabase, StorageError};
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Entry = (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>);
type EntryRange = Range<'static, &'static [u8], &'static [u8]>;

/// A state of a [`RedbStore`](super::RedbStore): a read transaction. Cloning it is O(1), reading never waits for a commit.
///
/// It keeps the file open, and outlives the store.
#[derive(Clone)]
pub struct RedbSnapshot {
    state: Arc<State>,
}

/// The entries of a range of a [`RedbSnapshot`], read page by page as it is walked; it owns the state it walks, and
/// lets go of it at the end of the range.
pub struct RedbIter {
    walk: Walk,
}

enum Walk {
    /// The range goes before the state that it reads from.
    On(Box<Held<EntryRange>>, Arc<State>),
    Failed(Error),
    Done,
}

struct State {
    entries: Held<Entries>, // before the file: it is of no use once that is closed
    file: Arc<OpenFile>,
}

impl RedbSnapshot {
    /// The current state of `file`.
    pub(super) fn new(file: &Arc<OpenFile>) -> Result<Self, Error> {
        let entries = file.read(|| Ok(file.db.get()?.begin_read()?.open_table(ENTRIES)?))?;
        Ok(Self { state: Arc::new(State { entries: Held::new(entries), file: Arc::clone(file) }) })
    }
}

impl KvRead for RedbSnapshot {
    type Key = Bytes;
    type Value = Bytes;
    type Iter = RedbIter;
    type Root = Self;

    /// As [`KvRead::get`] says; copies the value out of the page cache, or out of the file.
    fn get(&self, key: &Bytes) -> Result<Option<Bytes>, Error> {
        let State { entries, file } = &*self.state;
        file.read(|| Ok(entries.get()?.get(key.as_ref())?.map(|value| Bytes::copy_from_slice(value.value()))))
    }

    fn contains(&self, key: &Bytes) -> Result<bool, Error> {
        let State { entries, file } = &*self.state;
        file.read(|| Ok(entries.get()?.get(key.as_ref())?.is_some()))
    }

    fn scan(&self, range: KeyRange<Bytes>) -> RedbIter {
        let state = Arc::clone(&self.state);
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) =
            (range.start_bound().map(|key| key.as_ref()), range.end_bound().map(|key| key.as_ref()));
        let walk = match state.file.read(|| Ok(state.entries.get()?.range::<&[u8]>(bounds)?)) {
            Ok(range) => Walk::On(Box::new(Held::new(range)), state),
            Err(error) => Walk::Failed(error),
        };
        RedbIter { walk }
    }

    fn root(&self) -> &Self {
        self
    }
}

impl RedbIter {
    fn step(
        &mut self,
        take: impl FnOnce(&mut EntryRange) -> Option<Result<Entry, StorageError>>,
    ) -> Option<Result<(Bytes, Bytes), Error>> {
        if let Walk::On(range, state) = &mut self.walk {
            let entry = state.file.read(|| {
                let entry = take(range.get_mut()?).transpose()?;
                Ok(entry.map(|(k, v)| (Bytes::copy_from_slice(k.value()), Bytes::copy_from_slice(v.value()))))
            });
            if let Ok(Some(entry)) = entry {
                return Some(Ok(entry));
            }
            self.walk = entry.map_or_else(Walk::Failed, |_| Walk::Done);
        }
        match std::mem::replace(&mut self.walk, Walk::Done) {
            Walk::Failed(error) => Some(Err(error)),
            Walk::On(..) | Walk::Done => None,
        }
    }
}

impl Iterator for RedbIter {
    type Item = Result<(Bytes, Bytes), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(Range::next)
    }
}

impl DoubleEndedIterator for RedbIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Range::next_back)
    }
}

impl fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbSnapshot").field("path", &self.state.file.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedbIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbIter").finish_non_exhaustive()
    }
}
