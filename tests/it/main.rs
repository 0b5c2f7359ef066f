//! The integration tests, one binary.

/// Every promise of a store, kept by every adapter.
mod contract;
/// The merge iterator against an ordered map.
mod merge;
/// The embedded store: opening, durability, damage.
#[cfg(feature = "redb")]
mod redb;
