//! What is special about some accounts and some transactions: the fee recipient, precompiles, accounts that do not exist
//! or delegate, chains of payments, blobs, block hashes.

use crate::evm_made::*;
use cachekv::evm::{Block, StateKey};
use revm::bytecode::opcode as op;
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{Authorization, RecoveredAuthority, RecoveredAuthorization};
use revm::primitives::{Address, B256, TxKind, U256};

#[test]
fn the_fee_recipient_sends_and_receives() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON, PRAGUE] {
        let mut made = Made::new(era);
        made.account(MINER, RICH);
        for round in 0..15 {
            let (a, b) = (made.rich(2 * round), made.rich(2 * round + 1));
            made.pay(a, MINER, 1_000);
            made.pay(MINER, addr(100 + round), 10_000);
            made.pay(a, b, 7);
            made.pay(MINER, MINER, 1);
        }
        let state = made.check();
        assert_eq!(balance(&state, addr(107)), Some(10_000));
        assert_eq!(state[&MINER].nonce, 30);
    }
}

#[test]
fn a_contract_sees_what_the_fee_recipient_has_by_then() {
    for era in [HOMESTEAD, LONDON, CANCUN] {
        let (watcher, slow_watcher) = (addr(1), addr(2));
        let watch = sstore(argument(), vec![op::COINBASE, op::BALANCE]);
        let mut made = Made::new(era);
        made.contract(watcher, 0, watch.clone());
        made.contract(slow_watcher, 0, [slow(), watch].concat());
        for round in 0..20 {
            let (a, b) = (made.rich(10 + 2 * round), made.rich(11 + 2 * round));
            made.pay(a, b, 5);
            made.call(b, if round % 3 == 0 { slow_watcher } else { watcher }, round);
            made.pay(b, a, 6);
        }
        let state = made.check();
        let seen: Vec<_> = (0..20).map(|at| slot(&state, addr(1), at).max(slot(&state, addr(2), at))).collect();
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }
}

#[test]
fn touching_without_value_makes_accounts_before_spurious_dragon_only() {
    for (era, exist) in [(HOMESTEAD, true), (SPURIOUS_DRAGON, false), (CANCUN, false)] {
        let (toucher, unpaid) = (addr(1), Address::repeat_byte(0xfd));
        let mut made = Made::new(era);
        made.input.env.basefee = 0;
        made.input.env.beneficiary = unpaid;
        made.contract(toucher, 0, send(argument(), push(word(0))));
        let touched: Vec<_> = (100..110).map(addr).collect();
        for (index, address) in touched.iter().enumerate() {
            let from = made.rich(10 + index as u64);
            made.pay(from, *address, 0).gas_price = 0;
            let by_contract = made.call(from, toucher, 0xacc0_0000_0000 + 200 + index as u64);
            by_contract.gas_price = 0;
            made.pay(from, addr(300 + index as u64), 3).gas_price = 0; // with value they exist at any time
        }
        let state = made.check();
        assert!(touched.iter().all(|address| state.contains_key(address) == exist), "{era:?}");
        assert_eq!(state.contains_key(&addr(205)), exist, "{era:?}");
        assert_eq!(state.contains_key(&unpaid), exist, "{era:?}");
        assert_eq!(balance(&state, addr(305)), Some(3));
    }
}

#[test]
fn an_empty_account_that_exists_stays_until_spurious_dragon_touches_it() {
    for (era, stays) in [(HOMESTEAD, true), (SPURIOUS_DRAGON, false)] {
        let mut made = Made::new(era);
        for index in 0..10 {
            made.account(addr(100 + index), 0);
            let from = made.rich(index);
            made.pay(from, addr(100 + index), 0);
        }
        made.account(addr(99), 0);
        let state = made.check();
        assert_eq!(state.contains_key(&addr(104)), stays);
        assert!(state.contains_key(&addr(99)), "nobody touched it");
    }
}

#[test]
fn precompiles_receive() {
    for era in [HOMESTEAD, BYZANTIUM, CANCUN, PRAGUE] {
        let mut made = Made::new(era);
        for index in 1..=18 {
            let from = made.rich(index);
            let to = Address::from_word(B256::from(U256::from(index)));
            made.pay(from, to, index).gas_limit = 300_000;
            made.pay(from, to, 0).gas_limit = 300_000;
            made.pay(from, addr(100), 1);
        }
        let state = made.check();
        assert_eq!(balance(&state, Address::with_last_byte(4)), Some(4));
    }
}

