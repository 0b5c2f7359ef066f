//! The leaves of one version of a tree, in the order of their paths.

use super::error::Error;
use super::hash::Hash;
use super::node::{Leaf, Node};
use super::update::read;
use crate::kv::KvRead;
use bytes::Bytes;

/// Walks over leaves; holds a path of nodes to visit, never a level of the tree.
#[derive(Debug)]
pub(super) struct Leaves<R> {
    state: R,
    /// What is still to visit, the next one last: version, path and depth.
    ahead: Vec<(u64, Hash, usize)>,
    /// Leaves up to here are left out.
    after: Option<Hash>,
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> Leaves<R> {
    pub(super) fn new(state: R, version: u64, after: Option<Hash>) -> Self {
        Self { state, ahead: vec![(version, Hash::new([0; 32]), 0)], after }
    }

    fn step(&mut self) -> Result<Option<Leaf>, Error> {
        while let Some((version, path, depth)) = self.ahead.pop() {
            match read(&self.state, version, &path, depth)? {
                Node::Empty => {}
                Node::Leaf(leaf) if self.after.is_some_and(|after| leaf.path <= after) => {}
                Node::Leaf(leaf) => return Ok(Some(leaf)),
                Node::Inner(inner) => {
                    let children = inner.iter().map(|(nibble, child)| (child.version, path.with_nibble(depth, nibble)));
                    let children: Vec<_> = children.filter(|(_, path)| self.is_ahead(path, depth + 1)).collect();
                    self.ahead.extend(children.into_iter().rev().map(|(version, path)| (version, path, depth + 1)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the subtree at the first `depth` nibbles of `path`, followed by zeros, may have leaves that are not left out.
    fn is_ahead(&self, path: &Hash, depth: usize) -> bool {
        self.after.is_none_or(|after| *path > after || path.shared(&after) >= depth)
    }
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> Iterator for Leaves<R> {
    type Item = Result<Leaf, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.ahead.clear();
        }
        next
    }
}
