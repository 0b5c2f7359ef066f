//! The remote state view: the state before a block, read from the coordinator, as the executor reads any state.

use super::block_view::{BlockView, ViewFailure};
use super::coded::Coded;
use super::message::Limit;
use crate::kv::{Error, Key, KeyRange, KvRead, Value};
use crate::sync::Arc;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;

/// The state before one block of one coordinator, read key by key over the network.
///
/// Every read of it answers from the coordinator's snapshot, or is an error: never is a key absent because it is not here. A
/// read waits for its answer, until the block's deadline at most; each key travels once. Clones are the same view.
///
/// The error of a read is [`Error::Read`] around a [`ViewFailure`].
pub struct RemoteStateView<K, V> {
    view: Arc<BlockView>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Key + Coded, V: Value + Coded> RemoteStateView<K, V> {
    pub(crate) fn new(view: Arc<BlockView>) -> Self {
        Self { view, of: PhantomData }
    }
}

/// The failure of a view as a store's error.
pub(crate) fn unread(failure: ViewFailure) -> Error {
    Error::Read { store: "the coordinator".into(), source: Arc::new(failure) }
}

/// The failure of a view that is in a store's error.
pub(crate) fn view_failure(error: &Error) -> Option<&ViewFailure> {
    match error {
        Error::Read { source, .. } => source.downcast_ref(),
        _ => None,
    }
}

impl<K: Key + Coded, V: Value + Coded> KvRead for RemoteStateView<K, V> {
    type Key = K;
    type Value = V;
    type Iter = RemoteIter<K, V>;
    type Root = Self;

    fn get(&self, key: &K) -> Result<Option<V>, Error> {
        let value = self.view.get(&key.encode()).map_err(unread)?;
        value.map(|bytes| V::decode(bytes).ok_or_else(|| unread(ViewFailure::Malformed))).transpose()
    }

    fn scan(&self, range: KeyRange<K>) -> RemoteIter<K, V> {
        let done = range.is_empty();
        let limit = |bound: Bound<K>| match bound {
            Bound::Unbounded => Limit::Unbounded,
            Bound::Included(key) => Limit::Included(key.encode()),
            Bound::Excluded(key) => Limit::Excluded(key.encode()),
        };
        RemoteIter {
            view: Arc::clone(&self.view),
            start: limit(range.start),
            end: limit(range.end),
            front: VecDeque::new(),
            back: VecDeque::new(),
            done,
            most: FIRST_PAGE,
        }
    }

    fn root(&self) -> &Self {
        self
    }
}

impl<K, V> Clone for RemoteStateView<K, V> {
    fn clone(&self) -> Self {
        Self { view: Arc::clone(&self.view), of: PhantomData }
    }
}

impl<K, V> fmt::Debug for RemoteStateView<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteStateView").field(&self.view).finish()
    }
}

/// How many entries the first page of a walk has, and how many a later one has at most.
const FIRST_PAGE: u32 = 16;
const LARGEST_PAGE: u32 = 512;

/// A walk over a [`RemoteStateView`], page by page from either end, each page larger than the one before.
pub struct RemoteIter<K, V> {
    view: Arc<BlockView>,
    /// What has not been asked for, unless `done`.
    start: Limit,
    end: Limit,
    done: bool,
    /// What has come from either end, ascending; what was not asked for lies between them.
    front: VecDeque<(K, V)>,
    back: VecDeque<(K, V)>,
    most: u32,
}

impl<K: Coded, V: Coded> RemoteIter<K, V> {
    /// Asks for the next page from one end.
    fn page(&mut self, backward: bool) -> Result<(), ViewFailure> {
        let (entries, more) = self.view.page(self.start.clone(), self.end.clone(), backward, self.most)?;
        self.most = self.most.saturating_mul(2).min(LARGEST_PAGE);
        self.done = !more || entries.is_empty();
        if let Some((last, _)) = entries.last() {
            let limit = Limit::Excluded(last.clone());
            *(if backward { &mut self.end } else { &mut self.start }) = limit;
        }
        for (key, value) in entries.iter() {
            let entry = decode(key, value).ok_or(ViewFailure::Malformed)?;
            if backward {
                self.back.push_front(entry);
            } else {
                self.front.push_back(entry);
            }
        }
        Ok(())
    }

    /// Nothing more comes after an error.
    fn end(&mut self, failure: ViewFailure) -> Option<Result<(K, V), Error>> {
        self.done = true;
        self.front.clear();
        self.back.clear();
        Some(Err(unread(failure)))
    }
}

fn decode<K: Coded, V: Coded>(key: &Bytes, value: &Bytes) -> Option<(K, V)> {
    Some((K::decode(key.clone())?, V::decode(value.clone())?))
}

impl<K: Coded, V: Coded> Iterator for RemoteIter<K, V> {
    type Item = Result<(K, V), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.front.is_empty()
            && !self.done
            && let Err(failure) = self.page(false)
        {
            return self.end(failure);
        }
        self.front.pop_front().or_else(|| self.back.pop_front()).map(Ok)
    }
}

impl<K: Coded, V: Coded> DoubleEndedIterator for RemoteIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.back.is_empty()
            && !self.done
            && let Err(failure) = self.page(true)
        {
            return self.end(failure);
        }
        self.back.pop_back().or_else(|| self.front.pop_back()).map(Ok)
    }
}

impl<K, V> fmt::Debug for RemoteIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteIter").field("start", &self.start).field("end", &self.end).finish_non_exhaustive()
    }
}
