//! The instructions of the virtual machine: mainnet's, where those that use balances ask for them first.
//!
//! Meeting a contract, the machine reads what it is; what it has is read when an instruction is about to show it. Those are few:
//! `BALANCE`, `SELFBALANCE` and `SELFDESTRUCT`. Calls and creations with a value show no more than that it suffices: that is noted as
//! a condition, and the machine goes on with [`WITHHELD`] for what the contract has, and what is added and taken on top.

use std::rc::Rc;

use revm::bytecode::Bytecode;
use revm::bytecode::opcode as op;
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::ContextError;
use revm::handler::instructions::InstructionProvider;
use revm::interpreter::instructions::{GasTable, InstructionTable, contract, host, instruction_table};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::InputsTr;
use revm::interpreter::{Host, Instruction, InstructionContext, InstructionExecResult, InstructionResult};
use revm::primitives::{Address, B256, U256};
use revm::state::{AccountId, AccountInfo};
use revm::{Context, Database, Journal};

use super::state::HALF;

/// What an account has in the machine whose balance is withheld, before anything is added or taken: [`MOVABLE`] many times, and
/// as far from both ends.
pub(super) const WITHHELD: U256 = HALF;

/// The most that is moved at once to or from a withheld balance: more than there is.
pub(super) const MOVABLE: U256 = U256::from_limbs([0, 0, 1, 0]);

/// A state that may give accounts without their balance.
pub(super) trait Balances: Database {
    /// Called before the balance of `address` is shown: the balance, if the account was given without it. The account is given
    /// whole from then on.
    fn balance(&mut self, address: Address) -> Result<Option<U256>, Self::Error>;

    /// Called where the run goes on as it does only if `address` has `at_least` before it, if its balance is withheld.
    fn suppose(&mut self, address: Address, at_least: U256);
}

/// A state that gives accounts whole.
pub(super) struct Whole<DB>(pub(super) DB);

impl<DB: Database> Balances for Whole<DB> {
    fn balance(&mut self, _: Address) -> Result<Option<U256>, DB::Error> {
        Ok(None)
    }
    fn suppose(&mut self, _: Address, _: U256) {}
}

impl<DB: Database> Database for Whole<DB> {
    type Error = DB::Error;
    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, DB::Error> {
        self.0.basic(address)
    }
    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, DB::Error> {
        self.0.code_by_hash(hash)
    }
    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, DB::Error> {
        self.0.storage(address, slot)
    }
    fn storage_by_account_id(&mut self, address: Address, id: AccountId, slot: U256) -> Result<U256, DB::Error> {
        self.0.storage_by_account_id(address, id, slot)
    }
    fn block_hash(&mut self, number: u64) -> Result<B256, DB::Error> {
        self.0.block_hash(number)
    }
}

/// What a running machine sees: everything lent but the journal.
pub(super) type Lent<'a, DB> = Context<&'a BlockEnv, &'a TxEnv, &'a CfgEnv, DB, Journal<DB>, ()>;

/// The instructions, and what they cost under some rules. Their table is the same for all and is made by the compiler; to copy
/// it for each transaction, as is usual, takes about as long as a tenth of a plain transfer.
pub(super) struct Instructions<'t, CTX> {
    table: &'t InstructionTable<EthInterpreter, CTX>,
    prices: Rc<GasTable>,
}

impl<CTX: Asking> Instructions<'_, CTX> {
    pub(super) fn new(prices: Rc<GasTable>) -> Self {
        Self { table: const { &asking_table() }, prices }
    }
}

impl<CTX: Host> InstructionProvider for Instructions<'_, CTX> {
    type Context = CTX;
    type InterpreterTypes = EthInterpreter;

    fn instruction_table(&self) -> &InstructionTable<EthInterpreter, CTX> {
        self.table
    }

    fn gas_table(&self) -> &GasTable {
        &self.prices
    }
}

/// A host whose state may withhold balances.
pub(super) trait Asking: Host {
    /// Sees to it that the balance of `address` is known.
    fn ask(&mut self, address: Address) -> InstructionExecResult;

