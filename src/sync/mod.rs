//! The one door to atomics, locks, condition variables, the snapshot cell, the insert-only set and the append-only list.
//!
//! Every other file takes these from here, none from `std::sync`, `parking_lot`, `arc_swap`, `crossbeam_skiplist`, `boxcar`:
//! under the private cfgs `kv_loom` and `kv_shuttle` the same names are those of [loom], which tries every interleaving of a
//! small model, and of [shuttle], which tries random schedules of whole blocks. The protocols built on them are checked as
//! they are. The cell, the set and the list stand on libraries whose insides no checker sees: there each is **a model of its stated
//! contract**, which shows no more than the contract promises (an old value, where nothing forbids it, is shown too). Under
//! `kv_tsan` they are the real ones for a thread sanitizer.
//!
//! [loom]: https://docs.rs/loom
//! [shuttle]: https://docs.rs/shuttle

#[cfg(any(kv_loom, kv_shuttle))]
mod model;
#[cfg(not(any(kv_loom, kv_shuttle)))]
mod real;
#[cfg(kv_tsan)]
mod sanitized;

#[cfg(any(kv_loom, kv_shuttle))]
pub(crate) use model::*;
#[cfg(not(any(kv_loom, kv_shuttle)))]
pub(crate) use real::*;

/// A value with cache lines of its own, so that whoever changes it disturbs nobody who reads its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
