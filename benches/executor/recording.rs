//! What it costs to record a block: with a timeline and without one in turn, in one process, the order changing from turn to
//! turn; the medians of the ratios of one turn, of wall and of processor time.

use crate::measure::{cpu, median, snapshot};
use crate::workload::{Bench, transfers};
use cachekv::executor::{BlockExecutor, Config, Options};
use std::time::{Duration, Instant};

const BLOCK: u64 = 10_000;

/// Prints a line for each number of threads, of accounts and length of a transaction. `turns` after two that do not count.
pub fn run(turns: usize) {
    for threads in [1, 2] {
        let mut config = Config::default();
        (config.threads, config.shared_from) = (threads, Duration::ZERO); // else what is not recorded is executed sequentially
        let executor = BlockExecutor::with_config(config).expect("threads");
        for accounts in [10, 10_000] {
            for compute in [0, 1, 10] {
                row(&executor, accounts, Duration::from_micros(compute), turns);
            }
        }
    }
}

fn row(executor: &BlockExecutor, accounts: u64, compute: Duration, turns: usize) {
    let (snapshot, block, vm) = (snapshot(accounts), transfers(BLOCK, accounts), Bench { compute });
    let took = |record| {
        let (began, cpu_began) = (Instant::now(), cpu());
        let options = Options { record, ..Options::default() };
        let done = executor.execute_with(&snapshot, &block, &vm, options).expect("no transaction fails");
        assert_eq!(done.stats.timeline.is_some(), record);
        (began.elapsed().as_secs_f64(), cpu() - cpu_began) // the timeline is there yet: its end is the reader's
    };
    let (mut off, mut walls, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns + 2 {
        let (without, with) = if turn % 2 == 0 {
            let without = took(false);
            (without, took(true))
        } else {
            let with = took(true);
            (took(false), with)
        };
        if turn >= 2 {
            off.push(without.0);
            walls.push(with.0 / without.0);
            cpus.push(with.1 / without.1);
        }
    }
    println!(
        "recording/{} threads/accounts {accounts}/{compute:?}  {:.3} µs a transaction; recorded x{:.3}, cpu x{:.3}",
        executor.threads(),
        median(&mut off) * 1e6 / BLOCK as f64,
        median(&mut walls),
        median(&mut cpus),
    );
}
