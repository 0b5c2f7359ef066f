//! Who runs, and what commits: optimistic parallel execution of a block with the result of sequential execution.
//!
//! * Workers claim transactions in order and execute them against [views](crate::multiversion::TxView) that record what
//!   they observe. Nothing a run writes is seen by others before it is over.
//! * **Ordered commit alone decides.** Transaction *i* commits once everything below it has, and only if what its run
//!   observed still holds; else it runs again, then with everything below final: that run needs no check. So each
//!   transaction commits at the latest with its next run at the frontier, and no input can make a block run for ever.
//! * Everything else (estimates, waiting, early validation, hints) only saves work.
//! * Workers never block on another transaction. One that would is put aside; a worker without work sleeps.
//!
//! ```text
//!            claim in order ─▶ run on a view ─▶ publish ─▶ commit in order ─▶ hook
//!                  ▲               │ blocked, lost             │ no longer holds
//!                  └───────────────┴───────────────────────────┘
//! ```
//!
//! The algorithm is Block-STM's (Gelashvili et al., 2022), with validation once and in order at commit, early validation
//! by the writer that caused it, and blocked executions that free their worker.

mod block;
mod cancel;
mod commit;
#[cfg(all(target_os = "linux", not(any(kv_loom, kv_shuttle, kv_tsan))))]
mod cores;
mod effect;
mod elsewhere;
mod error;
mod fresh;
mod front;
mod gathering;
mod job;
mod judgement;
#[cfg(all(test, kv_loom))]
#[path = "../../loom_tests/executor/mod.rs"]
mod models;
mod output;
mod pace;
mod parking;
mod places;
mod pool;
mod queue;
mod scheduler;
mod sequential;
mod stats;
mod status;
mod timeline;
mod vm;
mod window;
mod worker;

pub use block::{BlockExecutor, Config, Options};
pub use cancel::CancelToken;
pub use effect::Effect;
pub use elsewhere::{Elsewhere, ResolveError};
pub use error::{BaseError, BlockError, BlockResult, Cause};
pub use output::BlockOutput;
pub use sequential::execute_sequentially;
pub use stats::{Aborts, BlockStats, Wait};
pub use timeline::{Activity, Event, Outcome, Reason, Timeline};
#[cfg(feature = "remote")]
pub(crate) use vm::Operand;
pub use vm::{Commit, OnCommit, Vm};
pub use window::RunAhead;
