//! Operations on a stack of stores, against ordered maps.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/cachekv_ops.rs"]
mod cachekv_ops;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    cachekv_ops::run(data);
});
