//! The state store under an optimistic parallel executor.
//!
//! # Before using
//!
//! * The state is ordered keys and values in memory or in an embedded store; the speculative versions of a block are in
//!   memory until the block ends, and are dropped after it.
//! * Transactions have to be deterministic. They may be executed several times, on answers that no serial order gives;
//!   only the last execution counts.
//! * `K` is `Ord + Hash + Clone`, `V` is `Clone + PartialEq`, both `Debug + Send + Sync + 'static`. Make them cheap to
//!   clone: `bytes::Bytes`, an `Arc`, or something small.
//!
//! # The rooms
//!
//! | room | what it gives |
//! |---|---|
//! | [`kv`] | the contracts [`KvRead`](kv::KvRead) and [`KvStore`](kv::KvStore), batches, the merge iterator, stores |
//! | [`cachekv`] | [`Store`](cachekv::Store): writes buffered over a parent, snapshots and iterators of one cut, atomic flush |
//! | [`multiversion`] | [`TxView`](multiversion::TxView): what a transaction executes against; merge operators |
//! | [`executor`] | [`BlockExecutor`](executor::BlockExecutor): blocks in parallel, equal to sequential execution |
//! | `remote` | one block over several processes, with the result of one (features `remote`, `grpc`) |
//! | `restore` | authenticated state: a Merkle root a block, proofs, snapshots in verified chunks (feature `restore`) |
//! | `evm` | Ethereum blocks through `revm` (feature `evm`) |
//! | [`report`] | statistics as tables; a block as a picture |
//!
//! A block runs over a snapshot and gives one [`WriteBatch`](kv::WriteBatch); committing it to a store, a cache layer or
//! nothing at all is the caller's line of code. [`BlockExecutor`](executor::BlockExecutor) has an example.
//!
//! # Panics and poison
//!
//! The library does not panic on data: what a file, a store or a transaction gives it that is wrong, it answers with an
//! error. Code of its users may panic, at any call: a key's or value's `Ord`, `Hash`, `Clone` or `PartialEq`, a parent store
//! and its states, a merge operator, a transaction, a hook. (Not a `Drop`; and nothing here holds under `panic = "abort"`.)
//!
//! * **Nothing is poisoned.** No lock stays taken; other threads go on, and so may the one that panicked.
//! * **What the panic goes through is done or not done**: a write, a batch, a discard, for every reader alike and for good.
//!   A flush loses nothing: the parent has the batch or not, and the next flush commits it, again if it has.
//! * **A snapshot shows what it showed. An iterator ends**, rather than go on without an entry.
//! * **A panic in a block is the block's error**, [`Cause::Panicked`](executor::Cause::Panicked) with the committed prefix,
//!   if it happens in a run that counts; in one that is discarded it is nothing. The executor goes on with the next block.
//! * **A panic out of a view is to be let through** by the transaction, which may not have recorded what it saw.
//!
//! What the embedded database asserts about a damaged file comes back as an error too, after the panic hook has been told.
//!
//! # Features
//!
//! `redb`: the embedded store. `restore`: authenticated state. `evm`: Ethereum blocks. `remote`: blocks over several
//! shards; `grpc`: over several machines. `cli`: the program (default). No feature changes what another does.

// What can panic, or be cut off, has a reason beside it. In a test it is a failure like others.
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::missing_panics_doc,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unreachable
    )
)]

// These compute on what comes from outside: sums that overflow need a reason too.
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod cachekv;
#[cfg(feature = "evm")]
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod evm;
pub mod executor;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod kv;
#[cfg(all(test, any(kv_loom, kv_shuttle)))]
#[path = "../loom_tests/mod.rs"]
mod loom_tests;
pub mod multiversion;
#[cfg(feature = "remote")]
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
pub mod remote;
pub mod report;
#[cfg(feature = "restore")]
pub mod restore;
mod sync;

/// The keys and values of the embedded store, and the everyday ones.
pub use bytes;

/// The examples of the readme, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
