//! The speculative state of one block.
//!
//! * Every key that the block touches has a slot with a **version chain**: what each transaction wrote, in block order. A
//!   key is interned once; from then on a number stands for it. An ordered directory lists the keys that were written, from
//!   the first range that is walked on.
//! * A transaction executes against a [`TxView`]: its own writes, then the highest version below it, then the state
//!   before the block. The view records what was observed (read set, iterate set) and buffers what is written.
//! * **An execution's result counts only if its observations still hold** when everything before it is committed. That
//!   check is made by version first, by value where versions differ.
//!
//! ```text
//!           TxView ──── read set, iterate set ────▶ validation
//!         get │ range                                   │
//!    ┌────────┴─────────┐                               │
//!    ▼                  ▼                               ▼
//!  slots ──▶ slot ◀── directory          does each slot still answer so?
//!             │ chain: 2:Put 5:Merge 9:Estimate
//!             ▼
//!           base (a snapshot; each key read once a block)
//! ```
//!
//! What this room does not do: decide who runs, when, and what commits. That is the executor's.

mod arena;
mod buffer;
mod chain;
mod directory;
mod error;
mod frontier;
mod iterate_set;
mod merge_operator;
#[cfg(all(test, kv_loom))]
#[path = "../../loom_tests/multiversion/mod.rs"]
mod models;
mod read_set;
mod seen;
mod sequential;
mod settlement;
mod slot;
mod slots;
mod small_map;
mod store;
#[cfg(test)]
mod tests;
mod validate;
mod version;
mod view;
mod view_iter;
mod write_set;

pub use error::ViewError;
pub use merge_operator::{MergeOperator, NoMerge};
pub use version::{Incarnation, TxIndex, Version};
pub use view::TxView;
pub use view_iter::{ViewIter, ViewKeys};
pub use write_set::Savepoint;

pub(crate) use chain::{Operands, Write};
pub(crate) use directory::LANES;
pub(crate) use read_set::ReadSet;
pub(crate) use sequential::SequentialState;
pub(crate) use settlement::Settlement;
pub(crate) use slot::Unsettled;
pub(crate) use store::{MultiVersionStore, Written};
pub(crate) use validate::{Conflict, validate};
pub(crate) use view::{Finished, Taint};
