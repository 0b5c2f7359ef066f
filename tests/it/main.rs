//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
#![allow(clippy::result_large_err, reason = "nothing here is hot")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

/// Transactions written as closures, with hand-shakes between them.
mod acts;
/// Which room may use which, and what every file looks like.
mod architecture;
/// The cache-wrapped store, promise by promise.
mod cachekv;
mod cachekv_copies;
/// What others' cache layers get wrong.
mod cachekv_failures;
/// The cache-wrapped store against ordered maps.
mod cachekv_model;
/// The cache-wrapped store under concurrent use.
mod cachekv_races;
/// The program: what it does, leaves behind and refuses.
#[cfg(feature = "cli")]
mod cli;
/// The program under clocks that jump.
#[cfg(all(
    feature = "cli",
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod cli_clocks;
/// The program on Ethereum blocks.
#[cfg(all(feature = "cli", feature = "evm"))]
mod cli_evm;
/// The program on authenticated state.
#[cfg(feature = "cli")]
mod cli_restore;
/// The program over several processes.
#[cfg(feature = "cli")]
mod cli_shards;
/// Every promise of a store, kept by every adapter.
mod contract;
/// Blocks in parallel against the oracle.
mod differential;
/// Blocks with failures in parallel against sequential execution.
mod differential_failures;
/// Contracts that are paid and pay, and what they have when nobody looks.
#[cfg(feature = "evm")]
mod evm_balances;
/// Real Ethereum blocks on the executor, against their headers and the reference.
#[cfg(feature = "evm")]
mod evm_blocks;
/// Contracts that come and go within a block.
#[cfg(feature = "evm")]
mod evm_creation;
/// What is special about some accounts and transactions.
#[cfg(feature = "evm")]
mod evm_edges;
/// Wrong Ethereum input gives errors that name their place.
#[cfg(feature = "evm")]
mod evm_input;
/// Blocks that cannot be: the error names the transaction, and what came before it stands.
#[cfg(feature = "evm")]
mod evm_invalid;
/// Small Ethereum blocks made by hand.
#[cfg(feature = "evm")]
mod evm_made;
/// Plain sequential execution of an Ethereum block, by code of its own.
#[cfg(feature = "evm")]
mod evm_oracle;
/// The reference against the headers of real blocks.
#[cfg(feature = "evm")]
mod evm_reference;
/// The executor: sizes, hooks, stops, panics, failures.
mod executor;
/// Keys and values whose own code panics.
mod executor_brittle;
/// Calling the executor: nested, at once, with a switch and a deadline.
mod executor_calls;
mod executor_company;
/// Transactions that are executed elsewhere.
mod executor_elsewhere;
/// Hostile transactions.
mod executor_hostile;
/// Blocks over a state that cannot be read.
mod faults_blocks;
/// Layers over stores that fail, at each call there is.
mod faults_layers;
/// Stores that fail or park on demand.
mod faulty;
/// The fuzz targets, each on its corpus and on random inputs.
mod fuzz;
/// The merge iterator against an ordered map.
mod merge;
/// Sequential execution over a `BTreeMap`, by code of its own.
mod oracle;
/// Panics in user code, wherever it is called.
mod panics;
/// A recorded block as a page and as a trace.
#[cfg(feature = "cli")]
mod picture;
/// The embedded store: opening, durability, damage.
#[cfg(feature = "redb")]
mod redb;
/// One block over several shards.
#[cfg(feature = "remote")]
mod remote;
/// Authenticated state, exported and restored.
#[cfg(feature = "restore")]
mod restore;
/// Transactions that compute what they write from what they read.
mod script;
/// What each worker did and when, against the statistics.
mod timeline;
/// A state that cannot read one key.
mod unreadable;
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
