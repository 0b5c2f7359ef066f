//! `cachekv evm`: real Ethereum blocks, each executed sequentially and in parallel, checked against its header, and timed.
//!
//! ```text
//! PATH ─▶ folders ─▶ BlockInput ─▶ Block ─┬▶ sequential ─▶ receipts, state ─┐
//!                                         └▶ parallel ───▶ receipts, state ─┴▶ header, each other
//! ```
//!
//! All blocks are looked at, also after one that is wrong; what cannot be read ends the command.

use crate::failure::{EXIT_STATUS, Failure};
use crate::picture::{PictureArgs, Slowest};
use crate::shards::ethereum::{Blocks, MACHINE, accesses, numbered};
use crate::shards::fleet::{Fleet, NotDone, ShardsArgs, Tally};
use crate::shards::signals::asked_to_end;
use cachekv::evm::{
    Accounts, Block, BlockFiles, BlockInput, Codes, Error, StateKey, StateValue, TxOutput, accounts as accounts_of,
    receipts, store, verify,
};
use cachekv::executor::{BlockError, BlockExecutor, BlockOutput, BlockStats, Cause, Options, execute_sequentially};
use cachekv::kv::KvStore;
use cachekv::report::{Align, Table, grouped, grouped_decimal};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cachekv evm blocks/12459406            one block
  cachekv evm blocks                     all blocks in a folder
  cachekv evm --threads 4 --json blocks  one JSON document
  cachekv evm --report block.html blocks a picture of the slowest block, for any browser
  cachekv evm --shards local:2 blocks    over two shards, too: processes that are started and stopped with it

A folder of a block holds block.json (the answer to eth_getBlockByNumber with full transactions) and pre_state.json (the
answer to debug_traceBlockByNumber with the prestateTracer, or one object of address to account). codes.json.gz or
codes.json (code hash to code) and block_hashes.json (block number to hash) may stand beside them or up to three levels
above.";

/// Execute Ethereum mainnet blocks in parallel and sequentially, check them against their headers, and compare
///
/// Gas used, logs bloom and, from Byzantium on, the receipts root must be those of the header; the state after parallel
/// execution must be that after sequential execution.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS}"))]
pub(crate) struct EvmArgs {
    /// Folders with block.json and pre_state.json, or folders of such folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Worker threads of the parallel execution; 0 takes as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1024))]
    threads: u64,
    /// How often each block is executed in each way; the best time counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rounds: u64,
    #[command(flatten)]
    read: ReadArgs,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    picture: PictureArgs,
    #[command(flatten)]
    shards: ShardsArgs,
}

/// What belongs to blocks and may stand elsewhere.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// The file of codes by their hash, JSON or JSON in gzip [default: the next codes.json.gz or codes.json]
    #[arg(long, value_name = "FILE")]
    codes: Option<PathBuf>,
    /// The file of block hashes by number, JSON [default: the next block_hashes.json]
    #[arg(long, value_name = "FILE")]
    block_hashes: Option<PathBuf>,
}

impl ReadArgs {
    /// Reads every block that `paths` name, in turn.
    ///
    /// # Errors
    /// What cannot be read, or what `each` says.
    pub(crate) fn blocks(
        &self,
        paths: &[PathBuf],
        mut each: impl FnMut(Block) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut archives = BTreeMap::new();
        for folder in folders(paths)? {
            each(Block::new(read(self, &folder, &mut archives).map_err(unreadable)?))?;
        }
        Ok(())
    }

    /// As arguments.
    fn again(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        for (name, file) in [("--codes", &self.codes), ("--block-hashes", &self.block_hashes)] {
            if let Some(file) = file {
                args.extend([name.into(), file.into()]);
            }
        }
        args
    }
}

