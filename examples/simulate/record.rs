//! Blocks to be simulated, and what the executor's steps take: recorded from real runs on this machine.

use crate::block::Tx;
use crate::engine::Steps;
use crate::measure::cpu;
use crate::workload::{Bench, Sum, Work, transfers};
use cachekv::executor::{
    BlockExecutor, Commit, Config, Effect, Elsewhere, Options, RunAhead, Vm, execute_sequentially,
};
use cachekv::kv::{KvStore, MemSnapshot, MemStore};
use cachekv::multiversion::{TxView, ViewError};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A block of the grid, as it is executed and as it is simulated.
pub struct Grid {
    pub work: Vec<Work>,
    pub compute: Duration,
    pub before: MemSnapshot<u64, u64>,
    pub block: Vec<Tx>,
}

impl Grid {
    /// Transfers between so many accounts, each with the mean cost of a sequential run.
    pub fn transfers(len: u64, accounts: u64, compute: Duration) -> Self {
        let work = transfers(len, accounts);
        let before = MemStore::from_iter((0..accounts).map(|account| (account, 1_000_000)));
        let before = before.snapshot().expect("memory");
        let mut grid = Self { work, compute, before, block: Vec::new() };
        let cost = (grid.lone_sequential() * 1e9) as u64 / len;
        let tx = |work: &Work| match *work {
            Work::Transfer(from, to) => {
                let keys = vec![from as u32, to as u32];
                Tx { cost, reads: keys.clone(), writes: keys, reads_first: true, left: false }
            }
            Work::Count | Work::Bump | Work::Scan(_) | Work::Configured(_) => unreachable!("transfers"),
        };
        grid.block = grid.work.iter().map(tx).collect();
        grid
    }

    /// The median time of sequential execution, in seconds.
    pub fn sequential(&self, turns: usize) -> f64 {
        let vm = Bench { compute: self.compute };
        median(turns, || drop(execute_sequentially(&self.before, &self.work, &vm, None).expect("no transaction fails")))
    }

    /// The median processor time of sequential execution, in seconds: what it takes where nobody else is.
    fn lone_sequential(&self) -> f64 {
        let vm = Bench { compute: self.compute };
        processor(9, || drop(execute_sequentially(&self.before, &self.work, &vm, None).expect("no transaction fails")))
    }

    /// The median processor time of the executor, in seconds, with a window of its full width.
    fn lone_real(&self, threads: usize) -> f64 {
        let (executor, vm) = (executor(threads, RunAhead::Fixed), Bench { compute: self.compute });
        processor(9, || drop(executor.execute(&self.before, &self.work, &vm).expect("no transaction fails")))
    }

    /// The median time of the executor, in seconds, and executions a transaction.
    pub fn real(&self, threads: usize, window: RunAhead, turns: usize) -> (f64, f64) {
        let executor = executor(threads, window);
        let vm = Bench { compute: self.compute };
        let mut executions = 0;
        let time = median(turns, || {
            let done = executor.execute(&self.before, &self.work, &vm).expect("no transaction fails");
            executions += done.stats.executions;
        });
        (time, executions as f64 / (turns * self.work.len()) as f64)
    }
}

/// One that takes no short cut: what it does is what is simulated.
pub fn executor(threads: usize, window: RunAhead) -> BlockExecutor {
    let mut config = Config::default();
    (config.threads, config.window, config.shared_from) = (threads, window, Duration::ZERO);
    BlockExecutor::with_config(config).expect("threads")
}

/// The median time of `act`, in seconds.
pub fn median(turns: usize, act: impl FnMut()) -> f64 {
    let began = Instant::now();
    middle(turns, || began.elapsed().as_secs_f64(), act)
}

/// The median processor time of `act`, in seconds: all its threads', and nobody else's.
fn processor(turns: usize, act: impl FnMut()) -> f64 {
    middle(turns, cpu, act)
}

fn middle(turns: usize, clock: impl Fn() -> f64, mut act: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..turns)
        .map(|_| {
            let began = clock();
            act();
            clock() - began
        })
        .collect();
    crate::measure::median(&mut times)
}

/// Runs all its transactions in advance of a first one that is executed elsewhere: the last of them lets it arrive.
struct InAdvance {
    bench: Bench,
    last: u32,
    elsewhere: Elsewhere<u64, u64, u64>,
    /// The processor time when the last was executed.
    executed: Mutex<f64>,
}

impl Vm for InAdvance {
    type Key = u64;
    type Value = u64;
    type Merge = Sum;
    type Transaction = Work;
    type Output = ();
    type Error = ViewError;

