//! Why a block did not run to its end.

use super::output::BlockOutput;
use super::stats::Tally;
use super::vm::Vm;
use crate::kv::{self, WriteBatch};
use crate::multiversion::TxIndex;
use std::fmt;

/// A block that did not run to its end, with the transactions that had been committed before: they are as valid as if
/// the block had ended there, and the store has not been touched.
#[derive(Debug)]
pub struct BlockError<K, V, O, E> {
    /// What happened.
    pub cause: Cause<E>,
    /// The committed prefix: its outputs, its writes, its statistics. Nothing, whatever the hook was told of, if a panic of
    /// code of the keys and values kept the writes from being gathered.
    pub committed: BlockOutput<K, V, O>,
}

/// What executing a block with `V` returns.
pub type BlockResult<V> = Result<
    BlockOutput<<V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output>,
    Box<BlockError<<V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output, <V as Vm>::Error>>,
>;

/// What ended a block early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<E> {
    /// The virtual machine returned an error for a transaction that had only final state to read.
    Transaction {
        /// The transaction.
        index: TxIndex,
        /// What the virtual machine said.
        error: E,
    },
    /// User code panicked: the virtual machine, the merge operator, the commit hook, or what keys, values and the snapshot
    /// do when they are compared, hashed or cloned.
    Panicked {
        /// The transaction that was executing or committing; the first not committed if none was.
        index: TxIndex,
        /// The panic's message.
        message: String,
    },
    /// The state below the block could not be read.
    Base {
        /// The transaction that needed it.
        index: TxIndex,
        /// What the store said.
        error: BaseError,
    },
    /// The block was cancelled.
    Cancelled,
    /// The deadline passed.
    Deadline {
        /// The transaction executed elsewhere that the block was waiting for, if it was.
        waiting_for: Option<TxIndex>,
    },
    /// An operand that arrived of a transaction executed elsewhere is not admitted over what lies below it here: who executed it
    /// saw another state.
    Elsewhere {
        /// The transaction.
        index: TxIndex,
    },
    /// The block cannot be executed as described; nothing was.
    Malformed(&'static str),
    /// The operating system gave no threads.
    Threads(String),
}

/// A store's error, compared by what it says.
#[derive(Clone, Debug)]
pub struct BaseError(pub kv::Error);

impl PartialEq for BaseError {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for BaseError {}

impl<E: fmt::Display> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Transaction { index, error } => write!(f, "transaction {index}: {error}"),
            Cause::Panicked { index, message } => write!(f, "transaction {index} panicked: {message}"),
            Cause::Base { index, error } => write!(f, "transaction {index}: {}", error.0),
            Cause::Cancelled => f.write_str("the block was cancelled"),
            Cause::Deadline { waiting_for: None } => f.write_str("the deadline passed"),
            Cause::Deadline { waiting_for: Some(index) } => {
                write!(f, "the deadline passed while waiting for transaction {index}, executed elsewhere")
            }
            Cause::Elsewhere { index } => {
                write!(f, "an operand of transaction {index}, executed elsewhere, is not admitted over the state here")
            }
            Cause::Malformed(why) => write!(f, "the block cannot be executed: {why}"),
            Cause::Threads(why) => write!(f, "no worker threads: {why}"),
        }
    }
}

impl<K, V, O, E: fmt::Display> fmt::Display for BlockError<K, V, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<K, V, O, E> std::error::Error for BlockError<K, V, O, E>
where
    Self: fmt::Debug,
    E: fmt::Display,
{
}

/// The error of a block of which nothing was committed.
pub(super) fn failed<K, V, O, E>(cause: Cause<E>) -> Box<BlockError<K, V, O, E>> {
    let stats = Tally::<K>::default().stats;
    let committed = BlockOutput { outputs: Vec::new(), batch: WriteBatch::default(), committed: 0, stats };
    Box::new(BlockError { cause, committed })
}

/// The words of a panic.
pub(super) fn panic_message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().map_or("no message", |message| *message).to_owned(),
    }
}
