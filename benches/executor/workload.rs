//! What the blocks do: the Block-STM paper's transfers (two reads and two writes of two distinct accounts), a hot counter
//! by merge and by reading and writing, walks over ten keys, keys that all read; each with some computation.

use cachekv::executor::Vm;
use cachekv::multiversion::{MergeOperator, TxView, ViewError};
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What a transaction does besides computing.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Moves 1 from one account to another.
    Transfer(u64, u64),
    /// Adds 1 to the one counter, by merge.
    Count,
    /// Adds 1 to the one counter, by reading and writing it.
    Bump,
    /// Walks 10 keys from here and writes the first.
    Scan(u64),
    /// Reads [`PARAMETERS`] keys that nobody writes, and writes this one, which nobody else does.
    Configured(u64),
}

/// How many keys a chain's modules read in each transaction, and no transaction writes.
pub const PARAMETERS: u64 = 32;

/// Runs [`Work`], each with this much computation.
pub struct Bench {
    pub compute: Duration,
}

pub struct Sum;

impl MergeOperator<u64, u64> for Sum {
    type Operand = u64;
    fn merge(_: &u64, base: Option<&u64>, operand: &u64) -> u64 {
        base.copied().unwrap_or(0).wrapping_add(*operand)
    }
    fn combine(_: &u64, earlier: &u64, later: &u64) -> Option<u64> {
        Some(earlier.wrapping_add(*later))
    }
}

/// Rounds of arithmetic a millisecond, measured once.
static ROUNDS: LazyLock<u64> = LazyLock::new(|| {
    let best = (0..20).map(|_| {
        let began = Instant::now();
        black_box(spin(1_000_000));
        began.elapsed()
    });
    let best = best.min().unwrap_or(Duration::from_millis(1));
    1_000_000_000_000 / best.as_nanos().max(1) as u64
});

fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |acc: u64, round| black_box(acc.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round))
}

/// Computes for as long as `time` was when the machine was at its best.
pub fn compute(time: Duration) {
    black_box(spin((time.as_nanos() as u64).saturating_mul(*ROUNDS) / 1_000_000));
}

impl Vm for Bench {
    type Key = u64;
    type Value = u64;
    type Merge = Sum;
    type Transaction = Work;
    type Output = ();
    type Error = ViewError;

    fn execute(&self, work: &Work, view: &TxView<'_, u64, u64, Sum>) -> Result<(), ViewError> {
        match *work {
            Work::Transfer(from, to) => {
                let (a, b) = (view.get(&from)?.unwrap_or(0), view.get(&to)?.unwrap_or(0));
                compute(self.compute);
                view.set(from, a.wrapping_sub(1));
                view.set(to, b.wrapping_add(1));
            }
            Work::Count => {
                compute(self.compute);
                view.merge(0, 1)?;
            }
            Work::Bump => {
                let before = view.get(&0)?.unwrap_or(0);
                compute(self.compute);
                view.set(0, before.wrapping_add(1));
            }
            Work::Scan(from) => {
                let mut sum = 0u64;
                for entry in view.range(from..).take(10) {
                    sum = sum.wrapping_add(entry?.1);
                }
                compute(self.compute);
                view.set(from, sum);
            }
            Work::Configured(own) => {
                let mut sum = 0u64;
                for key in 0..PARAMETERS {
                    sum = sum.wrapping_add(view.get(&key)?.unwrap_or(0));
                }
                compute(self.compute);
                view.set(own, sum);
            }
        }
        Ok(())
    }
}

/// A small generator with a fixed seed: the same blocks in every run.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

pub fn transfers(block: u64, accounts: u64) -> Vec<Work> {
    let mut random = random(accounts ^ block << 20);
    let one = |_| {
        let from = random(accounts);
        Work::Transfer(from, (from + 1 + random(accounts - 1)) % accounts)
    };
    (0..block).map(one).collect()
}

/// Walks over `keys` keys.
pub fn scans(block: u64, keys: u64) -> Vec<Work> {
    let mut random = random(7);
    (0..block).map(|_| Work::Scan(random(keys - 10))).collect()
}

/// Transactions that read the same keys, and write each its own.
pub fn configured(block: u64) -> Vec<Work> {
    (0..block).map(|tx| Work::Configured(PARAMETERS + tx)).collect()
}

/// The same behind a chain of ten that changes one of these keys: none of them can begin before its end.
pub fn held_up(block: u64) -> Vec<Work> {
    (0..10).map(|_| Work::Bump).chain(configured(block - 10)).collect()
}