#[test]
fn one_sender_many_transactions() {
    for era in [HOMESTEAD, LONDON] {
        let mut made = Made::new(era);
        let (sender, counter) = (made.rich(1), addr(2));
        made.contract(counter, 0, [slow(), count(push(word(0)))].concat());
        for round in 0..60 {
            match round % 7 {
                3 => made.call(sender, counter, 0),
                5 => made.pay(sender, sender, 5),
                _ => made.pay(sender, addr(100 + round % 20), 5),
            };
        }
        let state = made.check();
        assert_eq!((state[&sender].nonce, slot(&state, counter, 0)), (60, word(9)));
    }
}

#[test]
fn money_is_passed_on() {
    for era in [HOMESTEAD, LONDON, CANCUN] {
        let mut made = Made::new(era);
        made.rich(1);
        for hop in 1..50 {
            // The receiver did not exist before, and passes on nearly all.
            made.pay(addr(hop), addr(hop + 1), RICH - 300_000 * hop);
            if hop % 5 == 0 {
                let other = made.rich(1_000 + hop);
                made.pay(other, addr(hop + 1), 1);
            }
        }
        let state = made.check();
        assert_eq!(balance(&state, addr(50)), Some(RICH - 300_000 * 49));
    }
}

#[test]
fn a_contract_passes_on_what_it_has() {
    let (purse, slow_purse) = (addr(1), addr(2));
    let empty_it = send(vec![op::CALLER], vec![op::SELFBALANCE]);
    let mut made = Made::new(LONDON);
    made.contract(purse, 17, if_data(empty_it.clone(), Vec::new()));
    made.contract(slow_purse, 17, [slow(), empty_it].concat());
    for round in 0..20 {
        let (a, b) = (made.rich(10 + 2 * round), made.rich(11 + 2 * round));
        made.pay(a, purse, 1_000 + round).gas_limit = 50_000;
        made.call(b, if round % 4 == 0 { slow_purse } else { purse }, 1);
        made.pay(b, a, 3);
    }
    let state = made.check();
    assert_eq!(balance(&state, purse), Some(0));
}

#[test]
fn what_a_contract_has_is_known_to_whoever_asks() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON, CANCUN] {
        let (purse, watcher, spender) = (addr(1), addr(2), addr(3));
        let meet = send(push_address(purse), push(word(0)));
        let watch = sstore(argument(), [push_address(purse), vec![op::BALANCE]].concat());
        let create = [push(word(0)), push(word(0)), push(word(7)), vec![op::CREATE, op::POP]].concat();
        let nothing = [push(word(0)), push(word(0)), push(word(0)), push(word(0))].concat();
        let borrow = [nothing, push(word(3)), push_address(purse), push(word(50_000)), vec![op::CALLCODE]].concat();
        let left = sstore(argument(), vec![op::ADDRESS, op::BALANCE]);
        let mut made = Made::new(era);
        made.contract(purse, 17, vec![op::STOP]);
        made.contract(watcher, 0, [slow(), meet, watch].concat());
        made.contract(spender, 100, [create, borrow, vec![op::POP], left].concat());
        for round in 0..15 {
            let (a, b, heir) = (made.rich(10 + 2 * round), made.rich(11 + 2 * round), addr(100 + round));
            made.contract(heir, 5, [push_address(purse), vec![op::SELFDESTRUCT]].concat());
            made.pay(a, purse, 1_000).gas_limit = 50_000;
            made.call(b, watcher, round);
            made.call(a, spender, round);
            made.call(b, heir, 0);
        }
        let state = made.check();
        let seen = |whose, at| slot(&state, whose, at).to::<u64>();
        assert_eq!([seen(watcher, 0), seen(watcher, 1), seen(watcher, 14)], [1_017, 2_022, 15_087]);
        assert_eq!(
            [seen(spender, 0), seen(spender, 13), seen(spender, 14)],
            [93, 2, 2],
            "seven for each, while there is"
        );
        assert_eq!((balance(&state, purse), balance(&state, spender)), (Some(15_092), Some(2)));
    }
}

