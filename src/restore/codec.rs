//! Reading and writing the fields of records and files: little-endian numbers, and bytes that say their length.

use super::hash::Hash;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What is not as it must be: it ends early, goes on after its end, or holds what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads fields from the front of bytes.
#[derive(Debug)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<Bytes, Malformed> {
        if len > self.0.len() { Err(Malformed) } else { Ok(self.0.split_to(len)) }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16_le().map_err(|_| Malformed)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32_le().map_err(|_| Malformed)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64_le().map_err(|_| Malformed)
    }

    pub(super) fn hash(&mut self) -> Result<Hash, Malformed> {
        let bytes: [u8; 32] = self.bytes(32)?.as_ref().try_into().map_err(|_| Malformed)?;
        Ok(Hash::new(bytes))
    }

    /// Bytes after their length.
    pub(super) fn sized(&mut self) -> Result<Bytes, Malformed> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    /// What is left.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Writes fields one after another.
#[derive(Debug, Default)]
pub(super) struct Writer(BytesMut);

impl Writer {
    pub(super) fn u8(&mut self, number: u8) -> &mut Self {
        self.0.put_u8(number);
        self
    }

    pub(super) fn u16(&mut self, number: u16) -> &mut Self {
        self.0.put_u16_le(number);
        self
    }

    pub(super) fn u32(&mut self, number: u32) -> &mut Self {
        self.0.put_u32_le(number);
        self
    }

    pub(super) fn u64(&mut self, number: u64) -> &mut Self {
        self.0.put_u64_le(number);
        self
    }

    pub(super) fn hash(&mut self, hash: &Hash) -> &mut Self {
        self.bytes(hash.bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.put_slice(bytes);
        self
    }

    /// Bytes after their length. What stores hold is shorter than 4 GiB.
    pub(super) fn sized(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).bytes(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn done(self) -> Bytes {
        self.0.freeze()
    }
}
