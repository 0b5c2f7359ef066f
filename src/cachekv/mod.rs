//! The cache-wrapped store: writes buffered over a parent, read as one immutable state.
//!
//! In come single writes and whole batches; out go snapshots and iterators, and, by [`flush`](Store::flush), one atomic
//! batch to the parent. The claim of the room:
//!
//! > **Every reader sees one cut**, parent's state and buffered writes taken together, **and nobody who reads waits for
//! > work**: not for a flush, not for a batch being applied, not for an iterator or the parent. The lock that readers and
//! > writers share is held for one look-up, one entry or one exchange of layers.
//!
//! ```text
//!            set · delete · commit                    get      snapshot · range
//!                     │                                │              │ one atomic load
//!   Store    ┌────────▼────────┐   published on demand │     ┌────────▼────────┐
//!            │ dirty           │ ──────────────────────┼───▶ │ Cut, immutable  │
//!            │ frozen, if any  │                       └───▶ │  overlays, flat │
//!            │ base            │ ◀─ the parent's snapshot    │  root           │
//!            └────────┬────────┘                             └─────────────────┘
//!                     │ flush: one batch, in key order
//!   parent   ┌────────▼────────┐
//!            │ any KvStore     │
//!            └─────────────────┘
//! ```
//!
//! * A [`Store`] is a `KvStore`, so layers nest. A [`Snapshot`] of the top one is a flat list of the layers that hold
//!   something over one root: empty layers cost nothing, at any depth.
//! * The **base** is the parent's snapshot, renewed by `flush`, `refresh` and `discard`, and by nothing else: what others
//!   write to the parent in between does not show.
//! * [`DynStore`] is any store behind one type, for stacks whose depth is known only at run time.
//!
//! The files, each using those before it: `cut` (one state), `iter` (the walk over it), `snapshot`, `layers` (how writes become a cut:
//! all locks and atomics of the room but one), `store` and `flush` (the store), `dynamic`.

mod cut;
mod dynamic;
mod flush;
mod iter;
mod layers;
#[cfg(all(test, kv_loom))]
#[path = "../../loom_tests/cachekv/mod.rs"]
mod models;
mod snapshot;
mod store;

pub use dynamic::DynStore;
pub use iter::Iter;
pub use snapshot::Snapshot;
pub use store::Store;
