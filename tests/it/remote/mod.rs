//! One block over several shards: equal to executing it here, or an error in time and a right next block.

/// Blocks over shards against the oracle, under faults.
mod differential;
/// Transactions that can be sent, and their oracle.
mod machine;
/// Coordinator and shards in one process.
mod rig;
