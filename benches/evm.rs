//! Real Ethereum blocks, four ways: plain `revm` over its own hash-map database, this crate's sequential execution, and
//! the executor on one thread and on two. And twice sequentially at once, by two threads that share nothing but what they read:
//! what that gains (`copies`) is what the machine has for two threads at that moment, and the bound of what one block can gain.
//!
//! The ways take turns: a round runs every block in every way, forwards and then backwards, beginning with each way in turn, and
//! what is compared was measured in the same round. A turn is several runs in a row, by default three, and worth their mean: a node executes one
//! block after the other in the same way, and a core on which nothing ran while others had their turns begins slowly. Sequential execution runs twice a round, so that the table shows its own noise. Beside the
//! clock it reads the processor time of all threads, which a loaded machine disturbs less.
//!
//! ```text
//! cargo bench --features evm --bench evm -- [--rounds N] [--in-a-row N] [--block NUMBER]... [--way NAME]... [--shared]
//! ```
//!
//! `--shared` is without the switch that leaves short transactions to one thread, and one thread to sequential execution.
//!
//! The columns `ideal 2` and `ideal` are bounds: how many times as fast as sequential execution two workers, and as many as
//! one likes, could be if they knew every dependency beforehand and nothing had a cost (`evm/ideal.rs`). What was in whose
//! way at two threads is listed below the table.
//!
//! The blocks are read from `../shared/ethereum`, or from the folder that `CACHEKV_ETHEREUM` names.

#![allow(clippy::indexing_slicing, reason = "a benchmark that cannot run ends")]

#[path = "evm/ideal.rs"]
mod ideal;

use cachekv::evm::{Block, BlockFiles, BlockInput, Codes, StateKey, StateValue, store};
use cachekv::executor::{BlockExecutor, Config, Options, execute_sequentially};
use cachekv::kv::{KvStore, MemStore};
use cachekv::report::{Align, Table};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::{KECCAK_EMPTY, U256};
use revm::state::AccountInfo;
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ideal::{Ideal, ideal};

/// Who executes a block allocates on every thread and gives back on another. The system's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Snapshot = <MemStore<StateKey, StateValue> as KvStore>::Snapshot;
type Plain = CacheDB<EmptyDB>;

/// The ways a block is run, in the order of the table, but for the last. The second is the measure of the others.
const WAYS: [&str; 6] = ["revm", "sequential", "again", "1", "2", "copies"];
const REVM: usize = 0;
const SEQUENTIAL: usize = 1;
const AGAIN: usize = 2;
const ONE: usize = 3;
const TWO: usize = 4;
const COPIES: usize = 5;
/// A block, ready for each way.
struct Case {
    block: Block,
    before: Snapshot,
    plain: Plain,
}

/// What one run took, in nanoseconds, and how many executions it needed.
#[derive(Clone, Copy, Default)]
struct Run {
    wall: f64,
    cpu: f64,
    executions: f64,
}

/// How often executions were repeated over each key.
type Conflicts = BTreeMap<StateKey, u64>;

/// What is asked for on the command line.
struct Asked {
    rounds: usize,
    /// Runs a turn.
    in_a_row: u32,
    blocks: Vec<u64>,
    ways: Vec<usize>,
    shared: bool,
}

impl Asked {
    fn executor(&self, threads: usize) -> Result<BlockExecutor, Box<dyn Error>> {
        let mut config = Config::default();
        config.threads = threads;
        if self.shared {
            config.shared_from = Duration::ZERO;
        }
        Ok(BlockExecutor::with_config(config)?)
    }
}

fn asked() -> Result<Asked, Box<dyn Error>> {
    // Without cargo's `--bench`, which may stand anywhere, it is run as a test: once.
    let (rounds, in_a_row) = if std::env::args().any(|argument| argument == "--bench") { (30, 3) } else { (1, 1) };
    let mut arguments = std::env::args().skip(1);
    let mut asked = Asked { rounds, in_a_row, blocks: Vec::new(), ways: Vec::new(), shared: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--shared" => asked.shared = true,
            "--rounds" => asked.rounds = value()?.parse()?,
            "--in-a-row" => asked.in_a_row = value()?.parse::<u32>()?.max(1),
            "--block" => asked.blocks.push(value()?.parse()?),
            "--way" => {
                let name = value()?;
                asked.ways.push(WAYS.iter().position(|way| *way == name).ok_or_else(|| format!("no way {name}"))?);
            }
            _ => {} // what cargo passes to every benchmark
        }
    }
    if asked.ways.is_empty() {
        asked.ways = (0..WAYS.len()).collect();
    }
    Ok(asked)
}

/// The folder of blocks, if it is there.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("CACHEKV_ETHEREUM").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ethereum"));
    if folder.join("blocks").is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no Ethereum blocks in {}; set CACHEKV_ETHEREUM to their folder", folder.display());
    None
}

