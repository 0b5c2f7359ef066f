//! `jmt`'s own tree over memory: what roots, proofs and restores are compared with.

use super::State;
use anyhow::Result;
use bytes::Bytes;
use jmt::storage::{LeafNode, Node, NodeBatch, NodeKey, TreeReader, TreeWriter};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, Version};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::{BTreeMap, HashMap};

/// Nodes and values, as `jmt` gave them.
#[derive(Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    nodes: HashMap<NodeKey, Node>,
    values: BTreeMap<(KeyHash, Version), Option<OwnedValue>>,
}

pub fn key_hash(key: &Bytes) -> KeyHash {
    KeyHash::with::<Sha256>(key)
}

impl Memory {
    /// Applies a block's puts and deletes as `version`; versions begin at 0 and have no gaps.
    pub fn update(&self, block: impl IntoIterator<Item = (Bytes, Option<Bytes>)>, version: Version) -> RootHash {
        let changes = block.into_iter().map(|(key, value)| (key_hash(&key), value.map(|value| value.to_vec())));
        let (root, batch) = self.tree().put_value_set(changes, version).unwrap();
        self.write_node_batch(&batch.node_batch).unwrap();
        root
    }

    pub fn tree(&self) -> JellyfishMerkleTree<'_, Self, Sha256> {
        JellyfishMerkleTree::new(self)
    }

    pub fn nodes(&self) -> usize {
        self.0.lock().nodes.len()
    }
}

/// The root of `state` by `jmt` alone.
pub fn root(state: &State) -> RootHash {
    Memory::default().update(state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))), 0)
}

impl TreeReader for Memory {
    fn get_node_option(&self, key: &NodeKey) -> Result<Option<Node>> {
        Ok(self.0.lock().nodes.get(key).cloned())
    }

    fn get_value_option(&self, version: Version, key: KeyHash) -> Result<Option<OwnedValue>> {
        Ok(self.0.lock().values.range((key, 0)..=(key, version)).next_back().and_then(|(_, value)| value.clone()))
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

impl TreeWriter for Memory {
    fn write_node_batch(&self, batch: &NodeBatch) -> Result<()> {
        let mut inner = self.0.lock();
        inner.nodes.extend(batch.nodes().clone());
        inner.values.extend(batch.values().iter().map(|((version, key), value)| ((*key, *version), value.clone())));
        Ok(())
    }
}
