//! The command line.

use crate::chain::ACCOUNTS;
use crate::failure::EXIT_STATUS;
use crate::kind::Kind;
use crate::picture::PictureArgs;
use crate::shards::fleet::ShardsArgs;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const RUN_EXAMPLES: &str = "\
Examples:
  cachekv run                                    transfers between 10,000 accounts
  cachekv run                                    ... and again: goes on where the first one ended
  cachekv run --workload orderbook --threads 4   range scans, deletes and phantoms on 4 threads
  cachekv run --workload hotkey                  everybody adds to one counter, and nobody conflicts
  cachekv run --accounts 2 --db /tmp/two.redb    nothing but conflicts
  cachekv run --json --blocks 10 | jq .total     one JSON document
  cachekv run --report block.html                a picture of the slowest block, for any browser
  cachekv run --shards local:2 --work 100        over two shards, processes that are started and stopped with it
  cachekv run --state-root --db it.redb          with a Merkle root of the state after every block

A store goes on with the workload, seed and accounts it was made with. Killing the program at any moment loses at most
the blocks whose flush had not ended, and never a part of one.";

/// A state store under an optimistic parallel block executor.
#[derive(Debug, Parser)]
#[command(name = "cachekv", version, about, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do. A further command is a variant here, a file of its own, and a line in `main`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Shard(crate::shards::serve::ShardArgs),
    Root(crate::root::RootArgs),
    Prove(crate::prove::ProveArgs),
    Verify(crate::prove::VerifyArgs),
    Snapshot(crate::snapshot::SnapshotArgs),
    #[cfg(feature = "evm")]
    Evm(crate::evm::EvmArgs),
}

/// Execute a series of blocks over a durable store, in parallel and sequentially, and compare
///
/// Each block is executed sequentially and in parallel over a snapshot of the store; outputs and writes must be equal.
/// They are committed together with the block's height, and flushed to the file while the next block executes.
/// Meanwhile readers walk over snapshots and check that each shows a whole state.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, after_help = RUN_EXAMPLES, after_long_help = format!("{RUN_EXAMPLES}\n\n{EXIT_STATUS}"))]
pub(crate) struct Run {
    /// What the transactions do [default: that of the store, transfers for a new one]
    #[arg(long, value_enum)]
    pub(crate) workload: Option<Kind>,
    /// The file of the store; made if it is not there [default: cachekv-data/<WORKLOAD>.redb]
    #[arg(long, value_name = "PATH")]
    pub(crate) db: Option<PathBuf>,
    /// Worker threads of the parallel execution; 0 takes as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = up_to(1024))]
    pub(crate) threads: u64,
    /// Blocks to execute
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) blocks: u64,
    /// Transactions a block
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = up_to(1_000_000))]
    pub(crate) txns: u64,
    /// Accounts; the order book has a market for every 100 [default: that of the store, 10000 for a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(ACCOUNTS))]
    pub(crate) accounts: Option<u64>,
    /// What the transactions are drawn from [default: that of the store, 1 for a new one]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Computation of each transaction, in microseconds of arithmetic
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 10, value_parser = up_to(1_000_000))]
    pub(crate) work: u64,
    /// Threads that walk over snapshots and check them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to(256))]
    pub(crate) readers: u64,
    /// How long a reader rests between two walks; 0 keeps it walking, and a core busy
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20, value_parser = up_to(60_000))]
    pub(crate) rest: u64,
    /// Keep a state tree, and print the root after every block; a store that has a tree goes on with it in any case
    #[arg(long)]
    pub(crate) state_root: bool,
    /// Blocks whose state root is kept, the newest; the tree's records that only older ones need are deleted
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep: u64,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) shards: ShardsArgs,
}

fn up_to(most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(..=most)
}

impl Args {
    /// Reads the command line. What it cannot accept, or is asked to explain, is said here.
    ///
    /// # Errors
    /// The status to exit with.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                drop(error.print()); // nobody listening is no failure
                ExitCode::SUCCESS
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                drop(error.print());
                ExitCode::from(2)
            }
            _ => {
                drop(writeln!(io::stderr(), "cachekv: {}", one_line(&error.to_string(), &asked_for())));
                ExitCode::from(2)
            }
        })
    }
}

/// The command whose help helps.
fn asked_for() -> String {
    let first = std::env::args().nth(1).filter(|word| Args::command().find_subcommand(word).is_some());
    first.unwrap_or_else(|| "run".into())
}

/// An error of the command line in one line that says what to do.
fn one_line(error: &str, command: &str) -> String {
    let said = error.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<_> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = words.join("; ").replace(":; ", ": ");
    format!("{}; see `cachekv {command} --help`", said.strip_prefix("error: ").unwrap_or(&said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_refusal_is_one_line() {
        for args in [
            vec!["run", "--txns", "-1"],
            vec!["run", "--nonsense"],
            vec!["walk"],
            vec!["run", "--accounts", "0"],
            vec!["root"],
        ] {
            let error = Args::try_parse_from(std::iter::once("cachekv").chain(args)).unwrap_err();
            let line = one_line(&error.to_string(), "run");
            assert!(!line.contains('\n') && line.ends_with("see `cachekv run --help`"), "{line}");
            assert!(!line.contains(":;"), "{line}");
        }
    }
}
