//! Models of the store's protocols, checked over all their interleavings by loom.
//!
//! Built only under the private cfg `kv_loom`; `loom_tests/run` fixes the bounds. Each model is two or three threads and one
//! claim, and calls the library as it is.

#![cfg(kv_loom)]

mod cachekv;

/// Explores `model` up to the bound on preemptions.
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}
