//! The executor against sequential execution: `cargo bench --bench executor -- [--turns N] [PART OF A ROW'S NAME]...`.
//!
//! Each row gives, for every way to execute it, how much faster than sequential it is (median, and the 10th and 90th
//! percentile), wall and processor time a transaction, executions a transaction, the share of runs at the frontier, and of
//! the workers' time asleep. “Shared” is without the switch that leaves short transactions to one thread, and one thread to
//! sequential execution, “fixed” without the adaptive window as well.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that cannot run ends")]
#![allow(unreachable_pub, reason = "a benchmark has no outside")]

mod measure;
mod memory;
mod recording;
mod workload;

use cachekv::executor::{Config, RunAhead};
use measure::{Row, Way, run};
use std::time::Duration;
use workload::{Work, configured, held_up, scans, transfers};

/// Who executes a block allocates on every thread and gives back on another. The system's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every thread works from the block's begin.
fn shared(threads: usize, window: RunAhead) -> Config {
    let mut config = Config::default();
    (config.threads, config.window, config.shared_from) = (threads, window, Duration::ZERO);
    config
}

fn standard(threads: usize) -> Config {
    let mut config = Config::default();
    config.threads = threads;
    config
}

fn rows() -> Vec<Row> {
    let micros = |micros| Duration::from_micros(micros);
    let row = |name: String, block, accounts, compute| Row { name, block, accounts, compute };
    let mut rows = Vec::new();
    for compute in [0, 10] {
        for len in [1_000, 10_000] {
            for accounts in [2, 10, 100, 1_000, 10_000] {
                let name = format!("transfers/{compute} µs/block {len}/accounts {accounts}");
                rows.push(row(name, transfers(len, accounts), accounts, micros(compute)));
            }
        }
    }
    let block = 10_000;
    rows.push(row("counter/merge/10 µs".into(), vec![Work::Count; block], 1, micros(10)));
    rows.push(row("counter/read and write/10 µs".into(), vec![Work::Bump; block], 1, micros(10)));
    for compute in [0, 10] {
        rows.push(row(format!("walks/{compute} µs"), scans(block as u64, 10_000), 10_000, micros(compute)));
        rows.push(row(format!("parameters/{compute} µs"), configured(block as u64), 10_000, micros(compute)));
    }
    rows.push(row("held up/10 µs/block 250".into(), held_up(250), 10_000, micros(10)));
    for nanos in [250, 500, 750, 1_000, 1_500, 2_000, 4_000] {
        let name = format!("smallest/{nanos} ns");
        rows.push(row(name, transfers(block as u64, 10_000), 10_000, Duration::from_nanos(nanos)));
    }
    rows
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut turns = 10;
    if let Some(at) = arguments.iter().position(|argument| argument == "--turns") {
        turns = arguments.get(at + 1).and_then(|number| number.parse().ok()).expect("a number of turns");
        arguments.drain(at..at + 2);
    }
    if arguments.iter().any(|argument| argument == memory::ALONE) {
        return memory::alone();
    }
    let ways = [
        Way::new("1 thread", standard(1)),
        Way::new("1, shared", shared(1, RunAhead::Adaptive)),
        Way::new("2 threads", standard(2)),
        Way::new("2, shared", shared(2, RunAhead::Adaptive)),
        Way::new("2, fixed", shared(2, RunAhead::Fixed)),
    ];
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|part| name.contains(part.as_str()));
    for row in rows() {
        if wanted(&row.name) {
            run(&row, &ways, turns);
        }
    }
    if wanted("memory") {
        memory::run();
    }
    if wanted("recording") {
        recording::run(turns);
    }
}
