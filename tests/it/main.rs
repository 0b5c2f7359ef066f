//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

/// Every promise of a store, kept by every adapter.
mod contract;
/// The merge iterator against an ordered map.
mod merge;
/// The embedded store: opening, durability, damage.
#[cfg(feature = "redb")]
mod redb;