/// Executes the blocks that `args` name, and says what came of it.
///
/// # Errors
/// What cannot be read; and, after all blocks were executed and printed, which of them are wrong.
pub(crate) fn run(args: &EvmArgs) -> Result<String, Failure> {
    let executor = BlockExecutor::new(args.threads.try_into().unwrap_or(usize::MAX))
        .map_err(|error| Failure::System(format!("no threads to work with ({error}): ask for less with --threads")))?;
    args.picture.check()?;
    let (mut rows, mut slowest) = (Vec::new(), Slowest::default());
    let mut note = |block: &Block, fleet: Option<&Fleet<Blocks>>| -> Result<(), Failure> {
        let (row, stats) = measure(block, &executor, args, fleet)?;
        rows.push(row);
        stats.into_iter().for_each(|stats| slowest.note(block.input().header.number, stats));
        Ok(())
    };
    let mut tally = None;
    if args.shards.shards.is_empty() {
        args.read.blocks(&args.paths, |block| note(&block, None))?;
    } else {
        let mut blocks = Vec::new();
        args.read.blocks(&args.paths, |block| {
            blocks.push(Arc::new(block));
            Ok(())
        })?;
        let mut more = args.read.again();
        more.push("--evm".into());
        more.extend(args.paths.iter().map(Into::into));
        let fleet = args.shards.start(Blocks::of(blocks.iter().cloned()), MACHINE, args.threads, &more)?;
        let ending = asked_to_end()?;
        for block in blocks.iter().take_while(|_| !ending.load(Ordering::Relaxed)) {
            note(block, fleet.as_ref())?;
        }
        tally = fleet.as_ref().map(Fleet::tally);
    }
    rows.sort_by_key(|row| row.number);
    let (threads, total) = (executor.threads(), total(&rows));
    let outcome = Outcome { command: "evm", threads, rounds: args.rounds, shards: tally, total, rows };
    let text = if args.json { outcome.json()? } else { outcome.text() };
    let drawn = slowest.write(&args.picture, "Ethereum mainnet", name_key);
    match outcome.wrong().map(Failure::Wrong).or(drawn.err()) {
        None => Ok(text),
        Some(failure) => {
            crate::print(&text)?;
            Err(failure)
        }
    }
}

