//! Who wrote what: a transaction's place in the block, and which of its executions.

use std::fmt;

/// A transaction's place in the block's serial order, from 0.
pub type TxIndex = u32;

/// How many times a transaction had been started before this execution, from 0.
pub type Incarnation = u32;

/// One execution of one transaction: what a written value carries, and what a read remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The transaction.
    pub tx: TxIndex,
    /// Its execution.
    pub incarnation: Incarnation,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tx, self.incarnation)
    }
}
