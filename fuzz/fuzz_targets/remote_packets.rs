//! Packets and messages, at a shard and at a coordinator.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/remote_packets.rs"]
mod remote_packets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    remote_packets::run(data);
});
