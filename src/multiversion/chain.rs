//! The version chain: what the transactions of a block have written to one key.
//!
//! ```text
//! base │ tx 2: Put(7) │ tx 5: Merge(+1) │ tx 9: Estimate │ tx 11: Delete
//!      └── a reader at tx 7 starts at the highest entry below 7, meets an operand, goes on to the Put below: 8
//! ```
//!
//! A chain is plain data; the [slot](super::slot) that holds it has the lock. Entries are ascending by transaction, one a
//! transaction: a later incarnation replaces an earlier one's.

use super::{MergeOperator, TxIndex, Version};
use crate::kv::Op;
use smallvec::SmallVec;

/// The operands one transaction left at one key, in the order it left them.
pub(crate) type Operands<O> = SmallVec<[O; 1]>;

/// What one transaction does to one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write<V, O> {
    Put(V),
    Delete,
    Merge(Operands<O>),
}

impl<V, O> From<Op<V>> for Write<V, O> {
    fn from(op: Op<V>) -> Self {
        match op {
            Op::Put(value) => Write::Put(value),
            Op::Delete => Write::Delete,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Entry<V, O> {
    version: Version,
    /// `None` is an estimate: the transaction wrote here, is to be executed again, and will probably write here again.
    write: Option<Write<V, O>>,
}

/// Where an answer came from. Equal origins mean equal answers, without looking at values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The state before the block, which does not change.
    Base,
    /// A put or a delete of one execution.
    Version(Version),
    /// Operands over something: what they resolve to can change while the topmost version stays, so only the value tells.
    Merged(Version),
}

/// Why a chain alone has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// An estimate of this transaction stands in the way.
    Estimate(TxIndex),
    /// The answer depends on the base value, which nobody has read yet.
    BaseUnread,
}

/// Why the operands of a transaction could not be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    Unanswered(Unanswered),
    /// One of them is not admitted over what lies below it.
    Refused,
}

/// What a reader meets first, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// No earlier transaction has written here.
    Nothing,
    Present(Origin),
    Deleted(Version),
    Estimate(TxIndex),
}

#[derive(Debug)]
pub(crate) struct Chain<V, O> {
    entries: SmallVec<[Entry<V, O>; 1]>,
}

/// What `operands` make of `value`, if each is admitted over what the ones before it made.
pub(crate) fn admitted<K, V, M: MergeOperator<K, V>>(
    key: &K,
    mut value: Option<V>,
    operands: &Operands<M::Operand>,
) -> Option<Option<V>> {
    for operand in operands {
        if !M::admits(key, value.as_ref(), operand) {
            return None;
        }
        value = Some(M::merge(key, value.as_ref(), operand));
    }
    Some(value)
}

impl<V, O> Default for Chain<V, O> {
    fn default() -> Self {
        Self { entries: SmallVec::new() }
    }
}

impl<V: Clone, O: Clone> Chain<V, O> {
    /// The entries below `below`, the highest first.
    fn down_from(&self, below: TxIndex) -> impl Iterator<Item = &Entry<V, O>> {
        let end = self.before(below);
        self.entries.iter().take(end).rev()
    }

    pub(crate) fn top(&self, below: TxIndex) -> Top {
        match self.down_from(below).next() {
            None => Top::Nothing,
            Some(Entry { version, write: None }) => Top::Estimate(version.tx),
            Some(Entry { version, write: Some(Write::Put(_)) }) => Top::Present(Origin::Version(*version)),
            Some(Entry { version, write: Some(Write::Delete) }) => Top::Deleted(*version),
            Some(Entry { version, write: Some(Write::Merge(_)) }) => Top::Present(Origin::Merged(*version)),
        }
    }

    /// What a transaction at `below` reads: the highest put or delete below it, or `base` if that is known, with the
    /// operands above it applied.
    pub(crate) fn read<K, M>(
        &self,
        key: &K,
        below: TxIndex,
        base: Option<&Option<V>>,
    ) -> Result<(Origin, Option<V>), Unanswered>
    where
        M: MergeOperator<K, V, Operand = O>,
    {
        // Mostly there is a put on top.
        let mut below_here = self.down_from(below).peekable();
        if let Some(Entry { version, write: Some(Write::Put(value)) }) = below_here.peek() {
            return Ok((Origin::Version(*version), Some(value.clone())));
        }
        let mut operands: SmallVec<[&Operands<O>; 4]> = SmallVec::new();
        let mut topmost = None;
        let mut ground = None;
        for Entry { version, write } in below_here {
            match write {
                None => return Err(Unanswered::Estimate(version.tx)),
                Some(Write::Merge(here)) => {
                    topmost.get_or_insert(*version);
                    operands.push(here);
                }
                Some(Write::Put(value)) => {
                    ground = Some((Origin::Version(*version), Some(value)));
                    break;
                }
                Some(Write::Delete) => {
                    ground = Some((Origin::Version(*version), None));
                    break;
                }
            }
        }
        let (origin, value) = match (ground, base) {
            (Some(ground), _) => ground,
            (None, Some(base)) => (Origin::Base, base.as_ref()),
            (None, None) => return Err(Unanswered::BaseUnread),
        };
        let Some(topmost) = topmost else { return Ok((origin, value.cloned())) };
        let mut merged = value.cloned();
        for operand in operands.into_iter().rev().flatten() {
            merged = Some(M::merge(key, merged.as_ref(), operand));
        }
        Ok((Origin::Merged(topmost), merged))
    }

