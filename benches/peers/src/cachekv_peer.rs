//! This crate as one of the executors.

use cachekv::evm::{Block, BlockFiles, Codes, receipts, store, verify};
use cachekv::executor::{BlockExecutor, Options, execute_sequentially};
use cachekv::kv::KvStore;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

/// The numbers of the blocks in `folder`, ascending.
pub fn numbers(folder: &Path) -> Result<Vec<u64>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder.join("blocks"))?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Answers each line of input, `BLOCK THREADS`, by the nanoseconds that it took.
pub fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let codes = Codes::read(folder.join("codes.json.gz"))?;
    let mut blocks = BTreeMap::new();
    for number in numbers(folder)? {
        let input = BlockFiles::in_folder(folder.join("blocks").join(number.to_string())).read_with(&codes)?;
        let before = store(&input.pre_state).snapshot()?;
        blocks.insert(number, (Block::new(input), before));
    }
    let executors = [BlockExecutor::new(1)?, BlockExecutor::new(2)?];
    let mut out = std::io::stdout();
    writeln!(out, "ready cachekv {}", env!("CARGO_PKG_VERSION"))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (number, threads) = line.split_once(' ').ok_or("a line is BLOCK THREADS")?;
        let (block, before) = blocks.get(&number.parse()?).ok_or("no such block")?;
        let transactions = block.transactions();
        let began = Instant::now();
        let done = match threads.parse::<usize>()?.checked_sub(1) {
            None => execute_sequentially(before, transactions, block, None),
            Some(more) => {
                let options = Options { hints: Some(block.hints()), ..Options::default() };
                executors.get(more).ok_or("1 or 2 threads")?.execute_with(before, transactions, block, options)
            }
        };
        let took = began.elapsed();
        let done = done.map_err(|error| error.cause.to_string())?;
        verify(&block.input().header, &block.input().fork, &receipts(done.outputs))?;
        writeln!(out, "{}", took.as_nanos())?;
    }
    Ok(())
}
