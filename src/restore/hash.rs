//! Hashes: of keys, values, leaves and inner nodes, as `jmt` defines them over SHA-256, and the path that a key hash is.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Where a subtree has no leaf: the placeholder of `jmt`, and the root of the empty state.
const EMPTY: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";
/// Nibbles of a path.
pub(super) const NIBBLES: usize = 64;

/// A SHA-256 hash: a state root, the hash of a key, the digest of a chunk. Written as 64 hexadecimal digits; read with or
/// without 0x before them.
///
/// ```
/// use cachekv::restore::Hash;
/// let hash = Hash::of(b"abc");
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// assert_eq!(format!("0x{hash}").parse(), Ok(hash));
/// assert!("nonsense".parse::<Hash>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// What is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct NotAHash;

impl Hash {
    /// The root of a state without entries.
    pub const EMPTY: Self = Self(EMPTY);

    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A hash that has been computed elsewhere.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of a leaf.
    pub(super) fn leaf(key: &Self, value: &Self) -> Self {
        let hasher = Sha256::new().chain_update(b"JMT::LeafNode").chain_update(key.0).chain_update(value.0);
        Self(hasher.finalize().into())
    }

    /// The hash of an inner node of the binary tree.
    pub(super) fn inner(left: &Self, right: &Self) -> Self {
        let hasher = Sha256::new().chain_update(b"JMT::IntrnalNode").chain_update(left.0).chain_update(right.0);
        Self(hasher.finalize().into())
    }

    /// The nibble at place `at` of the path, the high one of a byte first.
    pub(super) fn nibble(&self, at: usize) -> u8 {
        let byte = self.0.get(at / 2).copied().unwrap_or(0);
        if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }

    /// The same path with another nibble at place `at`.
    pub(super) fn with_nibble(mut self, at: usize, nibble: u8) -> Self {
        if let Some(byte) = self.0.get_mut(at / 2) {
            *byte = if at.is_multiple_of(2) { *byte & 15 | nibble << 4 } else { *byte & 0xf0 | nibble };
        }
        self
    }

    /// The bit at place `at` of the path, the highest of a byte first.
    pub(super) fn bit(&self, at: usize) -> bool {
        self.nibble(at / 4) >> (3 - at % 4) & 1 == 1
    }

    /// How many nibbles both paths begin with.
    pub(super) fn shared(&self, other: &Self) -> usize {
        let bytes = self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count();
        2 * bytes + usize::from(bytes < 32 && self.nibble(2 * bytes) == other.nibble(2 * bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(digits: &str) -> Result<Self, NotAHash> {
        let mut bytes = [0; 32];
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(NotAHash);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(NotAHash);
            *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| NotAHash)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_high_nibble_first() {
        let mut bytes = [0; 32];
        bytes[0] = 0xa5;
        let path = Hash(bytes);
        assert_eq!((path.nibble(0), path.nibble(1), path.nibble(2)), (10, 5, 0));
        assert_eq!((0..8).map(|at| u8::from(path.bit(at))).collect::<Vec<_>>(), [1, 0, 1, 0, 0, 1, 0, 1]);
        assert_eq!(path.with_nibble(1, 6).nibble(1), 6);
        assert_eq!((path.shared(&path.with_nibble(1, 6)), path.shared(&path.with_nibble(0, 6))), (1, 0));
        assert_eq!((path.shared(&path), path.shared(&path.with_nibble(63, 6))), (64, 63));
    }
}
