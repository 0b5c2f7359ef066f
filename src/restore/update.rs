//! The next version of a tree: all changes of a block at once, from the root down.
//!
//! `jmt` inserts one key after another and hashes the path anew for each; here a node on many paths is hashed once, and
//! subtrees are worked on in parallel. The result is the same tree (`tests/it/restore/tree.rs` compares). A subtree that
//! the changes leave as it was keeps its records, whatever was written into it. What a node's record says is compared with
//! its hash before anything is made of it, so that damage is an error and no wrong root.

use super::error::Error;
use super::hash::Hash;
use super::layout;
use super::node::{Child, Inner, Leaf, Node};
use super::spine::Records;
use crate::kv::KvRead;
use bytes::Bytes;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// From how many changes on the subtrees of a node are worked on in parallel: below, a core is faster than handing over.
const PARALLEL: usize = 128;

/// What a block does to one key: an entry, or `None` where it deletes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: Hash,
    pub(super) leaf: Option<Leaf>,
}

/// What the new version adds, and what it no longer needs.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) nodes: Records,
    pub(super) stale: Vec<Bytes>,
}

/// What became of a subtree.
enum Subtree {
    Unchanged,
    Empty,
    /// One leaf, which has no record yet: how high it stands is the parent's to say.
    Leaf(Leaf),
    Inner(Child),
}

/// Makes `version` of the tree in `state`.
pub(super) struct Update<'s, R> {
    pub(super) state: &'s R,
    pub(super) version: u64,
}

