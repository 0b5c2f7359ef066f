//! What the virtual machine reads, answered by a transaction's view.

use std::cell::RefCell;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::database_interface::DBErrorMarker;
use revm::primitives::map::{AddressMap, AddressSet, B256Map};
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::{AccountId, AccountInfo};
use smallvec::SmallVec;

use super::block::Block;
use super::error::Error;
use super::input::BlockInput;
use super::instructions::Balances;
use super::state::{AccountRecord, Changes, StateKey, StateValue};
use crate::multiversion::{TxView, ViewError};
use crate::sync::RwLock;

/// The view of a transaction of a block.
pub(super) type View<'a> = TxView<'a, StateKey, StateValue, Changes>;

/// Codes made in a block. A code is its hash's for ever, whoever made it: nothing here can conflict.
pub(super) type CreatedCodes = RwLock<B256Map<Bytecode>>;

/// A view as the virtual machine's database, for one run.
pub(super) struct ViewDatabase<'a, 'v> {
    input: &'a BlockInput,
    /// Who probably has code.
    contracts: &'a AddressSet,
    created: &'a CreatedCodes,
    pub(super) view: &'a View<'v>,
    /// Of each contract met so far, which generation of slots is its own; the machine knows a contract by its place here.
    generations: RefCell<SmallVec<[u64; 8]>>,
    /// Of accounts whose balance is read apart from the rest.
    balances: RefCell<AddressMap<Balance>>,
}

/// Whether the machine knows what an account has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Balance {
    /// It was given the account without.
    Withheld,
    /// It was told, or will be when it meets the account.
    Told,
}

/// What an account seems to have whose balance is withheld. It is never used; if it were, it would not go unnoticed.
const WITHHELD: U256 = U256::MAX;

/// Why a read of the virtual machine failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Input(Error),
}

impl DBErrorMarker for ReadError {}

impl<'a, 'v> ViewDatabase<'a, 'v> {
    /// A database for a run of `tx`.
    pub(super) fn new(block: &'a Block, tx: &TxEnv, view: &'a View<'v>) -> Self {
        let (input, contracts, created) = (block.input(), block.contracts(), block.created());
        let database =
            Self { input, contracts, created, view, generations: RefCell::default(), balances: RefCell::default() };
        // Who pays and who is paid, before the first instruction.
        let paid = tx.kind.to().filter(|_| !tx.value.is_zero());
        for address in [Some(&tx.caller), paid].into_iter().flatten().filter(|address| contracts.contains(*address)) {
            database.balances.borrow_mut().insert(*address, Balance::Told);
        }
        database
    }

    /// Called before what `address` has is used: its balance, if it was withheld.
    pub(super) fn balance(&self, address: Address) -> Result<Option<U256>, ViewError> {
        if !self.contracts.contains(&address) {
            return Ok(None);
        }
        match self.balances.borrow_mut().insert(address, Balance::Told) {
            Some(Balance::Withheld) => {
                Ok(Some(StateValue::account(self.view.get(&StateKey::Account(address))?).balance))
            }
            Some(Balance::Told) | None => Ok(None),
        }
    }

    /// The account, for whoever gets it without its balance; `None` if all of it has to be read.
    fn contract(&self, address: Address) -> Result<Option<AccountRecord>, ViewError> {
        if !self.contracts.contains(&address) || self.balances.borrow().get(&address) == Some(&Balance::Told) {
            return Ok(None);
        }
        let contract = self.view.get(&StateKey::Contract(address))?;
        if contract.is_some() {
            self.balances.borrow_mut().insert(address, Balance::Withheld);
        }
        Ok(contract.map(|contract| AccountRecord { balance: WITHHELD, ..StateValue::account(Some(contract)) }))
    }

    /// The generation whose slots are the account's, which was met as `id`.
    pub(super) fn generation(&self, address: Address, id: Option<AccountId>) -> Result<u64, ViewError> {
        match id.and_then(|id| self.generations.borrow().get(id.get()).copied()) {
            Some(generation) => Ok(generation),
            None => Ok(StateValue::number(self.view.get(&StateKey::Generation(address))?)),
        }
    }

    fn slot(&self, address: Address, generation: u64, slot: U256) -> Result<U256, ReadError> {
        Ok(StateValue::word(self.view.get(&StateKey::Slot(address, generation, slot))?))
    }
}

impl Balances for &ViewDatabase<'_, '_> {
    fn balance(&mut self, address: Address) -> Result<Option<U256>, ReadError> {
        Ok(ViewDatabase::balance(self, address)?)
    }
}

impl Database for &ViewDatabase<'_, '_> {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        let account = match self.contract(address)? {
            Some(contract) => contract,
            None => match self.view.get(&StateKey::Account(address))? {
                Some(account) => StateValue::account(Some(account)),
                None => return Ok(None),
            },
        };
        let AccountRecord { balance, nonce, code_hash, generation } = account;
        if code_hash == KECCAK_EMPTY {
            return Ok(Some(AccountInfo {
                balance,
                nonce,
                code_hash,
                account_id: None,
                code: Some(Bytecode::default()),
            }));
        }
        let mut generations = self.generations.borrow_mut();
        let account_id = AccountId::new(generations.len());
        generations.push(generation);
        Ok(Some(AccountInfo { balance, nonce, code_hash, account_id, code: None }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, ReadError> {
        let code = self.input.codes.get(&hash).cloned().or_else(|| self.created.read().get(&hash).cloned());
        code.ok_or(ReadError::Input(Error::UnknownCode { hash }))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.slot(address, self.generation(address, None)?, slot)
    }

    fn storage_by_account_id(&mut self, address: Address, id: AccountId, slot: U256) -> Result<U256, ReadError> {
        self.slot(address, self.generation(address, Some(id))?, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadError> {
        self.input.block_hash(number).map_err(ReadError::Input)
    }
}
