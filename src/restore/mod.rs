//! Authenticated state: a Merkle root for every block, proofs of what a state holds, and snapshots that are exported in
//! chunks and restored without ever being half there.
//!
//! * **[`StateTree`]** is a Jellyfish Merkle tree (that of the crate `jmt`, over SHA-256) over the entries of a store, kept in
//!   the store beside them and changed by the batch of each block, in the same commit. A [`Proof`] says what a key's value
//!   is, or that it has none, to whoever knows the root.
//! * **[`Exporter`]** cuts one version into chunks, in the order of the hashes of keys, each with a proof that it and all
//!   before it are right. [`export_to`] makes files of them.
//! * **[`Restorer`]** takes chunks in. Each is verified against a root that the caller trusts before anything of it is
//!   written; values, nodes and progress are one batch; the root and the mark of completion come last.
//!
//! ```text
//! verify ─▶ values, nodes, progress ─▶ ... ─▶ computed root = expected root ─▶ root, mark of completion
//!    │            one batch a chunk                        │                        one batch
//!    ▼                                                     ▼
//! refused: nothing was written                     refused: stays unfinished, and nobody may use it
//! ```
//!
//! With two stores, values are written first and the tree second, each with progress of its own, and a restore goes on from
//! the smaller.
//!
//! * `hash`, `codec`, `layout`, `node`: what is hashed, how records look and where they stand.
//! * `spine`: a tree built from left to right. `update`: the next version of a tree. `walk`: its leaves in order.
//! * `witness`, `proof`: what `jmt` is given to make proofs of. `tree`: the state tree.
//! * `chunk`, `manifest`, `export`, `directory`: snapshots and their files.
//! * `pipe`, `progress`, `stores`, `restorer`: taking them in.

mod chunk;
mod codec;
mod directory;
mod error;
mod export;
mod hash;
mod layout;
mod manifest;
#[cfg(all(test, kv_loom))]
#[path = "../../loom_tests/restore.rs"]
mod models;
mod node;
mod pipe;
mod progress;
mod proof;
mod restorer;
mod spine;
mod stores;
mod tree;
mod update;
mod walk;
mod witness;

pub use chunk::Chunk;
pub use directory::{Step, add_chunks_from, export_to, read_manifest, restore_from};
pub use error::{ChunkFault, Error, ManifestFault};
pub use export::{Cut, ExportedChunk, Exporter};
pub use hash::{Hash, NotAHash};
pub use layout::RESERVED;
pub use manifest::{ListedChunk, Manifest};
pub use progress::Parts;
pub use proof::Proof;
pub use restorer::{Restored, Restorer, Times};
pub use stores::Target;
pub use tree::{StateTree, TreeUpdate, check_finished};
