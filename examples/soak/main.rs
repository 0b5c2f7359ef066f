//! Hours of random blocks: everything the library does at once, and nothing may ever differ, hang or grow.
//!
//! ```sh
//! cargo run --release --example soak -- --seconds 3600
//! ```
//!
//! Each block is dealt from a seed of its own: a state, transactions over it, what ends it, what is done with the stores
//! after it. It is executed on a random number of threads over a snapshot of a stack of two cache layers, over a store in
//! memory or one in a file, and compared with sequential execution and with an oracle over a map. Its writes are committed
//! to the stack, which is flushed, fails to flush, is discarded; all three levels are compared with maps. Meanwhile readers
//! look at snapshots of every level. Every second or two everything is closed and opened again, and memory, threads and
//! open files are counted.
//!
//! When something differs, the block's seed is printed and the status is 1; `--seed N --blocks 1 --repeat 1000` executes that
//! block again, and again: an interleaving does not come back at will.
//!
//! `deal` says what is dealt, `machine` executes it, `verdict` compares; `stack`, `numbers` and `readers` are the stores and
//! who reads them, `watch` what is in use. Scripts, oracle and the store that fails are those of the tests.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "what panics here has failed")]
#![allow(clippy::result_large_err, reason = "nothing here is hot")]
#![allow(unreachable_pub, reason = "a program has no outside")]

mod deal;
#[path = "../../tests/it/faulty.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod faulty;
mod machine;
mod numbers;
#[path = "../../tests/it/oracle.rs"]
mod oracle;
mod readers;
#[path = "../../tests/it/script.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod script;
mod session;
mod stack;
mod verdict;
mod watch;

use clap::Parser;
use session::{Sums, soak};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

/// Executes random blocks for hours, and compares.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub struct Args {
    /// How long [default: for ever, or until `--blocks`]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many blocks
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// What the first block is dealt from; the others follow from it [default: the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How often each block is executed
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// The most threads that a block is executed on; part of what is dealt
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// Threads that read
    #[arg(long, value_name = "N", default_value_t = 2)]
    readers: u64,
    /// Where the file of the store is made [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = args.seed.unwrap_or_else(clock);
    println!("soak: --seed {seed} --threads {}", args.threads);
    let mut sums = Sums::default();
    let outcome = soak(&args, seed, &mut sums);
    println!("{sums}");
    match outcome {
        Ok(()) => {
            println!("0 divergences");
            ExitCode::SUCCESS
        }
        Err(words) => {
            println!("FAILED: {words}");
            ExitCode::FAILURE
        }
    }
}
