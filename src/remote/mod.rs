//! One block over several processes: a coordinator divides it between shards, and the result is that of executing it here.
//!
//! * **The serial order is the block's order.** A shard executes its transactions with the same executor over the same
//!   multiversion store; a write that it waits for is an estimate at its transaction's place until its outcome arrives.
//! * **Declarations decide no result.** Each declared write that crosses shards has exactly one outcome told, written or not;
//!   what a transaction touches beyond its declaration is found, and the block is executed unsharded.
//! * **Nothing is replaced under what is in flight.** Every message carries session, block and attempt. A view belongs to one
//!   of these, is created and closed; what comes for another finds nothing.
//! * **Every wait ends**: by its answer, by the end of its block, or by the block's deadline. A channel that is closed is a
//!   value. Nothing that a peer says is unwrapped, and no lock is held while sending or waiting.
//! * **Every thread is owned and joined.** Stopping may be asked for at any time, from anywhere, again.
//!
//! ```text
//!   Cluster ──▶ partition ──▶ coordinator ◀── state service (reads of the snapshot)
//!                                │ endpoint, link
//!                            transport            loses, repeats, delays, reorders, damages
//!                                │ link, endpoint
//!               registry ◀──  shard ──▶ runner ──▶ executor
//!                  └─▶ view, elsewhere ◀────────────┘
//! ```
//!
//! The link makes messages that come once and in order out of packets that do not; coordinator and link are state machines
//! without I/O. [`Network`] is the transport inside one process, with faults drawn from a seed: the simulator.
//!
//! Who waits for whom: a worker of a shard for an answer (its slot) or, put aside, for an outcome; the runner for a job; the
//! state service for a read; the endpoint for its mailbox; the caller of [`Cluster::execute`] for the reply. The endpoint,
//! which serves all others, waits for nobody.

mod attempt;
mod base;
mod block_view;
mod cluster;
mod coded;
mod coordinator;
mod counters;
mod crew;
mod endpoint;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
mod link;
mod live;
mod machine;
mod mailbox;
pub mod message;
#[cfg(all(test, kv_loom))]
#[path = "../../loom_tests/remote/mod.rs"]
mod models;
mod network;
mod packet;
mod partition;
mod peers;
mod shard;
mod share;
mod slot;
mod state_service;
mod state_view;
#[cfg(test)]
mod tests;
mod transport;

pub use block_view::ViewFailure;
pub use cluster::{BlockOptions, Cluster, ClusterConfig, ClusterHandle, Executed, How, RemoteResult};
pub use coded::Coded;
pub use counters::Counts;
pub use crew::StillRunning;
pub use error::{AttemptError, RemoteError, StartError};
#[cfg(feature = "grpc")]
pub use grpc::{DialConfig, GrpcDialer, GrpcListener, ListenConfig, Tls};
pub use link::LinkConfig;
pub use machine::RemoteVm;
pub use message::{BlockKey, ReadFailure, ShardFailure};
pub use network::{Faults, InProcess, Network};
pub use packet::VERSION;
pub use partition::{Access, Edge, Partition};
pub use shard::{Shard, ShardConfig};
pub use state_view::{RemoteIter, RemoteStateView};
pub use transport::{Peer, Receiver, Transport, TransportError};
