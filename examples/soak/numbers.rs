//! A store of numbers over a store of bytes: big-endian, so that keys sort as the numbers do.

use crate::script::{Key, Value};
use cachekv::bytes::Bytes;
use cachekv::kv::{Error, KeyRange, KvRead, KvStore, Op, WriteBatch};
use std::ops::Bound;

/// A store of numbers over `S`.
pub struct Numbers<S>(pub S);

/// A state of a [`Numbers`] store.
#[derive(Clone)]
pub struct NumbersRead<R>(R);

/// A walk over a [`NumbersRead`].
pub struct NumbersIter<I>(I);

fn key_bytes(key: Key) -> Bytes {
    Bytes::copy_from_slice(&key.to_be_bytes())
}

/// What is of another length was not written here, and becomes a number that no check lets pass.
fn number(value: &Bytes) -> Value {
    value.as_ref().try_into().map_or(Value::MAX, Value::from_be_bytes)
}

type Entry = Result<(Bytes, Bytes), Error>;

fn entry(entry: Entry) -> Result<(Key, Value), Error> {
    entry.map(|(key, value)| (key.as_ref().try_into().map_or(Key::MAX, Key::from_be_bytes), number(&value)))
}

impl<S: KvStore<Key = Bytes, Value = Bytes>> KvStore for Numbers<S> {
    type Key = Key;
    type Value = Value;
    type Snapshot = NumbersRead<S::Snapshot>;

    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.0.snapshot().map(NumbersRead)
    }

    fn commit(&self, batch: WriteBatch<Key, Value>) -> Result<Self::Snapshot, Error> {
        let bytes = batch.into_iter().map(|(key, op)| {
            let op = op.into_value().map_or(Op::Delete, |value| Op::Put(Bytes::copy_from_slice(&value.to_be_bytes())));
            (key_bytes(key), op)
        });
        self.0.commit(bytes.collect()).map(NumbersRead)
    }
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> KvRead for NumbersRead<R> {
    type Key = Key;
    type Value = Value;
    type Iter = NumbersIter<R::Iter>;
    type Root = Self;

    fn get(&self, key: &Key) -> Result<Option<Value>, Error> {
        Ok(self.0.get(&key_bytes(*key))?.as_ref().map(number))
    }

    fn contains(&self, key: &Key) -> Result<bool, Error> {
        self.0.contains(&key_bytes(*key))
    }

    fn scan(&self, range: KeyRange<Key>) -> Self::Iter {
        let bound = |bound: Bound<Key>| bound.map(key_bytes);
        NumbersIter(self.0.scan(KeyRange { start: bound(range.start), end: bound(range.end) }))
    }

    fn root(&self) -> &Self {
        self
    }
}

impl<I: Iterator<Item = Entry>> Iterator for NumbersIter<I> {
    type Item = Result<(Key, Value), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(entry)
    }
}

impl<I: DoubleEndedIterator<Item = Entry>> DoubleEndedIterator for NumbersIter<I> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(entry)
    }
}
