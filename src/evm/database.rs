//! What the virtual machine reads, answered by a transaction's view.

use std::cell::RefCell;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::database_interface::DBErrorMarker;
use revm::primitives::map::{AddressMap, AddressSet, B256Map};
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::{AccountId, AccountInfo, EvmState};
use smallvec::SmallVec;

use super::block::Block;
use super::error::Error;
use super::input::BlockInput;
use super::instructions::{Balances, MOVABLE, WITHHELD};
use super::state::{AccountRecord, Change, Changes, StateKey, StateValue};
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
    /// Whether it withholds balances at all.
    withholds: bool,
    /// Of each contract met so far, which generation of slots is its own; the machine knows a contract by its place here.
    generations: RefCell<SmallVec<[u64; 8]>>,
    /// Of accounts whose balance is read apart from the rest.
    balances: RefCell<AddressMap<Balance>>,
}

/// Whether the machine knows what an account has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Balance {
    /// It was given the account without, and supposed that there was this much.
    Withheld { at_least: U256 },
    /// It was told, or will be when it meets the account.
    Told,
}

/// Why a read of the virtual machine failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Input(Error),
    /// What was supposed of a withheld balance is not so: the run has to be made again with all balances.
    #[error("a balance is not as was supposed")]
    Misjudged,
}

impl DBErrorMarker for ReadError {}

impl<'a, 'v> ViewDatabase<'a, 'v> {
    /// A database for a run of `tx`, which may withhold balances or not.
    pub(super) fn new(block: &'a Block, tx: &TxEnv, view: &'a View<'v>, withholds: bool) -> Self {
        let (input, contracts, created) = (block.input(), block.contracts(), block.created());
        let (generations, balances) = Default::default();
        let database = Self { input, contracts, created, view, withholds, generations, balances };
        // Before the first instruction, what the payer has is compared with the price.
        let paid = tx.kind.to().filter(|_| tx.value > MOVABLE);
        for address in [Some(&tx.caller), paid].into_iter().flatten().filter(|address| database.may_withhold(address)) {
            database.balances.borrow_mut().insert(*address, Balance::Told);
        }
        database
    }

    fn may_withhold(&self, address: &Address) -> bool {
        self.withholds && self.contracts.contains(address)
    }

    /// What `address` has, and how much of it was supposed, if its balance was withheld. The machine is told from now on.
    pub(super) fn tell(&self, address: Address) -> Result<Option<(U256, U256)>, ViewError> {
        if !self.may_withhold(&address) {
            return Ok(None);
        }
        let Some(Balance::Withheld { at_least }) = self.balances.borrow_mut().insert(address, Balance::Told) else {
            return Ok(None);
        };
        let account = StateValue::account(self.view.get(&StateKey::Account(address))?);
        Ok(Some((account.balance, at_least)))
    }

    /// Writes what the machine has added to withheld balances or taken, and what it supposed of them, without reading any. They
    /// count as unchanged from then on.
    ///
    /// # Errors
    /// [`ReadError::Misjudged`] if what was supposed is not so; nothing is written then.
    pub(super) fn shift(&self, state: &mut EvmState) -> Result<(), ReadError> {
        let shifts = self.shifts(state);
        // A single one that is refused leaves nothing to be taken back.
        let before = (shifts.len() > 1).then(|| self.view.savepoint());
        let supposed = shifts.into_iter().try_fold(true, |so_far, (address, by, at_least)| {
            Ok::<_, ViewError>(so_far && self.shift_one(StateKey::Account(address), by, at_least)?)
        })?;
        match before {
            Some(before) if supposed => self.view.release(before)?,
            Some(before) => self.view.roll_back(before)?,
            None => {}
        }
        if supposed { Ok(()) } else { Err(ReadError::Misjudged) }
    }

    /// Of the withheld balances that are changed, or of which something was supposed: whose, by how much, and what was supposed.
    fn shifts(&self, state: &mut EvmState) -> SmallVec<[(Address, U256, U256); 2]> {
        let mut shifts = SmallVec::new();
        for (address, balance) in self.balances.borrow_mut().iter_mut() {
            let Balance::Withheld { at_least } = balance else { continue };
            let Some(account) = state.get_mut(address) else { continue };
            let by = std::mem::replace(&mut account.info.balance, WITHHELD).wrapping_sub(WITHHELD);
            let at_least = std::mem::take(at_least);
            if !by.is_zero() || !at_least.is_zero() {
                shifts.push((*address, by, at_least));
            }
        }
        shifts
    }

    /// Whether what was supposed is so, or, with a shift, may be.
    fn shift_one(&self, account: StateKey, by: U256, at_least: U256) -> Result<bool, ViewError> {
        if by.is_zero() {
            // Nothing is written where nothing has changed.
            let balance = StateValue::account(self.view.get(&account)?).balance;
            return Ok(balance >= at_least);
        }
        admitted(self.view.merge(account, Change::Shift { by, at_least }))
    }

    /// The account, for whoever gets it without its balance; `None` if all of it has to be read.
    fn contract(&self, address: Address) -> Result<Option<AccountRecord>, ViewError> {
        if !self.may_withhold(&address) || self.balances.borrow().get(&address) == Some(&Balance::Told) {
            return Ok(None);
        }
        let contract = self.view.get(&StateKey::Contract(address))?;
        if contract.is_some() {
            let withheld = Balance::Withheld { at_least: U256::ZERO };
            self.balances.borrow_mut().entry(address).or_insert(withheld);
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
        match self.tell(address)? {
            Some((balance, at_least)) if balance < at_least => Err(ReadError::Misjudged),
            told => Ok(told.map(|(balance, _)| balance)),
        }
    }

    fn suppose(&mut self, address: Address, needed: U256) {
        if let Some(Balance::Withheld { at_least }) = self.balances.borrow_mut().get_mut(&address) {
            *at_least = needed.max(*at_least);
        }
    }
}

/// Whether a merge was admitted.
pub(super) fn admitted(merged: Result<(), ViewError>) -> Result<bool, ViewError> {
    match merged {
        Ok(()) => Ok(true),
        Err(ViewError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
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
