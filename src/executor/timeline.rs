//! What each worker did in a block, and when.
//!
//! Every worker writes its own list, and the lists are put together when the block ends: to record takes two readings of the
//! clock an execution and one or two a commit, and no lock. Where nothing is recorded no clock is read.

use crate::multiversion::{Incarnation, TxIndex, Version};
use std::time::{Duration, Instant};

/// What each worker did in a block, and when; [`Options::record`](super::Options::record) asks for it.
///
/// It is complete: every execution, abort and commit that the [`BlockStats`](super::BlockStats) beside it count is there
/// once. It takes some hundred bytes an event, and there are two events a transaction, and two more for each execution that
/// came to nothing.
///
/// ```
/// use cachekv::executor::{Activity, BlockExecutor, Options, Vm};
/// use cachekv::kv::{KvStore, MemStore};
/// use cachekv::multiversion::{NoMerge, TxView, ViewError};
///
/// /// Adds to a counter.
/// struct Count;
/// impl Vm for Count {
///     type Key = u8;
///     type Value = u64;
///     type Merge = NoMerge;
///     type Transaction = u64;
///     type Output = ();
///     type Error = ViewError;
///     fn execute(&self, amount: &u64, view: &TxView<'_, u8, u64>) -> Result<(), ViewError> {
///         view.set(0, view.get(&0)?.unwrap_or(0) + amount);
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let snapshot = MemStore::new().snapshot()?;
/// let options = Options { record: true, ..Options::default() };
/// let done = BlockExecutor::new(2)?.execute_with(&snapshot, &[1, 2, 3], &Count, options);
/// let stats = done.map_err(|error| error.cause.to_string())?.stats;
/// let timeline = stats.timeline.ok_or("it was asked for")?;
/// let events = || timeline.workers.iter().flatten();
/// assert_eq!(events().filter(|event| matches!(event.activity, Activity::Commit { .. })).count(), 3);
/// assert!(events().all(|event| event.ended <= stats.wall));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeline<K> {
    /// The events of each worker that took part, in the order in which they happened: none begins before the one before it has
    /// ended. The worker that began first comes first.
    pub workers: Vec<Vec<Event<K>>>,
}

/// Something that a worker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K> {
    /// When it began, after the block did.
    pub began: Duration,
    /// When it ended; when it began, for what takes no time.
    pub ended: Duration,
    /// What it was.
    pub activity: Activity<K>,
}

/// What a worker may do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity<K> {
    /// It executed a transaction, until what that wrote could be seen by others.
    Execution {
        /// The transaction, and which of its executions.
        version: Version,
        /// Everything below was committed when it began.
        at_frontier: bool,
        /// What it came to.
        outcome: Outcome,
    },
    /// It found that an execution, its own or another worker's, does not hold, at commit or before. Takes no time.
    Abort {
        /// The execution.
        version: Version,
        /// Why.
        reason: Reason<K>,
    },
    /// It committed a transaction: what had to be validated, and the hook. Ends before an execution can begin at the
    /// frontier behind it.
    Commit {
        /// The transaction.
        tx: TxIndex,
        /// The execution that counts; none of a transaction that was executed elsewhere.
        incarnation: Option<Incarnation>,
    },
    /// It slept, having nothing to do.
    Parked,
}

/// What an execution came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran to its end. It may be aborted later.
    Executed,
    /// It met a value that a lower transaction was about to write, and was put aside until that one has executed.
    Blocked {
        /// The lower transaction.
        on: TxIndex,
    },
    /// It saw by itself that it was lost.
    Lost,
    /// It merged what the operator refuses, and waits for the frontier.
    Refused,
    /// It failed or panicked. Counts if it was at the frontier; else it is aborted when it gets there.
    Failed,
    /// The block ended meanwhile.
    Stopped,
}

/// Why an execution does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<K> {
    /// This key, which it had read, has changed.
    Read(K),
    /// This key, in a range that it had walked, has changed, come or gone.
    Range(K),
    /// It had merged into this key what the operator refuses.
    Refused(K),
    /// It had failed before everything below it was committed.
    Failed,
}

/// One worker's list.
#[derive(Debug)]
pub(super) struct Recorder<K> {
    /// When the block began.
    zero: Instant,
    events: Vec<Event<K>>,
    /// When the last judgement began.
    judged: Duration,
}

impl<K> Recorder<K> {
    pub(super) fn new(zero: Instant) -> Self {
        Self { zero, events: Vec::new(), judged: Duration::ZERO }
    }

    fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    /// What ends with a commit begins. Where it is of an execution at the frontier that was the last thing noted, it began when
    /// that ended: nobody else can have committed since.
    pub(super) fn judges(&mut self, judged: Option<Version>) {
        let own = |event: &&Event<K>| match event.activity {
            Activity::Execution { version, at_frontier, .. } => at_frontier && judged == Some(version),
            _ => false,
        };
        self.judged = self.events.last().filter(own).map_or_else(|| self.now(), |event| event.ended);
    }

    /// Notes what the last judgement came to.
    pub(super) fn committed(&mut self, activity: Activity<K>) {
        let ended = self.now();
        self.events.push(Event { began: self.judged, ended, activity });
    }

    /// Notes a sleep.
    pub(super) fn slept(&mut self, since: Instant, slept: Duration) {
        let began = since.saturating_duration_since(self.zero);
        self.events.push(Event { began, ended: began.saturating_add(slept), activity: Activity::Parked });
    }

    /// Notes what takes no time.
    pub(super) fn instant(&mut self, activity: Activity<K>) {
        let now = self.now();
        self.events.push(Event { began: now, ended: now, activity });
    }

    /// An execution begins. Nothing else is noted until it [ends](Self::ends); one that is cut off stays as it is here.
    pub(super) fn begins(&mut self, version: Version, at_frontier: bool) {
        self.instant(Activity::Execution { version, at_frontier, outcome: Outcome::Stopped });
    }

    pub(super) fn ends(&mut self, came_to: Outcome) {
        let now = self.now();
        if let Some(Event { ended, activity: Activity::Execution { outcome, .. }, .. }) = self.events.last_mut() {
            (*ended, *outcome) = (now, came_to);
        }
    }

    pub(super) fn into_events(self) -> Vec<Event<K>> {
        self.events
    }
}

impl<K> Timeline<K> {
    pub(super) fn of(mut workers: Vec<Vec<Event<K>>>) -> Self {
        workers.sort_by_key(|events| events.first().map_or(Duration::MAX, |first| first.began));
        Self { workers }
    }
}
