//! What the virtual machine reads, answered by a transaction's view.

use std::cell::RefCell;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::database_interface::DBErrorMarker;
use revm::primitives::map::B256Map;
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::{AccountId, AccountInfo};
use smallvec::SmallVec;

use super::error::Error;
use super::input::BlockInput;
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
    created: &'a CreatedCodes,
    pub(super) view: &'a View<'v>,
    /// Of each contract met so far, which generation of slots is its own; the machine knows a contract by its place here.
    generations: RefCell<SmallVec<[u64; 8]>>,
}

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
    pub(super) fn new(input: &'a BlockInput, created: &'a CreatedCodes, view: &'a View<'v>) -> Self {
        Self { input, created, view, generations: RefCell::default() }
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

impl Database for &ViewDatabase<'_, '_> {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        let Some(account) = self.view.get(&StateKey::Account(address))? else { return Ok(None) };
        let AccountRecord { balance, nonce, code_hash, generation } = StateValue::account(Some(account));
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
