//! What can go wrong with a service, and with a block over several shards.

use super::message::ShardFailure;
use super::transport::TransportError;
use crate::executor::BlockError;
use std::fmt;

/// Why a shard or a coordinator did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The transport could not be opened.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The operating system gave no threads.
    #[error("no threads: {0}")]
    Threads(String),
}

/// Why a block came to nothing. Nothing was written, the next block begins anew, and no hook was called, unless the block was
/// executed and ended early: then for its committed prefix.
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoteError<K, V, O, E> {
    /// The block was executed, and ended early as any block may: with its committed prefix.
    Block(Box<BlockError<K, V, O, E>>),
    /// The shards did not come to an end.
    Attempt(AttemptError),
    /// The block cannot be executed as described.
    Malformed(&'static str),
}

impl<K, V, O, E: fmt::Display> fmt::Display for RemoteError<K, V, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteError::Block(error) => error.fmt(f),
            RemoteError::Attempt(error) => error.fmt(f),
            RemoteError::Malformed(why) => write!(f, "the block cannot be executed: {why}"),
        }
    }
}

impl<K, V, O, E: fmt::Display> std::error::Error for RemoteError<K, V, O, E> where Self: fmt::Debug {}

impl<K, V, O, E> From<AttemptError> for RemoteError<K, V, O, E> {
    fn from(error: AttemptError) -> Self {
        RemoteError::Attempt(error)
    }
}

/// Why an attempt at a block over shards came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// A shard went down, or restarted, before its share was done.
    #[error("shard {shard} was lost")]
    Lost {
        /// Which one.
        shard: usize,
    },
    /// A shard's share came to nothing.
    #[error("shard {shard}: {why}")]
    Failed {
        /// Which one.
        shard: usize,
        /// What it says.
        why: ShardFailure,
    },
    /// The time was over.
    #[error("the time was over; shards that had not answered: {waiting_for:?}")]
    Deadline {
        /// The shards that had not come to an end.
        waiting_for: Vec<usize>,
    },
    /// What the shards have done cannot be understood: they execute with another machine than the coordinator.
    #[error("what the shards have done cannot be understood")]
    Incomprehensible,
    /// No shard is there.
    #[error("no shard can be reached")]
    NoShards,
    /// The coordinator is stopping.
    #[error("the coordinator is stopping")]
    Stopped,
}
