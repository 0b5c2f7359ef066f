//! A chunk: consecutive entries of a state in the order of their keys' hashes, with the proof that nothing is missing or
//! wrong up to its end. `docs/snapshot-format.md` gives the bytes.

use super::codec::{Malformed, Reader, Writer};
use super::error::ChunkFault;
use super::hash::Hash;
use super::layout;
use super::node::Leaf;
use super::spine::{Records, Spine};
use bytes::Bytes;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::time::{Duration, Instant};

/// What a chunk's file begins with.
const MARK: &[u8] = b"ckvchunk";
const FORMAT: u16 = 1;
/// The most entries of a chunk: an entry of few bytes takes some hundreds in memory, as entry, hash, node and batch.
pub(super) const ENTRIES: usize = 1 << 20;
/// A path has no more places.
const SIBLINGS: u32 = 256;

/// What a chunk's file holds. Nothing of it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 0.
    pub index: u32,
    /// The siblings to the right of the path of its last key: `jmt`'s `SparseMerkleRangeProof` in borsh.
    pub proof: Bytes,
    /// Its entries.
    pub entries: Vec<(Bytes, Bytes)>,
}

impl Chunk {
    /// The file, compressed at zstd's `level`, and the length of what it holds.
    ///
    /// # Errors
    /// If it holds more than 4 GiB, in words.
    pub fn encode(&self, level: i32) -> Result<(Bytes, u32), ChunkFault> {
        let mut body = Writer::default();
        body.u32(self.index).bytes(&self.proof).u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for (key, value) in &self.entries {
            body.sized(key).sized(value);
        }
        let (len, limit) = (body.len() as u64, u64::from(u32::MAX));
        let len = u32::try_from(len).map_err(|_| ChunkFault::TooLarge { size: len, limit })?;
        let packed = zstd::bulk::compress(&body.done(), level);
        let packed = packed.map_err(|_| ChunkFault::Malformed("it cannot be compressed"))?;
        let mut file = Writer::default();
        file.bytes(MARK).u16(FORMAT).u32(len).bytes(&packed);
        Ok((file.done(), len))
    }

    /// The longest that a file may be whose body takes so many bytes: what does not compress takes a little more.
    pub(super) fn longest(body: u32) -> u64 {
        let body = u64::from(body);
        body + body / 64 + 4096
    }

    /// The bytes it takes, uncompressed.
    pub(super) fn unpacked(&self) -> u32 {
        let entries = self.entries.iter().map(|(key, value)| 8 + key.len() + value.len());
        u32::try_from(8 + self.proof.len() + entries.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Reads a file, if what it holds takes no more than `limit` bytes.
    ///
    /// # Errors
    /// What is wrong with its form. That it is no damaged or foreign chunk is all that is checked.
    pub fn decode(file: Bytes, limit: u32) -> Result<Self, ChunkFault> {
        let mut file = Reader::new(file);
        let cut = |_| ChunkFault::Malformed("its head");
        if file.bytes(MARK.len()).map_err(cut)? != MARK {
            return Err(ChunkFault::Malformed("it does not begin as a chunk does"));
        }
        match file.u16().map_err(cut)? {
            FORMAT => {}
            format => return Err(ChunkFault::Format(format)),
        }
        let len = file.u32().map_err(cut)?;
        if len > limit {
            return Err(ChunkFault::TooLarge { size: len.into(), limit: limit.into() });
        }
        let body = zstd::bulk::decompress(&file.rest(), len as usize);
        let body = body.map_err(|_| ChunkFault::Malformed("it cannot be decompressed"))?;
        if body.len() != len as usize {
            return Err(ChunkFault::Malformed("its length is not what it says"));
        }
        let whole = Bytes::from(body);
        let mut body = Reader::new(whole.clone());
        let index = body.u32().map_err(|_| ChunkFault::Malformed("its number"))?;
        let start = whole.len() - body.left();
        read_siblings(&mut body)?;
        let proof = whole.slice(start..whole.len() - body.left());
        let count = body.u32().map_err(|_| ChunkFault::Malformed("its entries"))? as usize;
        if count > ENTRIES {
            return Err(ChunkFault::TooManyEntries(count)); // before room is made for them
        }
        let entries = Self::read_entries(body, count).map_err(|_| ChunkFault::Malformed("its entries"))?;
        Ok(Self { index, proof, entries })
    }

    fn read_entries(mut body: Reader, count: usize) -> Result<Vec<(Bytes, Bytes)>, Malformed> {
        if count > body.left() / 8 {
            return Err(Malformed); // before room is made for them
        }
        let entries: Result<Vec<_>, _> = (0..count).map(|_| Ok((body.sized()?, body.sized()?))).collect();
        body.end()?;
        entries
    }
}

/// The hashes of a range proof's siblings, the lowest first.
fn read_siblings(proof: &mut Reader) -> Result<Vec<Hash>, ChunkFault> {
    let malformed = |_| ChunkFault::Malformed("its proof");
    let count = proof.u32().map_err(malformed)?;
    if count > SIBLINGS {
        return Err(ChunkFault::TooManySiblings(count as usize)); // before room is made for them: 32 bytes for one of 1
    }
    let sibling = |_| match proof.u8()? {
        0 => Ok(Hash::EMPTY),
        1 => Ok(Hash::inner(&proof.hash()?, &proof.hash()?)),
        2 => Ok(Hash::leaf(&proof.hash()?, &proof.hash()?)),
        _ => Err(Malformed),
    };
    (0..count).map(sibling).collect::<Result<_, _>>().map_err(malformed)
}

/// What a verified chunk comes to.
#[derive(Debug)]
pub(super) struct Verified {
    /// The right edge after it.
    pub(super) spine: Spine,
    /// The nodes it finishes.
    pub(super) nodes: Records,
    /// The time spent on hashing keys and values.
    pub(super) hashing: Duration,
}

/// Checks that the leaves before `spine`'s edge and then `chunk`'s entries are the first of the state with `root`, and
/// returns what they come to. This is the one place where a chunk becomes trusted.
///
/// # Errors
/// What is wrong with the chunk; `spine` is as it was.
pub(super) fn verify(chunk: &Chunk, spine: &Spine, root: &Hash) -> Result<Verified, ChunkFault> {
    if chunk.entries.is_empty() {
        return Err(ChunkFault::Empty);
    }
    if let Some((key, _)) = chunk.entries.iter().find(|(key, _)| layout::is_reserved(key)) {
        return Err(ChunkFault::Reserved(key.clone()));
    }
    let began = Instant::now();
    let entries = chunk.entries.clone().into_par_iter().with_min_len(64);
    let leaves: Vec<_> = entries.map(|(key, value)| Leaf::new(key, value)).collect();
    let hashing = began.elapsed();
    let (mut spine, mut nodes) = (spine.clone(), Records::new());
    for (at, leaf) in (0..).zip(leaves) {
        match spine.end() {
            Some(end) if leaf.path <= end && at == 0 => return Err(ChunkFault::Overlapping),
            Some(end) if leaf.path <= end => return Err(ChunkFault::Unordered(at)),
            _ => spine.push(leaf, &mut nodes),
        }
    }
    let mut proof = Reader::new(chunk.proof.clone());
    let siblings = read_siblings(&mut proof)?;
    if spine.root_with(&siblings)? != *root {
        return Err(ChunkFault::BadProof);
    }
    Ok(Verified { spine, nodes, hashing })
}
