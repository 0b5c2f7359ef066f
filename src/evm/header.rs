//! What the header of a block says: what a run of it must arrive at, and the environment that it runs in.

use revm::context::BlockEnv;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{B256, U256};

use super::error::Error;
use super::fork::Fork;
use super::json::Fields;

/// The largest exponent of the blob price that is taken: e^50 wei for a unit of gas is more than there is.
///
/// The virtual machine computes the price in 128 bits and overflows from about 54 on.
const MAX_BLOB_PRICE_EXPONENT: u64 = 50;

/// The fields of a block's header that a run of the block is checked against, and that name the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The block's number.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent_hash: B256,
    /// The gas that all its transactions used.
    pub gas_used: u64,
    /// The bloom filter over all its logs.
    pub logs_bloom: Bloom,
    /// The root of the trie of its receipts.
    pub receipts_root: B256,
}

/// Reads the header from the block's fields.
pub(super) fn header(block: &Fields<'_>) -> Result<Header, Error> {
    Ok(Header {
        number: block.required("number")?.u64()?,
        timestamp: block.required("timestamp")?.u64()?,
        hash: block.required("hash")?.hash()?,
        parent_hash: block.required("parentHash")?.hash()?,
        gas_used: block.required("gasUsed")?.u64()?,
        logs_bloom: block.required("logsBloom")?.fixed("a bloom filter of 256 bytes in hex").map(Bloom::from)?,
        receipts_root: block.required("receiptsRoot")?.hash()?,
    })
}

/// Reads the environment that the block's transactions run in.
pub(super) fn environment(block: &Fields<'_>, header: &Header, fork: &Fork) -> Result<BlockEnv, Error> {
    Ok(BlockEnv {
        number: U256::from(header.number),
        timestamp: U256::from(header.timestamp),
        beneficiary: block.required("miner")?.address()?,
        gas_limit: block.required("gasLimit")?.u64()?,
        difficulty: block.required("difficulty")?.u256()?,
        basefee: if fork.has(SpecId::LONDON) { block.required("baseFeePerGas")?.u64()? } else { 0 },
        // The merge put the beacon chain's randomness where the proof of work had been.
        prevrandao: if fork.has(SpecId::MERGE) { Some(block.required("mixHash")?.hash()?) } else { None },
        blob_excess_gas_and_price: blob_price(block, fork)?,
        slot_num: 0,
    })
}

/// The price of blob gas, from Cancun on.
fn blob_price(block: &Fields<'_>, fork: &Fork) -> Result<Option<BlobExcessGasAndPrice>, Error> {
    let Some(limits) = fork.blobs else { return Ok(None) };
    let item = block.required("excessBlobGas")?;
    let wrong = item.wrong("the excess blob gas of a block whose blobs can be paid");
    let excess = item.u64()?;
    if excess > limits.fraction.saturating_mul(MAX_BLOB_PRICE_EXPONENT) {
        return Err(wrong);
    }
    Ok(Some(BlobExcessGasAndPrice::new(excess, limits.fraction)))
}