    fn execute(&self, work: &Work, view: &TxView<'_, u64, u64, Sum>) -> Result<(), ViewError> {
        self.bench.execute(work, view)?;
        if view.index() == self.last {
            *self.executed.lock() = cpu();
            self.elsewhere.resolve(0, &u64::MAX, Effect::NotWritten).expect("declared");
        }
        Ok(())
    }
}

/// What an execution in advance takes, and its commit, in nanoseconds.
fn in_advance(grid: &Grid) -> (f64, f64) {
    let len = grid.work.len();
    let mut config = Config::default();
    (config.threads, config.window, config.run_ahead) = (1, RunAhead::Fixed, len + 1);
    let executor = BlockExecutor::with_config(config).expect("threads");
    let mut taken: Vec<(f64, f64)> = (0..9)
        .map(|_| {
            let elsewhere = Elsewhere::new([(0, vec![u64::MAX])]);
            let bench = Bench { compute: Duration::ZERO };
            let vm = InAdvance { bench, last: len as u32, elsewhere: elsewhere.clone(), executed: Mutex::new(0.0) };
            let options = Options { elsewhere: Some(elsewhere), ..Options::default() };
            let began = cpu();
            let done = executor.execute_with(&grid.before, &grid.work, &vm, options).expect("no transaction fails");
            let ended = cpu();
            let executed = *vm.executed.lock();
            assert_eq!(done.stats.frontier_executions, 0);
            ((executed - began) * 1e9 / len as f64, (ended - executed) * 1e9 / len as f64)
        })
        .collect();
    taken.sort_by(|a, b| a.0.total_cmp(&b.0));
    taken[4]
}

/// Measures the steps, in processor time. What two threads cost each other is what a block takes on two beyond the same on
/// one.
pub fn steps() -> Steps {
    let apart = Grid::transfers(10_000, 10_000, Duration::ZERO); // so far apart that hardly any read is of this block
    let each = 1e9 / apart.work.len() as f64;
    let (sequential, lone) = (apart.lone_sequential() * each, apart.lone_real(1) * each);
    let (advance, commits) = in_advance(&apart);
    // Of what follows the executions, a part is neither check nor commit: the batch is gathered.
    let gathered = (commits / 2.0).min(lone - sequential);
    let commit = 60.0_f64.min(commits);
    let (call, wake) = waking();
    let common = Grid::transfers(10_000, 1_000, Duration::ZERO);
    let shared = (common.lone_real(2) - common.lone_real(1)) * each / 2.0;
    let nanos = |time: f64| time.max(0.0) as u64;
    Steps {
        at_frontier: nanos(lone - sequential - commit),
        in_advance: nanos(advance - sequential),
        commit: nanos(commit),
        check: nanos(commits - gathered - commit),
        shared: nanos(shared),
        look: 3_000,
        call,
        wake,
    }
}

/// What it takes to wake a thread up: for who calls, and until it is awake.
fn waking() -> (u64, u64) {
    let rounds = 200;
    let (answer, answers) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        for _ in 0..rounds {
            std::thread::park();
            answer.send(Instant::now()).expect("somebody listens");
        }
    });
    let (mut calls, mut wakes) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_micros(200));
        let began = Instant::now();
        sleeper.thread().unpark();
        calls.push(began.elapsed().as_nanos() as u64);
        let woken = answers.recv().expect("it answers each call");
        wakes.push(woken.saturating_duration_since(began).as_nanos() as u64);
    }
    sleeper.join().expect("it only sleeps");
    calls.sort_unstable();
    wakes.sort_unstable();
    (calls[rounds / 2], wakes[rounds / 2])
}

/// What each transaction of a block takes when they are executed one after the other: the least of some runs, in nanoseconds.
#[cfg_attr(not(feature = "evm"), expect(dead_code, reason = "the grid's cost the same each"))]
pub fn costs<V: Vm>(before: &MemSnapshot<V::Key, V::Value>, block: &[V::Transaction], vm: &V) -> Vec<u64> {
    let mut least = vec![u64::MAX; block.len()];
    for _ in 0..7 {
        let mut last = Instant::now();
        let mut hook = |commit: Commit<'_, V::Key, V::Value, V::Output>| {
            let now = Instant::now();
            let cost = &mut least[commit.index as usize];
            *cost = (*cost).min((now - last).as_nanos() as u64);
            last = now;
            ControlFlow::Continue(())
        };
        let done = execute_sequentially(before, block, vm, Some(&mut hook));
        assert!(done.is_ok(), "a block of the chain can be executed");
    }
    least
}
