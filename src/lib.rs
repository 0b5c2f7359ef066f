//! The state store under an optimistic parallel executor.

pub mod cachekv;
pub mod kv;
mod sync;
