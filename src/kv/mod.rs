//! Contracts: what a store is, what a snapshot of it is, and the one currency in which writes move between stores.
//!
//! * **Reading happens on snapshots, writing in batches, and that is all.** [`KvRead`] is an immutable state with point
//!   reads and ordered ranges; [`KvStore`] hands out such snapshots and applies a [`WriteBatch`] atomically.
//! * **One merge iterator.** [`MergeIter`] lays ordered sources over each other, newest first, from both ends. Every
//!   layer of this crate that shows writes over a parent state is made of it.
//! * **A snapshot is flat.** Whatever stack of layers it was taken from, a snapshot is a list of non-empty
//!   [`Overlay`]s over one root ([`KvRead::Root`]): an empty layer costs nothing, at any depth.
//!
//! [`MemStore`] is the reference store, `RedbStore` (feature `redb`) the embedded one. A missing key and an empty value
//! are different things everywhere in this crate.

mod batch;
mod dynamic;
mod error;
mod mem;
mod merge;
mod range;
#[cfg(feature = "redb")]
mod redb;
mod store;
mod walk;

#[cfg(feature = "redb")]
pub use self::redb::{RedbIter, RedbOptions, RedbSnapshot, RedbStore};
pub use batch::{Op, WriteBatch};
pub use dynamic::{DynIter, DynRead};
pub use error::{Error, OpenCause};
pub use mem::{MemIter, MemSnapshot, MemStore};
pub use merge::MergeIter;
pub use range::KeyRange;
pub use store::{Key, KvRead, KvStore, Overlay, Value};
pub use walk::MapWalk;
