//! Statistics: what a block cost, and who was in whose way.

use super::timeline::{Activity, Event, Outcome, Reason, Recorder, Timeline};
use crate::kv::Key;
use crate::multiversion::{Conflict, Incarnation, TxIndex, Version};
use std::collections::HashMap;
use std::time::{Duration, Instant};

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
    /// The width of the window at each commit, added up; 1 for what was executed sequentially. Divided by `transactions`, how far
    /// ahead of the commits the block was executed on average, where nothing was executed elsewhere: that counts here, and not there.
    pub windows: u64,
    /// Read sets checked, at commit or early.
    pub validations: u64,
    /// Executions that came to nothing, by cause.
    pub aborts: Aborts,
    /// The keys over which executions were repeated, with how often, the most contended first; at most [`KEPT`](Self::KEPT).
    pub conflicts: Vec<(K, u64)>,
    /// Who waited for whom, the longest first; at most [`KEPT`](Self::KEPT).
    pub waits: Vec<Wait>,
    /// From the call to the outcome.
    pub wall: Duration,
    /// The workers' time in executions, added up; zero unless phases are timed.
    pub executing: Duration,
    /// The workers' time in commits, added up; zero unless phases are timed.
    pub committing: Duration,
    /// The workers' time asleep, added up.
    pub parked: Duration,
    /// What each worker did and when; none unless [asked for](super::Options::record), and none of a sequential execution.
    pub timeline: Option<Timeline<K>>,
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
    recorder: Option<Box<Recorder<K>>>,
    /// What was recorded by those added.
    workers: Vec<Vec<Event<K>>>,
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
            timeline: None,
        };
        Self { stats, conflicts: HashMap::new(), waits: HashMap::new(), recorder: None, workers: Vec::new() }
    }
}

impl<K: Key> Tally<K> {
    /// Of a block that is recorded since then, if it is.
    pub(super) fn new(record: Option<Instant>) -> Self {
        Self { recorder: record.map(Recorder::new).map(Box::new), ..Self::default() }
    }

    /// So many executions were begun, one after the other, without workers, and so many transactions `committed`.
    pub(super) fn begun(&mut self, executions: u64, committed: TxIndex) {
        self.stats.executions += executions;
        self.stats.frontier_executions += executions;
        self.stats.windows += u64::from(committed);
    }

    /// The transaction at the frontier has been executed, here or elsewhere, and is to be judged; it is
    /// [committed](Self::committed) if it holds.
    pub(super) fn judges(&mut self, version: Option<Version>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.judges(version);
        }
    }

    /// An execution begins. Nothing else happens to its worker until it [ends](Self::ends).
    pub(super) fn begins(&mut self, version: Version, at_frontier: bool) {
        self.stats.executions += 1;
        self.stats.frontier_executions += u64::from(at_frontier);
        if let Some(recorder) = &mut self.recorder {
            recorder.begins(version, at_frontier);
        }
    }

    /// An execution is over; to be told before anybody else can begin another of the same transaction.
    #[inline] // where it is told, the outcome is known
    pub(super) fn ends(&mut self, version: Version, outcome: Outcome) {
        match outcome {
            Outcome::Blocked { on } => {
                self.stats.aborts.blocked += 1;
                *self.waits.entry((version.tx, on)).or_default() += 1;
            }
            Outcome::Lost => self.stats.aborts.lost += 1,
            Outcome::Refused => self.stats.aborts.refused += 1,
            Outcome::Executed | Outcome::Failed | Outcome::Stopped => {}
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.ends(outcome);
        }
    }

    /// What an execution observed no longer holds.
    pub(super) fn conflict(&mut self, version: Version, Conflict { key, in_range }: Conflict<K>) {
        match in_range {
            false => self.stats.aborts.read += 1,
            true => self.stats.aborts.range += 1,
        }
        if self.recorder.is_some() {
            let reason = if in_range { Reason::Range } else { Reason::Read };
            self.abort(version, reason(key.clone()));
        }
        *self.conflicts.entry(key).or_default() += 1;
    }

    /// At its commit an execution turned out to have merged what is refused.
    pub(super) fn refused(&mut self, version: Version, key: K) {
        self.stats.aborts.refused += 1;
        self.abort(version, Reason::Refused(key));
    }

    /// At its commit an execution had failed.
    pub(super) fn failed(&mut self, version: Version) {
        self.stats.aborts.failed += 1;
        self.abort(version, Reason::Failed);
    }

    fn abort(&mut self, version: Version, reason: Reason<K>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.instant(Activity::Abort { version, reason });
        }
    }

    /// The transaction that was judged is committed, having been executed so often; to be told before the frontier moves.
    pub(super) fn committed(&mut self, tx: TxIndex, executions: Incarnation) {
        if let Some(recorder) = &mut self.recorder {
            recorder.committed(tx, executions);
        }
    }

    /// The worker wakes up, which fell asleep at `since`.
    pub(super) fn woke(&mut self, since: Instant) {
        let slept = since.elapsed();
        self.stats.parked += slept;
        if let Some(recorder) = &mut self.recorder {
            recorder.slept(since, slept);
        }
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
        self.workers.extend(other.recorder.map(|recorder| recorder.into_events()));
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
        self.stats.timeline = self.recorder.map(|_| Timeline::of(self.workers));
        self.stats
    }
}
