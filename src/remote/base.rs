//! The state before a block, as the coordinator answers for it.
//!
//! Here it is found that a shard reads what it was not declared to touch: a key that another shard may write before the
//! shard's last transaction has its value in no state below the block. The shard is told so, and the block is executed
//! unsharded. A shard that is declared to touch the key knows of those writes, and may read what is below them.

use super::coded::Coded;
use super::message::{Limit, ReadFailure, Scan};
use super::partition::{Access, Partition};
use crate::kv::{Key, KeyRange, KvRead};
use crate::multiversion::TxIndex;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// A key and what a read of it answers.
pub(crate) type Value = (Bytes, Result<Option<Bytes>, ReadFailure>);

/// A snapshot that is asked in bytes.
pub(crate) trait Base: Send + Sync {
    fn fetch(&self, shard: usize, keys: Vec<Bytes>) -> Vec<Value>;
    /// The entries, and whether the range goes on.
    fn scan(&self, shard: usize, scan: &Scan) -> (Result<Vec<(Bytes, Bytes)>, ReadFailure>, bool);
}

/// The most entries of a page, and about the most bytes.
const MOST_ENTRIES: usize = 4096;
const MOST_BYTES: usize = 4 << 20;

/// A snapshot, and what its readers may not read of it.
pub(crate) struct Guarded<S: KvRead> {
    state: S,
    /// For each key that is declared to be written, the first place at which each shard does.
    writers: BTreeMap<S::Key, Vec<(usize, TxIndex)>>,
    /// For each key that is declared to be written, the shards that are declared to touch it.
    touching: HashMap<S::Key, BTreeSet<usize>, foldhash::fast::RandomState>,
    /// The last place of each shard.
    last: Vec<TxIndex>,
}

impl<S: KvRead> Guarded<S> {
    pub(crate) fn new(state: S, accesses: &[Access<S::Key>], partition: &Partition<S::Key>) -> Self {
        let mut writers: BTreeMap<S::Key, Vec<(usize, TxIndex)>> = BTreeMap::new();
        let mut last = vec![0; partition.shards()];
        let all = || (0..TxIndex::MAX).zip(accesses).zip(&partition.shard_of);
        for ((place, access), shard) in all() {
            if let Some(last) = last.get_mut(*shard) {
                *last = place;
            }
            for key in &access.writes {
                let by = writers.entry(key.clone()).or_default();
                if by.iter().all(|(other, _)| other != shard) {
                    by.push((*shard, place));
                }
            }
        }
        let mut touching: HashMap<_, BTreeSet<usize>, _> = HashMap::default();
        for ((_, access), shard) in all() {
            for key in access.reads.iter().chain(&access.writes).filter(|key| writers.contains_key(key)) {
                touching.entry(key.clone()).or_default().insert(*shard);
            }
        }
        Self { state, writers, touching, last }
    }

    /// Whether another shard may write `key` without `shard` being told.
    fn is_hidden(&self, shard: usize, key: &S::Key, by: &[(usize, TxIndex)]) -> bool {
        let last = self.last.get(shard).copied().unwrap_or(TxIndex::MAX);
        by.iter().any(|(other, from)| *other != shard && *from < last)
            && !self.touching.get(key).is_some_and(|touching| touching.contains(&shard))
    }

    fn read(&self, shard: usize, bytes: &Bytes) -> Result<Option<Bytes>, ReadFailure>
    where
        S::Key: Coded,
        S::Value: Coded,
    {
        let key = S::Key::decode(bytes.clone()).ok_or(ReadFailure::Malformed)?;
        if self.writers.get(&key).is_some_and(|by| self.is_hidden(shard, &key, by)) {
            return Err(ReadFailure::Undeclared { key: format!("{key:?}") });
        }
        let value = self.state.get(&key).map_err(|error| ReadFailure::Store(error.to_string()))?;
        Ok(value.map(|value| value.encode()))
    }
}

impl<S: KvRead<Key: Coded, Value: Coded>> Base for Guarded<S> {
    fn fetch(&self, shard: usize, keys: Vec<Bytes>) -> Vec<Value> {
        let read = |key: Bytes| {
            let value = self.read(shard, &key);
            (key, value)
        };
        keys.into_iter().map(read).collect()
    }

    fn scan(&self, shard: usize, scan: &Scan) -> (Result<Vec<(Bytes, Bytes)>, ReadFailure>, bool) {
        let (Some(start), Some(end)) = (bound::<S::Key>(&scan.start), bound::<S::Key>(&scan.end)) else {
            return (Err(ReadFailure::Malformed), false);
        };
        let range = KeyRange { start, end };
        let most = usize::try_from(scan.most).unwrap_or(MOST_ENTRIES).clamp(1, MOST_ENTRIES);
        match page(&self.state, &range, scan.backward, most) {
            Err(error) => (Err(ReadFailure::Store(error.to_string())), false),
            Ok((entries, more)) => match self.hidden_in(shard, &range, scan.backward, &entries, more) {
                Some(key) => (Err(ReadFailure::Undeclared { key: format!("{key:?}") }), false),
                None => (Ok(entries.into_iter().map(|(key, value)| (key.encode(), value.encode())).collect()), more),
            },
        }
    }
}

impl<S: KvRead> Guarded<S> {
    /// The first key of the part of `range` that `entries` covers which this shard may not read.
    fn hidden_in(
        &self,
        shard: usize,
        range: &KeyRange<S::Key>,
        backward: bool,
        entries: &[(S::Key, S::Value)],
        more: bool,
    ) -> Option<&S::Key> {
        let mut covered = range.clone();
        if let Some((last, _)) = entries.last().filter(|_| more) {
            *(if backward { &mut covered.start } else { &mut covered.end }) = Bound::Included(last.clone());
        }
        if covered.is_empty() {
            return None;
        }
        let mut written = self.writers.range((covered.start, covered.end));
        written.find(|(key, by)| self.is_hidden(shard, key, by)).map(|(key, _)| key)
    }
}

/// Entries of a range, and whether it goes on after them.
type Entries<S> = (Vec<(<S as KvRead>::Key, <S as KvRead>::Value)>, bool);

fn page<S: KvRead>(
    state: &S,
    range: &KeyRange<S::Key>,
    backward: bool,
    most: usize,
) -> Result<Entries<S>, crate::kv::Error>
where
    S::Key: Coded,
    S::Value: Coded,
{
    let mut walk = state.scan(range.clone());
    let mut entries = Vec::new();
    let mut bytes = 0_usize;
    loop {
        let next = if backward { walk.next_back() } else { walk.next() };
        let Some(entry) = next else { return Ok((entries, false)) };
        let (key, value) = entry?;
        bytes = bytes.saturating_add(key.encode().len()).saturating_add(value.encode().len());
        entries.push((key, value));
        if entries.len() >= most || bytes >= MOST_BYTES {
            return Ok((entries, true));
        }
    }
}

fn bound<K: Key + Coded>(limit: &Limit) -> Option<Bound<K>> {
    Some(match limit {
        Limit::Unbounded => Bound::Unbounded,
        Limit::Included(key) => Bound::Included(K::decode(key.clone())?),
        Limit::Excluded(key) => Bound::Excluded(K::decode(key.clone())?),
    })
}
