//! The mixture: transfers, orders, journals that are swept by range deletes, attempts that roll back to savepoints. Each
//! transaction is counted besides, so that one counter is everybody's.

use super::draw::Draw;
use super::orderbook::Order;
use super::transfers::Transfer;
use super::{Fault, Labour, Receipt, View, hotkey, number};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use cachekv::kv::KeyRange;
use cachekv::remote::Access;
use std::collections::BTreeMap;

/// Journals; an entry goes to one of them, a sweep empties one.
const BUCKETS: u64 = 16;

/// One transaction of the mixture.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Mixed {
    Transfer(Transfer),
    Order(Order),
    Count,
    /// A transfer with an entry in a journal, taken back if it moved less than `at_least`.
    Attempt {
        transfer: Transfer,
        entry: Bytes,
        at_least: u64,
    },
    /// Deletes every entry of a journal.
    Sweep {
        bucket: u8,
    },
}

impl Mixed {
    pub(super) fn draw(draw: &mut Draw, accounts: u64, height: u64, index: u64) -> Self {
        match draw.below(100) {
            0..40 => Mixed::Transfer(Transfer::draw(draw, accounts)),
            40..65 => Mixed::Order(Order::draw(draw, accounts)),
            65..80 => Mixed::Count,
            80..99 => {
                let bucket = bucket(draw);
                let head = [b'j', bucket].into_iter().chain(height.to_be_bytes());
                let entry = head.chain(index.to_be_bytes()).collect();
                Mixed::Attempt { transfer: Transfer::draw(draw, accounts), entry, at_least: 1 + draw.below(100) }
            }
            _ => Mixed::Sweep { bucket: bucket(draw) },
        }
    }

    /// What it touches, `journals` being the entries that there may be of each journal; its own is added.
    pub(super) fn access(&self, journals: &mut BTreeMap<u8, Vec<Bytes>>) -> Access<Bytes> {
        let count = || vec![hotkey::COUNTER];
        match self {
            Mixed::Transfer(transfer) => {
                let keys = transfer.keys();
                Access { writes: count().into_iter().chain(keys.clone()).collect(), reads: keys.into() }
            }
            Mixed::Order(order) => {
                let keys = order.keys();
                Access { writes: count().into_iter().chain(keys.clone()).collect(), reads: keys }
            }
            Mixed::Count => Access { writes: count(), reads: Vec::new() },
            Mixed::Attempt { transfer, entry, .. } => {
                let bucket = entry.get(1).copied().unwrap_or_default();
                journals.entry(bucket).or_default().push(entry.clone());
                let (keys, entry) = (transfer.keys(), [entry.clone()]);
                Access { writes: count().into_iter().chain(keys.clone()).chain(entry).collect(), reads: keys.into() }
            }
            Mixed::Sweep { bucket } => {
                let entries = journals.get(bucket).cloned().unwrap_or_default();
                Access { writes: count().into_iter().chain(entries.iter().cloned()).collect(), reads: entries }
            }
        }
    }

    pub(super) fn execute(&self, labour: &Labour, view: &View<'_>) -> Result<Receipt, Fault> {
        hotkey::count(view)?;
        match self {
            Mixed::Transfer(transfer) => transfer.execute(labour, view),
            Mixed::Order(order) => order.execute(labour, view),
            Mixed::Count => labour.perform(view).map(|()| Receipt::Counted),
            Mixed::Attempt { transfer, entry, at_least } => attempt(transfer, entry, *at_least, labour, view),
            Mixed::Sweep { bucket } => {
                let entries = view.delete_range(KeyRange::prefix(&[b'j', *bucket]))?;
                labour.perform(view)?;
                Ok(Receipt::Swept { entries: entries as u64 })
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are few journals")]
fn bucket(draw: &mut Draw) -> u8 {
    draw.below(BUCKETS) as u8
}

/// The count before it stays, whatever becomes of it.
fn attempt(
    transfer: &Transfer,
    entry: &Bytes,
    at_least: u64,
    labour: &Labour,
    view: &View<'_>,
) -> Result<Receipt, Fault> {
    let before = view.savepoint();
    let receipt = transfer.execute(labour, view)?;
    let Receipt::Moved { amount, .. } = receipt else { return Ok(receipt) };
    let within = view.savepoint();
    view.set(entry.clone(), number(amount));
    if amount == 0 {
        view.roll_back(within)?; // a journal has no entries of nothing
    } else {
        view.release(within)?;
    }
    if amount < at_least {
        view.roll_back(before)?;
        return Ok(Receipt::TakenBack);
    }
    view.release(before)?;
    Ok(receipt)
}
