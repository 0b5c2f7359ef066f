//! A block as the simulation sees it: what each transaction costs, reads and writes.

use std::collections::HashMap;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tx {
    /// What it takes by itself, in nanoseconds.
    pub cost: u64,
    /// Keys, in the order in which they are first read.
    pub reads: Vec<u32>,
    pub writes: Vec<u32>,
    /// Whether it reads before it does anything else; otherwise its reads are spread evenly over its time.
    pub reads_first: bool,
    /// Whether it is known to be so short that it is left to who commits.
    pub left: bool,
}

impl Tx {
    /// How long after its beginning it reads the key at this place.
    pub fn read_at(&self, place: usize) -> u64 {
        match self.reads_first {
            true => 0,
            false => self.cost * (place as u64 + 1) / (self.reads.len() as u64 + 1),
        }
    }
}

/// What one transaction after the other takes.
pub fn total(block: &[Tx]) -> u64 {
    block.iter().map(|tx| tx.cost).sum()
}

/// The least that any schedule takes which executes each transaction after those whose writes it reads: what a reader does
/// after the read has to wait for the writer.
pub fn critical_path(block: &[Tx]) -> u64 {
    let mut written: HashMap<u32, u64> = HashMap::new();
    let mut longest = 0;
    for tx in block {
        let after = |(place, key)| written.get(key).map(|at| at + tx.cost - tx.read_at(place));
        let end = tx.reads.iter().enumerate().filter_map(after).max().unwrap_or(0).max(tx.cost);
        longest = longest.max(end);
        written.extend(tx.writes.iter().map(|key| (*key, end)));
    }
    longest
}