fn read(folder: &Path, numbers: &[u64]) -> Result<Vec<Case>, Box<dyn Error>> {
    let codes = Codes::read(folder.join("codes.json.gz"))?;
    let entries = fs::read_dir(folder.join("blocks"))?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let wanted = |path: &PathBuf| {
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        path.is_dir() && (numbers.is_empty() || number.is_some_and(|number| numbers.contains(&number)))
    };
    folders.retain(wanted);
    let mut cases = Vec::new();
    for folder in folders {
        let input = BlockFiles::in_folder(folder).read_with(&codes)?;
        let (before, plain) = (store(&input.pre_state).snapshot()?, plain(&input)?);
        cases.push(Case { block: Block::new(input), before, plain });
    }
    cases.sort_by_key(|case| case.block.input().header.number);
    Ok(cases)
}

/// The state before the block in revm's own database, codes beside their accounts.
fn plain(input: &BlockInput) -> Result<Plain, Box<dyn Error>> {
    let mut database = Plain::default();
    for (address, account) in &input.pre_state {
        let code = input.codes.get(&account.code_hash).cloned();
        let code = if account.code_hash == KECCAK_EMPTY { Some(Default::default()) } else { code };
        let (balance, nonce, code_hash) = (account.balance, account.nonce, account.code_hash);
        database.insert_account_info(*address, AccountInfo { balance, nonce, code_hash, account_id: None, code });
        for (slot, value) in &account.storage {
            database.insert_account_storage(*address, *slot, *value)?;
        }
    }
    database.cache.block_hashes.extend(input.block_hashes.iter().map(|(number, hash)| (U256::from(*number), *hash)));
    Ok(database)
}

impl Case {
    /// Runs the block on one machine that is kept from the first transaction to the last.
    fn on_revm(&self, database: &mut Plain) -> usize {
        let input = self.block.input();
        let context = Context::mainnet().with_cfg(input.fork.cfg()).with_block(input.env.clone());
        let mut evm = context.with_db(database).build_mainnet();
        input.transactions.iter().filter(|tx| evm.transact_commit(tx.env.clone()).is_ok()).count()
    }

    /// What the block takes each of two threads that execute it sequentially, `in_a_row`, at the same time, in nanoseconds: the
    /// slower one.
    fn copies(&self, in_a_row: u32) -> f64 {
        let together = Barrier::new(2);
        let copy = || {
            together.wait();
            let began = Instant::now();
            for _ in 0..in_a_row {
                drop(execute_sequentially(&self.before, self.block.transactions(), &self.block, None));
            }
            began.elapsed().as_nanos() as f64 / f64::from(in_a_row)
        };
        thread::scope(|scope| {
            let other = scope.spawn(copy);
            copy().max(other.join().unwrap_or(f64::NAN))
        })
    }

    /// A turn of `way`: what one run of `in_a_row` takes on average.
    fn turn(&self, way: usize, in_a_row: u32, executors: &[BlockExecutor; 2], conflicts: &mut Conflicts) -> Run {
        if way == COPIES {
            return Run { wall: self.copies(in_a_row), ..Run::default() };
        }
        let mut mean = Run::default();
        for _ in 0..in_a_row {
            let run = self.run(way, executors, conflicts);
            mean.wall += run.wall / f64::from(in_a_row);
            mean.cpu += run.cpu / f64::from(in_a_row);
            mean.executions += run.executions / f64::from(in_a_row);
        }
        mean
    }

    /// Runs the block as `way` says, to its end: a run that fails is fast and worth nothing.
    fn run(&self, way: usize, executors: &[BlockExecutor; 2], conflicts: &mut Conflicts) -> Run {
        let mut database = (way == REVM).then(|| self.plain.clone());
        let (cpu, wall) = (processor_time(), Instant::now());
        let (transactions, executions) = match way {
            REVM => (database.as_mut().map_or(0, |database| self.on_revm(database)), 0),
            SEQUENTIAL | AGAIN => {
                let done = execute_sequentially(&self.before, self.block.transactions(), &self.block, None);
                done.map_or((0, 0), |done| (done.outputs.len(), done.stats.executions))
            }
            _ => {
                let executor = &executors[way - ONE];
                let options = Options { hints: Some(self.block.hints()), ..Options::default() };
                let done = executor.execute_with(&self.before, self.block.transactions(), &self.block, options);
                done.map_or((0, 0), |done| {
                    done.stats.conflicts.iter().for_each(|(key, times)| *conflicts.entry(*key).or_default() += times);
                    (done.outputs.len(), done.stats.executions)
                })
            }
        };
        let (wall, cpu) = (wall.elapsed().as_nanos() as f64, processor_time() - cpu);
        assert_eq!(transactions, self.block.transactions().len(), "{}", WAYS[way]);
        Run { wall, cpu, executions: executions as f64 }
    }
}

/// The processor time of this process' threads so far, in nanoseconds; 0 where the system does not tell.
fn processor_time() -> f64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0.0 };
    let times = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The runs of one block, or of all one after the other, by round and way.
struct Runs(Vec<[Run; WAYS.len()]>);

