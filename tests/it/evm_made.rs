//! Small blocks made by hand, their codes, and the check that every way of executing one arrives where the oracle does.

use crate::evm_oracle::{self, FinalState};
use cachekv::evm::{
    Account, Block, BlockInput, Error, Fork, Header, StateKey, StateValue, Transaction, TxOutput, accounts, receipts,
    store,
};
use cachekv::executor::{BlockError, BlockExecutor, BlockOutput, Cause, Elsewhere, Options, execute_sequentially};
use cachekv::kv::KvStore;
use revm::bytecode::{Bytecode, opcode as op};
use revm::context::{BlockEnv, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, TxKind, U256, keccak256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Number and time of a block of some fork.
pub(crate) type Era = (u64, u64);
pub(crate) const HOMESTEAD: Era = (2_000_000, 0);
pub(crate) const SPURIOUS_DRAGON: Era = (3_000_000, 0);
pub(crate) const BYZANTIUM: Era = (5_000_000, 0);
pub(crate) const ISTANBUL: Era = (10_000_000, 0);
pub(crate) const LONDON: Era = (13_000_000, 0);
pub(crate) const CANCUN: Era = (20_000_000, 1_716_000_000);
pub(crate) const PRAGUE: Era = (23_000_000, 1_750_000_000);

/// Who is paid the fees.
pub(crate) const MINER: Address = Address::repeat_byte(0xfe);
pub(crate) const RICH: u64 = 1_000_000_000_000;
/// How often each block is executed with each number of threads.
const ROUNDS: usize = 12;
/// A block that takes longer hangs, whatever else the machine does.
const PROMPTLY: Duration = Duration::from_secs(20);

/// The last two leave plain transfers among calls of contracts to who commits.
static EXECUTORS: LazyLock<Vec<BlockExecutor>> = LazyLock::new(|| {
    let all = [(1, 0), (2, 0), (4, 0), (2, 1), (3, u64::MAX)];
    all.map(|(threads, nanoseconds)| crate::acts::sharing_from(threads, nanoseconds)).into()
});

/// The address of account `index` of a test.
pub(crate) fn addr(index: u64) -> Address {
    Address::from_word(B256::from(U256::from(0xacc0_0000_0000 + index)))
}

pub(crate) fn word(number: u64) -> U256 {
    U256::from(number)
}

/// A block being made.
pub(crate) struct Made {
    pub(crate) input: BlockInput,
    nonces: BTreeMap<Address, u64>,
}

impl Made {
    pub(crate) fn new((number, timestamp): Era) -> Self {
        let fork = Fork::mainnet(number, timestamp);
        let env = BlockEnv {
            number: U256::from(number),
            beneficiary: MINER,
            timestamp: U256::from(timestamp),
            gas_limit: 30_000_000,
            basefee: if fork.has(SpecId::LONDON) { 7 } else { 0 },
            difficulty: U256::from(1),
            prevrandao: fork.has(SpecId::MERGE).then_some(B256::repeat_byte(5)),
            blob_excess_gas_and_price: fork.blobs.map(|blobs| BlobExcessGasAndPrice::new(0, blobs.fraction)),
            slot_num: 0,
        };
        let header = Header {
            number,
            timestamp,
            hash: B256::repeat_byte(1),
            parent_hash: B256::repeat_byte(2),
            gas_used: 0,
            logs_bloom: Bloom::ZERO,
            receipts_root: B256::ZERO,
        };
        let block_hashes = [(number - 1, header.parent_hash)].into();
        let (pre_state, codes, transactions) = Default::default();
        let input = BlockInput { header, fork, env, transactions, pre_state, codes, block_hashes };
        Self { input, nonces: BTreeMap::new() }
    }

    pub(crate) fn account(&mut self, address: Address, balance: u64) -> &mut Account {
        let account = self.input.pre_state.entry(address).or_default();
        account.balance = U256::from(balance);
        account
    }

    /// An account with `code`; the slots of its storage can be set on what is returned.
    pub(crate) fn contract(&mut self, address: Address, balance: u64, code: Vec<u8>) -> &mut Account {
        let hash = keccak256(&code);
        self.input.codes.insert(hash, Bytecode::new_raw(code.into()));
        let account = self.account(address, balance);
        (account.nonce, account.code_hash) = (1, hash);
        account
    }

    /// A sender that can pay for anything.
    pub(crate) fn rich(&mut self, index: u64) -> Address {
        self.account(addr(index), RICH);
        addr(index)
    }

    /// The next transaction of `from`, to be adjusted.
    pub(crate) fn tx(&mut self, from: Address, kind: TxKind, value: u64, data: impl Into<Bytes>) -> &mut TxEnv {
        let nonce = self.nonces.entry(from).or_insert_with(|| self.input.pre_state.get(&from).map_or(0, |a| a.nonce));
        let env = TxEnv {
            caller: from,
            kind,
            value: U256::from(value),
            data: data.into(),
            nonce: *nonce,
            gas_limit: 1_000_000,
            gas_price: 10,
            chain_id: None,
            ..TxEnv::default()
        };
        *nonce += 1;
        let hash = keccak256(self.input.transactions.len().to_be_bytes());
        self.input.transactions.push(Transaction { hash, env });
        &mut self.input.transactions.last_mut().unwrap().env
    }

    /// A payment with just enough gas.
    pub(crate) fn pay(&mut self, from: Address, to: Address, value: u64) -> &mut TxEnv {
        let tx = self.tx(from, TxKind::Call(to), value, Bytes::new());
        tx.gas_limit = 21_000;
        tx
    }

    /// A call with one word of data.
    pub(crate) fn call(&mut self, from: Address, to: Address, argument: u64) -> &mut TxEnv {
        self.tx(from, TxKind::Call(to), 0, U256::from(argument).to_be_bytes_vec())
    }

    /// The account's nonce moves by something else than its transactions.
    pub(crate) fn skip_nonce(&mut self, address: Address) -> u64 {
        let nonce = self.nonces.entry(address).or_insert(0);
        *nonce += 1;
        *nonce - 1
    }

    /// Executes the block in every way, and returns the state that all of them and the oracle arrive at.
    pub(crate) fn check(self) -> FinalState {
        let (expected_receipts, expected) = evm_oracle::execute(&self.input);
        let right = |block: &Block, output: Output, who: &str| {
            let state = state_after(block, &output);
            let addresses: BTreeSet<_> = state.keys().chain(expected.keys()).collect();
            for address in addresses {
                assert_eq!(state.get(address), expected.get(address), "{who}: account {address}");
            }
            assert_eq!(receipts(output.outputs), expected_receipts, "{who}");
        };
        let mut sequential = None;
        for (who, block, done) in every_way(self.input) {
            let output = done.unwrap_or_else(|error| panic!("{who}: {}", error.cause));
            // Also what no account shows: records of codes, old slots, writes that change nothing.
            let batch = sequential.get_or_insert_with(|| output.batch.clone());
            assert!(*batch == output.batch, "{who}: other writes than in sequential execution");
            right(&block, output, &who);
        }
        expected
    }

    /// Executes the block in every way; each must end with the same error at `index`, with what came before committed.
    pub(crate) fn fails(self, index: usize) -> Error {
        let mut before = self.input.clone();
        before.transactions.truncate(index);
        let (expected_receipts, expected) = evm_oracle::execute(&before);
        let mut said: Option<Error> = None;
        for (who, block, done) in every_way(self.input) {
            let BlockError { cause, committed } = *done.expect_err(&who);
            assert_eq!(committed.committed as usize, index, "{who}: {cause}");
            assert_eq!(state_after(&block, &committed), expected, "{who}");
            assert_eq!(receipts(committed.outputs), expected_receipts, "{who}");
            let Cause::Transaction { index: at, error } = cause else { panic!("{who}: {cause}") };
            assert_eq!(at as usize, index, "{who}");
            let said = said.get_or_insert_with(|| error.clone());
            assert_eq!(error.to_string(), said.to_string(), "{who}");
        }
        said.unwrap()
    }
}

type Output = BlockOutput<StateKey, StateValue, TxOutput>;
type Done = Result<Output, Box<BlockError<StateKey, StateValue, TxOutput, Error>>>;

/// Each execution with its name; a fresh block each time, so that none finds what another left.
fn every_way(input: BlockInput) -> impl Iterator<Item = (String, Block, Done)> {
    let before = store(&input.pre_state).snapshot().unwrap();
    let fresh = move || (Block::new(input.clone()), before.clone());
    let (block, before) = fresh();
    let done = execute_sequentially(&before, block.transactions(), &block, None);
    let sequential = ("sequential".to_owned(), block, done);
    let rounds = EXECUTORS.iter().flat_map(|executor| (0..ROUNDS).map(move |round| (executor, round)));
    let parallel = rounds.map(move |(executor, round)| {
        let who = format!("{} threads, round {round}", executor.threads());
        let (block, before) = fresh();
        let began = Instant::now();
        // Of a block of which others may execute a part, though it is none here, what is read has to be told.
        let elsewhere = (round % 3 == 0).then(|| Elsewhere::new([]));
        let options = Options { hints: (round % 2 == 0).then(|| block.hints()), elsewhere, ..Options::default() };
        let done = executor.execute_with(&before, block.transactions(), &block, options);
        assert!(began.elapsed() < PROMPTLY, "{who}: took {:?}", began.elapsed());
        (who, block, done)
    });
    std::iter::once(sequential).chain(parallel)
}

fn state_after(block: &Block, output: &Output) -> FinalState {
    accounts(&store(&block.input().pre_state).commit(output.batch.clone()).unwrap()).unwrap()
}

/// The value of a slot in `state`.
pub(crate) fn slot(state: &FinalState, address: Address, slot: u64) -> U256 {
    state.get(&address).and_then(|account| account.storage.get(&U256::from(slot))).copied().unwrap_or_default()
}

/// The balance of an account in `state`, if it exists.
pub(crate) fn balance(state: &FinalState, address: Address) -> Option<u64> {
    state.get(&address).map(|account| account.balance.to())
}

/// Whether an account in `state` has code.
pub(crate) fn has_code(state: &FinalState, address: Address) -> bool {
    state.get(&address).is_some_and(|account| account.code_hash != KECCAK_EMPTY)
}

/// Pushes a constant.
pub(crate) fn push(constant: impl Into<U256>) -> Vec<u8> {
    [vec![op::PUSH32], constant.into().to_be_bytes_vec()].concat()
}

pub(crate) fn push_address(address: Address) -> Vec<u8> {
    push(U256::from_be_bytes(address.into_word().0))
}

/// The first word of the call's data.
pub(crate) fn argument() -> Vec<u8> {
    [push(word(0)), vec![op::CALLDATALOAD]].concat()
}

/// Stores what `value` pushes in the slot that `slot` pushes.
pub(crate) fn sstore(slot: Vec<u8>, value: Vec<u8>) -> Vec<u8> {
    [value, slot, vec![op::SSTORE]].concat()
}

pub(crate) fn sload(slot: Vec<u8>) -> Vec<u8> {
    [slot, vec![op::SLOAD]].concat()
}

/// Adds one to a slot.
pub(crate) fn count(slot: Vec<u8>) -> Vec<u8> {
    sstore(slot.clone(), [sload(slot), push(word(1)), vec![op::ADD]].concat())
}

/// Calls `to` with `value` and no data.
pub(crate) fn send(to: Vec<u8>, value: Vec<u8>) -> Vec<u8> {
    let nothing = [push(word(0)), push(word(0)), push(word(0)), push(word(0))].concat();
    [nothing, value, to, push(word(100_000)), vec![op::CALL, op::POP]].concat()
}

/// Runs `then` if the call has data, `otherwise` if it has none. To stand at the beginning of a code.
pub(crate) fn if_data(then: Vec<u8>, otherwise: Vec<u8>) -> Vec<u8> {
    let otherwise = [otherwise, vec![op::STOP]].concat();
    let target = (1 + 3 + 1 + otherwise.len()) as u16;
    let jump = [vec![op::CALLDATASIZE, op::PUSH2], target.to_be_bytes().to_vec(), vec![op::JUMPI]].concat();
    [jump, otherwise, vec![op::JUMPDEST], then].concat()
}

/// Turns round for a while. To stand at the beginning of a code.
pub(crate) fn slow() -> Vec<u8> {
    let turns = vec![op::PUSH2, 0x20, 0];
    [turns, vec![op::JUMPDEST, op::PUSH1, 1, op::SWAP1, op::SUB, op::DUP1, op::PUSH1, 3, op::JUMPI, op::POP]].concat()
}

/// What runs at a creation that is to leave `code`, after `first`.
pub(crate) fn deploying(first: Vec<u8>, code: &[u8]) -> Vec<u8> {
    let len = push(word(code.len() as u64));
    let head = first.len() + 33 + 33 + 33 + 1 + 33 + 33 + 1;
    let copy = [len.clone(), push(word(head as u64)), push(word(0)), vec![op::CODECOPY]].concat();
    [first, copy, len, push(word(0)), vec![op::RETURN], code.to_vec()].concat()
}

/// A contract that creates, by CREATE2 with salt 0 and all value it was sent, what the call's data say; slowly.
pub(crate) fn factory() -> Vec<u8> {
    let data = [vec![op::CALLDATASIZE], push(word(0)), push(word(0)), vec![op::CALLDATACOPY]].concat();
    [slow(), data, push(word(0)), vec![op::CALLDATASIZE], push(word(0)), vec![op::CALLVALUE, op::CREATE2, op::POP]]
        .concat()
}
