//! The manifest: what a snapshot is, and which chunks it has. `docs/snapshot-format.md` gives the bytes.
//!
//! Nothing in it is trusted. The root that a restore must reach comes from its caller; the manifest says which chunks may
//! lead there, and its digests tell damage from malice: a chunk that is what the manifest lists may still be refused.

use super::codec::{Malformed, Reader, Writer};
use super::error::ManifestFault;
use super::hash::Hash;
use bytes::Bytes;

const MARK: &[u8] = b"ckvsnaps";
const FORMAT: u16 = 1;
/// The bytes of a listed chunk.
const LISTED: usize = 32 + 32 + 4 + 4 + 32;

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The block after which the state was this.
    pub version: u64,
    /// The state's root.
    pub root: Hash,
    /// Entries of the state.
    pub entries: u64,
    /// Bytes of the chunks, uncompressed.
    pub bytes: u64,
    /// The chunks in order.
    pub chunks: Vec<ListedChunk>,
}

/// What a manifest says of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChunk {
    /// The hash of its first key.
    pub first: Hash,
    /// The hash of its last key.
    pub last: Hash,
    /// Its entries.
    pub entries: u32,
    /// Its bytes, uncompressed.
    pub bytes: u32,
    /// The SHA-256 of its file.
    pub digest: Hash,
}

impl Manifest {
    /// The number of chunks.
    pub fn len(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are no chunks, as for the empty state.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What is said of chunk `index`.
    pub fn chunk(&self, index: u32) -> Option<&ListedChunk> {
        self.chunks.get(index as usize)
    }

    /// The manifest as bytes.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Writer::default();
        bytes.bytes(MARK).u16(FORMAT).u64(self.version).hash(&self.root).u64(self.entries).u64(self.bytes);
        bytes.u32(self.len());
        for chunk in &self.chunks {
            bytes.hash(&chunk.first).hash(&chunk.last).u32(chunk.entries).u32(chunk.bytes).hash(&chunk.digest);
        }
        let bytes = bytes.done();
        let digest = Hash::of(&bytes);
        [&bytes[..], digest.bytes()].concat().into()
    }

    /// Reads what [`encode`](Self::encode) gave, and checks that it does not contradict itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: Bytes) -> Result<Self, ManifestFault> {
        let mut head = Reader::new(bytes.clone());
        let cut = |_| ManifestFault::Malformed("its head");
        if head.bytes(MARK.len()).map_err(cut)? != MARK {
            return Err(ManifestFault::Malformed("it does not begin as a manifest does"));
        }
        match head.u16().map_err(cut)? {
            FORMAT => {}
            format => return Err(ManifestFault::Format(format)),
        }
        let split = bytes.len().checked_sub(32).ok_or(ManifestFault::Malformed("its end"))?;
        if Hash::of(&bytes.slice(..split)).bytes() != bytes.slice(split..).as_ref() {
            return Err(ManifestFault::Malformed("its digest"));
        }
        let manifest = Self::read(bytes.slice(10..split)).map_err(|_| ManifestFault::Malformed("its chunks"))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn read(fields: Bytes) -> Result<Self, Malformed> {
        let mut fields = Reader::new(fields);
        let (version, root) = (fields.u64()?, fields.hash()?);
        let (entries, bytes, count) = (fields.u64()?, fields.u64()?, fields.u32()? as usize);
        if fields.left() != count.checked_mul(LISTED).ok_or(Malformed)? {
            return Err(Malformed); // before room is made for them
        }
        let chunk = |_| {
            let (first, last) = (fields.hash()?, fields.hash()?);
            Ok(ListedChunk { first, last, entries: fields.u32()?, bytes: fields.u32()?, digest: fields.hash()? })
        };
        let chunks: Result<_, Malformed> = (0..count).map(chunk).collect();
        Ok(Self { version, root, entries, bytes, chunks: chunks? })
    }

    /// Whether totals and order are those of its chunks.
    pub(super) fn check(&self) -> Result<(), ManifestFault> {
        let mut end = None;
        for (at, chunk) in (0..).zip(&self.chunks) {
            if chunk.entries == 0 || chunk.last < chunk.first || end.is_some_and(|end| chunk.first <= end) {
                return Err(ManifestFault::Chunk(at));
            }
            end = Some(chunk.last);
        }
        let sum = |of: fn(&ListedChunk) -> u32| self.chunks.iter().map(|chunk| u64::from(of(chunk))).sum();
        let counts =
            [("entries", self.entries, sum(|chunk| chunk.entries)), ("bytes", self.bytes, sum(|chunk| chunk.bytes))];
        match counts.into_iter().find(|(_, said, sum)| said != sum) {
            Some((what, said, sum)) => Err(ManifestFault::Counts { what, said, sum }),
            None => Ok(()),
        }
    }
}