/// A set code transaction of `from` by which `authority` delegates to `to`.
fn delegate(made: &mut Made, from: Address, authority: Address, to: Address) {
    made.tx(from, TxKind::Call(addr(999)), 0, Vec::new());
    let nonce = made.skip_nonce(authority);
    let authorization = Authorization { chain_id: U256::from(1), address: to, nonce };
    let recovered = RecoveredAuthorization::new_unchecked(authorization, RecoveredAuthority::Valid(authority));
    let env = &mut made.input.transactions.last_mut().unwrap().env;
    (env.tx_type, env.chain_id, env.gas_priority_fee) = (4, Some(1), Some(1));
    env.authorization_list = vec![Either::Right(recovered)];
}

#[test]
fn accounts_delegate_within_the_block() {
    let counter = addr(1);
    let mut made = Made::new(PRAGUE);
    made.contract(counter, 0, [slow(), count(push(word(3)))].concat());
    let (delegating, undone) = (made.rich(2), made.rich(3));
    let others: Vec<_> = (10..20).map(|index| made.rich(index)).collect();
    made.pay(others[0], delegating, 5).gas_limit = 500_000;
    made.pay(delegating, others[0], 5);
    delegate(&mut made, others[1], delegating, counter);
    delegate(&mut made, others[2], undone, counter);
    for other in &others {
        made.pay(*other, delegating, 5).gas_limit = 500_000; // runs the delegate's code
        made.pay(delegating, *other, 6); // a sender with a delegation is a sender
        made.pay(*other, undone, 1).gas_limit = 500_000;
        made.pay(*other, addr(100), 1);
    }
    delegate(&mut made, undone, undone, Address::ZERO);
    for other in &others {
        made.pay(*other, undone, 1); // plain again
        made.pay(undone, *other, 1);
    }
    let state = made.check();
    assert!(has_code(&state, delegating) && !has_code(&state, undone));
    assert_eq!(slot(&state, delegating, 3), word(10));
    assert_eq!(slot(&state, undone, 3), word(10));
    assert_eq!(slot(&state, counter, 3), word(0));
}

#[test]
fn accounts_that_do_not_exist_delegate() {
    let counter = addr(1);
    let mut made = Made::new(PRAGUE);
    made.contract(counter, 0, count(push(word(0))));
    for index in 0..10 {
        let (from, nobody) = (made.rich(10 + index), addr(100 + index));
        delegate(&mut made, from, nobody, if index % 3 == 2 { Address::ZERO } else { counter });
        made.pay(from, addr(200), 1);
        if index % 3 == 1 {
            made.call(from, nobody, 0);
        }
    }
    let state = made.check();
    let what = |index| (has_code(&state, addr(index)), state[&addr(index)].nonce, slot(&state, addr(index), 0));
    assert_eq!([what(100), what(101), what(102)], [(true, 1, word(0)), (true, 1, word(1)), (false, 1, word(0))]);
}

#[test]
fn a_delegate_does_not_find_what_was_stored_before_a_destruction() {
    let (maker, counter) = (addr(1), addr(2));
    let die = vec![op::CALLER, op::SELFDESTRUCT];
    let mortal = maker.create2_from_code(B256::ZERO, &die);
    let mut made = Made::new(PRAGUE);
    made.contract(maker, 0, factory());
    made.contract(counter, 0, count(push(word(0))));
    made.account(mortal, 5).storage = [(word(0), word(40)), (word(7), word(7))].into();
    let from = made.rich(10);
    made.tx(from, TxKind::Call(maker), 3, die); // there and gone, in one transaction
    made.pay(from, mortal, 5);
    delegate(&mut made, from, mortal, counter);
    for index in 11..20 {
        let other = made.rich(index);
        made.call(other, mortal, 0);
        made.pay(other, mortal, 1).gas_limit = 100_000;
    }
    let state = made.check();
    assert_eq!(state[&mortal].storage, [(word(0), word(18))].into());
    assert_eq!(balance(&state, mortal), Some(14));
}

#[test]
fn a_sender_is_drained_by_its_delegate() {
    let drain = addr(1);
    let mut made = Made::new(PRAGUE);
    made.contract(drain, 0, [slow(), send(push_address(addr(50)), push(word(RICH - 10_000_000)))].concat());
    let (drained, other) = (made.rich(2), made.rich(3));
    for index in 0..5 {
        made.pay(drained, addr(60 + index), 1);
    }
    delegate(&mut made, other, drained, drain);
    made.call(other, drained, 0);
    for index in 0..5 {
        made.pay(drained, addr(60 + index), 1); // what is left is enough for these
        made.call(other, drained, 0); // and not for another of those
    }
    let state = made.check();
    assert_eq!(balance(&state, addr(50)), Some(RICH - 10_000_000));
    assert_eq!(state[&drained].nonce, 11);
}

