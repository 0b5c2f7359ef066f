//! Building a tree from its leaves, given in the order of their paths, and checking on the way that it is the right one.
//!
//! ```text
//!            open[0]   . F . . o . .            F: finished, its record is written
//!                              │                o: open; more may come to the right of it
//!            open[1]     F F . . o .
//!                                │
//!            open[2]       F . . last           last: the newest leaf; its depth is known when the next one comes
//! ```
//!
//! The spine is all that has to be remembered between two chunks: what lies left of it is finished, and known by hash.
//! With the siblings to the right of the newest leaf (a range proof) it gives the root, so a chunk proves that everything
//! up to its end is right, before any of it is written. The root's own record is given out by [`Spine::close`] alone.

use super::error::ChunkFault;
use super::hash::{Hash, NIBBLES};
use super::layout;
use super::node::{Inner, Leaf, Node};
use bytes::Bytes;

/// The records of nodes, by key.
pub(super) type Records = Vec<(Bytes, Bytes)>;

/// The right edge of a tree that is being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spine {
    pub(super) version: u64,
    /// The inner nodes over the newest leaf, the root first, without the child they have on its path. There is one more
    /// than the newest leaf shares nibbles with the one before it.
    pub(super) open: Vec<Inner>,
    pub(super) last: Option<Leaf>,
    /// How many leaves there are.
    pub(super) leaves: u64,
}

impl Spine {
    pub(super) fn new(version: u64) -> Self {
        Self { version, open: Vec::new(), last: None, leaves: 0 }
    }

    /// Where the newest leaf is.
    pub(super) fn end(&self) -> Option<Hash> {
        self.last.as_ref().map(|leaf| leaf.path)
    }

    /// Adds a leaf, whose path must come after the newest one's; adds the records of the nodes that this finishes.
    pub(super) fn push(&mut self, leaf: Leaf, records: &mut Records) {
        self.leaves += 1;
        let Some(last) = self.last.replace(leaf) else { return };
        let shared = self.end().map_or(0, |path| path.shared(&last.path));
        self.place(&last, shared, records);
        self.close_to(shared + 1, &last.path, records);
    }

    /// The root, if there is no further leaf; adds the remaining records, the root's among them.
    pub(super) fn close(mut self, records: &mut Records) -> Hash {
        let path = Hash::EMPTY; // any: the root is at its first 0 nibbles
        let root = match self.last.take() {
            None => Node::Empty,
            Some(leaf) if self.open.is_empty() => Node::Leaf(leaf),
            Some(last) => {
                self.place(&last, 0, records);
                self.close_to(1, &last.path, records);
                Node::Inner(self.open.pop().unwrap_or_default().into())
            }
        };
        records.push((layout::node(self.version, &path, 0), root.encode()));
        root.hash()
    }

    /// Puts `last` where it stays, as a child of the lowest open node: at the depth where it differs from both neighbours.
    fn place(&mut self, last: &Leaf, shared: usize, records: &mut Records) {
        let depth = self.open.len().max(shared + 1);
        self.open.resize_with(depth, Inner::default);
        records.push((layout::node(self.version, &last.path, depth), last.encode()));
        if let Some(parent) = self.open.last_mut() {
            parent.set(last.path.nibble(depth - 1), Some(last.as_child(self.version)));
        }
    }

    /// Finishes open nodes on `path` until there are `depth` of them.
    fn close_to(&mut self, depth: usize, path: &Hash, records: &mut Records) {
        while self.open.len() > depth
            && let Some(inner) = self.open.pop()
        {
            let at = self.open.len();
            records.push((layout::node(self.version, path, at), inner.encode()));
            if let Some(parent) = self.open.last_mut() {
                parent.set(path.nibble(at - 1), Some(inner.as_child(self.version)));
            }
        }
    }

    /// The root of a tree that begins with these leaves and has `right` as siblings to the right of the newest one's
    /// path, the lowest first.
    ///
    /// # Errors
    /// If `right` has more siblings than the path has places for, or fewer than it needs; or there is no leaf.
    pub(super) fn root_with(&self, right: &[Hash]) -> Result<Hash, ChunkFault> {
        let Some(last) = &self.last else { return Err(ChunkFault::Empty) };
        let path = last.path;
        let places = || (0..4 * NIBBLES).filter(|&bit| !path.bit(bit));
        // The path ends below the lowest sibling, on either side.
        let below_right = match right.len().checked_sub(1) {
            None => 0,
            Some(lowest) => places().nth(lowest).ok_or(ChunkFault::TooManySiblings(right.len()))? + 1,
        };
        let lowest_left = (0..4 * self.open.len()).rev().find(|&bit| path.bit(bit) && self.left(bit) != Hash::EMPTY);
        let depth = lowest_left.map_or(0, |bit| bit + 1).max(below_right);
        if places().take_while(|&bit| bit < depth).count() != right.len() {
            return Err(ChunkFault::BadProof);
        }
        let mut right = right.iter();
        let mut root = last.hash;
        for bit in (0..depth).rev() {
            root = if path.bit(bit) {
                Hash::inner(&self.left(bit), &root)
            } else {
                Hash::inner(&root, right.next().ok_or(ChunkFault::BadProof)?)
            };
        }
        Ok(root)
    }

    /// The sibling to the left of the newest leaf's path below `bit`, which must be set.
    fn left(&self, bit: usize) -> Hash {
        let (Some(last), Some(inner)) = (&self.last, self.open.get(bit / 4)) else { return Hash::EMPTY };
        let width = 8u8 >> (bit % 4);
        let own_half = last.path.nibble(bit / 4) & !(width - 1);
        inner.hash_of(own_half ^ width, width)
    }
}
