//! What the virtual machine reads, answered by a transaction's view.

use std::cell::RefCell;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::database_interface::DBErrorMarker;
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::AccountInfo;

use super::block::Block;
use super::error::Error;
use super::state::{Changes, StateKey, StateValue};
use crate::multiversion::{TxView, ViewError};

/// The view of a transaction of a block.
pub(super) type View<'a> = TxView<'a, StateKey, StateValue, Changes>;

/// A view as the virtual machine's database, for one run.
pub(super) struct ViewDatabase<'a, 'v> {
    pub(super) block: &'a Block,
    pub(super) view: &'a View<'v>,
    /// The generations looked up so far: most runs read many slots of one contract.
    generations: RefCell<Vec<(Address, u64)>>,
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
    pub(super) fn new(block: &'a Block, view: &'a View<'v>) -> Self {
        Self { block, view, generations: RefCell::default() }
    }

    /// The generation whose slots are the account's.
    pub(super) fn generation(&self, address: Address) -> Result<u64, ViewError> {
        let known = self.generations.borrow().iter().find(|(known, _)| *known == address).map(|(_, known)| *known);
        if let Some(known) = known {
            return Ok(known);
        }
        let generation = StateValue::number(self.view.get(&StateKey::Generation(address))?);
        self.generations.borrow_mut().push((address, generation));
        Ok(generation)
    }
}

impl Database for &ViewDatabase<'_, '_> {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        let Some(balance) = self.view.get(&StateKey::Balance(address))? else { return Ok(None) };
        let nonce = StateValue::number(self.view.get(&StateKey::Nonce(address))?);
        let code_hash = StateValue::hash(self.view.get(&StateKey::Code(address))?);
        let code = (code_hash == KECCAK_EMPTY).then(Bytecode::default);
        Ok(Some(AccountInfo { balance: StateValue::word(Some(balance)), nonce, code_hash, account_id: None, code }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, ReadError> {
        self.block.code(&hash).ok_or(ReadError::Input(Error::UnknownCode { hash }))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, ReadError> {
        let generation = self.generation(address)?;
        Ok(StateValue::word(self.view.get(&StateKey::Slot(address, generation, slot))?))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadError> {
        self.block.input().block_hash(number).map_err(ReadError::Input)
    }
}
