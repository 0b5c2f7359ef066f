//! The packet: what crosses a transport, and all that is lost when one is lost.
//!
//! ```text
//! "ckv" version:u8 │ crc32:u32 │ from:u64 to:u64 seq:u64 ack:u64 flags:u8 │ body
//!                     └──────── of everything after it ────────────────────────┘
//! ```
//!
//! Little-endian. The checksum is not against an enemy (that is what TLS is for): it turns damage into loss, which is mended.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of packets and of the messages in them. Peers of different versions do not talk, and say so.
pub const VERSION: u8 = 2;

const MAGIC: &[u8; 3] = b"ckv";
const MORE: u8 = 1;

/// The bytes of a packet around its body.
pub(crate) const OVERHEAD: usize = 3 + 1 + 4 + 4 * 8 + 1;

/// A packet of the [link](super::link).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The sender's name in this conversation, and what it takes to be the receiver's; 0 if it does not know.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The how-many-eth packet with a body; 0 for one without.
    pub(crate) seq: u64,
    /// Every packet up to this one has come.
    pub(crate) ack: u64,
    /// Whether the message goes on in the next packet.
    pub(crate) more: bool,
    pub(crate) body: Bytes,
}

/// Bytes that are no packet for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Damaged, or something else.
    Garbled,
    /// Of a peer that speaks another version.
    Version(u8),
}

impl Packet {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(OVERHEAD.saturating_add(self.body.len()));
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u32_le(0);
        for number in [self.from, self.to, self.seq, self.ack] {
            bytes.put_u64_le(number);
        }
        bytes.put_u8(if self.more { MORE } else { 0 });
        bytes.put_slice(&self.body);
        let sum = bytes.get(8..).map_or(0, crc32fast::hash).to_le_bytes();
        if let Some(place) = bytes.get_mut(4..8) {
            place.copy_from_slice(&sum);
        }
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Refused> {
        let [a, b, c, version, ..] = *bytes else { return Err(Refused::Garbled) };
        if [a, b, c] != *MAGIC {
            return Err(Refused::Garbled);
        }
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        if bytes.len() < OVERHEAD {
            return Err(Refused::Garbled);
        }
        bytes.advance(4);
        if bytes.get_u32_le() != crc32fast::hash(&bytes) {
            return Err(Refused::Garbled);
        }
        let [from, to, seq, ack] = std::array::from_fn(|_| bytes.get_u64_le());
        let flags = bytes.get_u8();
        if flags & !MORE != 0 || from == 0 {
            return Err(Refused::Garbled);
        }
        Ok(Self { from, to, seq, ack, more: flags == MORE, body: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet { from: 1, to: 2, seq: 3, ack: 4, more: true, body: Bytes::from_static(b"body") }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Packet::decode(packet().encode()), Ok(packet()));
        let bare = Packet { more: false, body: Bytes::new(), ..packet() };
        assert_eq!(bare.encode().len(), OVERHEAD);
        assert_eq!(Packet::decode(bare.encode()), Ok(bare));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = packet().encode();
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(Packet::decode(wrong.into()).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Packet::decode(bytes.slice(..len)), Err(Refused::Garbled), "{len} bytes");
        }
    }

    #[test]
    fn another_version_is_told() {
        let mut bytes = packet().encode().to_vec();
        bytes[3] = 9;
        assert_eq!(Packet::decode(bytes.into()), Err(Refused::Version(9)));
    }
}
