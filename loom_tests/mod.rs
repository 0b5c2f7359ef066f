//! Models of the crate's protocols, two or three threads and one claim each, checked over their interleavings by loom; and
//! whole blocks under random schedules, by shuttle.
//!
//! Part of the crate's own test build, because what is claimed of schedulers, chains and locks is not public: each room
//! takes its file from here as its module `models`. The code under test is the library's own; only [`crate::sync`] gives
//! the checker's locks and atomics instead of the real ones, and for the snapshot cell a model of its contract. Maps,
//! skip list and hash index are the real ones, and take their steps whole: their own races are not seen here.

/// Explores every interleaving of `model` up to the bound on preemptions that `loom_tests/run` sets, and prints how many
/// that was.
#[cfg(kv_loom)]
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    // Of the model checker's outside, so not one of its own.
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&executions);
    loom::model(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or("a model").to_owned();
    println!("{name}: {} executions", executions.load(Ordering::Relaxed));
}
