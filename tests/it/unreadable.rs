//! A state that cannot read one key, nor walk past it, however often it is tried.

use cachekv::kv::{Error, KeyRange, KvRead};
use std::sync::Arc;

/// `state`, but for the key that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable<R: KvRead> {
    state: R,
    key: Option<R::Key>,
}

/// A walk over an [`Unreadable`] state: over after the key that cannot be read.
pub struct UnreadableIter<R: KvRead> {
    /// `None` after the error.
    walk: Option<R::Iter>,
    key: Option<R::Key>,
}

impl<R: KvRead> Unreadable<R> {
    pub fn new(state: R, key: Option<R::Key>) -> Self {
        Self { state, key }
    }

    /// What it says where it cannot read.
    pub fn error() -> Error {
        Error::Read { store: "unreadable".into(), source: Arc::new(std::io::Error::other("it is broken")) }
    }
}

type Entry<R> = Result<(<R as KvRead>::Key, <R as KvRead>::Value), Error>;

impl<R: KvRead> UnreadableIter<R> {
    fn step(&mut self, take: impl FnOnce(&mut R::Iter) -> Option<Entry<R>>) -> Option<Entry<R>> {
        let entry = take(self.walk.as_mut()?)?;
        if entry.as_ref().is_ok_and(|(key, _)| Some(key) != self.key.as_ref()) {
            return Some(entry);
        }
        self.walk = None;
        Some(Err(Unreadable::<R>::error()))
    }
}

impl<R: KvRead> Iterator for UnreadableIter<R> {
    type Item = Entry<R>;
    fn next(&mut self) -> Option<Entry<R>> {
        self.step(R::Iter::next)
    }
}

impl<R: KvRead> DoubleEndedIterator for UnreadableIter<R> {
    fn next_back(&mut self) -> Option<Entry<R>> {
        self.step(R::Iter::next_back)
    }
}

impl<R: KvRead> KvRead for Unreadable<R> {
    type Key = R::Key;
    type Value = R::Value;
    type Iter = UnreadableIter<R>;
    type Root = Self;

    fn get(&self, key: &R::Key) -> Result<Option<R::Value>, Error> {
        if Some(key) == self.key.as_ref() { Err(Self::error()) } else { self.state.get(key) }
    }

    fn scan(&self, range: KeyRange<R::Key>) -> UnreadableIter<R> {
        UnreadableIter { walk: Some(self.state.scan(range)), key: self.key.clone() }
    }

    fn root(&self) -> &Self {
        self
    }
}
