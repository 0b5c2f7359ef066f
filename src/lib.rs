//! The state store under an optimistic parallel executor.

#[cfg(feature = "evm")]
pub mod evm;
pub mod kv;
mod sync;
