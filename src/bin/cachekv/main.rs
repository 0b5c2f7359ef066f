//! The program `cachekv`: blocks of transactions, executed in parallel over a durable store, for everyone to see.
//!
//! * `args`: the command line. `failure`: what ends a run early, and the exit status that says so.
//! * `workload`: what the transactions are, and what must hold of every state they leave.
//! * `chain`: how far a store has come. `open`: finding or making it.
//! * `readers`, `run`: executing blocks while somebody reads. `compare`: that two executions agree.
//! * `evm`: real Ethereum blocks, with the feature of that name.
//! * `root`, `prove`, `snapshot`: authenticated state: its root, proofs from it, and copies that are verified.
//! * `shards`: blocks over several processes.
//! * `outcome`: what came of it, as a table or as JSON. `picture`: one of its blocks, drawn.

#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unreachable
    )
)]

#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod args;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod chain;
mod compare;
#[cfg(feature = "evm")]
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod evm;
mod failure;
mod kind;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod open;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod outcome;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod picture;
mod prove;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod readers;
mod root;
mod run;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod shards;
mod snapshot;
mod workload;

use args::{Args, Command};
use failure::Failure;
use std::io::{self, Write};
use std::process::ExitCode;

/// Who executes a block allocates on every thread and gives back on another. The system's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(refused) => return refused,
    };
    let text = match args.command {
        Command::Run(run) => run::run(&run),
        Command::Shard(shard) => shards::serve::run(&shard),
        Command::Root(root) => root::run(&root),
        Command::Prove(prove) => prove::prove(&prove),
        Command::Verify(verify) => prove::verify(&verify),
        Command::Snapshot(snapshot) => snapshot::run(&snapshot),
        #[cfg(feature = "evm")]
        Command::Evm(evm) => evm::run(&evm),
    };
    match text.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody listens on stderr either, the status has to do.
            drop(writeln!(io::stderr(), "cachekv: {failure}"));
            failure.status()
        }
    }
}

/// Prints what a command has to say. A reader that has gone away (`cachekv run | head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::System(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
