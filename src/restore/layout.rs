//! Where the tree's records stand in a store: under one reserved prefix, behind every key that a state may have.
//!
//! ```text
//! ff ff 'M'                                    which versions the tree has, and the newest root
//! ff ff 'N' version  nibbles  path             a node (version big-endian; the path padded to whole bytes with 0)
//! ff ff 'R'                                    how far a restore has come, or that it is complete
//! ff ff 'S' version                            the nodes that no root from this version on needs
//! ```

use super::hash::Hash;
use bytes::Bytes;
use std::ops::Range;

/// What the keys of the tree's records begin with. No key of a state may.
pub const RESERVED: &[u8] = b"\xff\xff";

/// Which versions the tree has.
pub(super) const VERSIONS: Bytes = Bytes::from_static(b"\xff\xffM");
/// How far a restore has come.
pub(super) const RESTORE: Bytes = Bytes::from_static(b"\xff\xffR");

/// Whether `key` is one that a state must not have.
pub(super) fn is_reserved(key: &[u8]) -> bool {
    key.starts_with(RESERVED)
}

/// The key of the node at the first `nibbles` of `path`, written at `version`.
pub(super) fn node(version: u64, path: &Hash, nibbles: usize) -> Bytes {
    let mut key = Vec::with_capacity(12 + nibbles.div_ceil(2));
    key.extend_from_slice(b"\xff\xffN");
    key.extend_from_slice(&version.to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
    key.push(nibbles as u8);
    key.extend(path.bytes().iter().take(nibbles.div_ceil(2)));
    if nibbles % 2 == 1
        && let Some(last) = key.last_mut()
    {
        *last &= 0xf0;
    }
    key.into()
}

/// Whether `key` may be that of a node.
pub(super) fn is_node(key: &Bytes) -> bool {
    key.starts_with(b"\xff\xffN")
}

/// The key of the list of nodes that `version` made stale.
pub(super) fn stale(version: u64) -> Bytes {
    [&b"\xff\xffS"[..], &version.to_be_bytes()].concat().into()
}

/// The keys of the lists of nodes that versions up to `last` made stale.
pub(super) fn stale_up_to(last: u64) -> Range<Bytes> {
    stale(0)..stale(last.saturating_add(1))
}
