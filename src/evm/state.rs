//! The state of the chain as keys and values: what conflicts, and what does not.
//!
//! An account is one key: the virtual machine reads all of it whenever it meets one. Of a contract, all but its balance stands
//! under a second key as well: a contract that many pay into and many call, as the one that wraps ether, would otherwise be in
//! the way of all who call it, though few ask what it has.
//!
//! An account tells which generation of slots is its own; self-destruction and creation begin a new one, and so clear the
//! storage by writing one key, whatever the contract had stored. What moves value from somebody without code to somebody without code reads nothing: it leaves
//! [`Change`]s, which are refused where there is code.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};

use super::prestate::{Account, Accounts};
use crate::kv::{Error, KvRead, MemStore};
use crate::multiversion::MergeOperator;

/// What one key of the state is about.
///
/// Ordered by kind, then by address, generation and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKey {
    /// The account; it exists if the account does.
    Account(Address),
    /// The account without its balance, if it has code.
    Contract(Address),
    /// Which generation of slots is the account's, kept also when the account is gone; absent for the first. Only read where
    /// the account's own record does not tell.
    Generation(Address),
    /// A slot of a generation; absent for zero.
    Slot(Address, u64, U256),
}

impl StateKey {
    /// The kind and the address: numbers, because a key is compared and hashed far more often than it is made.
    fn head(&self) -> (u8, u128, u32) {
        let (kind, address) = match self {
            Self::Account(address) => (0, address),
            Self::Contract(address) => (1, address),
            Self::Generation(address) => (2, address),
            Self::Slot(address, ..) => (3, address),
        };
        let [high @ .., a, b, c, d] = address.0.0;
        (kind, u128::from_be_bytes(high), u32::from_be_bytes([a, b, c, d]))
    }
}

impl Ord for StateKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let heads = self.head().cmp(&other.head());
        heads.then_with(|| match (self, other) {
            (Self::Slot(_, generation, slot), Self::Slot(_, others, other)) => (generation, slot).cmp(&(others, other)),
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for StateKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for StateKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, high, low) = self.head();
        state.write_u128(high);
        state.write_u64(u64::from(low) << 8 | u64::from(kind));
        if let Self::Slot(_, generation, slot) = self {
            state.write_u64(*generation);
            slot.as_limbs().iter().for_each(|limb| state.write_u64(*limb));
        }
    }
}

/// An account, but for its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// What it has.
    pub balance: U256,
    /// How many transactions it has sent, or contracts it has created.
    pub nonce: u64,
    /// The hash of its code; [`KECCAK_EMPTY`] if it has none.
    pub code_hash: B256,
    /// Which generation of slots is its own, if it has code: who has none has no use for slots.
    pub generation: u64,
}

impl Default for AccountRecord {
    fn default() -> Self {
        Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK_EMPTY, generation: 0 }
    }
}

impl AccountRecord {
    pub(super) fn has_code(&self) -> bool {
        self.code_hash != KECCAK_EMPTY
    }

    /// What stands under [`StateKey::Contract`].
    pub(super) fn without_balance(self) -> StateValue {
        StateValue::Account(Self { balance: U256::ZERO, ..self })
    }
}

/// What a key of the state has as its value, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateValue {
    /// Of [`StateKey::Account`]; and of [`StateKey::Contract`], with a balance of zero.
    Account(AccountRecord),
    /// Of [`StateKey::Slot`].
    Word(U256),
    /// Of [`StateKey::Generation`].
    Number(u64),
}

impl StateValue {
    /// The account, as it is before anything happens to it if it does not exist.
    pub(super) fn account(value: Option<Self>) -> AccountRecord {
        match value {
            Some(Self::Account(account)) => account,
            _ => AccountRecord::default(),
        }
    }

    /// The word, zero for a key that does not exist.
    pub(super) fn word(value: Option<Self>) -> U256 {
        match value {
            Some(Self::Word(word)) => word,
            _ => U256::ZERO,
        }
    }

    pub(super) fn number(value: Option<Self>) -> u64 {
        match value {
            Some(Self::Number(number)) => number,
            _ => 0,
        }
    }
}

/// Changes of an account that need not know what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds to the balance.
    Credit(U256),
    /// Adds to the balance of somebody without code.
    Receive(U256),
    /// Takes from the balance of somebody without code and moves the nonce on by one, if both are as they must be.
    Spend {
        /// The nonce that must be there.
        nonce: u64,
        /// What is taken.
        amount: U256,
        /// The balance that must be there, no less than what is taken.
        at_least: U256,
    },
    /// Changes the balance of somebody with code, which must be below 2²⁵⁵ before.
    Shift {
        /// What is added; or, from 2²⁵⁵ on, 2²⁵⁶ less what is taken.
        by: U256,
        /// The balance that must be there, no less than what is taken.
        at_least: U256,
    },
}

