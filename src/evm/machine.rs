//! The virtual machine of one worker: transactions in, results and changed accounts out, the fee kept apart.
//!
//! Nearly every transaction of a block pays the fee recipient. Run as is, each would read and write that account, and
//! the block would be one chain. So the machine pays nobody: it says what is to be paid ([`Executed::reward`]), which
//! the executor then adds without reading.
//!
//! A machine outlives the state that a transaction reads: the database is lent to it for one run. What is costly to
//! make, frames with their stacks and the journal's tables, it keeps between runs.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use revm::context::{BlockEnv, CfgEnv, Evm, FrameStack, JournalInner, LocalContext, TxEnv};
use revm::context_interface::journaled_state::entry::JournalEntry;
use revm::context_interface::result::{EVMError, ExecutionResult, HaltReason};
use revm::context_interface::{Block, Cfg, ContextTr, JournalTr, LocalContextTr, Transaction};
use revm::handler::{EthFrame, EthPrecompiles, EvmTr, EvmTrError, FrameResult, Handler};
use revm::interpreter::instructions::{GasTable, gas_table_spec};
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::U256;
use revm::primitives::hardfork::SpecId;
use revm::state::EvmState;
use revm::{Context, Database, Journal};

use super::instructions::{Balances, Instructions, Lent, Whole};

/// What one transaction did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// How it ended, with its gas and logs.
    pub result: ExecutionResult,
    /// The accounts that it loaded, changed or not; without the reward of the fee recipient.
    pub state: EvmState,
    /// What the fee recipient is to be paid, on top of the balance it has in `state` or before.
    pub reward: U256,
}

/// A virtual machine that is used for one transaction after the other.
///
/// Not `Send`: each thread has its own. Making one takes longer than running a plain transfer on it.
pub struct Machine {
    spec: SpecId,
    /// What instructions cost under `spec`.
    prices: Rc<GasTable>,
    /// `None` while it is lent, and after a run that panicked.
    frames: Option<FrameStack<EthFrame<EthInterpreter>>>,
    journal: Option<JournalInner<JournalEntry>>,
    memory: Rc<RefCell<Vec<u8>>>,
}

impl Default for Machine {
    fn default() -> Self {
        let spec = SpecId::default();
        let (prices, memory) = (Rc::new(gas_table_spec(spec)), LocalContext::default().shared_memory_buffer);
        Self { spec, prices, frames: None, journal: None, memory }
    }
}

impl Machine {
    /// Runs `tx` in the block `block` under the rules `cfg`, over the state that `db` reads.
    ///
    /// The machine is as good as new afterwards, also after an error.
    ///
    /// # Errors
    /// [`EVMError::Database`] with the database's own error if a read failed; [`EVMError::Transaction`] if the
    /// transaction is invalid on this state; the others if the block or the machine is at fault.
    pub fn run<DB: Database>(
        &mut self,
        cfg: &CfgEnv,
        block: &BlockEnv,
        tx: &TxEnv,
        db: DB,
    ) -> Result<Executed, EVMError<DB::Error>> {
        self.run_asking(cfg, block, tx, Whole(db))
    }

    /// As [`run`](Self::run), over a state that may withhold balances.
    pub(super) fn run_asking<DB: Balances>(
        &mut self,
        cfg: &CfgEnv,
        block: &BlockEnv,
        tx: &TxEnv,
        db: DB,
    ) -> Result<Executed, EVMError<DB::Error>> {
        let mut evm = self.lend(cfg, block, tx, db);
        let mut handler = Unrewarded { reward: Cell::new(U256::ZERO), machine: PhantomData };
        let result: Result<_, EVMError<DB::Error>> = handler.run(&mut evm);
        // Also after an error: the journal holds what was loaded from a state that may be another one next time.
        let state = evm.ctx.journaled_state.inner.finalize();
        (self.journal, self.frames) = (Some(evm.ctx.journaled_state.inner), Some(evm.frame_stack));
        Ok(Executed { result: result?, state, reward: handler.reward.get() })
    }

    /// Takes back the accounts of a run that have been dealt with, for the room of their table.
    pub fn take_back(&mut self, mut state: EvmState) {
        state.clear();
        // To clear a table, and to walk it, takes as long as it is large, however few are in it.
        if state.capacity() <= MAX_KEPT
            && let Some(journal) = &mut self.journal
        {
            journal.state = state;
        }
    }

    /// The machine around `db`, with all that is kept between runs.
    fn lend<'a, DB: Balances>(
        &mut self,
        cfg: &'a CfgEnv,
        block: &'a BlockEnv,
        tx: &'a TxEnv,
        db: DB,
    ) -> Lending<'a, DB> {
        if self.spec != cfg.spec {
            // The journal keeps which precompiles are warm.
            (self.spec, self.journal, self.prices) = (cfg.spec, None, Rc::new(gas_table_spec(cfg.spec)));
        }
        let mut inner = self.journal.take().unwrap_or_default();
        inner.set_spec_id(cfg.spec);
        inner.set_eip7708_config(cfg.is_eip7708_disabled(), cfg.is_eip8246_delayed_clear_disabled());
        let shared_memory_buffer = Rc::clone(&self.memory);
        let mut local = LocalContext { shared_memory_buffer, precompile_error_message: None };
        local.clear(); // of what a run that panicked left behind
        let ctx = Context {
            block,
            tx,
            cfg,
            journaled_state: Journal::new_with_inner(db, inner),
            chain: (),
            local,
            error: Ok(()),
        };
        Evm {
            ctx,
            inspector: (),
            instruction: Instructions::new(Rc::clone(&self.prices)),
            precompiles: EthPrecompiles::new(cfg.spec),
            frame_stack: self.frames.take().unwrap_or_else(|| FrameStack::new_prealloc(8)),
        }
    }
}

