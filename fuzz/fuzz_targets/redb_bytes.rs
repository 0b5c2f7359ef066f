//! Damage to the file of an embedded store.

#![no_main]

#[allow(dead_code, reason = "the events are for the test")]
#[path = "../../tests/it/fuzz/redb_bytes.rs"]
mod redb_bytes;

/// The fuzzer's hook ends the process at every panic. But the database asserts on what it finds in a damaged file, and the
/// store makes errors of that: such a panic is a find only if it comes out of the store, which ends the process as well.
fn pass_over_the_databases_panics() {
    let ends_the_process = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let inside =
            panic.location().is_some_and(|at| at.file().contains("/redb-") || at.file().starts_with("/rustc/"));
        if !inside {
            ends_the_process(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(
    init: pass_over_the_databases_panics(),
    |data: &[u8]| {
        redb_bytes::run(data);
    }
);
