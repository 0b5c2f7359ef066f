//! Ethereum blocks as a machine of shards.
//!
//! Shards read the blocks' files themselves: a transaction is sent as its block's number and its place. The state they read
//! from the coordinator.

use crate::evm::ReadArgs;
use crate::failure::Failure;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use cachekv::evm::{Block, Changes, Error, StateKey, StateValue, TxOutput};
use cachekv::executor::Vm;
use cachekv::multiversion::{TxView, ViewError};
use cachekv::remote::{Access, Coded};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What shards and coordinator have to agree on.
pub(crate) const MACHINE: &str = "ethereum/2";

/// The Ethereum blocks of a shard.
#[derive(Debug, clap::Args)]
pub(crate) struct BlockArgs {
    /// Execute these Ethereum blocks (`cachekv evm`): folders with block.json and pre_state.json, or folders of such
    #[arg(long, value_name = "PATH", num_args = 1..)]
    evm: Vec<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
}

impl BlockArgs {
    /// The blocks, if there are to be some.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Blocks>, Failure> {
        if self.evm.is_empty() {
            return Ok(None);
        }
        let mut blocks = Blocks::default();
        self.read.blocks(&self.evm, |block| {
            blocks.add(Arc::new(block));
            Ok(())
        })?;
        Ok(Some(blocks))
    }
}

/// Blocks by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Arc<BTreeMap<u64, Arc<Block>>>);

/// A transaction: its block's number, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    block: u64,
    place: u32,
}

impl Blocks {
    fn add(&mut self, block: Arc<Block>) {
        Arc::make_mut(&mut self.0).insert(block.input().header.number, block);
    }

    /// These blocks.
    pub(crate) fn of(blocks: impl IntoIterator<Item = Arc<Block>>) -> Self {
        let mut all = Self::default();
        blocks.into_iter().for_each(|block| all.add(block));
        all
    }
}

/// The transactions of `block`, as they are sent.
pub(crate) fn numbered(block: &Block) -> Vec<Numbered> {
    let number = block.input().header.number;
    (0..).zip(block.transactions()).map(|(place, _)| Numbered { block: number, place }).collect()
}

/// What the transactions of `block` touch.
///
/// # Errors
/// If it cannot be executed.
pub(crate) fn accesses(block: &Block) -> Result<Vec<Access<StateKey>>, Failure> {
    let store = cachekv::evm::store(&block.input().pre_state);
    super::observe::accesses(block, &store, block.transactions(), |error| {
        Failure::Wrong(format!("what transactions touch cannot be found: {}", error.cause))
    })
}

/// Why a transaction cannot be executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Evm(#[from] Error),
    #[error("block {0} is not among those that were read")]
    Unknown(u64),
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::Evm(error.into())
    }
}

impl Vm for Blocks {
    type Key = StateKey;
    type Value = StateValue;
    type Merge = Changes;
    type Transaction = Numbered;
    type Output = TxOutput;
    type Error = Fault;

    fn execute(&self, sent: &Numbered, view: &TxView<'_, StateKey, StateValue, Changes>) -> Result<TxOutput, Fault> {
        let block = self.0.get(&sent.block).ok_or(Fault::Unknown(sent.block))?;
        let transaction = usize::try_from(sent.place).ok().and_then(|place| block.transactions().get(place));
        let transaction = transaction.ok_or(Fault::Unknown(sent.block))?;
        Ok(block.execute(transaction, view)?)
    }
}

impl Coded for Numbered {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64(self.block);
        bytes.put_u32(self.place);
        bytes.freeze()
    }
    fn decode(mut bytes: Bytes) -> Option<Self> {
        (bytes.len() == 12).then(|| Self { block: bytes.get_u64(), place: bytes.get_u32() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_comes_back_from_its_bytes() {
        let sent = Numbered { block: 12_459_406, place: 7 };
        assert_eq!(Numbered::decode(sent.encode()), Some(sent));
        assert_eq!(Numbered::decode(sent.encode().slice(1..)), None);
    }
}
