//! What a block leaves on record of its transactions, and whether it is what the block's header says.

use alloy_rlp::{BufMut, Encodable, Header as RlpHeader};
use alloy_trie::root::ordered_trie_root_with_encoder;
use revm::context_interface::result::ExecutionResult;
use revm::primitives::alloy_primitives::{Bloom, logs_bloom};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{B256, Log};

use super::error::Mismatch;
use super::fork::Fork;
use super::header::Header;

/// The receipt of a transaction.
///
/// Before Byzantium, the chain recorded the root of the whole state after the transaction instead of its success;
/// that root is not computed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The type of the transaction.
    pub tx_type: u8,
    /// Whether it succeeded: it neither reverted nor halted.
    pub success: bool,
    /// The gas used by it and all transactions before it in the block.
    pub cumulative_gas_used: u64,
    /// What it logged.
    pub logs: Vec<Log>,
    /// The bloom filter over its logs.
    pub bloom: Bloom,
}

/// What one transaction leaves on record, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxOutput {
    /// The type of the transaction.
    pub tx_type: u8,
    /// Whether it succeeded: it neither reverted nor halted.
    pub success: bool,
    /// The gas it used.
    pub gas_used: u64,
    /// What it logged.
    pub logs: Vec<Log>,
}

impl TxOutput {
    /// What a transaction of type `tx_type` that ended with `result` leaves.
    pub fn new<H>(tx_type: u8, result: ExecutionResult<H>) -> Self {
        let (success, gas_used) = (result.is_success(), result.tx_gas_used());
        Self { tx_type, success, gas_used, logs: result.into_logs() }
    }
}

impl Receipt {
    /// The receipt of a transaction that left `output`, after transactions that used `gas_before` together.
    pub fn new(output: TxOutput, gas_before: u64) -> Self {
        let TxOutput { tx_type, success, gas_used, logs } = output;
        let bloom = logs_bloom(&logs);
        Self { tx_type, success, cumulative_gas_used: gas_before.saturating_add(gas_used), logs, bloom }
    }

    /// Writes the receipt as it is hashed into the receipts root: its type, unless that is 0, then a list in RLP.
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what is in memory together")]
    fn encode(&self, out: &mut dyn BufMut) {
        if self.tx_type != 0 {
            out.put_u8(self.tx_type);
        }
        let payload_length =
            self.success.length() + self.cumulative_gas_used.length() + self.bloom.length() + self.logs.length();
        RlpHeader { list: true, payload_length }.encode(out);
        self.success.encode(out);
        self.cumulative_gas_used.encode(out);
        self.bloom.encode(out);
        self.logs.encode(out);
    }
}

/// The receipts of a block whose transactions left these outputs, in their order.
pub fn receipts(outputs: impl IntoIterator<Item = TxOutput>) -> Vec<Receipt> {
    let mut gas = 0;
    let receipts = outputs.into_iter().map(|output| {
        let receipt = Receipt::new(output, gas);
        gas = receipt.cumulative_gas_used;
        receipt
    });
    receipts.collect()
}

/// The gas that a block with these receipts used.
pub fn gas_used(receipts: &[Receipt]) -> u64 {
    receipts.last().map_or(0, |last| last.cumulative_gas_used)
}

/// The bloom filter over all logs of a block with these receipts.
pub fn block_bloom(receipts: &[Receipt]) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for receipt in receipts {
        bloom.accrue_bloom(&receipt.bloom);
    }
    bloom
}

/// The root of the trie of these receipts; `None` before Byzantium, where receipts hold roots of the state.
pub fn receipts_root(fork: &Fork, receipts: &[Receipt]) -> Option<B256> {
    let computable = fork.has(SpecId::BYZANTIUM);
    computable.then(|| ordered_trie_root_with_encoder(receipts, |receipt: &Receipt, out| receipt.encode(out)))
}

/// Checks that a run that left `receipts` is a run of the block that `header` describes.
///
/// The state that it left behind is not checked: its root is that of a trie over all accounts of the chain. Gas, logs
/// and outcomes depend on nearly all of it.
///
/// # Errors
/// The first [`Mismatch`], in the order of its variants.
pub fn verify(header: &Header, fork: &Fork, receipts: &[Receipt]) -> Result<(), Mismatch> {
    let block = header.number;
    let computed = gas_used(receipts);
    if computed != header.gas_used {
        return Err(Mismatch::GasUsed { block, expected: header.gas_used, computed });
    }
    let computed = block_bloom(receipts);
    if computed != header.logs_bloom {
        return Err(Mismatch::LogsBloom { block, expected: Box::new(header.logs_bloom), computed: Box::new(computed) });
    }
    match receipts_root(fork, receipts) {
        Some(computed) if computed != header.receipts_root => {
            Err(Mismatch::ReceiptsRoot { block, expected: header.receipts_root, computed })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::primitives::b256;

    fn header(receipts_root: B256) -> Header {
        Header {
            number: 4_370_000,
            timestamp: 0,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            gas_used: 0,
            logs_bloom: Bloom::ZERO,
            receipts_root,
        }
    }

    #[test]
    fn each_mismatch_says_what_differs() {
        // The root of the empty trie.
        let empty = header(b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"));
        let byzantium = Fork::mainnet(4_370_000, 0);
        assert_eq!(verify(&empty, &byzantium, &[]), Ok(()));

        let gas = Header { gas_used: 21_000, ..empty.clone() };
        let expected = Mismatch::GasUsed { block: 4_370_000, expected: 21_000, computed: 0 };
        assert_eq!(verify(&gas, &byzantium, &[]), Err(expected));

        let bloom = Header { logs_bloom: Bloom::repeat_byte(1), ..empty.clone() };
        assert!(matches!(verify(&bloom, &byzantium, &[]), Err(Mismatch::LogsBloom { .. })));

        let root = Header { receipts_root: B256::ZERO, ..empty };
        assert!(matches!(verify(&root, &byzantium, &[]), Err(Mismatch::ReceiptsRoot { .. })));
        assert_eq!(verify(&root, &Fork::mainnet(4_369_999, 0), &[]), Ok(()), "not computable before Byzantium");
    }
}
