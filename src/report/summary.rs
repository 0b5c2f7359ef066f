//! Some blocks added up: the figures of a row.

use crate::executor::{Aborts, BlockStats};
use crate::kv::Key;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// What executing some blocks came to, and what was measured beside it.
///
/// ```
/// use cachekv::{executor::BlockStats, report::Summary};
/// use std::time::Duration;
/// let mut stats = BlockStats::<u64>::default();
/// stats.transactions = 1_000;
/// stats.wall = Duration::from_millis(10);
/// let mut summary = Summary::default();
/// summary.add_block(&stats);
/// summary.add_sequential(Duration::from_millis(20));
/// assert_eq!(summary.speed_up(), Some(2.0));
/// assert_eq!(summary.per_second(), Some(100_000.0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary<K> {
    /// Blocks added.
    pub blocks: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Executions begun, repeated ones included.
    pub executions: u64,
    /// Executions that came to nothing.
    pub aborts: Aborts,
    /// Time from the first claim to the last commit, added up over the blocks.
    pub parallel: Duration,
    /// What the same blocks took one transaction after the other, if that was measured.
    pub sequential: Option<Duration>,
    /// What making them durable took, if that was measured.
    pub flush: Option<Duration>,
    conflicts: BTreeMap<K, u64>,
}

/// How many contended keys are remembered, and to how many that is cut down when there are more.
const REMEMBERED: (usize, usize) = (4096, 1024);

impl<K> Default for Summary<K> {
    fn default() -> Self {
        Self {
            blocks: 0,
            transactions: 0,
            executions: 0,
            aborts: Aborts::default(),
            parallel: Duration::ZERO,
            sequential: None,
            flush: None,
            conflicts: BTreeMap::new(),
        }
    }
}

impl<K: Key> Summary<K> {
    /// Adds a block.
    pub fn add_block(&mut self, stats: &BlockStats<K>) {
        self.blocks = self.blocks.saturating_add(1);
        self.transactions = self.transactions.saturating_add(stats.transactions);
        self.executions = self.executions.saturating_add(stats.executions);
        self.aborts += stats.aborts;
        self.parallel = self.parallel.saturating_add(stats.wall);
        self.add_conflicts(stats.conflicts.iter().map(|(key, times)| (key, *times)));
    }

    /// Adds what a block took one transaction after the other.
    pub fn add_sequential(&mut self, time: Duration) {
        let so_far = self.sequential.get_or_insert_default();
        *so_far = so_far.saturating_add(time);
    }

    /// Adds what making a block durable took.
    pub fn add_flush(&mut self, time: Duration) {
        let so_far = self.flush.get_or_insert_default();
        *so_far = so_far.saturating_add(time);
    }

    /// Adds all that `other` has.
    pub fn add(&mut self, other: &Self) {
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.transactions = self.transactions.saturating_add(other.transactions);
        self.executions = self.executions.saturating_add(other.executions);
        self.aborts += other.aborts;
        self.parallel = self.parallel.saturating_add(other.parallel);
        other.sequential.into_iter().for_each(|time| self.add_sequential(time));
        other.flush.into_iter().for_each(|time| self.add_flush(time));
        self.add_conflicts(other.conflicts.iter().map(|(key, times)| (key, *times)));
    }

    /// Sequential time over parallel time, if both are known.
    pub fn speed_up(&self) -> Option<f64> {
        let parallel = self.parallel.as_secs_f64();
        self.sequential.filter(|_| parallel > 0.0).map(|time| time.as_secs_f64() / parallel)
    }

    /// Transactions a second of parallel time, if there was any.
    pub fn per_second(&self) -> Option<f64> {
        let parallel = self.parallel.as_secs_f64();
        (parallel > 0.0).then(|| self.transactions as f64 / parallel)
    }

    /// The keys over which executions were repeated, with how often, the most contended first; at most `limit`.
    ///
    /// Each block names its [most contended](BlockStats::conflicts) alone, so that over many blocks it is the keys that
    /// matter and not an exact count.
    pub fn most_conflicted(&self, limit: usize) -> Vec<(&K, u64)> {
        let mut keys: Vec<_> = self.conflicts.iter().map(|(key, times)| (key, *times)).collect();
        keys.sort_by_key(|(key, times)| (Reverse(*times), *key));
        keys.truncate(limit);
        keys
    }

    fn add_conflicts<'k>(&mut self, conflicts: impl Iterator<Item = (&'k K, u64)>) {
        for (key, times) in conflicts {
            let so_far = self.conflicts.entry(key.clone()).or_default();
            *so_far = so_far.saturating_add(times);
        }
        // A run of a million blocks must not remember every key that ever was in somebody's way.
        if self.conflicts.len() > REMEMBERED.0 {
            let kept = self.most_conflicted(REMEMBERED.1).into_iter().map(|(key, times)| (key.clone(), times));
            self.conflicts = kept.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(conflicts: Vec<(u64, u64)>) -> BlockStats<u64> {
        let aborts = Aborts { read: 1, range: 2, blocked: 3, lost: 4, refused: 5, failed: 6 };
        let wall = Duration::from_millis(5);
        BlockStats { transactions: 10, executions: 25, aborts, conflicts, wall, ..BlockStats::default() }
    }

    #[test]
    fn adding_blocks_is_adding_sums_of_them() {
        let blocks = [block(vec![(1, 4), (2, 1)]), block(vec![(2, 9)]), block(vec![])];
        let mut one = Summary::default();
        blocks.iter().for_each(|stats| one.add_block(stats));
        let mut parts = Summary::default();
        for stats in &blocks {
            let mut part = Summary::default();
            part.add_block(stats);
            parts.add(&part);
        }
        assert_eq!(one, parts);
        assert_eq!((one.blocks, one.transactions, one.executions, one.aborts.total()), (3, 30, 75, 63));
        assert_eq!(one.most_conflicted(9), [(&2, 10), (&1, 4)]);
        assert_eq!(one.most_conflicted(1), [(&2, 10)]);
    }

    #[test]
    fn what_was_not_measured_has_no_ratio() {
        let mut summary = Summary::<u64>::default();
        assert_eq!((summary.speed_up(), summary.per_second()), (None, None));
        summary.add_sequential(Duration::from_secs(1));
        assert_eq!(summary.speed_up(), None);
        summary.add_block(&block(vec![]));
        assert_eq!((summary.speed_up(), summary.per_second()), (Some(200.0), Some(2000.0)));
    }

    #[test]
    fn the_memory_of_keys_is_bounded_and_keeps_the_contended() {
        let mut summary = Summary::default();
        summary.add_block(&block(vec![(u64::MAX, 100)]));
        (0..10_000).for_each(|key| summary.add_block(&block(vec![(key, 1)])));
        assert!(summary.conflicts.len() <= REMEMBERED.0);
        assert_eq!(summary.most_conflicted(1), [(&u64::MAX, 100)]);
    }
}
