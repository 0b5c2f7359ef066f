//! The write set: what one execution has written and nobody else sees yet, with savepoints.

use super::ViewError;
use super::buffer::Buffer;
use super::chain::{Operands, Write};
use super::small_map::SmallMap;
use crate::kv::Key;

/// The writes an execution had buffered at some moment, in key order.
pub(crate) type Writes<K, V, O> = SmallMap<K, Write<V, O>>;

/// A mark in a transaction's writes, to roll back to or to release; see [`TxView::savepoint`](super::TxView::savepoint).
#[derive(Debug, PartialEq, Eq)]
pub struct Savepoint {
    depth: usize,
    serial: u64,
}

#[derive(Debug)]
pub(crate) struct WriteSet<K: Key, V: Clone, O: Clone> {
    writes: Buffer<K, Write<V, O>>,
    /// Open savepoints, outermost first, each with the writes as they were: a copy costs O(1), see `small_map`.
    savepoints: Vec<(u64, Writes<K, V, O>)>,
    /// Whether there ever was an operand.
    merged: bool,
    /// Distinguishes savepoints that were open at the same depth one after the other.
    serial: u64,
    /// Operands that are no longer part of the writes (overwritten, or rolled back) and would, had the run been
    /// sequential, have been admitted or refused when they were given: commit checks them like the others.
    obligations: Vec<(K, Operands<O>)>,
}

impl<K: Key, V: Clone, O: Clone> Default for WriteSet<K, V, O> {
    fn default() -> Self {
        Self { writes: Buffer::default(), savepoints: Vec::new(), merged: false, serial: 0, obligations: Vec::new() }
    }
}

impl<K: Key, V: Clone, O: Clone> WriteSet<K, V, O> {
    pub(crate) fn get(&self, key: &K) -> Option<&Write<V, O>> {
        self.writes.get(key)
    }

    /// The writes as they are now, unaffected by what follows.
    pub(crate) fn freeze(&mut self) -> Writes<K, V, O> {
        self.writes.freeze()
    }

    /// Writes a put or a delete over whatever was there.
    pub(crate) fn set(&mut self, key: K, write: Write<V, O>) {
        if self.merged
            && let Some(Write::Merge(operands)) = self.writes.get(&key)
        {
            self.obligations.push((key.clone(), operands.clone()));
        }
        self.writes.insert(key, write);
    }

    /// Replaces operands by the value they were resolved to, by a read that validation covers.
    pub(crate) fn resolve(&mut self, key: &K, value: V) {
        if let Some(write) = self.writes.get_mut(key) {
            *write = Write::Put(value);
        }
    }

    /// Adds an operand; `combine` may fold it into the one before.
    pub(crate) fn merge(&mut self, key: &K, operand: O, combine: impl FnOnce(&O, &O) -> Option<O>) {
        self.merged = true;
        let mut operands = match self.writes.get(key) {
            Some(Write::Merge(operands)) => operands.clone(),
            _ => Operands::new(),
        };
        match operands.last_mut() {
            Some(last) => match combine(last, &operand) {
                Some(combined) => *last = combined,
                None => operands.push(operand),
            },
            None => operands.push(operand),
        }
        if !self.savepoints.is_empty() {
            // A rollback may take the operand away; that it was given stays.
            self.obligations.push((key.clone(), operands.clone()));
        }
        self.writes.insert(key.clone(), Write::Merge(operands));
    }

    pub(crate) fn savepoint(&mut self) -> Savepoint {
        self.serial += 1;
        self.savepoints.push((self.serial, self.writes.freeze()));
        Savepoint { depth: self.savepoints.len() - 1, serial: self.serial }
    }

    /// Puts the writes back to how they were at `savepoint` and closes it and those within it.
    pub(crate) fn roll_back(&mut self, savepoint: Savepoint) -> Result<(), ViewError> {
        self.writes = Buffer::Ordered(self.close(savepoint)?);
        Ok(())
    }

    /// Closes `savepoint` and those within it, keeping the writes.
    pub(crate) fn release(&mut self, savepoint: Savepoint) -> Result<(), ViewError> {
        self.close(savepoint).map(drop)
    }

    fn close(&mut self, savepoint: Savepoint) -> Result<Writes<K, V, O>, ViewError> {
        match self.savepoints.get(savepoint.depth) {
            Some((serial, _)) if *serial == savepoint.serial => {}
            _ => return Err(ViewError::SavepointClosed),
        }
        let mut closed = self.savepoints.drain(savepoint.depth..);
        closed.next().map(|(_, writes)| writes).ok_or(ViewError::SavepointClosed)
    }

    /// What is to be published, and the operands to be checked beside it.
    pub(crate) fn into_parts(self) -> (Buffer<K, Write<V, O>>, Vec<(K, Operands<O>)>) {
        (self.writes, self.obligations)
    }
}
