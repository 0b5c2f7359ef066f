//! Nodes of the tree: a leaf holds one entry of the state, an inner node stands for four levels of the binary tree.
//!
//! Records:
//!
//! ```text
//! 0                                                    the root of the empty state
//! 1  key length u32  key  value                        a leaf
//! 2  present u16  leaves u16  child...                 an inner node; bit n of the masks stands for child n
//!    child: hash 32  version u64  [leaves below u64, if it is no leaf]
//! ```

use super::codec::{Malformed, Reader, Writer};
use super::hash::Hash;
use bytes::Bytes;

/// An entry of the state as a leaf, with its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The hash of the key: its place.
    pub(super) path: Hash,
    pub(super) hash: Hash,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

/// What an inner node knows of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) hash: Hash,
    /// The version that wrote the child's record.
    pub(super) version: u64,
    /// The leaves below an inner node; `None` for a leaf.
    pub(super) leaves: Option<u64>,
}

/// An inner node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inner {
    children: [Option<Child>; 16],
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Empty,
    Leaf(Leaf),
    Inner(Box<Inner>),
}

impl Leaf {
    pub(super) fn new(key: Bytes, value: Bytes) -> Self {
        let path = Hash::of(&key);
        let hash = Hash::leaf(&path, &Hash::of(&value));
        Self { path, hash, key, value }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut record = Writer::default();
        record.u8(1).sized(&self.key).bytes(&self.value);
        record.done()
    }

    pub(super) fn as_child(&self, version: u64) -> Child {
        Child { hash: self.hash, version, leaves: None }
    }
}

impl Child {
    pub(super) fn is_leaf(&self) -> bool {
        self.leaves.is_none()
    }
}

impl Inner {
    pub(super) fn get(&self, nibble: u8) -> Option<&Child> {
        self.children.get(usize::from(nibble))?.as_ref()
    }

    pub(super) fn set(&mut self, nibble: u8, child: Option<Child>) {
        if let Some(place) = self.children.get_mut(usize::from(nibble)) {
            *place = child;
        }
    }

    /// The children in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Child)> {
        (0u8..).zip(&self.children).filter_map(|(nibble, child)| Some((nibble, child.as_ref()?)))
    }

    /// The only child, if there is one and no other.
    pub(super) fn only(&self) -> Option<(u8, &Child)> {
        let mut children = self.iter();
        children.next().filter(|_| children.next().is_none())
    }

    pub(super) fn leaves(&self) -> u64 {
        self.iter().map(|(_, child)| child.leaves.unwrap_or(1)).fold(0, u64::saturating_add)
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash_of(0, 16)
    }

    pub(super) fn as_child(&self, version: u64) -> Child {
        Child { hash: self.hash(), version, leaves: Some(self.leaves()) }
    }

    /// The hash of the binary subtree over the `width` children from `start` on. A subtree without a child is the
    /// placeholder, one whose only child is a leaf is that leaf.
    pub(super) fn hash_of(&self, start: u8, width: u8) -> Hash {
        let mut children = self.iter().filter(|(nibble, _)| (start..start + width).contains(nibble));
        match (children.next(), children.next()) {
            (None, _) => Hash::EMPTY,
            (Some((_, child)), None) if width == 1 || child.is_leaf() => child.hash,
            _ => {
                let half = width / 2;
                Hash::inner(&self.hash_of(start, half), &self.hash_of(start + half, half))
            }
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut record = Writer::default();
        record.u8(2);
        self.write(&mut record);
        record.done()
    }

    /// The fields after the tag.
    pub(super) fn write(&self, record: &mut Writer) {
        let mask = |of: &dyn Fn(&Child) -> bool| {
            self.iter().filter(|(_, child)| of(child)).fold(0u16, |mask, (nibble, _)| mask | 1 << nibble)
        };
        record.u16(mask(&|_| true)).u16(mask(&Child::is_leaf));
        for (_, child) in self.iter() {
            record.hash(&child.hash).u64(child.version);
            if let Some(leaves) = child.leaves {
                record.u64(leaves);
            }
        }
    }

    pub(super) fn read(record: &mut Reader) -> Result<Self, Malformed> {
        let (present, leaves) = (record.u16()?, record.u16()?);
        if leaves & !present != 0 {
            return Err(Malformed);
        }
        let mut inner = Self::default();
        for nibble in (0..16).filter(|nibble| present >> nibble & 1 == 1) {
            let (hash, version) = (record.hash()?, record.u64()?);
            let leaves = if leaves >> nibble & 1 == 1 { None } else { Some(record.u64()?) };
            inner.set(nibble, Some(Child { hash, version, leaves }));
        }
        Ok(inner)
    }
}

impl Node {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Node::Empty => Bytes::from_static(&[0]),
            Node::Leaf(leaf) => leaf.encode(),
            Node::Inner(inner) => inner.encode(),
        }
    }

    pub(super) fn decode(record: Bytes) -> Result<Self, Malformed> {
        let mut record = Reader::new(record);
        match record.u8()? {
            0 => record.end().map(|()| Node::Empty),
            1 => {
                let key = record.sized()?;
                Ok(Node::Leaf(Leaf::new(key, record.rest())))
            }
            2 => {
                let inner = Inner::read(&mut record)?;
                record.end()?;
                // A node over one leaf is that leaf, and one over nothing is nothing.
                let stands = inner.iter().count() > 1 || inner.only().is_some_and(|(_, child)| !child.is_leaf());
                if stands { Ok(Node::Inner(inner.into())) } else { Err(Malformed) }
            }
            _ => Err(Malformed),
        }
    }

    /// What its parent would know of it; `None` for the root of the empty state.
    pub(super) fn as_child(&self, version: u64) -> Option<Child> {
        match self {
            Node::Empty => None,
            Node::Leaf(leaf) => Some(leaf.as_child(version)),
            Node::Inner(inner) => Some(inner.as_child(version)),
        }
    }

    pub(super) fn hash(&self) -> Hash {
        match self {
            Node::Empty => Hash::EMPTY,
            Node::Leaf(leaf) => leaf.hash,
            Node::Inner(inner) => inner.hash(),
        }
    }

    pub(super) fn leaves(&self) -> u64 {
        match self {
            Node::Empty => 0,
            Node::Leaf(_) => 1,
            Node::Inner(inner) => inner.leaves(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_nothing_shorter_or_longer_is_one() {
        let leaf = Leaf::new(Bytes::from("k"), Bytes::from("v"));
        let mut inner = Inner::default();
        inner.set(3, Some(leaf.as_child(7)));
        inner.set(15, Some(Child { hash: Hash::of(b"x"), version: 8, leaves: Some(5) }));
        for node in [Node::Empty, Node::Inner(inner.into())] {
            let record = node.encode();
            assert_eq!(Node::decode(record.clone()), Ok(node));
            assert_eq!(Node::decode([&record[..], b"x"].concat().into()), Err(Malformed));
            (0..record.len()).for_each(|len| assert_eq!(Node::decode(record.slice(..len)), Err(Malformed)));
        }
        assert_eq!(Node::decode(leaf.encode()), Ok(Node::Leaf(leaf)));
        let mut lonely = Inner::default();
        lonely.set(3, Some(Child { hash: Hash::EMPTY, version: 1, leaves: None }));
        assert_eq!(Node::decode(lonely.encode()), Err(Malformed));
    }
}
