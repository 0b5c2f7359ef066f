//! The nodes that a proof is made of, handed to `jmt`, which makes it.
//!
//! `jmt` reads nodes while it builds a proof and expects each to be there. They are read and checked before, so that a
//! damaged store is an error here and no panic there.

use super::error::Error;
use super::hash::{Hash, NIBBLES};
use super::node::{Child, Inner, Node};
use super::update::{damaged, read};
use crate::kv::KvRead;
use borsh::BorshDeserialize;
use bytes::Bytes;
use jmt::proof::{SparseMerkleProof, SparseMerkleRangeProof};
use jmt::storage::{LeafNode, NibblePath, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, ValueHash, Version};
use sha2::Sha256;
use std::collections::HashMap;

/// The nodes on the path of one key, and all their children.
pub(super) struct Witness {
    version: u64,
    path: Hash,
    nodes: HashMap<NodeKey, jmt::storage::Node>,
    value: Option<Bytes>,
}

impl Witness {
    /// Reads the nodes on the way to `path`.
    pub(super) fn read<R>(state: &R, version: u64, path: Hash) -> Result<Self, Error>
    where
        R: KvRead<Key = Bytes, Value = Bytes>,
    {
        let mut witness = Self { version, path, nodes: HashMap::new(), value: None };
        let mut node = read(state, version, &path, 0)?;
        witness.add(version, &path, 0, &node)?;
        for depth in 0..NIBBLES {
            let Node::Inner(inner) = &node else { break };
            let mut next = None;
            for (nibble, child) in inner.iter() {
                let path = path.with_nibble(depth, nibble);
                let below = read(state, child.version, &path, depth + 1)?;
                if below.as_child(child.version).as_ref() != Some(child) {
                    return Err(damaged(&path, depth + 1));
                }
                witness.add(child.version, &path, depth + 1, &below)?;
                if nibble == witness.path.nibble(depth) {
                    next = Some(below);
                }
            }
            let Some(next) = next else { break };
            node = next;
        }
        if let Node::Leaf(leaf) = node
            && leaf.path == path
        {
            witness.value = Some(leaf.value);
        }
        Ok(witness)
    }

    /// The value at the key, if it exists.
    pub(super) fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// The proof that the key exists or does not.
    pub(super) fn proof(&self) -> Result<SparseMerkleProof<Sha256>, Error> {
        let tree = JellyfishMerkleTree::<_, Sha256>::new(self);
        let (_, proof) = tree.get_with_proof(self.key(), self.version).map_err(proof_error)?;
        Ok(proof)
    }

    /// The siblings to the right of the key, which must exist.
    pub(super) fn range_proof(&self) -> Result<SparseMerkleRangeProof<Sha256>, Error> {
        JellyfishMerkleTree::<_, Sha256>::new(self).get_range_proof(self.key(), self.version).map_err(proof_error)
    }

    fn key(&self) -> KeyHash {
        KeyHash(*self.path.bytes())
    }

    fn add(&mut self, version: u64, path: &Hash, depth: usize, node: &Node) -> Result<(), Error> {
        let nibbles: NibblePath = (0..depth).map(|at| path.nibble(at).into()).collect();
        self.nodes.insert(NodeKey::new(version, nibbles), of_jmt(node).ok_or_else(|| damaged(path, depth))?);
        Ok(())
    }
}

fn proof_error(error: impl std::fmt::Display) -> Error {
    Error::Damaged(error.to_string())
}

/// `node` as `jmt` has it, by way of its encoding: its inner nodes cannot be made otherwise.
fn of_jmt(node: &Node) -> Option<jmt::storage::Node> {
    match node {
        Node::Empty => Some(jmt::storage::Node::Null),
        Node::Leaf(leaf) => {
            let value = ValueHash::with::<Sha256>(&leaf.value);
            Some(LeafNode::new(KeyHash(*leaf.path.bytes()), value).into())
        }
        Node::Inner(inner) => jmt::storage::Node::try_from_slice(&encode(inner)).ok(),
    }
}

fn encode(inner: &Inner) -> Vec<u8> {
    let mut bytes = vec![1u8];
    for nibble in 0..16 {
        let Some(Child { hash, version, leaves }) = inner.get(nibble) else {
            bytes.push(0);
            continue;
        };
        bytes.push(1);
        bytes.extend_from_slice(hash.bytes());
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.push(u8::from(leaves.is_some()));
        bytes.extend(leaves.iter().flat_map(|leaves| leaves.to_le_bytes()));
    }
    bytes.extend_from_slice(&(inner.iter().count() as u64).to_le_bytes());
    bytes.extend_from_slice(&inner.leaves().to_le_bytes());
    bytes
}

impl TreeReader for Witness {
    fn get_node_option(&self, key: &NodeKey) -> Result<Option<jmt::storage::Node>, anyhow::Error> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(&self, _: Version, key: KeyHash) -> Result<Option<OwnedValue>, anyhow::Error> {
        Ok(self.value.as_ref().filter(|_| key == self.key()).map(|value| value.to_vec()))
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>, anyhow::Error> {
        Ok(None) // asked for by jmt's own restore alone
    }
}
