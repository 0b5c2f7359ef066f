//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

/// Transactions written as closures, with hand-shakes between them.
mod acts;
/// Every promise of a store, kept by every adapter.
mod contract;
/// Blocks in parallel against the oracle.
mod differential;
/// Blocks with failures in parallel against sequential execution.
mod differential_failures;
/// The executor: sizes, hooks, stops, panics, failures.
mod executor;
/// Calling the executor: nested, at once, with a switch and a deadline.
mod executor_calls;
/// Transactions that are executed elsewhere.
mod executor_elsewhere;
/// The merge iterator against an ordered map.
mod merge;
/// Sequential execution over a `BTreeMap`, by code of its own.
mod oracle;
/// The embedded store: opening, durability, damage.
#[cfg(feature = "redb")]
mod redb;
/// Transactions that compute what they write from what they read.
mod script;
/// One answer wherever a key lives.
mod views_layers;
/// Merges: writes that are no reads.
mod views_merges;
/// Point reads: what they depend on.
mod views_points;
/// Ranges: what walks depend on.
mod views_ranges;
/// Savepoints.
mod views_savepoints;