/// The folders of blocks that `paths` name: themselves, or those in them.
fn folders(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut folders = Vec::new();
    for path in paths {
        if path.join("block.json").exists() {
            folders.push(path.clone());
            continue;
        }
        let inside = inside(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        if inside.is_empty() {
            // A folder of one block that lacks it: reading it says so.
            folders.push(path.clone());
        }
        folders.extend(inside);
    }
    Ok(folders)
}

/// The folders with a block in `path`, in the order of their names.
fn inside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let folder = entry?.path();
        if ["block.json", "pre_state.json"].iter().any(|file| folder.join(file).exists()) {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the block in `folder`; an archive of codes that many blocks share is read once.
fn read(args: &ReadArgs, folder: &Path, archives: &mut BTreeMap<PathBuf, Codes>) -> Result<BlockInput, Error> {
    let mut files = BlockFiles::in_folder(folder);
    files.codes = args.codes.clone().or(files.codes);
    files.block_hashes = args.block_hashes.clone().or(files.block_hashes);
    let Some(file) = &files.codes else { return files.read() };
    let codes = match archives.remove(file) {
        Some(codes) => codes,
        None => Codes::read(file)?,
    };
    let input = files.read_with(&codes);
    archives.insert(file.clone(), codes);
    input
}

fn unreadable(error: Error) -> Failure {
    match error {
        Error::Io { .. } => Failure::System(error.to_string()),
        error => Failure::Usage(error.to_string()),
    }
}

type Output = BlockOutput<StateKey, StateValue, TxOutput>;
type Stats = BlockStats<StateKey>;
type Ended = Box<BlockError<StateKey, StateValue, TxOutput, Error>>;

/// Executes `block` in every way as often as asked for; every execution is checked, the fastest counts. What that took is
/// told beside the row.
fn measure(
    block: &Block,
    executor: &BlockExecutor,
    args: &EvmArgs,
    fleet: Option<&Fleet<Blocks>>,
) -> Result<(Row, Option<Stats>), Failure> {
    let sent = fleet.map(|fleet| Ok::<_, Failure>((fleet, numbered(block), accesses(block)?))).transpose()?;
    let header = &block.input().header;
    let before = store(&block.input().pre_state).snapshot()?;
    let mut row = Row {
        number: Some(header.number),
        fork: Some(format!("{:?}", block.input().fork.spec)),
        transactions: block.transactions().len() as u64,
        gas: header.gas_used,
        sequential_us: f64::INFINITY,
        parallel_us: f64::INFINITY,
        sharded_us: None,
        executions: 0,
        speed_up: None,
        wrong: None,
    };
    let mut best: Option<Stats> = None;
    for _ in 0..args.rounds {
        let began = Instant::now();
        let one = execute_sequentially(&before, block.transactions(), block, None);
        let sequential = began.elapsed();
        let began = Instant::now();
        let record = args.picture.records(header.number);
        let options = Options { record, hints: Some(block.hints()), ..Options::default() };
        let many = executor.execute_with(&before, block.transactions(), block, options);
        let parallel = began.elapsed();
        let began = Instant::now();
        let shards = sent.as_ref().map(|(fleet, sent, accesses)| fleet.execute(&before, sent, accesses));
        let sharded = shards.is_some().then(|| began.elapsed());
        match checked(block, one, many, shards) {
            Ok(stats) => {
                row.note(sequential, parallel, sharded, stats.executions);
                if best.as_ref().is_none_or(|best| stats.wall < best.wall) {
                    best = Some(stats);
                }
            }
            Err(Failure::Wrong(words)) => {
                row.wrong = Some(words);
                break;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok((row, best))
}

/// A key of the state in words.
fn name_key(key: &StateKey) -> String {
    match key {
        StateKey::Account(address) => format!("account {address}"),
        StateKey::Contract(address) => format!("contract {address}"),
        StateKey::Generation(address) => format!("storage of {address}"),
        StateKey::Slot(address, _, slot) => format!("slot {slot:#x} of {address}"),
    }
}

/// What the parallel execution took.
///
/// # Errors
/// [`Failure::Wrong`] if one of them is not the block, or they differ.
fn checked(
    block: &Block,
    one: Result<Output, Ended>,
    many: Result<Output, Ended>,
    shards: Option<Result<Output, NotDone<Blocks>>>,
) -> Result<Stats, Failure> {
    let input = block.input();
    let right = |how: &str, done: Result<Output, Failure>| {
        let output = done?;
        let verified = verify(&input.header, &input.fork, &receipts(output.outputs.iter().cloned()));
        verified.map(|()| output).map_err(|mismatch| Failure::Wrong(format!("{how} execution: {mismatch}")))
    };
    let sequential = right("sequential", one.map_err(|error| ended("sequential", *error)))?;
    let parallel = right("parallel", many.map_err(|error| ended("parallel", *error)))?;
    let stats = parallel.stats.clone();
    equal(input, "parallel", parallel, &sequential)?;
    if let Some(shards) = shards {
        let sharded = shards.map_err(|error| match error {
            NotDone::Block(error) => Failure::Wrong(format!("sharded execution: {}", error.cause)),
            NotDone::Shards(failure) => failure,
        });
        equal(input, "sharded", right("sharded", sharded)?, &sequential)?;
    }
    Ok(stats)
}

/// Whether an execution has left the receipts and the state that it should.
fn equal(input: &BlockInput, how: &str, ours: Output, sequential: &Output) -> Result<(), Failure> {
    if ours.outputs != sequential.outputs {
        return Err(Failure::Wrong(format!("{how} and sequential execution leave different receipts")));
    }
    let after = |output: &Output| -> Result<Accounts, Failure> {
        let store = store(&input.pre_state);
        Ok(accounts_of(&store.commit(output.batch.clone())?)?)
    };
    let (due, ours) = (after(sequential)?, after(&ours)?);
    let mut all = due.keys().chain(ours.keys());
    match all.find(|address| due.get(*address) != ours.get(*address)) {
        Some(address) => Err(Failure::Wrong(format!("account {address} differs after {how} execution"))),
        None => Ok(()),
    }
}

/// Why a block did not run to its end.
fn ended(how: &str, error: BlockError<StateKey, StateValue, TxOutput, Error>) -> Failure {
    match error.cause {
        Cause::Base { error, .. } => Failure::Store(error.0),
        cause @ Cause::Threads(_) => Failure::System(format!("{cause}: ask for less with --threads")),
        // The files lack what the block needs.
        Cause::Transaction { index, error: error @ (Error::MissingBlockHash { .. } | Error::UnknownCode { .. }) } => {
            Failure::Usage(format!("transaction {index}: {error}"))
        }
        // It names the block and the transaction itself.
        Cause::Transaction { error: error @ Error::InvalidTransaction { .. }, .. } => {
            Failure::Wrong(format!("{how} execution: {error}"))
        }
        cause => Failure::Wrong(format!("{how} execution: {cause}")),
    }
}

/// What came of one block, or of all.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fork: Option<String>,
    transactions: u64,
    gas: u64,
    /// Infinite, which JSON shows as null, if no execution was right.
    sequential_us: f64,
    parallel_us: f64,
    /// Over the shards, where there were some.
    #[serde(skip_serializing_if = "Option::is_none")]
    sharded_us: Option<f64>,
    speed_up: Option<f64>,
    executions: u64,
    /// Why it is not verified.
    wrong: Option<String>,
}

impl Row {
    fn note(&mut self, sequential: Duration, parallel: Duration, sharded: Option<Duration>, executions: u64) {
        self.sequential_us = self.sequential_us.min(micros(sequential));
        if micros(parallel) < self.parallel_us {
            (self.parallel_us, self.executions) = (micros(parallel), executions);
        }
        if let Some(sharded) = sharded.map(micros) {
            self.sharded_us = Some(self.sharded_us.unwrap_or(f64::INFINITY).min(sharded));
        }
        self.speed_up = ratio(self.sequential_us, self.parallel_us);
    }

    fn cells(&self, sharded: bool) -> Vec<String> {
        let time = |micros: f64| if micros.is_finite() { grouped_decimal(micros / 1_000.0, 2) } else { "-".into() };
        let mut cells = vec![
            self.number.map_or("total".into(), |number| number.to_string()),
            self.fork.clone().unwrap_or_default(),
            grouped(self.transactions),
            grouped(self.gas),
            time(self.sequential_us),
            time(self.parallel_us),
        ];
        cells.extend(sharded.then(|| time(self.sharded_us.unwrap_or(f64::INFINITY))));
        cells.extend([
            self.speed_up.map_or("-".into(), |ratio| grouped_decimal(ratio, 2)),
            grouped(self.executions),
            if self.wrong.is_none() { "yes" } else { "NO" }.into(),
        ]);
        cells
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn ratio(sequential: f64, parallel: f64) -> Option<f64> {
    Some(sequential / parallel).filter(|ratio| ratio.is_finite())
}

/// All blocks that are right, added up.
fn total(rows: &[Row]) -> Row {
    let right = || rows.iter().filter(|row| row.wrong.is_none());
    let (sequential_us, parallel_us) = (right().map(|r| r.sequential_us).sum(), right().map(|r| r.parallel_us).sum());
    let wrong = rows.iter().filter(|row| row.wrong.is_some()).count();
    Row {
        number: None,
        fork: None,
        transactions: right().map(|row| row.transactions).sum(),
        gas: right().map(|row| row.gas).sum(),
        sequential_us,
        parallel_us,
        sharded_us: right().map(|row| row.sharded_us).sum(),
        speed_up: ratio(sequential_us, parallel_us),
        executions: right().map(|row| row.executions).sum(),
        wrong: (wrong > 0).then(|| format!("{wrong} of {} blocks are wrong", rows.len())),
    }
}

/// What came of all blocks.
#[derive(Serialize)]
struct Outcome {
    command: &'static str,
    threads: usize,
    rounds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Tally>,
    #[serde(rename = "blocks")]
    rows: Vec<Row>,
    total: Row,
}

impl Outcome {
    /// For people.
    fn text(&self) -> String {
        let figure = |name| (name, Align::Right);
        let mut head = vec![("block", Align::Left), ("fork", Align::Left)];
        let sharded = self.shards.is_some();
        head.extend(["transactions", "gas", "sequential (ms)", "parallel (ms)"].map(figure));
        head.extend(sharded.then(|| figure("sharded (ms)")));
        head.extend(["speed-up (x)", "executions"].map(figure));
        head.push(("verified", Align::Left));
        let mut table = Table::new(head);
        self.rows.iter().for_each(|row| table.row(row.cells(sharded)));
        if self.rows.len() > 1 {
            table.rule();
            table.row(self.total.cells(sharded));
        }
        let shards = self.shards.as_ref().map(|tally| format!("{tally}\n\n")).unwrap_or_default();
        format!("threads: {}, best of {}\n\n{shards}{table}", self.threads, self.rounds)
    }

    /// For programs.
    fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Failure::System(format!("cannot write JSON: {error}")))
    }

    /// Which blocks are wrong, and why.
    fn wrong(&self) -> Option<String> {
        let wrong = self.rows.iter().filter_map(|row| {
            let words = row.wrong.as_ref()?;
            let block = format!("block {}", row.number.unwrap_or_default());
            Some(if words.contains(&block) { words.clone() } else { format!("{block}: {words}") })
        });
        let wrong: Vec<_> = wrong.collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}
