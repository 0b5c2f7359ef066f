//! The embedded store: one file, atomic durable commits, snapshot reads.
//!
//! The file is a redb database with two tables: the entries, and a meta table that says that the file is ours and in
//! which format. Two things are added to what redb gives. Nothing is written to a file before it has been recognised
//! (the gate). And redb's assertions may fail on a damaged file, so every call that reads the file turns such a panic
//! into the error it stands for (`guarded`).

mod file;
mod gate;
mod open;
mod options;
mod snapshot;
mod store;

pub use options::RedbOptions;
pub use snapshot::{RedbIter, RedbSnapshot};
pub use store::RedbStore;
