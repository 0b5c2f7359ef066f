//! The state store under an optimistic parallel executor.
//!
//! # Before using
//!
//! * The state is ordered keys and values in memory or in an embedded store; the speculative versions of a block are in
//!   memory until the block ends.
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
//! | `restore` | authenticated state: a Merkle root a block, proofs, snapshots in verified chunks (feature `restore`) |
//! | `evm` | Ethereum blocks through `revm` (feature `evm`) |
//! | [`report`] | statistics as tables |
//!
//! A block runs over a snapshot and gives one [`WriteBatch`](kv::WriteBatch); committing it to a store, a cache layer or
//! nothing at all is the caller's line of code. [`BlockExecutor`](executor::BlockExecutor) has an example.
//!
//! # Features
//!
//! `redb`: the embedded store. `restore`: authenticated state. `evm`: Ethereum blocks.
//! `cli`: the program (default). No feature changes what another does.

pub mod cachekv;
#[cfg(feature = "evm")]
pub mod evm;
pub mod executor;
pub mod kv;
#[cfg(all(test, any(kv_loom, kv_shuttle)))]
#[path = "../loom_tests/mod.rs"]
mod loom_tests;
pub mod multiversion;
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
