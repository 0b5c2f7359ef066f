//! Models of the crate's protocols, two or three threads and one claim each, checked over their interleavings by loom; and
//! whole blocks under random schedules, by shuttle.
//!
//! Part of the crate's own test build, because what is claimed of schedulers, chains and locks is not public: each room
//! takes its file from here as its module `models`. The code under test is the library's own; only [`crate::sync`] gives
//! the checker's locks and atomics instead of the real ones, and for the snapshot cell and the insert-only set models of
//! their contracts. Maps and hash index are the real ones, and take their steps whole: their own races are not seen here.
//!
//! What loom 0.7 misses, so that a model has to be laid out for it (each was seen by a mutation that no model noticed):
//!
//! * It remembers of an atomic the last access alone. A thread that looks at it and then changes it hides behind its own
//!   look what others have looked at before. So a model does the looking (a view that takes the time of its beginning)
//!   before its threads begin.
//! * It orders the users of a lock by their acquisitions, and has no reason to let one try a lock while another holds it:
//!   see `TriedRwLock` in `crate::sync`.
//! * After a pause (`yield_now`) it shows a thread nothing older than what the thread has seen or made itself.
//! * Its locks have one order for all, and `SeqCst` is no more than acquire and release.

/// Explores every interleaving of `model` up to the bound on preemptions that `loom_tests/run` sets, and prints how many
/// that was.
#[cfg(kv_loom)]
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    check(loom::model::Builder::new(), model);
}

/// The same with a bound of its own, for a model of more steps.
#[cfg(kv_loom)]
pub(crate) fn explore_within(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    check(builder, model);
}

#[cfg(kv_loom)]
fn check(builder: loom::model::Builder, model: impl Fn() + Sync + Send + 'static) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    // Of the model checker's outside, so not one of its own.
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or("a model").to_owned();
    println!("{name}: {} executions", executions.load(Ordering::Relaxed));
}
