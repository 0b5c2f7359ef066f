//! Statistics: what a block cost, and who was in whose way.

use crate::kv::Key;
use crate::multiversion::{Conflict, TxIndex};
use std::collections::HashMap;
use std::time::Duration;

/// What executing a block took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats<K> {
    /// Transactions committed.
    pub transactions: u64,
    /// Executions begun, repeated ones included.
    pub executions: u64,
    /// Of these, begun when everything below was committed: without record and without validation.
    pub frontier_executions: u64,
    /// Transactions committed before the calling thread called the others: it executed them alone. Those of a block to whose end
    /// nobody was called are among them.
    pub alone: u64,
    /// The width of the window at each commit, added up: divided by `transactions`, how far ahead of the commits the block was
    /// executed on average.
    pub windows: u64,
    /// Read sets checked, at commit or early.
    pub validations: u64,
    /// Executions that came to nothing, by cause.
    pub aborts: Aborts,
    /// The keys over which executions were repeated, with how often, the most contended first; at most [`KEPT`](Self::KEPT).
    pub conflicts: Vec<(K, u64)>,
    /// Who waited for whom, the longest first; at most [`KEPT`](Self::KEPT).
    pub waits: Vec<Wait>,
    /// From the first claim to the last commit.
    pub wall: Duration,
    /// The workers' time in executions, added up; zero unless phases are timed.
    pub executing: Duration,
    /// The workers' time in commits and early validations, added up; zero unless phases are timed.
    pub committing: Duration,
    /// The workers' time asleep, added up.
    pub parked: Duration,
}

impl<K> BlockStats<K> {
    /// How many conflicts and waits are kept.
    pub const KEPT: usize = 16;
}

/// Executions that came to nothing, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Aborts {
    /// A key read had changed.
    pub read: u64,
    /// A range walked had changed.
    pub range: u64,
    /// It met a value that was about to be written.
    pub blocked: u64,
    /// It saw by itself that it was lost.
    pub lost: u64,
    /// It had merged what its operator refuses.
    pub refused: u64,
    /// It had failed before everything below it was committed.
    pub failed: u64,
}

impl Aborts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let causes = [self.read, self.range, self.blocked, self.lost, self.refused, self.failed];
        causes.into_iter().fold(0, u64::saturating_add)
    }
}

impl std::ops::AddAssign for Aborts {
    fn add_assign(&mut self, other: Self) {
        self.read = self.read.saturating_add(other.read);
        self.range = self.range.saturating_add(other.range);
        self.blocked = self.blocked.saturating_add(other.blocked);
        self.lost = self.lost.saturating_add(other.lost);
        self.refused = self.refused.saturating_add(other.refused);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// One transaction put aside for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// Who waited.
    pub waiter: TxIndex,
    /// For whom.
    pub on: TxIndex,
    /// How often.
    pub times: u64,
}

/// One worker's share, added to the others' when the block ends.
#[derive(Debug)]
pub(super) struct Tally<K> {
    pub(super) stats: BlockStats<K>,
    conflicts: HashMap<K, u64>,
    waits: HashMap<(TxIndex, TxIndex), u64>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        let stats = BlockStats {
            transactions: 0,
            executions: 0,
            frontier_executions: 0,
            alone: 0,
            windows: 0,
            validations: 0,
            aborts: Aborts::default(),
            conflicts: Vec::new(),
            waits: Vec::new(),
            wall: Duration::ZERO,
            executing: Duration::ZERO,
            committing: Duration::ZERO,
            parked: Duration::ZERO,
        };
        Self { stats, conflicts: HashMap::new(), waits: HashMap::new() }
    }
}

impl<K: Key> Tally<K> {
    pub(super) fn conflict(&mut self, conflict: Conflict<K>) {
        match conflict.in_range {
            false => self.stats.aborts.read += 1,
            true => self.stats.aborts.range += 1,
        }
        *self.conflicts.entry(conflict.key).or_default() += 1;
    }

    pub(super) fn blocked(&mut self, waiter: TxIndex, on: TxIndex) {
        self.stats.aborts.blocked += 1;
        *self.waits.entry((waiter, on)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        let (mine, theirs) = (&mut self.stats, other.stats);
        mine.executions += theirs.executions;
        mine.frontier_executions += theirs.frontier_executions;
        mine.alone += theirs.alone;
        mine.windows += theirs.windows;
        mine.validations += theirs.validations;
        mine.aborts += theirs.aborts;
        mine.executing += theirs.executing;
        mine.committing += theirs.committing;
        mine.parked += theirs.parked;
        for (key, times) in other.conflicts {
            *self.conflicts.entry(key).or_default() += times;
        }
        for (pair, times) in other.waits {
            *self.waits.entry(pair).or_default() += times;
        }
    }

    pub(super) fn into_stats(mut self) -> BlockStats<K> {
        let mut conflicts: Vec<_> = self.conflicts.into_iter().collect();
        conflicts.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        conflicts.truncate(BlockStats::<K>::KEPT);
        let waits = self.waits.into_iter().map(|((waiter, on), times)| Wait { waiter, on, times });
        let mut waits: Vec<_> = waits.collect();
        waits.sort_by_key(|wait| (std::cmp::Reverse(wait.times), wait.waiter, wait.on));
        waits.truncate(BlockStats::<K>::KEPT);
        self.stats.conflicts = conflicts;
        self.stats.waits = waits;
        self.stats
    }
}
