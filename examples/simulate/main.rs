//! More cores than there are: predicts how fast blocks would be executed on up to 64 cores, and chooses between policies.
//!
//! ```text
//! cargo run --release --example simulate --features evm [-- --turns N --steps A,B,C,D,E,F,G,H]
//! ```
//!
//! The library's own scheduler is driven in virtual time: with what the executor's steps take on this machine, with what
//! each transaction takes, and with what it reads and writes. **What it prints for more threads than the machine has is a
//! prediction.** Beside it stand, for one thread and two, real runs of the same blocks and how far off the prediction is.
//! The steps are measured in processor time, or given (in the order in which they are printed), to compare policies on a
//! machine that others use. It knows nothing of memory bandwidth, of several sockets, and of what a cache line costs that more than two cores want.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "an instrument that cannot go on ends"
)]
#![allow(unreachable_pub, reason = "an example has no outside")]

mod block;
mod engine;
#[cfg(feature = "evm")]
mod ethereum;
#[path = "../../benches/executor/measure.rs"]
#[allow(dead_code, reason = "of the benchmark's clocks one is used")]
mod measure;
mod production;
mod record;
#[path = "../../benches/executor/workload.rs"]
#[allow(dead_code, reason = "of the benchmark's blocks some are used")]
mod workload;

/// Names under which the scheduler's files know their neighbours.
mod sync {
    pub use parking_lot::Mutex;
    pub use std::sync::Arc;
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// Cache lines are not simulated.
    #[derive(Debug, Default)]
    pub struct Apart<T>(pub T);

    impl<T> std::ops::Deref for Apart<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }
}
mod multiversion {
    pub type TxIndex = u32;
    pub type Incarnation = u32;
}

use block::{Tx, critical_path, total};
use engine::{Machine, Steps, simulate};
use production::window::RunAhead;
use std::time::Duration;

const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const POLICIES: [(RunAhead, &str); 2] = [(RunAhead::Adaptive, "adaptive"), (RunAhead::Fixed, "fixed")];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |name| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let turns = given("--turns").map_or(11, |number| number.parse().expect("a number of turns"));
    let steps = given("--steps").map_or_else(record::steps, |text| {
        let step = |text: &str| text.parse().expect("eight numbers of nanoseconds, with commas between them");
        let steps: Vec<u64> = text.split(',').map(step).collect();
        let [at_frontier, in_advance, commit, check, shared, look, call, wake] = steps[..] else {
            panic!("eight numbers")
        };
        Steps { at_frontier, in_advance, commit, check, shared, look, call, wake }
    });
    println!("steps, in ns: {steps:?}\n");
    grid(steps, turns);
    #[cfg(feature = "evm")]
    ethereum_blocks(steps, turns);
}

fn heading(what: &str) {
    let threads: Vec<_> = THREADS.iter().map(|threads| format!("{threads:>14}")).collect();
    println!("{what}: PREDICTED speed-up over sequential execution (executions a transaction), by threads");
    println!("{:<22} {:<9}{}   bound", "", "", threads.concat());
}

/// Predicts `block` and prints it; the speed-up of the adaptive window at one thread and two.
fn predict(name: &str, block: &[Tx], steps: Steps) -> [f64; 2] {
    let mut low = [0.0; 2];
    for (window, policy) in POLICIES {
        let mut line = format!("{name:<22} {policy:<9}");
        for threads in THREADS {
            let outcome = simulate(block, Machine { workers: threads, window, run_ahead: 64, steps });
            let gain = total(block) as f64 / outcome.time as f64;
            line += &format!("{gain:>7.2} ({:4.2})", outcome.executions as f64 / block.len() as f64);
            if window == RunAhead::Adaptive && threads <= 2 {
                low[threads - 1] = gain;
            }
        }
        println!("{line}   {:.1}", total(block) as f64 / critical_path(block) as f64);
    }
    low
}

fn grid(steps: Steps, turns: usize) {
    let mut checks = Vec::new();
    for micros in [1, 10] {
        heading(&format!("transfers of {micros} µs, block of 2,000"));
        for accounts in [2, 10, 100, 1_000, 10_000] {
            let grid = record::Grid::transfers(2_000, accounts, Duration::from_micros(micros));
            let name = format!("{accounts} accounts");
            let predicted = predict(&name, &grid.block, steps);
            let sequential = grid.sequential(turns);
            for threads in [1, 2] {
                let (wall, executions) = grid.real(threads, cachekv::executor::RunAhead::Adaptive, turns);
                let name = format!("{micros} µs, {accounts} accounts, {threads} threads");
                checks.push((name, predicted[threads - 1], sequential / wall, executions));
            }
        }
        println!();
    }
    compare(&checks);
}

fn compare(checks: &[(String, f64, f64, f64)]) {
    println!("against real runs on this machine: predicted, measured, how far off");
    for (name, predicted, real, executions) in checks {
        let off = (predicted / real - 1.0) * 100.0;
        println!("{name:<40} {predicted:>6.2} {real:>6.2} {off:>+6.0} %   (executions {executions:.2})");
    }
    println!();
}

#[cfg(feature = "evm")]
fn ethereum_blocks(steps: Steps, turns: usize) {
    use cachekv::evm::store;
    use cachekv::executor::execute_sequentially;
    use cachekv::kv::KvStore;
    let given = std::env::var_os("CACHEKV_ETHEREUM").map(std::path::PathBuf::from);
    let folder = given.unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ethereum"));
    if !folder.join("blocks").is_dir() {
        return println!("SKIPPED: no Ethereum blocks in {}; set CACHEKV_ETHEREUM to their folder", folder.display());
    }
    heading("Ethereum blocks");
    let mut checks = Vec::new();
    for block in ethereum::read(&folder).expect("the blocks can be read") {
        let recorded = ethereum::record(&block).expect("the block can be executed");
        let name = format!("{} ({})", block.input().header.number, recorded.len());
        let predicted = predict(&name, &recorded, steps);
        let before = store(&block.input().pre_state).snapshot().expect("memory");
        let sequential = record::median(turns, || {
            drop(execute_sequentially(&before, block.transactions(), &block, None).expect("it can be executed"));
        });
        for threads in [1, 2] {
            let executor = record::executor(threads, cachekv::executor::RunAhead::Adaptive);
            let mut executions = 0;
            let wall = record::median(turns, || {
                let done = executor.execute(&before, block.transactions(), &block).expect("it can be executed");
                executions += done.stats.executions;
            });
            let executions = executions as f64 / (turns * recorded.len().max(1)) as f64;
            checks.push((format!("{name}, {threads} threads"), predicted[threads - 1], sequential / wall, executions));
        }
    }
    println!();
    compare(&checks);
}
