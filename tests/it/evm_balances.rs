//! Contracts that are paid and pay: what they have is not read, as long as nobody looks.

use crate::evm_made::{
    BYZANTIUM, CANCUN, HOMESTEAD, LONDON, Made, PRAGUE, addr, argument, balance, if_data, push, push_address, send,
    slow, sstore, word,
};
use cachekv::evm::{Block, store};
use cachekv::executor::Options;
use cachekv::kv::KvStore;
use proptest::prelude::*;
use proptest::test_runner::Config;
use revm::bytecode::opcode as op;
use revm::primitives::{TxKind, U256};

/// A code that keeps what it is paid; with data, it pays the caller as much as they say, and
/// notes in the sender's slot if it could.
fn bank() -> Vec<u8> {
    let nothing = [push(word(0)), push(word(0)), push(word(0)), push(word(0))].concat();
    let pay = [nothing, argument(), vec![op::CALLER], push(word(50_000)), vec![op::CALL]].concat();
    if_data(sstore(vec![op::ORIGIN], pay), Vec::new())
}

#[test]
fn who_pays_into_a_contract_waits_for_nobody() {
    let bank_at = addr(1);
    let mut made = Made::new(LONDON);
    made.contract(bank_at, 1_000, bank());
    for index in 0..60 {
        let from = made.rich(10 + index);
        match index % 3 {
            2 => made.call(from, bank_at, 7),
            _ => made.tx(from, TxKind::Call(bank_at), 5, Vec::new()),
        };
    }
    let block = Block::new(made.input.clone());
    let before = store(&block.input().pre_state).snapshot().unwrap();
    for _ in 0..20 {
        let executor = crate::acts::sharing(2);
        let done = executor.execute_with(&before, block.transactions(), &block, Options::default());
        let stats = done.unwrap_or_else(|error| panic!("{}", error.cause)).stats;
        assert_eq!(stats.executions, 60, "each once: none has read what another writes");
    }
    assert_eq!(balance(&made.check(), bank_at), Some(1_000 + 40 * 5 - 20 * 7));
}

#[test]
fn a_contract_pays_as_long_as_it_has() {
    for era in [HOMESTEAD, BYZANTIUM, LONDON, CANCUN, PRAGUE] {
        let bank_at = addr(1);
        let mut made = Made::new(era);
        made.contract(bank_at, 3, bank());
        for index in 0..20 {
            let (a, b) = (made.rich(10 + 2 * index), made.rich(11 + 2 * index));
            made.tx(a, TxKind::Call(bank_at), 5, Vec::new());
            made.call(b, bank_at, 10); // there is not enough every other time
            let too_much =
                [U256::ONE << 128, U256::ONE << 254, U256::ONE << 255, U256::MAX - word(3)][index as usize % 4];
            let c = made.rich(100 + index);
            made.tx(c, TxKind::Call(bank_at), 0, too_much.to_be_bytes_vec());
        }
        let state = made.check();
        let could = state[&bank_at].storage.len();
        assert_eq!((could, balance(&state, bank_at)), (10, Some(3)));
    }
}

#[test]
fn what_was_supposed_too_much_leaves_nothing_behind() {
    let mut made = Made::new(LONDON);
    let (givers, purses) = (1..=8, 11..=18);
    for (giver, purse) in givers.clone().zip(purses.clone()) {
        // It can pay the one, and then not the other.
        let pay =
            [send(push_address(addr(purse)), push(word(3))), send(push_address(addr(50)), push(word(4)))].concat();
        made.contract(addr(giver), 5, pay);
        made.contract(addr(purse), 1, vec![op::STOP]);
    }
    for giver in givers.clone() {
        let from = made.rich(100 + giver);
        made.tx(from, TxKind::Call(addr(giver)), 0, Vec::new());
    }
    let state = made.check();
    assert!(
        givers.zip(purses).all(|(giver, purse)| {
            (balance(&state, addr(giver)), balance(&state, addr(purse))) == (Some(2), Some(4))
        })
    );
}

/// What only a run meets that supposes too much is no error of the block.
#[test]
fn an_error_behind_what_was_supposed_too_much_is_none() {
    let mut made = Made::new(LONDON);
    let unknown = made.input.header.number - 9;
    let nothing = [push(word(0)), push(word(0)), push(word(0)), push(word(0))].concat();
    let pay = [nothing, push(word(10)), push_address(addr(50)), push(word(50_000)), vec![op::CALL]].concat();
    // If it could pay, it asks for the hash of a block that nobody gave.
    let end = (pay.len() + 1 + 3 + 1 + 33 + 2 + 1) as u16;
    let to_end = [vec![op::ISZERO, op::PUSH2], end.to_be_bytes().to_vec(), vec![op::JUMPI]].concat();
    let ask = [push(word(unknown)), vec![op::BLOCKHASH, op::POP], vec![op::STOP], vec![op::JUMPDEST]].concat();
    made.contract(addr(1), 3, [pay, to_end, ask].concat());
    for index in 0..8 {
        let from = made.rich(10 + index);
        made.tx(from, TxKind::Call(addr(1)), u64::from(index == 7), Vec::new());
    }
    assert_eq!(balance(&made.check(), addr(1)), Some(4));
}