    /// Called before `from` gives `value` to `to`, if it has as much.
    fn give(&mut self, from: Address, to: Address, value: U256) -> InstructionExecResult;
}

impl<DB: Balances> Asking for Lent<'_, DB> {
    fn ask(&mut self, address: Address) -> InstructionExecResult {
        match self.journaled_state.database.balance(address) {
            Ok(None) => {}
            Ok(Some(balance)) => {
                if let Some(account) = self.journaled_state.inner.state.get_mut(&address) {
                    let gained = account.info.balance.wrapping_sub(WITHHELD);
                    account.info.balance = balance.wrapping_add(gained);
                    account.original_info_mut().balance = balance;
                }
            }
            Err(error) => {
                self.error = Err(ContextError::Db(error));
                return Err(InstructionResult::FatalExternalError);
            }
        }
        Ok(())
    }

    fn give(&mut self, from: Address, to: Address, value: U256) -> InstructionExecResult {
        if value > MOVABLE {
            self.ask(from)?;
            return self.ask(to);
        }
        if let Some(account) = self.journaled_state.inner.state.get(&from) {
            let gained = account.info.balance.wrapping_sub(WITHHELD);
            // In two's complement: what it has gained in this run it need not have had before.
            let needed = Some(value.wrapping_sub(gained)).filter(|needed| *needed < HALF);
            self.journaled_state.database.suppose(from, needed.unwrap_or_default());
        }
        Ok(())
    }
}

#[expect(clippy::indexing_slicing, reason = "the table has a place for each of the 256 codes")]
const fn asking_table<H: Asking>() -> InstructionTable<EthInterpreter, H> {
    let mut table = instruction_table::<EthInterpreter, H>();
    table[op::BALANCE as usize] = Instruction::new(balance);
    table[op::SELFBALANCE as usize] = Instruction::new(selfbalance);
    table[op::CALL as usize] = Instruction::new(call::<{ op::CALL }, H>);
    table[op::CALLCODE as usize] = Instruction::new(call::<{ op::CALLCODE }, H>);
    table[op::CREATE as usize] = Instruction::new(create::<false, H>);
    table[op::CREATE2 as usize] = Instruction::new(create::<true, H>);
    table[op::SELFDESTRUCT as usize] = Instruction::new(selfdestruct);
    table
}

type At<'a, H> = InstructionContext<'a, H, EthInterpreter>;

/// The operands, the uppermost last.
fn operands<'a, H>(at: &'a At<'_, H>) -> &'a [U256] {
    at.interpreter.stack.data()
}

fn address(operand: U256) -> Address {
    Address::from_word(B256::from(operand))
}

fn balance<H: Asking>(at: At<'_, H>) -> InstructionExecResult {
    if let [.., whose] = *operands(&at) {
        at.host.ask(address(whose))?;
    }
    host::balance(at)
}

fn selfbalance<H: Asking>(at: At<'_, H>) -> InstructionExecResult {
    at.host.ask(at.interpreter.input.target_address())?;
    host::selfbalance(at)
}

fn call<const KIND: u8, H: Asking>(at: At<'_, H>) -> InstructionExecResult {
    if let [.., value, to, _gas] = *operands(&at)
        && !value.is_zero()
    {
        let giver = at.interpreter.input.target_address();
        at.host.give(giver, if KIND == op::CALL { address(to) } else { giver }, value)?;
    }
    contract::call::<KIND, _, _>(at)
}

fn create<const TWO: bool, H: Asking>(at: At<'_, H>) -> InstructionExecResult {
    if let [.., value] = *operands(&at)
        && !value.is_zero()
    {
        let giver = at.interpreter.input.target_address();
        at.host.give(giver, giver, value)?; // whom it creates has no code yet
    }
    contract::create::<TWO, _, _>(at)
}

fn selfdestruct<H: Asking>(at: At<'_, H>) -> InstructionExecResult {
    if let [.., heir] = *operands(&at) {
        at.host.ask(at.interpreter.input.target_address())?;
        at.host.ask(address(heir))?;
    }
    host::selfdestruct(at)
}
