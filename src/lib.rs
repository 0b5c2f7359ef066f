//! The state store under an optimistic parallel executor.

pub mod kv;
mod sync;
