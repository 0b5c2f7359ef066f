//! Small blocks, in parallel against sequential execution.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/blocks/mod.rs"]
mod blocks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    blocks::run(data);
});
