//! A block as the executor runs it: each transaction on a machine of its thread, or without one where it is plain.

use std::cell::RefCell;

use revm::context::CfgEnv;
use revm::context_interface::result::EVMError;
use revm::primitives::hardfork::SpecId;
use revm::primitives::map::AddressSet;
use revm::primitives::{Address, KECCAK_EMPTY, U256};
use revm::state::{Account, AccountInfo, EvmState};

use super::database::{CreatedCodes, ReadError, View, ViewDatabase, admitted};
use super::error::Error;
use super::input::BlockInput;
use super::machine::{Executed, Machine};
use super::receipts::TxOutput;
use super::state::{AccountRecord, Change, Changes, HALF, StateKey, StateValue};
use super::transaction::Transaction;
use super::transfer::Transfer;
use crate::executor::Vm;
use crate::multiversion::{TxIndex, ViewError};

thread_local! {
    /// Machines are costly to make and good for any number of runs.
    static MACHINE: RefCell<Machine> = RefCell::default();
}

/// Who calls a contract reads its own account; who transfers plainly does not.
fn hints(transactions: &[Transaction], transfers: &[Option<Transfer>]) -> Vec<Vec<StateKey>> {
    let mut reading_later = AddressSet::default();
    let mut hints: Vec<_> = Vec::with_capacity(transactions.len());
    for (tx, transfer) in transactions.iter().zip(transfers).rev() {
        let sender = tx.env.caller;
        hints.push(if reading_later.contains(&sender) { vec![StateKey::Account(sender)] } else { Vec::new() });
        if transfer.is_none() {
            reading_later.insert(sender);
        }
    }
    hints.reverse();
    hints
}

/// A block of Ethereum, ready to be executed over any state of [`StateKey`]s in which nobody has more than all have together in the
/// state that was read with it.
///
/// ```no_run
/// use cachekv::evm::{Block, BlockInput, receipts, store, verify};
/// use cachekv::executor::{BlockExecutor, Options};
/// use cachekv::kv::KvStore;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let block = Block::new(BlockInput::read("blocks/12459406")?);
/// let before = store(&block.input().pre_state).snapshot()?;
/// let options = Options { hints: Some(block.hints()), ..Options::default() };
/// let done = BlockExecutor::new(0)?.execute_with(&before, block.transactions(), &block, options);
/// let done = done.map_err(|error| error.cause.to_string())?;
/// verify(&block.input().header, &block.input().fork, &receipts(done.outputs))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Block {
    input: BlockInput,
    cfg: CfgEnv,
    /// For each transaction, what it does if the state agrees that it is plain.
    transfers: Vec<Option<Transfer>>,
    /// For each transaction, its sender's account if a later one of the same sender will read it.
    hints: Vec<Vec<StateKey>>,
    /// Who had code before the block: a guess at who has it in the block, which reads confirm or refuse.
    contracts: AddressSet,
    /// Whether balances may be withheld: nobody can come to have so much that nothing can be added.
    withholds: bool,
    created: CreatedCodes,
}

impl Block {
    /// Prepares a block that has been read.
    pub fn new(input: BlockInput) -> Self {
        let cfg = input.fork.cfg();
        let coded = input.pre_state.iter().filter(|(_, account)| account.code_hash != KECCAK_EMPTY);
        let contracts: AddressSet = coded.map(|(address, _)| *address).collect();
        let bare = |address: &Address| !contracts.contains(address);
        let plain =
            |transfer: &Transfer| !transfer.value.is_zero() && bare(&transfer.sender) && bare(&transfer.recipient);
        let transfers = input.transactions.iter();
        let transfers: Vec<_> =
            transfers.map(|tx| Transfer::candidate(&tx.env, &input.env, &cfg).filter(plain)).collect();
        let hints = hints(&input.transactions, &transfers);
        // Money is moved and burned, never made.
        let all = input.pre_state.values().fold(U256::ZERO, |sum, account| sum.saturating_add(account.balance));
        let withholds = all < HALF;
        Self { input, cfg, transfers, hints, contracts, withholds, created: CreatedCodes::default() }
    }

    /// What was read.
    pub fn input(&self) -> &BlockInput {
        &self.input
    }

    /// The transactions, in their order.
    pub fn transactions(&self) -> &[Transaction] {
        &self.input.transactions
    }

