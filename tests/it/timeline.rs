//! The timeline of a block: each event that its statistics count, once, and in an order that can have been.

use crate::acts::*;
use cachekv::executor::{
    Activity, BlockExecutor, BlockStats, Cause, Commit, Config, Effect, Elsewhere, Event, Options, Outcome, Reason,
    RunAhead,
};
use cachekv::multiversion::{TxIndex, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Checks a timeline against the statistics beside it, of a block that committed so many places on so many workers at most.
#[track_caller]
pub fn check<K: Clone + Debug + Ord>(stats: &BlockStats<K>, committed: TxIndex, threads: usize) {
    let timeline = stats.timeline.as_ref().expect("it was asked for");
    assert!((1..=threads).contains(&timeline.workers.len()), "{} workers", timeline.workers.len());
    for events in &timeline.workers {
        assert!(events.iter().all(|event| event.began <= event.ended && event.ended <= stats.wall));
        assert!(events.windows(2).all(|pair| pair[0].ended <= pair[1].began), "events of a worker overlap");
    }
    let events: Vec<_> = timeline.workers.iter().flatten().collect();
    assert_eq!(counted(&events), counted_by(stats));
    let mut waits = BTreeMap::<_, u64>::new();
    let mut conflicts = BTreeMap::<_, u64>::new();
    for event in &events {
        match &event.activity {
            Activity::Execution { version, outcome: Outcome::Blocked { on }, .. } => {
                assert!(*on < version.tx, "{version} waits for {on}");
                *waits.entry((version.tx, *on)).or_default() += 1;
            }
            Activity::Abort { reason: Reason::Read(key) | Reason::Range(key), .. } => {
                *conflicts.entry(key.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    assert_eq!(stats.waits.len(), waits.len().min(BlockStats::<K>::KEPT));
    assert!(stats.waits.iter().all(|wait| waits.get(&(wait.waiter, wait.on)) == Some(&wait.times)));
    assert_eq!(stats.conflicts.len(), conflicts.len().min(BlockStats::<K>::KEPT));
    assert!(stats.conflicts.iter().all(|(key, times)| conflicts.get(key) == Some(times)));
    lives(&events, committed);
}

/// Executions, those at the frontier, aborts by cause, and time asleep.
type Counts = ([u64; 8], Duration);

fn counted_by<K>(stats: &BlockStats<K>) -> Counts {
    let aborts = stats.aborts;
    let aborts = [aborts.read, aborts.range, aborts.blocked, aborts.lost, aborts.refused, aborts.failed];
    let [a, b, c, d, e, f] = aborts;
    ([stats.executions, stats.frontier_executions, a, b, c, d, e, f], stats.parked)
}

fn counted<K>(events: &[&Event<K>]) -> Counts {
    let (mut counts, mut parked) = ([0; 8], Duration::ZERO);
    for event in events {
        let cause = match &event.activity {
            Activity::Execution { at_frontier, outcome, .. } => {
                counts[0] += 1;
                counts[1] += u64::from(*at_frontier);
                match outcome {
                    Outcome::Blocked { .. } => 4,
                    Outcome::Lost => 5,
                    Outcome::Refused => 6,
                    _ => continue,
                }
            }
            Activity::Abort { reason: Reason::Read(_), .. } => 2,
            Activity::Abort { reason: Reason::Range(_), .. } => 3,
            Activity::Abort { reason: Reason::Refused(_), .. } => 6,
            Activity::Abort { .. } => 7,
            Activity::Parked => {
                parked += event.ended - event.began;
                continue;
            }
            _ => continue,
        };
        counts[cause] += 1;
    }
    (counts, parked)
}

/// What became of one execution.
#[derive(Clone, Copy, Debug)]
struct Life {
    began: Duration,
    ended: Duration,
    at_frontier: bool,
    outcome: Outcome,
    aborted: Option<Duration>,
}

/// Each transaction's executions follow each other, each after what ended the one before; commits come in block order, each
/// of the last execution, which held.
#[track_caller]
fn lives<K: Debug>(events: &[&Event<K>], committed: TxIndex) {
    let mut lives = BTreeMap::new();
    for event in events {
        if let Activity::Execution { version, at_frontier, outcome } = event.activity {
            let life = Life { began: event.began, ended: event.ended, at_frontier, outcome, aborted: None };
            assert!(lives.insert(version, life).is_none(), "{version} is executed twice");
        }
    }
    for event in events {
        if let Activity::Abort { version, reason } = &event.activity {
            let life = lives.get_mut(version).expect("what is aborted was executed");
            assert!(matches!(life.outcome, Outcome::Executed | Outcome::Failed), "{version}: {reason:?}");
            assert!(
                life.aborted.is_none() && life.ended <= event.began,
                "{version} is aborted once, when it has ended"
            );
            life.aborted = Some(event.began);
        }
    }
    let mut commits: Vec<_> = events
        .iter()
        .filter_map(|event| match event.activity {
            Activity::Commit { tx, incarnation } => Some((tx, incarnation, event.began, event.ended)),
            _ => None,
        })
        .collect();
    commits.sort_by_key(|(tx, _, began, _)| (*began, *tx));
    assert_eq!(commits.iter().map(|(tx, ..)| *tx).collect::<Vec<_>>(), (0..committed).collect::<Vec<_>>());
    assert!(commits.windows(2).all(|pair| pair[0].3 <= pair[1].2), "commits overlap");
    let mut counts = BTreeSet::new();
    for (tx, incarnation, began, _) in &commits {
        let Some(incarnation) = *incarnation else { continue };
        let version = Version { tx: *tx, incarnation };
        let life = lives[&version];
        assert!(life.outcome == Outcome::Executed && life.aborted.is_none(), "{version} did not hold: {life:?}");
        assert!(life.ended <= *began, "{version} is committed at {began:?}: {life:?}");
        counts.insert(version);
    }
    for (version, life) in &lives {
        if let Some(incarnation) = version.incarnation.checked_sub(1) {
            let before = lives[&Version { incarnation, ..*version }];
            assert!(before.aborted.unwrap_or(before.ended) <= life.began, "{version} begins too early");
            assert!(before.outcome != Outcome::Executed || before.aborted.is_some(), "{version} has no reason");
            assert!(!counts.contains(&Version { incarnation, ..*version }), "{version} comes after the commit");
        }
        if let (true, Some(below)) = (life.at_frontier, version.tx.checked_sub(1)) {
            assert!(commits[below as usize].3 <= life.began, "{version} is not at the frontier");
        }
    }
}

fn recorded<'o>() -> Options<'o, Acts> {
    Options { record: true, ..Options::default() }
}

/// The reasons and outcomes of a recorded block of two workers, in words, in the order of the transactions.
#[track_caller]
fn told(block: &[Act], options: Options<'_, Acts>) -> Vec<String> {
    let done = TWO.execute_with(&base(&BASE), block, &Acts, options).unwrap();
    check(&done.stats, done.committed, 2);
    let mut told = BTreeMap::new();
    for event in done.stats.timeline.unwrap().workers.iter().flatten() {
        match &event.activity {
            Activity::Execution { version, outcome, .. } if *outcome != Outcome::Executed => {
                told.insert(*version, format!("{version} {outcome:?}"))
            }
            Activity::Abort { version, reason } => told.insert(*version, format!("{version} {reason:?}")),
            Activity::Commit { tx, incarnation: None } => {
                told.insert(Version { tx: *tx, incarnation: 0 }, format!("{tx} elsewhere"))
            }
            _ => None,
        };
    }
    told.into_values().collect()
}

/// A block of a writer and an observer, who observes before the writer writes.
fn pair(
    writer: impl Fn(&View<'_>) + Send + Sync + 'static,
    observer: impl Fn(&View<'_>) -> Answer + Send + Sync + 'static,
) -> Vec<Act> {
    let observed = Signal::default();
    let seen = observed.clone();
    vec![
        act(move |view| {
            seen.wait();
            writer(view);
            Ok(vec![])
        }),
        act(move |view| {
            let _raised = observed.raised_at_the_end();
            observer(view)
        }),
    ]
}

#[test]
fn nothing_is_recorded_that_nobody_asked_for() {
    let block = pair(|view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)]));
    assert_eq!(TWO.execute(&base(&BASE), &block, &Acts).unwrap().stats.timeline, None);
}

#[test]
fn an_abort_names_the_key_that_was_read_or_walked_over() {
    let read = pair(|view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)]));
    assert_eq!(told(&read, recorded()), ["1.0 Read(1)"]);
    let walked = pair(|view| view.set(7, 1), |view| Ok(vec![view.keys(5..9).count() as Value]));
    assert_eq!(told(&walked, recorded()), ["1.0 Range(7)"]);
}

#[test]
fn a_merge_that_is_refused_in_the_end_names_its_key() {
    let block = pair(
        |view| view.set(2, 3),
        |view| match view.merge(2, -5) {
            Ok(()) => Ok(vec![1]),
            Err(_) => Ok(vec![0]),
        },
    );
    assert_eq!(told(&block, recorded()), ["1.0 Refused(2)"]);
}

#[test]
fn a_failure_that_does_not_count_is_an_abort() {
    let failed = AtomicBool::new(false);
    let block = pair(
        |_| (),
        move |_| match failed.swap(true, Ordering::SeqCst) {
            false => Err(Failure::Own("the first time")),
            true => Ok(vec![]),
        },
    );
    // What is told of an execution is the last: the abort, of a run that had failed.
    assert_eq!(told(&block, recorded()), ["1.0 Failed"]);
}

#[test]
fn who_meets_a_value_about_to_be_written_says_whose() {
    let block = pair(|view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)]));
    let hints = [vec![1], vec![]];
    assert_eq!(told(&block, Options { hints: Some(&hints), ..recorded() }), ["1.0 Blocked { on: 0 }"]);
}

