//! What executing a block gives.

use super::stats::BlockStats;
use crate::kv::WriteBatch;
use crate::multiversion::TxIndex;

/// What a block came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOutput<K, V, O> {
    /// The outputs of the committed transactions, in block order; none for those executed elsewhere.
    pub outputs: Vec<O>,
    /// What they wrote, to be committed to the store that the block ran over.
    pub batch: WriteBatch<K, V>,
    /// One more than the last transaction committed: less than the block's length if the hook stopped it.
    pub committed: TxIndex,
    /// What it took.
    pub stats: BlockStats<K>,
}
