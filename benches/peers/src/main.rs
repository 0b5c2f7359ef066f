//! Executors of Ethereum blocks beside each other: the same blocks, turn by turn in one run, each against its own sequential
//! execution.
//!
//! ```text
//! peers compare [--rounds N] FOLDER [PROGRAM]...     this crate, and other executors
//! peers serve FOLDER                                 this crate as such a PROGRAM
//! ```
//!
//! Each executor is a process of its own, so that none shares allocator, thread pool or versions of crates with another. Only
//! one of them is asked at a time; the others wait at their input and leave both cores alone. The protocol is in the README.

mod asked;
mod cachekv_peer;
mod table;

use asked::Peer;
use std::error::Error;
use std::path::Path;
use table::Times;

/// Who executes a block allocates on every thread and gives back on another. The system's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What each executor is asked for: its own sequential execution, then 1 and 2 threads.
const WAYS: [usize; 3] = [0, 1, 2];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", folder] => cachekv_peer::serve(Path::new(folder)),
        ["compare", "--rounds", rounds, folder, programs @ ..] => compare(rounds.parse()?, folder, programs),
        ["compare", folder, programs @ ..] => compare(20, folder, programs),
        _ => Err("usage: peers compare [--rounds N] FOLDER [PROGRAM]... | peers serve FOLDER".into()),
    }
}

fn compare(rounds: usize, folder: &str, programs: &[&str]) -> Result<(), Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let mut peers = vec![Peer::start(&this, &["serve", folder])?];
    for program in programs {
        peers.push(Peer::start(Path::new(program), &[folder])?);
    }
    let blocks = cachekv_peer::numbers(Path::new(folder))?;
    let mut times: Vec<Times> = peers.iter().map(|peer| Times::new(peer.name(), blocks.len())).collect();
    for round in 0..=rounds {
        for (at, block) in blocks.iter().enumerate() {
            // Each round begins with another, so that nobody always comes after the same.
            for turn in 0..peers.len() {
                let who = (round + turn) % peers.len();
                let answers = WAYS.map(|threads| peers[who].run(*block, threads));
                if round > 0 {
                    times[who].note(at, answers); // the first round warms up
                }
            }
        }
    }
    table::print(&blocks, &times);
    Ok(())
}
