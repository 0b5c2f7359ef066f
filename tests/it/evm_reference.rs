//! The reference itself: real blocks, run in sequence, are the blocks that their headers describe.

#![cfg(feature = "evm")]

use cachekv::evm::{BlockFiles, Codes, Transfer, verify};
use revm::primitives::KECCAK_EMPTY;

use crate::evm_oracle::{blocks, execute, execute_unrewarded, folder};

#[test]
fn real_blocks_equal_their_headers() {
    let Some(folder) = folder() else { return };
    let codes = Codes::read(folder.join("codes.json.gz")).unwrap();
    let blocks = blocks(&folder);
    assert!(!blocks.is_empty(), "{} holds no blocks", folder.display());
    for block in blocks {
        let input = BlockFiles::in_folder(&block).read_with(&codes).unwrap();
        let (receipts, state) = execute(&input);
        verify(&input.header, &input.fork, &receipts).unwrap();
        println!(
            "block {}: {:?}, {} transactions, {} gas, {} accounts after it",
            input.header.number,
            input.fork.spec,
            receipts.len(),
            input.header.gas_used,
            state.len()
        );
    }
}

#[test]
fn plain_transfers_use_the_gas_they_say() {
    let Some(folder) = folder() else { return };
    let codes = Codes::read(folder.join("codes.json.gz")).unwrap();
    let mut plain = 0;
    for block in blocks(&folder) {
        let input = BlockFiles::in_folder(&block).read_with(&codes).unwrap();
        let (receipts, state) = execute(&input);
        let mut gas_before = 0;
        for (tx, receipt) in input.transactions.iter().zip(&receipts) {
            let gas_used = receipt.cumulative_gas_used - gas_before;
            gas_before = receipt.cumulative_gas_used;
            let Some(transfer) = Transfer::candidate(&tx.env, &input.env, &input.fork.cfg()) else { continue };
            let codeless = |address| state.get(address).is_none_or(|account| account.code_hash == KECCAK_EMPTY);
            let was = input.pre_state.get(&transfer.recipient);
            if codeless(&transfer.recipient) && was.is_none_or(|account| account.code_hash == KECCAK_EMPTY) {
                assert_eq!(transfer.gas_used, gas_used, "{}", tx.hash);
                assert!(receipt.success && receipt.logs.is_empty(), "{}", tx.hash);
                plain += 1;
            }
        }
    }
    println!("{plain} plain transfers");
    assert!(plain > 0);
}

#[test]
fn rewards_can_be_paid_afterwards() {
    let Some(folder) = folder() else { return };
    let codes = Codes::read(folder.join("codes.json.gz")).unwrap();
    for block in blocks(&folder) {
        let input = BlockFiles::in_folder(&block).read_with(&codes).unwrap();
        assert_eq!(execute_unrewarded(&input), execute(&input), "block {}", input.header.number);
    }
}
