//! What a transaction's read or merge can answer besides a value.

use super::TxIndex;
use crate::kv;

/// Why a view did not answer. User code passes it up with `?`.
///
/// The view itself remembers [`Blocked`](Self::Blocked), [`Interrupted`](Self::Interrupted) and [`Base`](Self::Base): a
/// run that met one is judged by that, whatever the user code makes of the error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The value is about to be written by an earlier transaction that is being executed again. The run is put aside
    /// and started anew when that transaction has written.
    #[error("waits for transaction {0}")]
    Blocked(TxIndex),
    /// This run is lost (it read what has changed since) or the block is stopping. Its result will not be used.
    #[error("this execution is no longer needed")]
    Interrupted,
    /// The merge operator does not admit the operand over the key's value. Nothing was written; the transaction may go
    /// on, and usually makes an output of it that says it failed.
    #[error("the merge into key {key} is refused")]
    Refused {
        /// The key, as it prints itself.
        key: String,
    },
    /// The savepoint was released, or a savepoint around it was rolled back. Nothing was changed.
    #[error("the savepoint is no longer open")]
    SavepointClosed,
    /// The state below the block could not be read.
    #[error(transparent)]
    Base(#[from] kv::Error),
}
