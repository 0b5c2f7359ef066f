//! Contracts that come and go within a block: created where plain transfers went, destroyed with their slots, created
//! again over old storage; and storage cleared for those who read it later.

use crate::evm_made::*;
use revm::bytecode::opcode as op;
use revm::primitives::{Address, B256, TxKind, U256};

/// A code that counts in slot 0 and gives what it counted; with data, it destroys itself in favour of the caller.
fn mortal() -> Vec<u8> {
    let give = [sload(push(word(0))), push(word(0)), vec![op::MSTORE], push(word(32)), push(word(0)), vec![op::RETURN]];
    if_data(vec![op::CALLER, op::SELFDESTRUCT], [count(push(word(0))), give.concat()].concat())
}

/// A code that calls `whom` and stores what it gave where the call's data say; what there is not gives 77.
fn asking(whom: Address) -> Vec<u8> {
    let marked = [push(word(77)), push(word(0)), vec![op::MSTORE]].concat();
    let call =
        [push(word(32)), push(word(0)), push(word(0)), push(word(0)), push(word(0)), push_address(whom)].concat();
    let call = [call, push(word(200_000)), vec![op::CALL, op::POP]].concat();
    [marked, call, sstore(argument(), [push(word(0)), vec![op::MLOAD]].concat())].concat()
}

#[test]
fn a_recipient_becomes_a_contract() {
    for era in [ISTANBUL, LONDON, CANCUN] {
        let maker = addr(1);
        let initcode = deploying(Vec::new(), &count(push(word(0))));
        let child = maker.create2_from_code(B256::ZERO, &initcode);
        let mut made = Made::new(era);
        made.contract(maker, 0, factory());
        for index in 10..30 {
            let from = made.rich(index);
            if index == 15 {
                made.tx(from, TxKind::Call(maker), 3, initcode.clone());
            }
            made.pay(from, child, 5).gas_limit = 100_000;
            made.pay(from, addr(100), 5);
        }
        let state = made.check();
        assert!(has_code(&state, child));
        assert_eq!((slot(&state, child, 0), balance(&state, child)), (word(15), Some(103)));
    }
}

#[test]
fn a_created_contract_is_used_at_once() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON] {
        let mut made = Made::new(era);
        let creator = made.rich(1);
        let child = creator.create(0);
        let runtime = [count(push(word(0))), count(vec![op::CALLER])].concat();
        made.pay(addr(1), child, 9); // takes the creator's nonce 0: nobody is created at `child`
        made.tx(creator, TxKind::Create, 11, deploying(slow(), &runtime));
        let child = creator.create(1);
        for index in 10..50 {
            let from = made.rich(index);
            made.call(from, child, 0);
            made.call(from, child, 0);
        }
        let state = made.check();
        assert_eq!((slot(&state, child, 0), balance(&state, child)), (word(80), Some(11)));
        assert_eq!(state[&child].storage.len(), 41);
    }
}

#[test]
fn a_creation_finds_money_and_keeps_it() {
    for era in [HOMESTEAD, LONDON] {
        let mut made = Made::new(era);
        for index in 0..15 {
            let (creator, giver) = (made.rich(2 * index), made.rich(2 * index + 1));
            made.pay(giver, creator.create(0), 5);
            made.tx(creator, TxKind::Create, 2, deploying(Vec::new(), &[op::STOP]));
            made.pay(giver, creator.create(0), 5).gas_limit = 50_000;
            made.tx(creator, TxKind::Create, 2, vec![op::INVALID]); // and one that fails
        }
        let state = made.check();
        assert_eq!(balance(&state, addr(4).create(0)), Some(12));
        assert_eq!(state.get(&addr(4).create(1)), None);
    }
}

#[test]
fn a_creation_over_slots_without_code_clears_them() {
    for era in [HOMESTEAD, LONDON, CANCUN] {
        let mut made = Made::new(era);
        for index in 0..10 {
            let (creator, caller) = (made.rich(2 * index), made.rich(2 * index + 1));
            let child = creator.create(0);
            made.account(child, 5).storage = [(word(0), word(9)), (word(7), word(7))].into();
            made.tx(creator, TxKind::Create, 2, deploying(Vec::new(), &count(push(word(0)))));
            made.call(caller, child, 0);
        }
        let state = made.check();
        assert_eq!(state[&addr(4).create(0)].storage, [(word(0), word(1))].into());
    }
}

/// A block in which a contract with old slots is used, destroyed, missed, created anew, used, and so on.
fn come_and_go(era: Era) -> (Made, Address) {
    let (maker, asker) = (addr(1), addr(2));
    let initcode = deploying(Vec::new(), &mortal());
    let child = maker.create2_from_code(B256::ZERO, &initcode);
    let mut made = Made::new(era);
    made.contract(maker, 0, factory());
    made.contract(asker, 0, asking(child));
    let old = made.contract(child, 1_000, mortal());
    old.storage = (0..30).map(|at| (word(at), word(at + 40))).collect();
    for round in 0..6 {
        for step in 0..7 {
            let from = made.rich(10 + 7 * round + step);
            match step {
                3 => made.call(from, child, 1),                                   // destroyed
                5 => made.tx(from, TxKind::Call(maker), 1_000, initcode.clone()), // created anew
                _ => made.call(from, asker, 7 * round + step),
            };
            made.pay(from, addr(500), 1);
        }
    }
    (made, child)
}

