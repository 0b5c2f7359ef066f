//! The state store under an optimistic parallel executor.

pub mod cachekv;
#[cfg(feature = "evm")]
pub mod evm;
pub mod executor;
pub mod kv;
pub mod multiversion;
pub mod report;
mod sync;
