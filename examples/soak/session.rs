//! The course of a soak: sessions, in which the stores are open and readers read, and rests between them, at which everything
//! is closed.

use crate::Args;
use crate::deal::{Dealt, deal, marked, next_seed};
use crate::numbers::Numbers;
use crate::oracle::State;
use crate::readers::{Layers, read};
use crate::stack::Stack;
use crate::verdict::{HANG, judge};
use crate::watch::{Usage, Watch};
use cachekv::cachekv::DynStore;
use cachekv::executor::{BlockExecutor, Config};
use cachekv::kv::{KvStore, MemStore, RedbStore};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How long a session is.
const SESSION: Duration = Duration::from_millis(1500);
/// How often a line is printed.
const LINE: Duration = Duration::from_secs(5);
/// The longest that the file may become; the states in it are small.
const FILE: u64 = 64 << 20;

/// What has been done.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    elapsed: Duration,
    blocks: u64,
    transactions: u64,
    executions: u64,
    early: u64,
    failed_flushes: u64,
    snapshots: u64,
    sessions: u64,
    file: u64,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5} s: {} blocks ({} ended early), {} transactions, {} executions, {} flushes failed, {} snapshots read, \
             {} sessions, file of {} KiB",
            self.elapsed.as_secs(),
            self.blocks,
            self.early,
            self.transactions,
            self.executions,
            self.failed_flushes,
            self.snapshots,
            self.sessions,
            self.file >> 10,
        )?;
        Usage::now().map_or(Ok(()), |usage| write!(f, "; {usage}"))
    }
}

/// What outlives a session.
struct Soak<'a> {
    args: &'a Args,
    seed: u64,
    path: PathBuf,
    /// What the stores have to hold when they are opened next: the one in memory, the one in the file.
    durable: [State; 2],
    /// The seed of the block under way, for who watches.
    at_hand: Arc<AtomicU64>,
    blocks: Arc<AtomicU64>,
}