#[test]
fn a_place_executed_elsewhere_is_committed_by_none_of_the_executions() {
    let places = Elsewhere::new([(0, vec![1])]);
    places.resolve(0, &1, Effect::Put(11)).unwrap();
    let block = [act(|view| Ok(vec![of(view.get(&1)?)]))];
    assert_eq!(told(&block, Options { elsewhere: Some(places), ..recorded() }), ["0 elsewhere"]);
}

#[test]
fn a_block_that_is_stopped_has_the_executions_that_were_under_way() {
    let begun = Signal::default();
    let waits = begun.clone();
    let block = [
        act(move |_| {
            waits.wait();
            Ok(vec![])
        }),
        act(move |view| {
            begun.raise();
            loop {
                view.check()?;
                std::thread::yield_now();
            }
        }),
    ];
    let mut hook = |_: Commit<'_, Key, Value, Vec<Value>>| ControlFlow::Break(());
    assert_eq!(told(&block, Options { on_commit: Some(&mut hook), ..recorded() }), ["1.0 Stopped"]);
}

#[test]
fn a_block_that_fails_or_panics_is_recorded_to_its_end() {
    for failing in [act(|_| Err(Failure::Own("always"))), act(|_| panic!("always"))] {
        let add = |key| {
            act(move |view: &View<'_>| {
                let value = view.get(&key)?.unwrap_or(0);
                view.set(key, value + 1);
                Ok(vec![])
            })
        };
        let block = [add(1), add(2), add(1), failing, add(1), add(3)];
        let error = TWO.execute_with(&base(&BASE), &block, &Acts, recorded()).unwrap_err();
        assert!(matches!(error.cause, Cause::Transaction { index: 3, .. } | Cause::Panicked { index: 3, .. }));
        check(&error.committed.stats, 3, 2);
    }
}

