//! What transactions touch, before they are executed: what shards are told of a block.

use super::{Transaction, hotkey};
use crate::failure::Failure;
use bytes::Bytes;
use cachekv::kv::{KeyRange, KvRead};
use cachekv::remote::Access;
use std::collections::BTreeMap;

/// What each transaction of `block` may touch over `state`.
///
/// # Errors
/// If the journals cannot be read.
pub(crate) fn accesses(
    block: &[Transaction],
    state: &impl KvRead<Key = Bytes, Value = Bytes>,
) -> Result<Vec<Access<Bytes>>, Failure> {
    let mut journals = journals(block, state)?;
    let both = |keys: Vec<Bytes>| Access { reads: keys.clone(), writes: keys };
    let access = |transaction: &Transaction| match transaction {
        Transaction::Transfer(transfer) => both(transfer.keys().into()),
        Transaction::Order(order) => both(order.keys()),
        Transaction::Count => Access { reads: Vec::new(), writes: vec![hotkey::COUNTER] },
        Transaction::Mixed(mixed) => mixed.access(&mut journals),
    };
    Ok(block.iter().map(access).collect())
}

/// The entries of every journal, by journal; none if nobody sweeps.
fn journals(
    block: &[Transaction],
    state: &impl KvRead<Key = Bytes, Value = Bytes>,
) -> Result<BTreeMap<u8, Vec<Bytes>>, Failure> {
    let mut journals: BTreeMap<u8, Vec<Bytes>> = BTreeMap::new();
    if block.iter().any(|transaction| matches!(transaction, Transaction::Mixed(_))) {
        for entry in state.scan(KeyRange::prefix(b"j")) {
            let (key, _) = entry?;
            journals.entry(key.get(1).copied().unwrap_or_default()).or_default().push(key);
        }
    }
    Ok(journals)
}