/// Goes on until the time or the blocks are over.
///
/// # Errors
/// What was wrong, with the seed that leads to it.
pub fn soak(args: &Args, seed: u64, sums: &mut Sums) -> Result<(), String> {
    let dir = match &args.db {
        Some(dir) => tempfile::Builder::new().prefix("soak-").tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let dir = dir.map_err(|error| format!("no directory for the store: {error}"))?;
    let mut soak = Soak {
        args,
        seed,
        path: dir.path().join("soak.redb"),
        durable: [marked(State::new()), marked(State::new())],
        at_hand: Arc::new(AtomicU64::new(seed)),
        blocks: Arc::default(),
    };
    let _guard = Guard::new(&soak);
    soak.run(sums)
}

/// How to come to the block under way again: by itself, or, if the stores' past matters, by all that was before it.
fn replay(args: &Args, first: u64, seed: u64, blocks: u64) -> String {
    let command = format!("cargo run --example soak -- --threads {}", args.threads);
    format!(
        "again: {command} --seed {seed} --blocks 1 --repeat 1000\n   or: {command} --seed {first} --blocks {}",
        blocks + 1
    )
}

/// A thread that ends the process when no block ends any more: what hangs cannot say so itself.
struct Guard {
    over: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Guard {
    fn new(soak: &Soak<'_>) -> Self {
        let (over, is_over) = mpsc::channel();
        let (blocks, at_hand, args) = (Arc::clone(&soak.blocks), Arc::clone(&soak.at_hand), soak.args.threads);
        let thread = std::thread::spawn(move || {
            let mut last = 0;
            while is_over.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = blocks.load(Ordering::Relaxed);
                if now == last {
                    let seed = at_hand.load(Ordering::Relaxed);
                    println!("FAILED: it hangs, with --seed {seed} --threads {args}");
                    std::process::exit(1);
                }
                last = now;
            }
        });
        Self { over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Soak<'_> {
    fn run(&mut self, sums: &mut Sums) -> Result<(), String> {
        let (began, mut watch, mut line) = (Instant::now(), Watch::new(), Instant::now());
        if !watch.sees() {
            println!("memory, threads and open files cannot be seen here, and are not watched");
        }
        let first = self.seed;
        while !self.is_over(began) {
            self.session(began, sums).map_err(|words| {
                let blocks = self.blocks.load(Ordering::Relaxed);
                format!("{words}\n{}", replay(self.args, first, self.at_hand.load(Ordering::Relaxed), blocks))
            })?;
            sums.sessions += 1;
            sums.elapsed = began.elapsed();
            sums.file = std::fs::metadata(&self.path).map_or(0, |data| data.len());
            if sums.file > FILE {
                return Err(format!("the file grows: {} KiB", sums.file >> 10));
            }
            if sums.sessions.is_multiple_of(10) {
                RedbStore::verify(&self.path).map_err(|error| error.to_string())?;
            }
            watch.rest()?;
            if line.elapsed() >= LINE {
                println!("{sums}");
                line = Instant::now();
            }
        }
        Ok(())
    }

    fn is_over(&self, began: Instant) -> bool {
        self.args.blocks.is_some_and(|blocks| self.blocks.load(Ordering::Relaxed) >= blocks)
            || self.args.seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds)
    }

    /// Opens the stores, lets readers read, executes blocks for a while, and closes all.
    fn session(&mut self, began: Instant, sums: &mut Sums) -> Result<(), String> {
        let memory = DynStore::new(MemStore::from_iter(self.durable[0].clone()));
        let mut stacks =
            [Stack::new(memory, self.durable[0].clone())?, Stack::new(open(&self.path)?, self.durable[1].clone())?];
        let layers: Vec<Layers> = stacks.iter().map(layers).collect();
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..self.args.readers).map(|_| scope.spawn(|| read(&layers, &stop))).collect();
            let blocks = self.blocks(began, &mut stacks, &stop, sums);
            stop.store(true, Ordering::Relaxed);
            let mut readings = Ok(());
            for reader in readers {
                match reader.join() {
                    Ok(Ok(snapshots)) => sums.snapshots += snapshots,
                    Ok(Err(words)) => readings = Err(format!("a reader found that {words}")),
                    Err(_) => readings = Err("a reader panicked".into()),
                }
            }
            blocks.and(readings)
        });
        self.durable = stacks.each_ref().map(|stack| stack.durable().clone());
        sums.failed_flushes += stacks.iter().map(|stack| stack.failed).sum::<u64>();
        outcome
    }

    fn blocks(
        &mut self,
        began: Instant,
        stacks: &mut [Stack; 2],
        stop: &AtomicBool,
        sums: &mut Sums,
    ) -> Result<(), String> {
        let (opened, most) = (Instant::now(), self.args.threads as usize);
        let mut executors = HashMap::new();
        while opened.elapsed() < SESSION && !self.is_over(began) && !stop.load(Ordering::Relaxed) {
            self.at_hand.store(self.seed, Ordering::Relaxed);
            let dealt = deal(self.seed, most);
            for _ in 0..self.args.repeat {
                self.block(&dealt, &mut stacks[usize::from(dealt.on_disk)], &mut executors, sums)?;
            }
            self.seed = next_seed(self.seed);
            self.blocks.fetch_add(1, Ordering::Relaxed);
            sums.blocks += 1;
        }
        Ok(())
    }

    /// Lays the state, executes the block over it, commits what it wrote, and keeps the stores up.
    fn block(
        &self,
        dealt: &Dealt,
        stack: &mut Stack,
        executors: &mut HashMap<usize, BlockExecutor>,
        sums: &mut Sums,
    ) -> Result<(), String> {
        stack.lay(dealt.state.clone())?;
        let state = marked(dealt.state.clone());
        let snapshot = stack.top.snapshot().map_err(|error| error.to_string())?;
        let executor = match executors.entry(dealt.threads) {
            std::collections::hash_map::Entry::Occupied(executor) => executor.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let mut config = Config::default();
                config.threads = dealt.threads;
                if dealt.threads != 3 {
                    config.shared_from = Duration::ZERO; // the transactions are short; one number of threads decides by itself
                }
                place.insert(BlockExecutor::with_config(config).map_err(|error| error.to_string())?)
            }
        };
        let agreed = judge(executor, &snapshot, &state, dealt)?;
        sums.transactions += agreed.transactions;
        sums.executions += agreed.executions;
        sums.early += u64::from(agreed.early);
        stack.commit(agreed.batch, agreed.state)?;
        for upkeep in &dealt.upkeep {
            stack.keep_up(*upkeep)?;
            stack.compare(&format!("after {upkeep:?}"))?;
        }
        stack.compare("after a block")
    }
}

fn open(path: &Path) -> Result<DynStore<u16, u64>, String> {
    RedbStore::create(path).map(|store| DynStore::new(Numbers(store))).map_err(|error| error.to_string())
}

fn layers(stack: &Stack) -> Layers {
    Layers { bottom: Arc::clone(&stack.bottom), low: Arc::clone(&stack.low), top: Arc::clone(&stack.top) }
}