    /// For each transaction the keys that it will write and a later one will read, as far as they can be known beforehand: the
    /// account of a sender of several. For [`Options::hints`](crate::executor::Options::hints), where they spare executions.
    pub fn hints(&self) -> &[Vec<StateKey>] {
        &self.hints
    }

    pub(super) fn contracts(&self) -> &AddressSet {
        &self.contracts
    }

    pub(super) fn created(&self) -> &CreatedCodes {
        &self.created
    }

    fn has(&self, spec: SpecId) -> bool {
        self.input.fork.has(spec)
    }

    /// Executes a plain transfer by changes alone; `None` if the state says that it is none, or refuses.
    fn transfer(&self, transfer: &Transfer, view: &View<'_>) -> Result<Option<TxOutput>, ViewError> {
        let (nonce, amount) = (transfer.nonce, transfer.value.saturating_add(transfer.fee));
        let sender = StateKey::Account(transfer.sender);
        if !admitted(view.merge(sender, Change::Spend { nonce, amount, at_least: transfer.max_cost }))? {
            return Ok(None); // the machine says what is wrong with it
        }
        if !admitted(view.merge(StateKey::Account(transfer.recipient), Change::Receive(transfer.value)))? {
            // Only views that read for real refuse: what was merged before is a value, and can be put back.
            let spent = StateValue::account(view.get(&sender)?);
            let balance = spent.balance.saturating_add(amount);
            view.set(sender, StateValue::Account(AccountRecord { balance, nonce, ..spent }));
            return Ok(None);
        }
        self.reward(transfer.reward, view)?;
        Ok(Some(TxOutput { tx_type: 0, success: true, gas_used: transfer.gas_used, logs: Vec::new() }))
    }

    /// Pays the fee recipient. Before Spurious Dragon, paying nothing made it exist.
    fn reward(&self, reward: U256, view: &View<'_>) -> Result<(), ViewError> {
        if reward.is_zero() && self.has(SpecId::SPURIOUS_DRAGON) {
            return Ok(());
        }
        // What would be more than there can be is not paid.
        admitted(view.merge(StateKey::Account(self.input.env.beneficiary), Change::Credit(reward))).map(drop)
    }

    fn run(&self, tx: &Transaction, view: &View<'_>) -> Result<TxOutput, Error> {
        MACHINE.with(|machine| match machine.try_borrow_mut() {
            Ok(mut machine) => self.run_on(&mut machine, tx, view),
            Err(_) => self.run_on(&mut Machine::default(), tx, view),
        })
    }

    fn run_on(&self, machine: &mut Machine, tx: &Transaction, view: &View<'_>) -> Result<TxOutput, Error> {
        let withholds = self.withholds && !view.reads_freely();
        let mut done = self.run_once(machine, tx, view, withholds);
        // What was supposed may be why it failed. What the view says stands.
        if withholds
            && let Err(error) = &done
            && !matches!(error, EVMError::Database(ReadError::View(_)))
        {
            done = self.run_once(machine, tx, view, false);
        }
        done.map_err(|error| self.failure(tx, view, error))
    }

    /// Nothing has been written where the error is not the view's.
    fn run_once(
        &self,
        machine: &mut Machine,
        tx: &Transaction,
        view: &View<'_>,
        withholds: bool,
    ) -> Result<TxOutput, EVMError<ReadError>> {
        let database = ViewDatabase::new(self, &tx.env, view, withholds);
        let Executed { result, mut state, reward } =
            machine.run_asking(&self.cfg, &self.input.env, &tx.env, &database)?;
        // A fee recipient that has just destroyed itself takes its fee with it.
        let paid = !state.get(&self.input.env.beneficiary).is_some_and(Account::is_selfdestructed);
        let written = database.shift(&mut state).and_then(|()| self.write(&mut state, &database));
        written.map_err(EVMError::Database)?;
        machine.take_back(state);
        if paid {
            self.reward(reward, view).map_err(|error| EVMError::Database(error.into()))?;
        }
        Ok(TxOutput::new(tx.env.tx_type, result))
    }

    fn failure(&self, tx: &Transaction, view: &View<'_>, error: EVMError<ReadError>) -> Error {
        match error {
            EVMError::Database(ReadError::View(error)) => Error::View(error),
            EVMError::Database(ReadError::Input(error)) => error,
            error => Error::InvalidTransaction {
                block: self.input.header.number,
                transaction: view.index() as usize,
                hash: tx.hash,
                cause: error.to_string(),
            },
        }
    }

