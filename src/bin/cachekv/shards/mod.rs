//! Blocks over several shards: `cachekv shard`, and `--shards` of the commands that execute blocks.
//!
//! * `tls`, `logs`, `signals`, `metrics`: what a service and its operator need. `local`: shards of this process's own.
//! * `workloads`, `ethereum`: the machines, so that their transactions can be sent. `observe`: what transactions touch.
//! * `serve`: the shard. `fleet`: the coordinator.

#[cfg(feature = "evm")]
pub(crate) mod ethereum;
pub(crate) mod fleet;
mod local;
mod logs;
mod metrics;
#[cfg(feature = "evm")]
pub(crate) mod observe;
pub(crate) mod serve;
pub(crate) mod signals;
mod tls;
pub(crate) mod workloads;
