//! One block over several shards: equal to executing it here, or an error in time and a right next block.

/// Blocks over shards against the oracle, under faults.
mod differential;
/// Shards that are about to stop.
mod draining;
/// What is left behind: nothing.
#[cfg(feature = "grpc")]
mod endurance;
/// Shards behind real sockets.
#[cfg(feature = "grpc")]
mod grpc;
/// Transactions that can be sent, and their oracle.
mod machine;
/// Shards that are processes, killed, stopped and started again.
#[cfg(feature = "grpc")]
mod processes;
/// Between a coordinator and a shard.
#[cfg(feature = "grpc")]
mod proxy;
/// Coordinator and shards in one process.
mod rig;
/// What happens at each step of a block.
#[cfg(feature = "grpc")]
mod steps;
/// Messages that pass.
#[cfg(feature = "grpc")]
mod wiretap;
