//! Blocks that cannot be: the error names block, transaction and hash, comes promptly, and what came before it stands.

use crate::evm_made::*;
use cachekv::evm::Error;
use revm::bytecode::opcode as op;
use revm::context::TxEnv;
use revm::primitives::{B256, keccak256};

/// A block of good payments and calls, the eleventh of whose transactions is spoiled.
fn spoiled(era: Era, spoil: impl FnOnce(&mut TxEnv)) -> Error {
    let mut made = Made::new(era);
    made.contract(addr(1), RICH, [slow(), count(push(word(0)))].concat());
    let sender = made.rich(2);
    for index in 0..25 {
        let other = made.rich(10 + index);
        match index % 3 {
            0 => made.call(other, addr(1), 0),
            1 => made.pay(sender, addr(100), 1), // the eleventh is one of these
            _ => made.pay(other, sender, 1),
        };
    }
    spoil(&mut made.input.transactions[10].env);
    made.fails(10)
}

/// Checks that `error` is about the eleventh transaction, and says `words`.
fn says(error: &Error, number: u64, words: &str) {
    let Error::InvalidTransaction { block, transaction, hash, cause } = error else { panic!("{error}") };
    assert_eq!((*block, *transaction, *hash), (number, 10, keccak256(10_usize.to_be_bytes())));
    assert!(cause.contains(words), "{cause}");
    assert!(error.to_string().starts_with(&format!("block {number}: transaction 10 ({hash}) is invalid: ")), "{error}");
}

#[test]
fn a_transaction_that_cannot_be_in_the_block_is_named() {
    let who_is_poor = addr(77);
    for era in [HOMESTEAD, BYZANTIUM, LONDON, CANCUN] {
        says(&spoiled(era, |tx| tx.nonce += 1), era.0, "nonce 4 too high, expected 3");
        says(&spoiled(era, |tx| tx.nonce += 1_000_000), era.0, "nonce 1000003 too high, expected 3");
        says(&spoiled(era, |tx| tx.nonce -= 1), era.0, "nonce 2 too low, expected 3");
        says(&spoiled(era, |tx| tx.value = word(RICH)), era.0, "lack of funds");
        says(&spoiled(era, |tx| (tx.caller, tx.nonce) = (who_is_poor, 0)), era.0, "lack of funds");
        says(&spoiled(era, |tx| tx.gas_limit = 30_000_001), era.0, "caller gas limit exceeds the block gas limit");
        says(&spoiled(era, |tx| tx.gas_limit = 20_999), era.0, "exceeds the gas limit");
        says(&spoiled(era, |tx| tx.chain_id = Some(5)), era.0, "invalid chain ID");
    }
    says(&spoiled(LONDON, |tx| tx.gas_price = 6), LONDON.0, "gas price is less than basefee");
    says(&spoiled(LONDON, |tx| (tx.caller, tx.nonce) = (addr(1), 1)), LONDON.0, "senders with deployed code");
    says(&spoiled(BYZANTIUM, |tx| (tx.tx_type, tx.chain_id) = (2, Some(1))), BYZANTIUM.0, "Eip1559 is not supported");
}

#[test]
fn a_transaction_that_pays_for_the_last_time_and_one_more() {
    let mut made = Made::new(LONDON);
    let rich = made.rich(2);
    made.account(addr(1), 3 * 210_010);
    for _ in 0..4 {
        made.pay(addr(1), addr(100), 10);
        made.pay(rich, addr(101), 1);
    }
    let error = made.fails(6);
    assert!(matches!(error, Error::InvalidTransaction { transaction: 6, .. }), "{error}");
}

#[test]
fn a_block_whose_first_transaction_is_wrong_has_no_prefix() {
    let mut made = Made::new(LONDON);
    let (a, b) = (made.rich(1), made.rich(2));
    for _ in 0..10 {
        made.pay(a, b, 1);
        made.pay(b, a, 1);
    }
    made.input.transactions[0].env.nonce = 1;
    made.fails(0);
}

#[test]
fn a_block_hash_that_was_not_given_is_named() {
    let mut made = Made::new(LONDON);
    let number = made.input.header.number;
    made.contract(addr(1), 0, sstore(argument(), [argument(), vec![op::BLOCKHASH]].concat()));
    for index in 0..9 {
        let from = made.rich(10 + index);
        made.call(from, addr(1), if index == 5 { number - 9 } else { number - 1 });
    }
    let error = made.fails(5);
    assert!(matches!(error, Error::MissingBlockHash { number: asked } if asked == number - 9), "{error}");
}

#[test]
fn a_code_that_was_not_given_is_named() {
    let mut made = Made::new(LONDON);
    made.account(addr(1), 5).code_hash = B256::repeat_byte(7);
    for index in 0..9 {
        let from = made.rich(10 + index);
        let to = if index == 5 { addr(1) } else { addr(2) };
        made.pay(from, to, 1).gas_limit = 50_000;
    }
    let error = made.fails(5);
    assert!(matches!(error, Error::UnknownCode { hash } if hash == B256::repeat_byte(7)), "{error}");
}