#[test]
fn an_event_lasts_as_long_as_what_it_is_of() {
    /// Takes a while, and says how long at least.
    fn busy() -> Duration {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(200) {
            std::thread::yield_now();
        }
        began.elapsed()
    }
    let block = [1, 2, 3].map(|_| act(|_| Ok(vec![busy().as_nanos() as Value])));
    let mut hooks = Vec::new();
    let mut hook = |_: Commit<'_, Key, Value, Vec<Value>>| {
        hooks.push(busy());
        ControlFlow::Continue(())
    };
    let options = Options { on_commit: Some(&mut hook), ..recorded() };
    let done = TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap();
    check(&done.stats, 3, 2);
    for event in done.stats.timeline.unwrap().workers.iter().flatten() {
        let at_least = match &event.activity {
            Activity::Execution { version, .. } => {
                Duration::from_nanos(done.outputs[version.tx as usize][0].try_into().unwrap())
            }
            Activity::Commit { tx, .. } => hooks[*tx as usize],
            _ => Duration::ZERO,
        };
        assert!(event.ended - event.began >= at_least, "{event:?} took {at_least:?}");
    }
}

#[test]
fn blocks_full_of_conflicts_are_recorded_whole() {
    let mut config = Config::default();
    config.shared_from = std::time::Duration::ZERO;
    (config.threads, config.window) = (4, RunAhead::Fixed); // conflicts do not keep it from more of them
    let executor = BlockExecutor::with_config(config).unwrap();
    let act_of = |at: u32| {
        act(move |view| {
            let value = view.get(&(at % 3))?.unwrap_or(0);
            let walked = if at.is_multiple_of(7) { view.keys(0..9).count() } else { 0 };
            (0..at % 4).for_each(|_| std::thread::yield_now()); // so that others come between
            view.set(at % 5, value + walked as Value);
            Ok(vec![value])
        })
    };
    for len in (0..200).chain([2_000]) {
        let block: Vec<Act> = (0..len).map(act_of).collect();
        let done = executor.execute_with(&base(&BASE), &block, &Acts, recorded()).unwrap();
        check(&done.stats, len, 4);
    }
}
