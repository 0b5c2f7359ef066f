//! The files of an Ethereum block.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/ethereum_json/mod.rs"]
mod ethereum_json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ethereum_json::run(data);
});
