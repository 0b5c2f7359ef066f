//! The executor: parking, scheduler, ordered commit, cancellation, and whole small blocks.
//!
//! What a transaction leaves behind is a number where the scheduler is checked alone, and a `Relaxed` flag stands for the
//! data that an ordering is claimed of.
//!
//! Not seen: rayon's pool, whose place the models' own threads take; deadlines, since a model has no clock; the statistics'
//! counts. A persistent map is what the blocks run over, and takes its steps whole.

mod blocks;
mod cancel;
mod claims;
mod commit;
mod elsewhere;
mod gathering;
mod parking;
mod scheduler;
