//! Transfers: two accounts are read and written. No amount is made or lost.

use super::draw::Draw;
use super::{Fault, Labour, Receipt, View, number, read};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

/// What every account begins with.
const ENDOWMENT: u64 = 1_000;

/// Moves `amount`, or what there is of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Transfer {
    from: u64,
    to: u64,
    amount: u64,
}

/// The balance of `account`.
pub(super) fn key(account: u64) -> Bytes {
    std::iter::once(b'a').chain(account.to_be_bytes()).collect()
}

impl Transfer {
    /// Between two different accounts, if there are two.
    pub(super) fn draw(draw: &mut Draw, accounts: u64) -> Self {
        let from = draw.below(accounts);
        let others = accounts.saturating_sub(1);
        let to = (from + u64::from(others > 0) + draw.below(others)).checked_rem(accounts).unwrap_or(0);
        Self { from, to, amount: 1 + draw.below(100) }
    }

    /// The balances that it reads, and writes.
    pub(super) fn keys(&self) -> [Bytes; 2] {
        [key(self.from), key(self.to)]
    }

    pub(super) fn execute(&self, labour: &Labour, view: &View<'_>) -> Result<Receipt, Fault> {
        let (from, to) = (key(self.from), key(self.to));
        let (sender, recipient) = (read(view, &from)?, read(view, &to)?);
        labour.perform(view)?;
        let amount = self.amount.min(sender);
        if self.from == self.to {
            return Ok(Receipt::Moved { amount, left: sender });
        }
        view.set(from, number(sender - amount));
        view.set(to, number(recipient.saturating_add(amount)));
        Ok(Receipt::Moved { amount, left: sender - amount })
    }
}

pub(super) fn genesis(accounts: u64, put: &mut impl FnMut(Bytes, u64)) {
    (0..accounts).for_each(|account| put(key(account), ENDOWMENT));
}

/// What must hold: the accounts are there, and hold together what they began with.
#[derive(Debug, Default)]
pub(super) struct Balances {
    accounts: u64,
    sum: u128,
}

impl Balances {
    pub(super) fn see(&mut self, balance: u64) -> Result<(), String> {
        self.accounts += 1;
        self.sum += u128::from(balance);
        Ok(())
    }

    pub(super) fn conclude(&self, accounts: u64) -> Result<(), String> {
        let due = u128::from(accounts) * u128::from(ENDOWMENT);
        if (self.accounts, self.sum) == (accounts, due) {
            return Ok(());
        }
        Err(format!("{} accounts hold {} in all, it should be {accounts} and {due}", self.accounts, self.sum))
    }
}
