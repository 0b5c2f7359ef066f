//! How far a restore has come: one record in each store, written in the batch of each chunk.
//!
//! It holds what is needed to verify the next chunk, the right edge of the tree; so a restore goes on where the store
//! says, and nothing has to be found out from nodes. A store whose record is not complete is a part of a state, and no
//! command but the restore itself may use it. The record ends with its digest.

use super::codec::{Malformed, Reader, Writer};
use super::error::Error;
use super::hash::{Hash, NIBBLES};
use super::layout;
use super::node::{Inner, Leaf};
use super::spine::Spine;
use crate::kv::KvRead;
use bytes::Bytes;

const FORMAT: u8 = 1;

/// What of a state a store holds, or is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parts {
    /// Its entries under their own keys, and its tree.
    Everything,
    /// Its entries under their own keys, to be read and written, and no tree.
    Values,
    /// Its tree, whose leaves hold the entries, to be proved and exported.
    Tree,
}

/// A store's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether the restore has ended, and ended well.
    pub(super) complete: bool,
    pub(super) parts: Parts,
    /// Whether another store holds the other part.
    pub(super) paired: bool,
    pub(super) root: Hash,
    pub(super) version: u64,
    /// Chunks written.
    pub(super) chunks: u32,
    /// What they came to; without leaves when the restore is complete.
    pub(super) spine: Spine,
}

impl Parts {
    pub(super) fn values(self) -> bool {
        self != Parts::Tree
    }

    pub(super) fn tree(self) -> bool {
        self != Parts::Values
    }

    fn code(self) -> u8 {
        match self {
            Parts::Everything => 0,
            Parts::Values => 1,
            Parts::Tree => 2,
        }
    }

    fn of_code(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Parts::Everything),
            1 => Ok(Parts::Values),
            2 => Ok(Parts::Tree),
            _ => Err(Malformed),
        }
    }
}

impl Progress {
    /// The record in `state`, if there is one.
    pub(super) fn read<R>(state: &R) -> Result<Option<Self>, Error>
    where
        R: KvRead<Key = Bytes, Value = Bytes>,
    {
        let record = state.get(&layout::RESTORE)?.map(Self::decode).transpose();
        record.map_err(|_| Error::Damaged("no record of a restore".into()))
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut record = Writer::default();
        record.u8(FORMAT).u8(u8::from(self.complete)).u8(self.parts.code()).u8(u8::from(self.paired));
        record.hash(&self.root).u64(self.version).u32(self.chunks).u64(self.spine.leaves);
        record.u8(u8::from(self.spine.last.is_some()));
        if let Some(last) = &self.spine.last {
            record.sized(&last.key).sized(&last.value);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        record.u8(self.spine.open.len() as u8);
        self.spine.open.iter().for_each(|inner| inner.write(&mut record));
        let record = record.done();
        [&record[..], Hash::of(&record).bytes()].concat().into()
    }

    fn decode(record: Bytes) -> Result<Self, Malformed> {
        let flag = |byte| if byte < 2 { Ok(byte == 1) } else { Err(Malformed) };
        let end = record.len().checked_sub(32).ok_or(Malformed)?;
        if Hash::of(&record.slice(..end)).bytes() != record.slice(end..).as_ref() {
            return Err(Malformed); // the nodes that are to be made from it could not tell
        }
        let mut record = Reader::new(record.slice(..end));
        if record.u8()? != FORMAT {
            return Err(Malformed);
        }
        let (complete, parts, paired) = (flag(record.u8()?)?, Parts::of_code(record.u8()?)?, flag(record.u8()?)?);
        let (root, version, chunks, leaves) = (record.hash()?, record.u64()?, record.u32()?, record.u64()?);
        let last = if flag(record.u8()?)? { Some(Leaf::new(record.sized()?, record.sized()?)) } else { None };
        let depth = usize::from(record.u8()?);
        if depth > NIBBLES || (last.is_none() && depth > 0) {
            return Err(Malformed);
        }
        let open: Result<_, _> = (0..depth).map(|_| Inner::read(&mut record)).collect();
        record.end()?;
        let spine = Spine { version, open: open?, last, leaves };
        Ok(Self { complete, parts, paired, root, version, chunks, spine })
    }
}
