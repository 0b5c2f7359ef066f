//! The fuzz targets on stable: each runs its committed corpus and some seeded random inputs.
//!
//! The bodies are those that `cargo fuzz` runs (`fuzz/README.md`). The seed is drawn anew each time and printed;
//! `CACHEKV_FUZZ_SEED` replays one. An input that fails is written to the target directory, to be run again, and to be
//! kept as a regression in `fuzz/corpus`.

mod blocks;
mod cachekv_ops;
#[cfg(feature = "evm")]
mod ethereum_json;
#[cfg(feature = "redb")]
mod redb_bytes;
#[cfg(feature = "remote")]
mod remote_packets;
#[cfg(feature = "restore")]
mod restore_bytes;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// The longest random input.
const LONGEST: usize = 2048;

/// Runs `target` on its corpus and on `inputs` random inputs; every event must have happened.
fn smoke(name: &str, inputs: usize, events: &[&str], target: fn(&[u8]) -> u32) {
    let mut met = 0;
    let mut kept: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name))
        .map(|folder| folder.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default(); // a packaged crate has none
    kept.sort();
    for file in &kept {
        met |= checked(name, &format!("{}", file.display()), &fs::read(file).unwrap(), target);
    }
    let seed = std::env::var("CACHEKV_FUZZ_SEED")
        .map_or_else(|_| RandomState::new().hash_one(name), |seed| seed.parse().unwrap());
    println!("{name}: {} kept inputs, {inputs} random ones of CACHEKV_FUZZ_SEED={seed}", kept.len());
    let mut random = Random(seed);
    for n in 0..inputs {
        met |= checked(name, &format!("seed {seed}, input {n}"), &random.bytes(), target);
    }
    let never: Vec<_> =
        events.iter().enumerate().filter(|(at, _)| met >> at & 1 == 0).map(|(_, event)| event).collect();
    assert!(never.is_empty(), "{name} never met: {never:?}");
}

/// Runs `target` on `input`; if it fails, the input is kept where it can be found.
fn checked(name: &str, what: &str, input: &[u8], target: fn(&[u8]) -> u32) -> u32 {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        drop(fs::write(&file, input));
        eprintln!("{name} failed on {what}; the input is in {}", file.display());
        resume_unwind(panic)
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Some bytes, short ones as likely as long ones.
    fn bytes(&mut self) -> Vec<u8> {
        let longest = LONGEST >> (self.next() % 8);
        let len = self.next() as usize % (longest + 1);
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

#[test]
fn stacks_of_stores() {
    smoke("cachekv_ops", 2000, cachekv_ops::EVENTS, cachekv_ops::run);
}

#[test]
fn blocks_of_transactions() {
    smoke("blocks", 1500, blocks::EVENTS, blocks::run);
}

#[cfg(feature = "evm")]
#[test]
fn files_of_ethereum_blocks() {
    smoke("ethereum_json", 4000, ethereum_json::EVENTS, ethereum_json::run);
}

#[cfg(feature = "redb")]
#[test]
fn damaged_files() {
    smoke("redb_bytes", 300, redb_bytes::EVENTS, redb_bytes::run);
}

#[cfg(feature = "restore")]
#[test]
fn chunks_and_other_bytes_of_a_snapshot() {
    smoke("restore_bytes", 3000, restore_bytes::EVENTS, restore_bytes::run);
}

#[cfg(feature = "remote")]
#[test]
fn packets_and_messages() {
    smoke("remote_packets", 300, remote_packets::EVENTS, remote_packets::run);
    remote_packets::shares_end();
}