impl<R: KvRead<Key = Bytes, Value = Bytes>> Update<'_, R> {
    /// Applies `changes`, in the order of their paths, to the tree whose root record is `root`, written at `before`;
    /// returns the new root.
    pub(super) fn run(&self, before: u64, root: &Node, changes: &[Change]) -> Result<(Hash, Output), Error> {
        let mut output = Output::default();
        let any = Hash::EMPTY;
        let old = root.as_child(before);
        let subtree = if changes.is_empty() { Subtree::Unchanged } else { self.apply(0, old, changes, &mut output)? };
        let key = layout::node(self.version, &any, 0);
        let hash = match subtree {
            Subtree::Unchanged => {
                output.stale.push(layout::node(before, &any, 0));
                output.nodes.push((key, root.encode()));
                root.hash()
            }
            Subtree::Empty => {
                output.nodes.push((key, Node::Empty.encode()));
                Hash::EMPTY
            }
            Subtree::Leaf(leaf) => {
                output.nodes.push((key, leaf.encode()));
                leaf.hash
            }
            Subtree::Inner(child) => child.hash,
        };
        if matches!(root, Node::Empty) && hash != Hash::EMPTY {
            output.stale.push(layout::node(before, &any, 0));
        }
        Ok((hash, output))
    }

    /// Applies `changes`, of which there is one at least and which share their first `depth` nibbles, to `child` there.
    fn apply(
        &self,
        depth: usize,
        child: Option<Child>,
        changes: &[Change],
        output: &mut Output,
    ) -> Result<Subtree, Error> {
        let Some(path) = changes.first().map(|change| change.path) else { return Ok(Subtree::Unchanged) };
        let puts = changes.iter().filter_map(|change| change.leaf.as_ref());
        let Some(child) = child else {
            let leaves: Vec<&Leaf> = puts.collect();
            return Ok(if leaves.is_empty() { Subtree::Unchanged } else { self.create(depth, &leaves, output) });
        };
        match read(self.state, child.version, &path, depth)? {
            Node::Empty => Err(damaged(&path, depth)),
            Node::Leaf(old) if old.hash != child.hash => Err(damaged(&path, depth)),
            Node::Leaf(old) => {
                let mut leaves: Vec<&Leaf> = puts.collect();
                let changed = changes.binary_search_by(|change| change.path.cmp(&old.path)).is_ok();
                if let (false, Err(place)) = (changed, leaves.binary_search_by(|leaf| leaf.path.cmp(&old.path))) {
                    leaves.insert(place, &old);
                }
                if leaves.as_slice() == [&old] {
                    return Ok(Subtree::Unchanged);
                }
                output.stale.push(layout::node(child.version, &path, depth));
                Ok(self.create(depth, &leaves, output))
            }
            Node::Inner(inner) if inner.hash() != child.hash => Err(damaged(&path, depth)),
            Node::Inner(inner) => {
                let subtrees = self.apply_below(depth, &inner, changes, output)?;
                if subtrees.iter().all(|(_, subtree)| matches!(subtree, Subtree::Unchanged)) {
                    return Ok(Subtree::Unchanged);
                }
                output.stale.push(layout::node(child.version, &path, depth));
                self.assemble(depth, path, *inner, subtrees, output)
            }
        }
    }

    /// Applies `changes` to the children of `inner`.
    fn apply_below(
        &self,
        depth: usize,
        inner: &Inner,
        changes: &[Change],
        output: &mut Output,
    ) -> Result<Vec<(u8, Subtree)>, Error> {
        let groups = changes.chunk_by(|a, b| a.path.nibble(depth) == b.path.nibble(depth));
        let groups = groups.filter_map(|group| Some((group.first()?.path.nibble(depth), group)));
        if changes.len() < PARALLEL {
            let one = |(nibble, group): (u8, &[Change])| {
                Ok((nibble, self.apply(depth + 1, inner.get(nibble).cloned(), group, output)?))
            };
            return groups.map(one).collect();
        }
        let groups: Vec<_> = groups.collect();
        let one = |(nibble, group): (u8, &[Change])| {
            let mut output = Output::default();
            let subtree = self.apply(depth + 1, inner.get(nibble).cloned(), group, &mut output)?;
            Ok((nibble, subtree, output))
        };
        let parts: Result<Vec<_>, Error> = groups.into_par_iter().map(one).collect();
        let take = |(nibble, subtree, part): (u8, Subtree, Output)| {
            output.nodes.extend(part.nodes);
            output.stale.extend(part.stale);
            (nibble, subtree)
        };
        Ok(parts?.into_iter().map(take).collect())
    }

    /// A new subtree of `leaves`, in the order of their paths, of which there is one at least.
    fn create(&self, depth: usize, leaves: &[&Leaf], output: &mut Output) -> Subtree {
        let &[first, .., last] = leaves else {
            return leaves.first().map_or(Subtree::Empty, |leaf| Subtree::Leaf((*leaf).clone()));
        };
        let path = first.path;
        debug_assert!(path.shared(&last.path) >= depth, "leaves of one subtree share its path");
        let mut inner = Inner::default();
        for group in leaves.chunk_by(|a, b| a.path.nibble(depth) == b.path.nibble(depth)) {
            let Some(nibble) = group.first().map(|leaf| leaf.path.nibble(depth)) else { continue };
            let child = match self.create(depth + 1, group, output) {
                Subtree::Leaf(leaf) => Some(self.keep_leaf(depth + 1, &leaf, output)),
                Subtree::Inner(child) => Some(child),
                Subtree::Unchanged | Subtree::Empty => None,
            };
            inner.set(nibble, child);
        }
        Subtree::Inner(self.keep_inner(depth, &path, &inner, output))
    }

    /// The node of `inner` with `subtrees` in place of its children, or what is left of it: one leaf moves up.
    fn assemble(
        &self,
        depth: usize,
        path: Hash,
        mut inner: Inner,
        subtrees: Vec<(u8, Subtree)>,
        output: &mut Output,
    ) -> Result<Subtree, Error> {
        let mut leaves = Vec::new();
        for (nibble, subtree) in subtrees {
            match subtree {
                Subtree::Unchanged => {}
                Subtree::Empty => inner.set(nibble, None),
                Subtree::Inner(child) => inner.set(nibble, Some(child)),
                Subtree::Leaf(leaf) => {
                    inner.set(nibble, Some(leaf.as_child(self.version)));
                    leaves.push(leaf);
                }
            }
        }
        match inner.only() {
            None if inner.iter().next().is_none() => return Ok(Subtree::Empty),
            Some((nibble, child)) if child.is_leaf() => {
                if let Some(leaf) = leaves.pop() {
                    return Ok(Subtree::Leaf(leaf));
                }
                let (version, path) = (child.version, path.with_nibble(depth, nibble));
                return match read(self.state, version, &path, depth + 1)? {
                    Node::Leaf(leaf) if leaf.hash == child.hash => {
                        output.stale.push(layout::node(version, &path, depth + 1));
                        Ok(Subtree::Leaf(leaf))
                    }
                    _ => Err(damaged(&path, depth + 1)),
                };
            }
            _ => {}
        }
        for leaf in &leaves {
            self.keep_leaf(depth + 1, leaf, output);
        }
        Ok(Subtree::Inner(self.keep_inner(depth, &path, &inner, output)))
    }

    fn keep_leaf(&self, depth: usize, leaf: &Leaf, output: &mut Output) -> Child {
        output.nodes.push((layout::node(self.version, &leaf.path, depth), leaf.encode()));
        leaf.as_child(self.version)
    }

    fn keep_inner(&self, depth: usize, path: &Hash, inner: &Inner, output: &mut Output) -> Child {
        output.nodes.push((layout::node(self.version, path, depth), inner.encode()));
        inner.as_child(self.version)
    }
}

/// The node at the first `depth` nibbles of `path`, written at `version`.
pub(super) fn read<R>(state: &R, version: u64, path: &Hash, depth: usize) -> Result<Node, Error>
where
    R: KvRead<Key = Bytes, Value = Bytes>,
{
    let record = state.get(&layout::node(version, path, depth))?.ok_or_else(|| damaged(path, depth))?;
    Node::decode(record).map_err(|_| damaged(path, depth))
}

/// The error for a record that is not there or not a node.
pub(super) fn damaged(path: &Hash, depth: usize) -> Error {
    let digits: String = path.to_string().chars().take(depth).collect();
    Error::Damaged(format!("no node at path \"{digits}\""))
}