    /// How many entries are of transactions before `tx`. Looked for from the end, in steps that double: transactions run
    /// mostly in order, and entries further down may be in another core's cache.
    fn before(&self, tx: TxIndex) -> usize {
        let len = self.entries.len();
        if self.entries.last().is_none_or(|last| last.version.tx < tx) {
            return len;
        }
        let is_before = |at: usize| self.entries.get(at).is_some_and(|entry| entry.version.tx < tx);
        let (mut step, mut end) = (2, len - 1); // what is at `end` or after it is not before `tx`
        while let Some(at) = len.checked_sub(step) {
            if is_before(at) {
                let between = self.entries.get(at + 1..end).unwrap_or_default();
                return at + 1 + between.partition_point(|entry| entry.version.tx < tx);
            }
            (step, end) = (step * 2, at);
        }
        self.entries.get(..end).unwrap_or_default().partition_point(|entry| entry.version.tx < tx)
    }

    fn position(&self, tx: TxIndex) -> Result<usize, usize> {
        let at = self.before(tx);
        match self.entries.get(at) {
            Some(entry) if entry.version.tx == tx => Ok(at),
            _ => Err(at),
        }
    }

    /// Records what `version` wrote (`None`: will probably write), in place of its transaction's earlier incarnation.
    pub(crate) fn put(&mut self, version: Version, write: Option<Write<V, O>>) {
        match self.position(version.tx) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    *entry = Entry { version, write };
                }
            }
            Err(at) => self.entries.insert(at, Entry { version, write }),
        }
    }

    /// Turns the entry of `tx` into an estimate.
    pub(crate) fn estimate(&mut self, tx: TxIndex) {
        if let Ok(at) = self.position(tx)
            && let Some(entry) = self.entries.get_mut(at)
        {
            entry.write = None;
        }
    }

    /// Removes the entry of `version.tx` if it is another incarnation's: that one wrote here, this one did not.
    pub(crate) fn remove_stale(&mut self, version: Version) {
        if let Ok(at) = self.position(version.tx)
            && self.entries.get(at).is_some_and(|entry| entry.version != version)
        {
            self.entries.remove(at);
        }
    }

    /// Removes whatever `tx` left here.
    pub(crate) fn remove(&mut self, tx: TxIndex) {
        if let Ok(at) = self.position(tx) {
            self.entries.remove(at);
        }
    }

    /// What `operands` make of the value below `tx`, each being admitted over what the ones before it made.
    pub(crate) fn resolve<K, M>(
        &self,
        key: &K,
        tx: TxIndex,
        operands: &Operands<O>,
        base: Option<&Option<V>>,
    ) -> Result<Option<V>, Unresolved>
    where
        M: MergeOperator<K, V, Operand = O>,
    {
        let (_, value) = self.read::<K, M>(key, tx, base).map_err(Unresolved::Unanswered)?;
        admitted::<K, V, M>(key, value, operands).ok_or(Unresolved::Refused)
    }

    /// Turns the operands of `tx` into the value they resolve to.
    pub(crate) fn settle(&mut self, tx: TxIndex, value: V) {
        if let Ok(at) = self.position(tx)
            && let Some(entry) = self.entries.get_mut(at)
        {
            entry.write = Some(Write::Put(value));
        }
    }

    /// What the block's transactions below `end` made of the key, if they wrote it.
    pub(crate) fn outcome(&self, end: TxIndex) -> Option<Op<V>> {
        match self.down_from(end).next()?.write.as_ref()? {
            Write::Put(value) => Some(Op::Put(value.clone())),
            Write::Delete => Some(Op::Delete),
            Write::Merge(_) => None, // committed transactions have none: they were settled
        }
    }
}