#[test]
fn a_destroyed_contract_forgets_and_can_come_again() {
    for era in [ISTANBUL, LONDON] {
        let (made, child) = come_and_go(era);
        let state = made.check();
        let seen: Vec<u64> = (0..14).map(|step| slot(&state, addr(2), step).to()).collect();
        // Counting goes on from 40 and from 0; where nobody is, nobody answers.
        assert_eq!(seen, [41, 42, 43, 0, 77, 0, 1, 2, 3, 4, 0, 77, 0, 1]);
        assert_eq!(state[&child].storage.len(), 1);
    }
}

#[test]
fn since_cancun_contracts_stay() {
    let (made, child) = come_and_go(CANCUN);
    let state = made.check();
    assert_eq!(slot(&state, addr(2), 4), word(44), "it has lost its money and nothing else");
    assert_eq!(state[&child].storage.len(), 30);
}

#[test]
fn what_is_created_and_destroyed_in_one_transaction_is_gone() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON, CANCUN] {
        let heir = addr(500);
        let mut made = Made::new(era);
        for index in 0..20 {
            let (from, other) = (made.rich(2 * index), made.rich(2 * index + 1));
            let child = from.create(0);
            made.account(child, 5);
            let die = [sstore(push(word(1)), push(word(2))), push_address(heir), vec![op::SELFDESTRUCT]].concat();
            made.tx(from, TxKind::Create, 7, die);
            if index % 2 == 0 {
                made.pay(other, child, 3); // to where nobody is any more
            }
        }
        let state = made.check();
        assert_eq!(balance(&state, heir), Some(240));
        assert_eq!((balance(&state, addr(4).create(0)), state.get(&addr(6).create(0))), (Some(3), None));
        assert!(state[&addr(4).create(0)].storage.is_empty());
    }
}

#[test]
fn destruction_in_favour_of_oneself_and_of_the_fee_recipient() {
    for (era, burned) in [(HOMESTEAD, true), (LONDON, true), (CANCUN, false)] {
        let mut made = Made::new(era);
        for index in 0..12 {
            let (to_self, to_miner) = (addr(100 + index), addr(200 + index));
            made.contract(to_self, 1_000, vec![op::ADDRESS, op::SELFDESTRUCT]);
            made.contract(to_miner, 1_000, vec![op::COINBASE, op::SELFDESTRUCT]);
            let from = made.rich(index);
            made.call(from, to_self, 0);
            made.call(from, to_miner, 0);
            made.pay(from, addr(300), 1);
            if index % 3 == 0 {
                made.pay(from, to_self, 4).gas_limit = 100_000;
                made.pay(from, to_miner, 4).gas_limit = 100_000;
            }
        }
        let state = made.check();
        assert_eq!(state.contains_key(&addr(101)), !burned);
        assert_eq!(balance(&state, addr(103)), Some(if burned { 4 } else { 1_004 }));
    }
}

#[test]
fn a_fee_recipient_that_destroys_itself_loses_its_fee() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON, CANCUN] {
        let mut made = Made::new(era);
        made.contract(MINER, 1_000, if_data(vec![op::CALLER, op::SELFDESTRUCT], Vec::new())).storage =
            [(word(1), word(1))].into();
        for index in 0..12 {
            let from = made.rich(index);
            made.pay(from, addr(100), 1);
            made.pay(from, MINER, 2).gas_limit = 50_000;
            if index % 4 == 2 {
                made.call(from, MINER, 1);
            }
        }
        made.check();
    }
    // Created and destroyed at once, under any rules.
    for era in [LONDON, CANCUN] {
        let mut made = Made::new(era);
        let creator = made.rich(1);
        made.input.env.beneficiary = creator.create(1);
        made.pay(creator, addr(100), 1);
        made.tx(creator, TxKind::Create, 5, vec![op::CALLER, op::SELFDESTRUCT]);
        let state = made.check();
        assert_eq!(state.get(&creator.create(1)), None);
    }
}

#[test]
fn storage_is_cleared_for_those_who_come_later() {
    for era in [HOMESTEAD, ISTANBUL, CANCUN] {
        let (holder, slow_holder) = (addr(1), addr(2));
        // With an argument, slot 1 becomes zero and slot 2 what it was; without, it grows by one.
        let clear = [sstore(argument(), sload(push(word(1)))), sstore(push(word(1)), push(word(0)))].concat();
        let code = if_data(clear, count(push(word(1))));
        let mut made = Made::new(era);
        made.contract(holder, 0, code.clone()).storage = [(word(1), word(5)), (word(9), word(9))].into();
        let caller = [slow(), send(push_address(holder), push(word(0)))].concat();
        made.contract(slow_holder, 0, caller);
        for index in 0..30 {
            let from = made.rich(10 + index);
            match index % 5 {
                4 => made.call(from, holder, 100 + index),
                2 => made.call(from, slow_holder, 0),
                _ => made.pay(from, holder, 0),
            }
            .gas_limit = 500_000;
        }
        let state = made.check();
        assert_eq!(slot(&state, holder, 104), word(9));
        assert_eq!(slot(&state, holder, 109), word(4));
        assert_eq!(slot(&state, holder, 1), U256::ZERO);
    }
}