    /// Turns what the machine changed into writes of what differs.
    fn write(&self, state: &mut EvmState, database: &ViewDatabase<'_, '_>) -> Result<(), ReadError> {
        for (address, account) in state.drain() {
            if !account.is_touched() {
                continue;
            }
            let gone = account.is_selfdestructed() || (account.is_empty() && self.has(SpecId::SPURIOUS_DRAGON));
            if gone {
                self.remove(address, account, database.view);
            } else {
                self.write_account(address, account, database)?;
            }
        }
        Ok(())
    }

    fn remove(&self, address: Address, mut account: Account, view: &View<'_>) {
        if account.is_selfdestructed() {
            self.renew(address, view);
        } else if account.is_loaded_as_not_existing() {
            return; // it was not there, and is not
        }
        view.delete(StateKey::Account(address));
        if account.original_info_mut().code_hash != KECCAK_EMPTY {
            view.delete(StateKey::Contract(address));
        }
    }

    /// Begins a new generation of slots: one that nobody else begins, and that is the same in every execution.
    fn renew(&self, address: Address, view: &View<'_>) -> u64 {
        let generation = self.input.header.number << 24 | (u64::from(view.index()) + 1);
        view.set(StateKey::Generation(address), StateValue::Number(generation));
        generation
    }

    fn write_account(
        &self,
        address: Address,
        mut account: Account,
        database: &ViewDatabase<'_, '_>,
    ) -> Result<(), ReadError> {
        let view = database.view;
        let created = account.is_created();
        let before = AccountInfo { code: None, ..*account.original_info_mut() }; // a copy without counting a reference
        let AccountInfo { balance, nonce, account_id, ref code, .. } = account.info;
        let code_hash = if account.info.code_hash.is_zero() { KECCAK_EMPTY } else { account.info.code_hash };
        let absent = account.is_loaded_as_not_existing();
        let slots = || account.storage.iter().filter(|(_, slot)| created || slot.is_changed());
        let recoded = before.code_hash != code_hash;
        let changed = created || absent || recoded || (before.balance, before.nonce) != (balance, nonce);
        if !changed && slots().next().is_none() {
            return Ok(());
        }
        let generation = match created {
            true => self.renew(address, view),
            false if code_hash == KECCAK_EMPTY && slots().next().is_none() => 0,
            false => database.generation(address, account_id)?,
        };
        if changed {
            let balance = database.tell(address)?.map_or(balance, |(balance, _)| balance);
            let record = AccountRecord { balance, nonce, code_hash, generation };
            view.set(StateKey::Account(address), StateValue::Account(record));
            match record.has_code() {
                true if created || recoded || before.nonce != nonce => {
                    view.set(StateKey::Contract(address), record.without_balance());
                }
                false if before.code_hash != KECCAK_EMPTY => view.delete(StateKey::Contract(address)),
                _ => {}
            }
        }
        if let Some(code) = code.as_ref().filter(|_| recoded && code_hash != KECCAK_EMPTY) {
            self.created.write().entry(code_hash).or_insert_with(|| code.clone());
        }
        for (slot, value) in slots() {
            let key = StateKey::Slot(address, generation, *slot);
            match value.present_value.is_zero() {
                true if created => {} // as absent as the whole generation
                true => view.delete(key),
                false => view.set(key, StateValue::Word(value.present_value)),
            }
        }
        Ok(())
    }
}

impl Vm for Block {
    type Key = StateKey;
    type Value = StateValue;
    type Merge = Changes;
    type Transaction = Transaction;
    type Output = TxOutput;
    type Error = Error;

    fn execute(&self, tx: &Transaction, view: &View<'_>) -> Result<TxOutput, Error> {
        if let Some(Some(transfer)) = self.transfers.get(view.index() as usize)
            && let Some(output) = self.transfer(transfer, view)?
        {
            return Ok(TxOutput { tx_type: tx.env.tx_type, ..output });
        }
        self.run(tx, view)
    }

    fn is_long(&self, index: TxIndex, _: &Transaction) -> Option<bool> {
        self.transfers.get(index as usize).map(Option::is_none)
    }
}
