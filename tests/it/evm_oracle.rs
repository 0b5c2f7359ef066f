//! The plain sequential execution of a block: the virtual machine over hash maps, one transaction after the other.
//!
//! It shares nothing with the crate but the typed input, so that what the parallel executor arrives at can be compared
//! with something that cannot be wrong in the same way.

#![cfg(feature = "evm")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use cachekv::evm::{Account, BlockInput, Error, Machine, Receipt, TxOutput, receipts};
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::database_interface::DBErrorMarker;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::{Account as EvmAccount, AccountInfo, EvmState};
use revm::{Context, Database, ExecuteEvm, MainBuilder, MainContext};

/// All accounts with their slots, after a block.
pub(crate) type FinalState = BTreeMap<Address, Account>;

/// The folder with the blocks, if there is one; says so on stdout if there is none.
pub(crate) fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("CACHEKV_ETHEREUM").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ethereum"));
    if folder.join("blocks").is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no Ethereum blocks in {}; set CACHEKV_ETHEREUM to their folder", folder.display());
    None
}

/// The folders of the blocks in `folder`, lowest number first.
pub(crate) fn blocks(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("blocks")).unwrap();
    let mut blocks: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    blocks.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    blocks
}

/// Runs the block's transactions in their order, and gives what they leave on record and in the state.
pub(crate) fn execute(input: &BlockInput) -> (Vec<Receipt>, FinalState) {
    let mut state = State::new(input);
    let mut results = Vec::new();
    for tx in &input.transactions {
        let mut evm = Context::mainnet()
            .with_cfg(input.fork.cfg())
            .with_block(input.env.clone())
            .with_tx(TxEnv::default())
            .with_db(&mut state)
            .build_mainnet();
        let done = evm.transact(tx.env.clone()).unwrap_or_else(|error| panic!("transaction {}: {error}", tx.hash));
        results.push(TxOutput::new(tx.env.tx_type, done.result));
        state.commit(done.state);
    }
    (receipts(results), state.accounts)
}

/// The state of the chain, as far as it is known.
struct State<'a> {
    input: &'a BlockInput,
    accounts: FinalState,
    codes: HashMap<B256, Bytecode>,
}

/// What the block's input lacked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Lack(#[from] Error);

impl DBErrorMarker for Lack {}

impl<'a> State<'a> {
    /// The state before the block.
    fn new(input: &'a BlockInput) -> Self {
        Self { input, accounts: input.pre_state.clone(), codes: input.codes.clone().into_iter().collect() }
    }

    /// Takes over what one transaction changed.
    fn commit(&mut self, changes: EvmState) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            let cleared = account.is_empty() && self.input.fork.has(SpecId::SPURIOUS_DRAGON);
            if account.is_selfdestructed() || cleared {
                self.accounts.remove(&address);
            } else {
                self.write(address, account);
            }
        }
    }

    /// Writes an account that exists after the transaction.
    fn write(&mut self, address: Address, account: EvmAccount) {
        let entry = self.accounts.entry(address).or_default();
        if account.is_created() {
            entry.storage.clear();
        }
        (entry.balance, entry.nonce) = (account.info.balance, account.info.nonce);
        entry.code_hash = account.info.code_hash;
        if let Some(code) = account.info.code.filter(|code| !code.is_empty()) {
            self.codes.insert(account.info.code_hash, code);
        }
        for (slot, value) in account.storage {
            if value.present_value.is_zero() {
                entry.storage.remove(&slot);
            } else {
                entry.storage.insert(slot, value.present_value);
            }
        }
    }
}

/// Runs the block's transactions in their order on the crate's machine, and pays each reward afterwards.
pub(crate) fn execute_unrewarded(input: &BlockInput) -> (Vec<Receipt>, FinalState) {
    let mut state = State::new(input);
    let (cfg, mut machine) = (input.fork.cfg(), Machine::default());
    let mut results = Vec::new();
    for tx in &input.transactions {
        let done = machine.run(&cfg, &input.env, &tx.env, &mut state).unwrap();
        results.push(TxOutput::new(tx.env.tx_type, done.result));
        state.commit(done.state);
        if !done.reward.is_zero() {
            state.accounts.entry(input.env.beneficiary).or_default().balance += done.reward;
        }
    }
    (receipts(results), state.accounts)
}

impl Database for State<'_> {
    type Error = Lack;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Lack> {
        let info = self.accounts.get(&address).map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: (account.code_hash == KECCAK_EMPTY).then(Bytecode::default),
        });
        Ok(info)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Lack> {
        Ok(self.codes.get(&hash).cloned().expect("the code of an account in the state is known"))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Lack> {
        let value = self.accounts.get(&address).and_then(|account| account.storage.get(&slot));
        Ok(value.copied().unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Lack> {
        Ok(self.input.block_hash(number)?)
    }
}
