//! The program under clocks that jump.
//!
//! Every wait of the library is by the monotonic clock, which the system never sets. The wall clock, which it does, is only
//! printed: here it jumps two hours at every look, in the coordinator and in each shard.

use super::cli::{command, state, twin::Twin};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library that makes it jump, or `None` where no compiler is to be had.
fn preloaded() -> Option<PathBuf> {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preloaded-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cli_clocks/preloaded.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    let made = rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&library).arg(&source).output();
    let made = made.ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(library)
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing_over_shards() {
    let Some(library) = preloaded() else {
        return eprintln!("skipped: there is no rustc to make a clock that jumps with");
    };
    let dir = tempfile::tempdir().unwrap();
    let asked = dir.path().join("asked");
    let args = "--db it --accounts 300 --seed 5 --txns 200 --readers 0 --threads 1 --blocks 6 --shards local:2 --json";
    let mut program = command(dir.path(), args);
    let done = program.env("LD_PRELOAD", &library).env("WALL_CLOCK_ASKED", &asked).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    drop(std::fs::remove_file(&library));
    assert!(done.status.success(), "{complained}");
    assert!(!complained.contains("panicked"), "{complained}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["agree"], &json["shards"]["sharded_blocks"]), (&true.into(), &6.into()), "{json}");
    assert!(asked.exists(), "nobody asked for the time of day: the clock was not seen to jump");
    let mut twin = Twin::new(5, 300);
    twin.advance(6, 200);
    assert_eq!(state(&dir.path().join("it")), twin.state);
}
