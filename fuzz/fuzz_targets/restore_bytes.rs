//! Chunks, manifests, proofs, and the records of a restore and a tree.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/restore_bytes.rs"]
mod restore_bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    restore_bytes::run(data);
});