#[test]
fn blobs_are_paid_for() {
    let mut made = Made::new(CANCUN);
    let senders: Vec<_> = (1..10).map(|index| made.rich(index)).collect();
    for from in &senders {
        let tx = made.pay(*from, addr(100), 5);
        (tx.tx_type, tx.chain_id, tx.gas_priority_fee, tx.max_fee_per_blob_gas) = (3, Some(1), Some(2), 10);
        tx.blob_hashes = vec![B256::repeat_byte(1); 2];
        made.pay(*from, addr(101), 5);
    }
    let state = made.check();
    // Twice 21,000 units at 9 and 10 wei, and 2 blobs of 131,072 at 1 wei, which nobody gets.
    assert_eq!(balance(&state, addr(1)), Some(RICH - 10 - 21_000 * 19 - 262_144));
    assert_eq!(balance(&state, MINER), Some(9 * 21_000 * (2 + 3)));
}

#[test]
fn block_hashes_are_known_for_256_blocks() {
    let mut made = Made::new(LONDON);
    let number = made.input.header.number;
    let hash = [argument(), vec![op::BLOCKHASH]].concat();
    made.contract(addr(1), 0, sstore(argument(), hash));
    made.input.block_hashes.insert(number - 256, B256::repeat_byte(9));
    for (index, asked) in [number - 1, number - 256, number - 257, number, 0].into_iter().enumerate() {
        let from = made.rich(10 + index as u64);
        made.call(from, addr(1), asked);
    }
    let state = made.check();
    assert_eq!(slot(&state, addr(1), number - 1), U256::from_be_bytes([2; 32]));
    assert_eq!(slot(&state, addr(1), number - 256), U256::from_be_bytes([9; 32]));
    assert_eq!(state[&addr(1)].storage.len(), 2);
}

#[test]
fn typed_transactions_pay_what_they_say() {
    let mut made = Made::new(LONDON);
    for index in 0..20 {
        let from = made.rich(index);
        let tx = made.pay(from, addr(100 + index % 3), 5);
        (tx.tx_type, tx.chain_id) = (2, Some(1));
        (tx.gas_price, tx.gas_priority_fee) = (20, Some(u128::from(index)));
        made.pay(from, addr(100), 1).gas_limit = 50_000;
        let tx = made.pay(from, addr(101), 1);
        (tx.tx_type, tx.chain_id, tx.gas_limit) = (1, Some(1), 21_000);
    }
    let state = made.check();
    assert_eq!(balance(&state, addr(5)), Some(RICH - 7 - 21_000 * (12 + 10 + 10)));
}

#[test]
fn a_fee_recipient_that_has_all_there_is_gets_no_more() {
    let mut made = Made::new(LONDON);
    made.account(MINER, 0).balance = U256::MAX - U256::from(100_000);
    for index in 0..10 {
        let from = made.rich(index);
        made.pay(from, addr(100), 1);
        made.call(from, addr(100), 1);
    }
    // The first fee is the last that fits.
    assert_eq!(made.check()[&MINER].balance, U256::MAX - U256::from(100_000 - 63_000));
}

#[test]
fn nobody_receives_more_than_there_is() {
    let mut made = Made::new(LONDON);
    made.account(addr(100), 0).balance = U256::MAX - U256::from(5);
    for index in 0..10 {
        let from = made.rich(index);
        made.pay(from, addr(100), 2);
        made.pay(from, addr(101), 2);
    }
    let state = made.check();
    assert_eq!(balance(&state, addr(101)), Some(20));
    assert_eq!(state[&addr(100)].balance, U256::MAX - U256::from(1));
}

/// A sender of several transactions: what each leaves for the next is known before it runs.
#[test]
fn the_account_of_a_sender_is_announced_to_its_later_calls() {
    let mut made = Made::new(LONDON);
    let (one, other) = (made.rich(1), made.rich(2));
    let contract = addr(50);
    made.contract(contract, 0, count(push(word(1))));
    made.pay(one, other, 5); // plain, before a call of the same sender
    made.call(other, contract, 1);
    made.call(one, contract, 1);
    made.pay(one, other, 5); // nobody calls after it
    let own = |address| vec![StateKey::Account(address)];
    assert_eq!(Block::new(made.input.clone()).hints(), [own(one), vec![], vec![], vec![]]);
    made.check();
}
