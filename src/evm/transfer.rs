//! Plain transfers: transactions that, whatever the state, can do nothing but move value and pay for it.
//!
//! Knowing them beforehand lets an executor run them without the virtual machine, and treat what they add to a balance
//! as an addition instead of a read and a write.

use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::{Cfg, Transaction};
use revm::handler::validation::{
    validate_initial_tx_gas_with_gas_params, validate_legacy_gas_price, validate_priority_fee_tx,
};
use revm::precompile::{PrecompileSpecId, Precompiles};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, TxKind, U256};

/// Whether `address` is a contract built into the virtual machine under `spec`.
pub fn is_precompile(spec: SpecId, address: &Address) -> bool {
    Precompiles::new(PrecompileSpecId::from_spec_id(spec)).get(address).is_some()
}

/// A transaction that is a plain transfer if the state agrees.
///
/// It is one if the recipient has no code (a delegation is code too), and valid if the sender has no code but a
/// delegation, exactly the nonce [`nonce`](Self::nonce), and a balance of at least [`max_cost`](Self::max_cost).
///
/// Its whole effect is then: the sender's nonce grows by one, its balance falls by `value` and [`fee`](Self::fee); the
/// recipient's balance grows by `value`, then the fee recipient's by [`reward`](Self::reward), who may be one of them. It succeeds, logs nothing and
/// uses [`gas_used`](Self::gas_used). What lies between fee and reward is burned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who sends and pays.
    pub sender: Address,
    /// Who receives: neither the sender nor a precompile.
    pub recipient: Address,
    /// The nonce that the sender must have.
    pub nonce: u64,
    /// What is moved. It can be zero from Spurious Dragon on, where that does nothing to a recipient that exists, and
    /// makes none that does not; an existing empty one is removed.
    pub value: U256,
    /// The gas it uses.
    pub gas_used: u64,
    /// The balance that the sender must have: the value, and the gas limit at the highest price offered.
    pub max_cost: U256,
    /// What the sender pays for the gas used.
    pub fee: U256,
    /// The part of the fee that the fee recipient gets.
    pub reward: U256,
}

impl Transfer {
    /// The transfer that `tx` is in the block `block` under `cfg`, if it can be one.
    ///
    /// `None` as well if the transaction is invalid whatever the state: the virtual machine says why.
    #[expect(clippy::arithmetic_side_effects, reason = "128 bits times 64 bits are less than 256")]
    pub fn candidate(tx: &TxEnv, block: &BlockEnv, cfg: &CfgEnv) -> Option<Self> {
        let TxKind::Call(recipient) = tx.kind else { return None };
        let sender = tx.caller;
        // Amsterdam charges and logs by what the state holds.
        if cfg.spec.is_enabled_in(SpecId::AMSTERDAM) || sender == recipient || is_precompile(cfg.spec, &recipient) {
            return None;
        }
        // Before Spurious Dragon, a call made an account exist, even without value.
        if tx.value.is_zero() && !cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
            return None;
        }
        if !is_valid(tx, block, cfg) {
            return None;
        }
        let gas_used = gas_used(tx, cfg)?;
        let base_fee = u128::from(block.basefee);
        let price = tx.effective_gas_price(base_fee);
        let reward = if cfg.spec.is_enabled_in(SpecId::LONDON) { price.saturating_sub(base_fee) } else { price };
        Some(Self {
            sender,
            recipient,
            nonce: tx.nonce,
            value: tx.value,
            gas_used,
            max_cost: tx.max_balance_spending().ok()?,
            fee: U256::from(price) * U256::from(gas_used),
            reward: U256::from(reward) * U256::from(gas_used),
        })
    }
}

/// Whether the transaction satisfies what does not depend on the state.
fn is_valid(tx: &TxEnv, block: &BlockEnv, cfg: &CfgEnv) -> bool {
    let base_fee = Some(u128::from(block.basefee));
    let priced = match tx.tx_type {
        0 => validate_legacy_gas_price(tx.gas_price, base_fee),
        1 if cfg.spec.is_enabled_in(SpecId::BERLIN) => validate_legacy_gas_price(tx.gas_price, base_fee),
        2 if cfg.spec.is_enabled_in(SpecId::LONDON) => {
            validate_priority_fee_tx(tx.gas_price, tx.gas_priority_fee.unwrap_or_default(), base_fee, false)
        }
        _ => return false,
    };
    let chain = match tx.chain_id {
        Some(chain_id) => chain_id == cfg.chain_id,
        None => tx.tx_type == 0,
    };
    let gas = tx.gas_limit <= cfg.tx_gas_limit_cap() && tx.gas_limit <= block.gas_limit;
    priced.is_ok() && chain && gas && tx.nonce != u64::MAX
}

/// The gas that the transaction uses without running any code, or `None` if its limit is below that.
fn gas_used(tx: &TxEnv, cfg: &CfgEnv) -> Option<u64> {
    let cap = cfg.tx_gas_limit_cap();
    let gas = validate_initial_tx_gas_with_gas_params(tx, cfg.spec, &cfg.gas_params, false, false, cap, None).ok()?;
    // Data that no code reads has a price of its own from Prague on.
    Some(gas.initial_total_gas().max(gas.floor_gas()))
}