/// The largest table of accounts that is kept from run to run: most runs meet fewer.
const MAX_KEPT: usize = 64;

/// The virtual machine, everything lent but the journal and the frames.
type Lending<'a, DB> = Evm<Lent<'a, DB>, (), Instructions<'a, Lent<'a, DB>>, EthPrecompiles, EthFrame<EthInterpreter>>;

/// Mainnet's handling of a transaction, but for the last step: the reward is noted instead of paid.
struct Unrewarded<EVM, ERROR> {
    reward: Cell<U256>,
    machine: PhantomData<(EVM, ERROR)>,
}

impl<EVM, ERROR> Handler for Unrewarded<EVM, ERROR>
where
    EVM: EvmTr<Context: ContextTr<Journal: JournalTr<State = EvmState>>, Frame = EthFrame<EthInterpreter>>,
    ERROR: EvmTrError<EVM>,
{
    type Evm = EVM;
    type Error = ERROR;
    type HaltReason = HaltReason;

    #[expect(clippy::arithmetic_side_effects, reason = "128 bits times 64 bits are less than 256")]
    fn reward_beneficiary(&self, evm: &mut EVM, exec_result: &mut FrameResult) -> Result<(), ERROR> {
        let ctx = evm.ctx_ref();
        let base_fee = u128::from(ctx.block().basefee());
        let price = ctx.tx().effective_gas_price(base_fee);
        // Since London, the base fee is burned.
        let london = ctx.cfg().spec().into().is_enabled_in(SpecId::LONDON);
        let price = if london { price.saturating_sub(base_fee) } else { price };
        let gas = exec_result.gas();
        let used = gas.used().saturating_sub(gas.reservoir());
        self.reward.set(U256::from(price) * U256::from(used));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::bytecode::Bytecode;
    use revm::context_interface::result::InvalidTransaction;
    use revm::database_interface::DBErrorMarker;
    use revm::primitives::{Address, B256, TxKind};
    use revm::state::AccountInfo;

    const SENDER: Address = Address::repeat_byte(1);
    const RECIPIENT: Address = Address::repeat_byte(2);

    /// A state in which everybody is rich, and reading `blocked` fails.
    struct Rich {
        blocked: Option<Address>,
        read: Vec<Address>,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("waits for transaction {0}")]
    struct Waits(usize);

    impl DBErrorMarker for Waits {}

    impl Database for &mut Rich {
        type Error = Waits;
        fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Waits> {
            self.read.push(address);
            let blocked = self.blocked == Some(address);
            if blocked { Err(Waits(7)) } else { Ok(Some(AccountInfo::from_balance(U256::from(1_000_000_000)))) }
        }
        fn code_by_hash(&mut self, _: B256) -> Result<Bytecode, Waits> {
            Ok(Bytecode::default())
        }
        fn storage(&mut self, _: Address, _: U256) -> Result<U256, Waits> {
            Ok(U256::ZERO)
        }
        fn block_hash(&mut self, _: u64) -> Result<B256, Waits> {
            Ok(B256::ZERO)
        }
    }

    #[test]
    fn a_machine_forgets_what_failed() {
        let cfg = super::super::Fork::mainnet(19_932_148, 1_716_000_000).cfg();
        let block = BlockEnv { beneficiary: Address::repeat_byte(3), basefee: 7, ..BlockEnv::default() };
        let (kind, value) = (TxKind::Call(RECIPIENT), U256::from(5));
        let tx = TxEnv { caller: SENDER, kind, value, gas_limit: 21_000, gas_price: 9, ..TxEnv::default() };
        let mut machine = Machine::default();

        let mut blocked = Rich { blocked: Some(RECIPIENT), read: Vec::new() };
        let error = machine.run(&cfg, &block, &tx, &mut blocked).unwrap_err();
        assert!(matches!(error, EVMError::Database(Waits(7))), "{error}");

        let mut rich = Rich { blocked: None, read: Vec::new() };
        let early = TxEnv { nonce: 1, ..tx.clone() };
        let error = machine.run(&cfg, &block, &early, &mut rich).unwrap_err();
        let expected = InvalidTransaction::NonceTooHigh { tx: 1, state: 0 };
        assert!(matches!(error, EVMError::Transaction(ref invalid) if *invalid == expected), "{error}");

        rich.read.clear();
        let done = machine.run(&cfg, &block, &tx, &mut rich).unwrap();
        assert_eq!(rich.read, [SENDER, RECIPIENT], "all is read anew, and the fee recipient is not");
        assert_eq!((done.result.tx_gas_used(), done.reward), (21_000, U256::from(2 * 21_000)));
        assert_eq!(done.state[&SENDER].info.balance, U256::from(1_000_000_000 - 9 * 21_000 - 5));
    }
}
