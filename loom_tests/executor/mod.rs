//! The executor: parking, scheduler, ordered commit, cancellation, and whole small blocks.
//!
//! What a transaction leaves behind is a number where the scheduler is checked alone, and a `Relaxed` flag stands for the
//! data that an ordering is claimed of.

mod blocks;
mod cancel;
mod commit;
mod elsewhere;
mod parking;
mod scheduler;