/// Accounts that delegated before the block are contracts that send.
#[test]
fn who_has_delegated_pays_is_paid_and_sends() {
    let mut made = Made::new(PRAGUE);
    made.contract(addr(1), 0, bank());
    let delegates = 2..8;
    for index in delegates.clone() {
        let code = [&[0xef, 0x01, 0x00], addr(1).as_slice()].concat();
        made.contract(addr(index), 1_000_000_000, code).nonce = 0;
    }
    for round in 0..4 {
        for index in delegates.clone() {
            let (a, b) = (made.rich(100 + 20 * round + 2 * index), made.rich(101 + 20 * round + 2 * index));
            made.tx(a, TxKind::Call(addr(index)), 5, Vec::new());
            made.call(b, addr(index), 7);
            made.tx(addr(index), TxKind::Call(addr(2 + (index + round) % 6)), 3, Vec::new());
        }
    }
    made.check();
}

/// One thing that a contract of a random block does.
#[derive(Clone, Debug)]
enum Step {
    /// Calls an account with a value, and counts it if that succeeds.
    Send {
        to: u64,
        value: U256,
    },
    /// The same by the other's code, on its own account.
    Borrow {
        of: u64,
        value: U256,
    },
    Create {
        value: U256,
    },
    /// Notes what an account has.
    Look {
        at: u64,
    },
    LookAtOwn,
    Destroy {
        heir: u64,
    },
    Revert,
}

const CONTRACTS: u64 = 4;

fn values() -> impl Strategy<Value = U256> {
    let large = [U256::ONE << 128, (U256::ONE << 128) + U256::ONE, U256::ONE << 255, U256::MAX];
    prop_oneof![8 => (0u64..30).prop_map(U256::from), 1 => prop::sample::select(large.to_vec())]
}

fn steps() -> impl Strategy<Value = Step> {
    let whom = || 1..CONTRACTS + 3; // two have no code
    prop_oneof![
        8 => (whom(), values()).prop_map(|(to, value)| Step::Send { to, value }),
        1 => (whom(), values()).prop_map(|(of, value)| Step::Borrow { of, value }),
        1 => values().prop_map(|value| Step::Create { value }),
        1 => whom().prop_map(|at| Step::Look { at }),
        1 => Just(Step::LookAtOwn),
        1 => whom().prop_map(|heir| Step::Destroy { heir }),
        1 => Just(Step::Revert),
    ]
}

/// Adds what is uppermost to slot `at`.
fn add_to(at: u64) -> Vec<u8> {
    [push(word(at)), vec![op::SLOAD, op::ADD], push(word(at)), vec![op::SSTORE]].concat()
}

fn code(steps: &[Step]) -> Vec<u8> {
    let nothing = [push(word(0)), push(word(0)), push(word(0)), push(word(0))].concat();
    let call = |whom: &u64, value: &U256, how| {
        [nothing.clone(), push(*value), push_address(addr(*whom)), push(word(60_000)), vec![how], add_to(0)].concat()
    };
    let of_step = |step: &Step| match step {
        Step::Send { to, value } => call(to, value, op::CALL),
        Step::Borrow { of, value } => call(of, value, op::CALLCODE),
        Step::Create { value } => [push(word(0)), push(word(0)), push(*value), vec![op::CREATE], add_to(1)].concat(),
        Step::Look { at } => [push_address(addr(*at)), vec![op::BALANCE], add_to(2)].concat(),
        Step::LookAtOwn => [vec![op::ADDRESS, op::BALANCE], add_to(3)].concat(),
        Step::Destroy { heir } => [push_address(addr(*heir)), vec![op::SELFDESTRUCT]].concat(),
        Step::Revert => [push(word(0)), push(word(0)), vec![op::REVERT]].concat(),
    };
    std::iter::once(slow()).chain(steps.iter().map(of_step)).flatten().collect()
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    /// Money goes to and fro between contracts that call each other, look, fail and destroy themselves.
    #[test]
    fn random_contracts_pay_each_other(
        era in prop::sample::select(vec![HOMESTEAD, BYZANTIUM, LONDON, CANCUN, PRAGUE]),
        contracts in prop::collection::vec((values(), prop::collection::vec(steps(), 0..5)), CONTRACTS as usize),
        calls in prop::collection::vec((1..=CONTRACTS, 0u64..20), 1..25),
    ) {
        let mut made = Made::new(era);
        for (index, (balance, steps)) in (1..).zip(&contracts) {
            made.contract(addr(index), 0, code(steps)).balance = *balance;
        }
        for (index, (to, value)) in (0..).zip(calls) {
            let from = made.rich(100 + index);
            made.tx(from, TxKind::Call(addr(to)), value, Vec::new());
        }
        made.check();
    }
}