/// Half of what a word can hold: more than there is of anything, and where the negative numbers of two's complement begin.
pub(super) const HALF: U256 = U256::from_limbs([0, 0, 0, 1 << 63]);

/// Applies [`Change`]s.
#[derive(Clone, Copy, Debug)]
pub struct Changes;

impl MergeOperator<StateKey, StateValue> for Changes {
    type Operand = Change;

    fn merge(_: &StateKey, base: Option<&StateValue>, change: &Change) -> StateValue {
        let mut account = StateValue::account(base.copied());
        match change {
            Change::Credit(amount) | Change::Receive(amount) => {
                account.balance = account.balance.saturating_add(*amount);
            }
            Change::Spend { amount, .. } => {
                account.balance = account.balance.saturating_sub(*amount);
                account.nonce = account.nonce.saturating_add(1);
            }
            Change::Shift { by, .. } => account.balance = account.balance.wrapping_add(*by),
        }
        StateValue::Account(account)
    }

    fn admits(_: &StateKey, base: Option<&StateValue>, change: &Change) -> bool {
        let account = StateValue::account(base.copied());
        let has_room = |amount: &U256| account.balance.checked_add(*amount).is_some();
        match change {
            Change::Credit(amount) => has_room(amount),
            Change::Receive(amount) => !account.has_code() && has_room(amount),
            Change::Spend { nonce, at_least, .. } => {
                !account.has_code() && account.nonce == *nonce && account.balance >= *at_least
            }
            Change::Shift { at_least, .. } => account.balance >= *at_least && account.balance < HALF,
        }
    }

    fn combine(_: &StateKey, earlier: &Change, later: &Change) -> Option<Change> {
        match (earlier, later) {
            // Admitted together exactly where both are one after the other: the sum is the larger demand.
            (Change::Credit(a), Change::Credit(b)) => a.checked_add(*b).map(Change::Credit),
            (Change::Receive(a), Change::Receive(b)) => a.checked_add(*b).map(Change::Receive),
            _ => None,
        }
    }
}

/// A store that holds `accounts`.
pub fn store(accounts: &Accounts) -> MemStore<StateKey, StateValue> {
    let mut entries = BTreeMap::new();
    for (address, account) in accounts {
        let Account { balance, nonce, code_hash, .. } = *account;
        let record = AccountRecord { balance, nonce, code_hash, generation: 0 };
        entries.insert(StateKey::Account(*address), StateValue::Account(record));
        if record.has_code() {
            entries.insert(StateKey::Contract(*address), record.without_balance());
        }
        for (slot, value) in account.storage.iter().filter(|(_, value)| !value.is_zero()) {
            entries.insert(StateKey::Slot(*address, 0, *slot), StateValue::Word(*value));
        }
    }
    MemStore::from_iter(entries)
}

/// The accounts that `state` holds, each with the slots of its present generation.
///
/// # Errors
/// What the store says.
pub fn accounts(state: &impl KvRead<Key = StateKey, Value = StateValue>) -> Result<Accounts, Error> {
    let mut accounts = Accounts::new();
    let mut generations = BTreeMap::new();
    for entry in state.range(..) {
        // Keys come by kind: accounts first, slots last.
        match entry? {
            (StateKey::Account(address), value) => {
                let AccountRecord { balance, nonce, code_hash, .. } = StateValue::account(Some(value));
                accounts.insert(address, Account { balance, nonce, code_hash, ..Account::default() });
            }
            (StateKey::Contract(_), _) => {} // says nothing new
            (StateKey::Generation(address), value) => {
                generations.insert(address, StateValue::number(Some(value)));
            }
            (StateKey::Slot(address, generation, slot), value) => {
                let present = generations.get(&address).copied().unwrap_or(0);
                if let Some(account) = accounts.get_mut(&address).filter(|_| generation == present) {
                    account.storage.insert(slot, StateValue::word(Some(value)));
                }
            }
        }
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_kind_then_by_what_they_name() {
        let (a, b) = (Address::repeat_byte(1), Address::with_last_byte(1));
        let slot = |generation, slot: u64| StateKey::Slot(b, generation, U256::from(slot) << 128);
        let ascending = [
            StateKey::Account(b),
            StateKey::Account(a),
            StateKey::Contract(b),
            StateKey::Contract(a),
            StateKey::Generation(b),
            slot(0, 1),
            slot(0, 2),
            slot(1, 0),
            StateKey::Slot(a, 0, U256::ZERO),
        ];
        assert!(ascending.is_sorted_by(|left, right| left < right));
        let hashed: std::collections::HashSet<_> = ascending.into_iter().collect();
        assert!(hashed.len() == ascending.len() && ascending.iter().all(|key| hashed.contains(key)));
    }
}
