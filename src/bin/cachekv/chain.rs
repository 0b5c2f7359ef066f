//! How far a store has come, kept in the store itself: written in the batch of each block, so that it is never behind or
//! ahead of the state beside it.

use crate::failure::Failure;
use crate::kind::Kind;
use bytes::Bytes;
use cachekv::kv::KvRead;
use std::ops::RangeInclusive;

/// The key of the record: it sorts after all others.
pub(crate) const KEY: &[u8] = b"\xffchain";

/// What the record begins with: who wrote it, and in which form.
const MARK: &[u8; 8] = b"blocks\x00\x01";

/// How many accounts a store may have.
pub(crate) const ACCOUNTS: RangeInclusive<u64> = 1..=1_000_000;

/// What a store was made with, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) workload: Kind,
    pub(crate) seed: u64,
    pub(crate) accounts: u64,
    /// Blocks executed.
    pub(crate) height: u64,
    /// Transactions in them.
    pub(crate) transactions: u64,
}

impl Chain {
    /// This chain, a block of `transactions` further.
    pub(crate) fn next(self, transactions: u64) -> Self {
        let height = self.height.saturating_add(1);
        Self { height, transactions: self.transactions.saturating_add(transactions), ..self }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let numbers = [self.workload as u64, self.seed, self.accounts, self.height, self.transactions];
        MARK.iter().copied().chain(numbers.into_iter().flat_map(u64::to_be_bytes)).collect()
    }

    /// The chain that `record` holds, if it is one.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let (numbers, rest) = record.strip_prefix(MARK)?.as_chunks::<8>();
        let &[workload, seed, accounts, height, transactions] = numbers else { return None };
        let [seed, accounts, height, transactions] = [seed, accounts, height, transactions].map(u64::from_be_bytes);
        let workload = Kind::ALL.into_iter().find(|kind| *kind as u64 == u64::from_be_bytes(workload))?;
        (rest.is_empty() && ACCOUNTS.contains(&accounts)).then_some(Self {
            workload,
            seed,
            accounts,
            height,
            transactions,
        })
    }

    /// The chain of a state; `None` for a state without entries.
    ///
    /// # Errors
    /// If the state was not made by this program.
    pub(crate) fn of(state: &impl KvRead<Key = Bytes, Value = Bytes>) -> Result<Option<Self>, Failure> {
        match state.get(&Bytes::from_static(KEY))? {
            Some(record) => Self::decode(&record).map(Some).ok_or_else(|| {
                Failure::Usage(
                    "the store was written by another version of `cachekv run`: name another file with --db".into(),
                )
            }),
            None if state.range(..).next().transpose()?.is_none() => Ok(None),
            None => Err(Failure::Usage("the store was not made by `cachekv run`: name another file with --db".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_nothing_else_is_one() {
        for workload in Kind::ALL {
            let chain = Chain { workload, seed: u64::MAX, accounts: 2, height: 3, transactions: 4 };
            let record = chain.encode();
            assert_eq!(Chain::decode(&record), Some(chain));
            for len in 0..record.len() {
                assert_eq!(Chain::decode(&record[..len]), None, "{len}");
            }
            assert_eq!(Chain::decode(&[&record[..], b"x"].concat()), None);
        }
        assert_eq!(Chain::decode(&[&MARK[..], &[9; 40]].concat()), None);
        for accounts in [0, ACCOUNTS.end() + 1, u64::MAX] {
            let chain = Chain { workload: Kind::Transfers, seed: 1, accounts, height: 3, transactions: 4 };
            assert_eq!(Chain::decode(&chain.encode()), None, "{accounts} accounts");
        }
    }
}
