//! How rows are measured: every configuration of a row in turn, many times over, in one process, so that whatever the
//! machine does meanwhile it does to all of them; medians of the ratios of one turn.

use crate::workload::{Bench, Work};
use cachekv::executor::{BlockExecutor, Config, execute_sequentially};
use cachekv::kv::{KvStore, MemSnapshot, MemStore};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// One row: a block over so many accounts.
pub struct Row {
    pub name: String,
    pub block: Vec<Work>,
    pub accounts: u64,
    pub compute: Duration,
}

/// One way to execute it.
pub struct Way {
    pub name: &'static str,
    executor: BlockExecutor,
}

impl Way {
    pub fn new(name: &'static str, config: Config) -> Self {
        Self { name, executor: BlockExecutor::with_config(config).expect("threads") }
    }
}

/// What one way took in all its turns.
#[derive(Default)]
struct Taken {
    /// Sequential wall time over its own, a turn.
    ratios: Vec<f64>,
    wall: Vec<f64>,
    cpu: f64,
    executions: u64,
    frontier: u64,
    alone: u64,
    transactions: u64,
    parked: f64,
}

/// The processor time of all threads of this process, in seconds.
pub fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn snapshot(accounts: u64) -> MemSnapshot<u64, u64> {
    let store = MemStore::from_iter((0..accounts).map(|account| (account, 1_000_000)));
    store.snapshot().expect("memory")
}

/// Measures `row` in every way and prints a line for each. `turns` after two that do not count.
pub fn run(row: &Row, ways: &[Way], turns: usize) {
    let snapshot = snapshot(row.accounts);
    let vm = Bench { compute: row.compute };
    let mut baseline = Taken::default();
    let mut taken: Vec<Taken> = ways.iter().map(|_| Taken::default()).collect();
    let mut machine = Vec::new();
    for turn in 0..turns + 2 {
        let counts = turn >= 2;
        let (began, cpu_began) = (Instant::now(), cpu());
        execute_sequentially(&snapshot, &row.block, &vm, None).expect("no transaction fails");
        let sequential = began.elapsed().as_secs_f64();
        if counts {
            baseline.wall.push(sequential);
            baseline.cpu += cpu() - cpu_began;
            machine.push(independent());
        }
        for (way, taken) in ways.iter().zip(&mut taken) {
            let (began, cpu_began) = (Instant::now(), cpu());
            let done = way.executor.execute(&snapshot, &row.block, &vm).expect("no transaction fails");
            let wall = began.elapsed().as_secs_f64();
            if counts {
                taken.ratios.push(sequential / wall);
                taken.wall.push(wall);
                taken.cpu += cpu() - cpu_began;
                taken.executions += done.stats.executions;
                taken.frontier += done.stats.frontier_executions;
                taken.alone += done.stats.alone;
                taken.transactions += done.stats.transactions;
                taken.parked += done.stats.parked.as_secs_f64() / way.executor.threads() as f64;
            }
        }
    }
    let each = 1e6 / row.block.len() as f64;
    let base = median(&mut baseline.wall) * each;
    let (cpu, gain) = (baseline.cpu * each / turns as f64, median(&mut machine));
    println!("{}  (sequential {base:.3} µs, cpu {cpu:.3} µs; two independent loops x{gain:.2})", row.name);
    for (way, taken) in ways.iter().zip(&mut taken) {
        let (low, high) = (quantile(&mut taken.ratios, 0.1), quantile(&mut taken.ratios, 0.9));
        println!(
            "  {:<12} x{:.3} [{low:.2}, {high:.2}]  {:6.3} µs  cpu {:6.3} µs  executions {:.3}  at the frontier {:3.0} %  alone {:3.0} %  parked {:3.0} %",
            way.name,
            median(&mut taken.ratios),
            median(&mut taken.wall) * each,
            taken.cpu * each / turns as f64,
            taken.executions as f64 / taken.transactions.max(1) as f64,
            taken.frontier as f64 * 100.0 / taken.transactions.max(1) as f64,
            taken.alone as f64 * 100.0 / taken.transactions.max(1) as f64,
            taken.parked * 100.0 / taken.wall.iter().sum::<f64>(),
        );
    }
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * at) as usize).copied().unwrap_or(f64::NAN)
}

/// What two threads that share nothing gain over one, just now: the most that the machine has to give.
fn independent() -> f64 {
    let work = || crate::workload::compute(Duration::from_millis(3));
    let began = Instant::now();
    work();
    work();
    let one = began.elapsed();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    one.as_secs_f64() / began.elapsed().as_secs_f64()
}