impl Runs {
    /// The median over the rounds of what `of` makes of one.
    fn middle(&self, of: impl Fn(&[Run; WAYS.len()]) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    fn best(&self, way: usize) -> f64 {
        self.0.iter().map(|round| round[way].wall).fold(f64::INFINITY, f64::min)
    }

    /// How many times as fast as sequential execution.
    fn speed_up(&self, way: usize) -> f64 {
        self.middle(|round| round[SEQUENTIAL].wall / round[way].wall)
    }

    fn row(&self, name: String, transactions: usize, gas: u64, ideal: Option<Ideal>) -> Vec<String> {
        let bound = |of: fn(Ideal) -> f64| ideal.map_or(String::new(), |ideal| format!("{:.2}", of(ideal)));
        let ms = |way: usize| format!("{:.2}", self.middle(|round| round[way].wall) / 1e6);
        let by = |way: usize| format!("{:.2}", self.speed_up(way));
        let best = |way: usize| format!("{:.2}", self.best(SEQUENTIAL) / self.best(way));
        let cpu = |way: usize| format!("{:.2}", self.middle(|round| round[way].cpu / round[SEQUENTIAL].cpu));
        let executions = self.middle(|round| round[TWO].executions) / transactions.max(1) as f64;
        vec![
            name,
            transactions.to_string(),
            format!("{:.2}", gas as f64 / 1e6),
            ms(REVM),
            ms(SEQUENTIAL),
            by(AGAIN),
            by(REVM),
            best(REVM),
            by(ONE),
            best(ONE),
            cpu(ONE),
            by(TWO),
            best(TWO),
            cpu(TWO),
            format!("{executions:.2}"),
            format!("{:.2}", 2.0 * self.speed_up(COPIES)),
            bound(|ideal| ideal.two),
            bound(|ideal| ideal.unbounded),
        ]
    }
}

const COLUMNS: [&str; 18] = [
    "block",
    "txs",
    "Mgas",
    "revm ms",
    "seq. ms",
    "seq. again",
    "revm",
    "best",
    "1 thread",
    "best",
    "CPU",
    "2 threads",
    "best",
    "CPU",
    "runs/tx",
    "copies",
    "ideal 2",
    "ideal",
];

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = folder() else { return Ok(()) };
    let asked = asked()?;
    let cases = read(&folder, &asked.blocks)?;
    // For each block its own: an executor begins a block with what it knows of the block before, which on a chain is alike.
    let executors = cases.iter().map(|_| Ok([asked.executor(1)?, asked.executor(2)?]));
    let executors = executors.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut runs: Vec<Runs> = cases.iter().map(|_| Runs(Vec::new())).collect();
    let mut conflicts: Vec<_> = cases.iter().map(|_| Conflicts::new()).collect();
    for round in 0..=asked.rounds {
        for (((case, executors), runs), conflicts) in cases.iter().zip(&executors).zip(&mut runs).zip(&mut conflicts) {
            let mut times = [Run::default(); WAYS.len()];
            let count = asked.ways.len();
            for turn in 0..count {
                let turn = if round % 2 == 0 { turn } else { count - 1 - turn };
                let way = asked.ways[(round / 2 + turn) % count];
                times[way] = case.turn(way, asked.in_a_row, executors, conflicts);
            }
            if round > 0 {
                runs.0.push(times); // the first warms up
            }
        }
    }
    let mut table = Table::new(COLUMNS.map(|name| (name, Align::Right)).to_vec());
    let mut all = Runs(vec![[Run::default(); WAYS.len()]; asked.rounds]);
    for (case, runs) in cases.iter().zip(&runs) {
        let input = case.block.input();
        let ideal = ideal(&case.block, &case.before, &case.plain)?;
        let name = input.header.number.to_string();
        table.row(runs.row(name, input.transactions.len(), input.header.gas_used, Some(ideal)));
        for (total, round) in all.0.iter_mut().flatten().zip(runs.0.iter().flatten()) {
            total.wall += round.wall;
            total.cpu += round.cpu;
            total.executions += round.executions;
        }
    }
    table.rule();
    let transactions = cases.iter().map(|case| case.block.transactions().len()).sum();
    let gas = cases.iter().map(|case| case.block.input().header.gas_used).sum();
    table.row(all.row("total".into(), transactions, gas, None));
    println!("speed-ups are times of sequential execution; median of {} rounds, best of all\n\n{table}", asked.rounds);
    for way in [REVM, ONE, TWO] {
        let speed_ups = || runs.iter().map(|runs| runs.speed_up(way));
        let mean = (speed_ups().map(f64::ln).sum::<f64>() / runs.len().max(1) as f64).exp();
        let worst = speed_ups().fold(f64::INFINITY, f64::min);
        println!("{}: geometric mean {mean:.2}, worst {worst:.2}", WAYS[way]);
    }
    println!("\nexecutions repeated, by key and run:");
    for (case, conflicts) in cases.iter().zip(conflicts) {
        let mut most: Vec<_> = conflicts.into_iter().collect();
        most.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        for (key, times) in most.into_iter().take(5) {
            let each = times as f64 / ((asked.rounds + 1) as f64 * f64::from(asked.in_a_row));
            println!("{} {each:6.2} {key:?}", case.block.input().header.number);
        }
    }
    Ok(())
}
