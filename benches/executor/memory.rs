//! What a block takes in memory: the process's own peak, above what it holds before the block, in a process of its own.

use crate::measure::snapshot;
use crate::workload::{Bench, transfers};
use cachekv::executor::{BlockExecutor, Config};
use std::time::Duration;

/// The argument by which the benchmark calls itself.
pub const ALONE: &str = "--memory-alone";

/// A line of the process's status, in KiB.
fn status(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    found.unwrap_or(f64::NAN)
}

/// Measures in this process.
pub fn alone() {
    let (block, vm) = (transfers(10_000, 10_000), Bench { compute: Duration::ZERO });
    let snapshot = snapshot(10_000);
    let mut config = Config::default();
    (config.threads, config.shared_from) = (2, Duration::ZERO); // else it would be sequential execution
    let executor = BlockExecutor::with_config(config).expect("threads");
    let before = status("VmRSS:");
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok(); // the peak begins anew
    drop(executor.execute(&snapshot, &block, &vm).expect("no transaction fails"));
    let peak = status("VmHWM:") - before;
    println!("memory/block 10000/accounts 10000");
    println!(
        "  the first block's peak above the snapshot: {:.1} MiB{}",
        peak / 1024.0,
        if reset { "" } else { " or less" }
    );
    let mut held = Vec::new();
    for _ in 0..1_000 {
        drop(executor.execute(&snapshot, &block, &vm).expect("no transaction fails"));
        held.push(status("VmRSS:") / 1024.0);
    }
    let most = |some: &[f64]| some.iter().copied().fold(0.0, f64::max);
    let (early, late) = (most(&held[..100]), most(&held[900..]));
    println!("  held after blocks 1 to 100 at most {early:.1} MiB, after blocks 901 to 1000 at most {late:.1} MiB");
}

/// Measures in a process of its own: what others have allocated and freed here would hide it.
pub fn run() {
    let program = std::env::current_exe().expect("it runs");
    let ended = std::process::Command::new(program).arg(ALONE).status().expect("it runs once more");
    assert!(ended.success(), "{ended}");
}
