//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

/// The program: what it does, leaves behind and refuses.
#[cfg(feature = "cli")]
mod cli;
/// Every promise of a store, kept by every adapter.
mod contract;
/// Blocks in parallel against the oracle.
mod differential;
/// The merge iterator against an ordered map.
mod merge;
/// Sequential execution over a `BTreeMap`, by code of its own.
mod oracle;
/// The embedded store: opening, durability, damage.
#[cfg(feature = "redb")]
mod redb;
/// Transactions that compute what they write from what they read.
mod script;
