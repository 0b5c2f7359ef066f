//! The scheduler's transitions, one after the other.

use super::*;

fn scheduler(len: TxIndex, run_ahead: u32) -> Scheduler<u32> {
    Scheduler::new(len, 2, run_ahead, Arc::new(Parking::default()), |_| None)
}

fn claimed(scheduler: &Scheduler<u32>) -> Option<(TxIndex, Incarnation)> {
    scheduler.claim().map(|task| (task.tx, task.incarnation))
}

/// Those at the frontier ask for commits, and no others.
fn finish(scheduler: &Scheduler<u32>, index: TxIndex) {
    assert_eq!(scheduler.finish(index, 0), scheduler.frontier() == index);
}

fn commit_next(scheduler: &Scheduler<u32>) -> Option<TxIndex> {
    let Judged { index, .. } = scheduler.judge(|_, _| Verdict::Commit)?;
    scheduler.commit(index, 2);
    Some(index)
}

#[test]
fn fresh_transactions_are_claimed_in_order_and_no_further_than_the_run_ahead() {
    let scheduler = scheduler(5, 2);
    assert_eq!(claimed(&scheduler), Some((0, 0)));
    assert_eq!(claimed(&scheduler), Some((1, 0)));
    assert_eq!(claimed(&scheduler), None);
    finish(&scheduler, 0);
    assert_eq!(claimed(&scheduler), None, "executed is not committed");
    assert_eq!(commit_next(&scheduler), Some(0));
    assert_eq!(claimed(&scheduler), Some((2, 0)));
}

#[test]
fn only_the_lowest_uncommitted_transaction_runs_at_the_frontier() {
    let scheduler = scheduler(3, 9);
    let tasks: Vec<_> = std::iter::from_fn(|| scheduler.claim()).map(|task| (task.tx, task.at_frontier)).collect();
    assert_eq!(tasks, [(0, true), (1, false), (2, false)]);
}

#[test]
fn the_lowest_of_the_queue_goes_before_a_fresh_transaction() {
    let scheduler = scheduler(4, 9);
    (0..3).for_each(|_| assert!(scheduler.claim().is_some()));
    scheduler.retry(2, 0);
    scheduler.retry(1, 0);
    assert_eq!(claimed(&scheduler), Some((1, 1)));
    assert_eq!(claimed(&scheduler), Some((2, 1)));
    assert_eq!(claimed(&scheduler), Some((3, 0)));
}

#[test]
fn what_is_queued_waits_for_the_window() {
    let scheduler = scheduler(4, 9);
    (0..4).for_each(|_| assert!(scheduler.claim().is_some()));
    scheduler.narrow(1);
    [3, 2, 0].into_iter().for_each(|index| scheduler.retry(index, 0));
    assert_eq!((claimed(&scheduler), claimed(&scheduler)), (Some((0, 1)), None));
    assert!(!scheduler.has_work());
    finish(&scheduler, 0);
    assert_eq!(commit_next(&scheduler), Some(0)); // a window of two
    assert!(scheduler.has_work());
    assert_eq!((claimed(&scheduler), claimed(&scheduler)), (Some((2, 1)), None));
    finish(&scheduler, 1);
    assert_eq!(commit_next(&scheduler), Some(1));
    assert_eq!((claimed(&scheduler), claimed(&scheduler)), (Some((3, 1)), None));
}

#[test]
fn a_blocked_transaction_runs_again_once_what_it_waits_for_has_executed() {
    let scheduler = scheduler(2, 9);
    (0..2).for_each(|_| assert!(scheduler.claim().is_some()));
    scheduler.block(1, 0, 7);
    assert_eq!(claimed(&scheduler), None);
    finish(&scheduler, 0);
    let task = scheduler.claim().unwrap();
    assert_eq!((task.tx, task.incarnation, task.previous), (1, 1, Some(7)));
}

#[test]
fn blocking_on_a_transaction_that_has_executed_meanwhile_does_not_wait() {
    let scheduler = scheduler(2, 9);
    (0..2).for_each(|_| assert!(scheduler.claim().is_some()));
    finish(&scheduler, 0);
    scheduler.block(1, 0, 0);
    assert_eq!(claimed(&scheduler), Some((1, 1)));
}

#[test]
fn retrying_or_deferring_keeps_the_waiters_until_the_transaction_has_executed() {
    let scheduler = scheduler(2, 9);
    (0..2).for_each(|_| assert!(scheduler.claim().is_some()));
    scheduler.block(1, 0, 0);
    scheduler.retry(0, 0);
    assert_eq!(claimed(&scheduler), Some((0, 1)));
    assert!(scheduler.defer(0, 0), "it is at the frontier");
    assert_eq!(claimed(&scheduler), None);
    assert!(scheduler.judge(|_, _| Verdict::Commit).is_none(), "deferred: to be run at the frontier first");
    let task = scheduler.claim().unwrap();
    assert!(task.tx == 0 && task.at_frontier);
    finish(&scheduler, 0);
    assert_eq!(claimed(&scheduler), Some((1, 1)));
}

#[test]
fn nothing_commits_before_it_has_executed_nor_before_those_below() {
    let scheduler = scheduler(2, 9);
    (0..2).for_each(|_| assert!(scheduler.claim().is_some()));
    finish(&scheduler, 1);
    assert_eq!(commit_next(&scheduler), None);
    finish(&scheduler, 0);
    assert_eq!((commit_next(&scheduler), commit_next(&scheduler), commit_next(&scheduler)), (Some(0), Some(1), None));
}

#[test]
fn a_transaction_that_fails_its_judgement_runs_again_at_the_frontier() {
    let scheduler = scheduler(2, 9);
    (0..2).for_each(|_| assert!(scheduler.claim().is_some()));
    finish(&scheduler, 0);
    finish(&scheduler, 1);
    assert_eq!(commit_next(&scheduler), Some(0));
    assert!(scheduler.judge(|_, _| Verdict::Abort).is_none());
    let task = scheduler.claim().unwrap();
    assert!(task.tx == 1 && task.at_frontier && task.incarnation == 1);
}

#[test]
fn doomed_transactions_run_again_and_others_do_not() {
    let scheduler = scheduler(4, 9);
    (0..3).for_each(|_| assert!(scheduler.claim().is_some()));
    [1, 2].into_iter().for_each(|index| assert!(!scheduler.finish(index, index) || index == 0));
    scheduler.abort_doomed(1, 4, |_, run| *run == 2);
    assert_eq!(claimed(&scheduler), Some((2, 1)));
    assert_eq!(claimed(&scheduler), Some((3, 0)));
}

#[test]
fn a_window_that_narrows_takes_nothing_back() {
    let scheduler = scheduler(4, 3);
    (0..3).for_each(|_| assert!(scheduler.claim().is_some()));
    scheduler.narrow(1);
    assert!(!scheduler.has_work());
    finish(&scheduler, 0);
    scheduler.judge(|_, _| Verdict::Commit).unwrap();
    scheduler.commit(0, 1);
    assert_eq!((claimed(&scheduler), scheduler.frontier()), (None, 1));
    scheduler.narrow(3);
    assert_eq!(claimed(&scheduler), Some((3, 0)));
}

#[test]
fn a_stopped_block_commits_nothing_more() {
    let scheduler = scheduler(1, 9);
    assert!(scheduler.claim().is_some());
    finish(&scheduler, 0);
    scheduler.stop();
    assert_eq!(commit_next(&scheduler), None);
}

#[test]
fn a_transaction_executed_elsewhere_commits_when_its_last_key_has_arrived() {
    let owed = |index| (index == 0).then_some(2);
    let scheduler: Scheduler<u32> = Scheduler::new(2, 2, 9, Arc::new(Parking::default()), owed);
    assert_eq!(claimed(&scheduler), Some((1, 0)), "not ours to run");
    scheduler.block(1, 0, 0);
    assert!(scheduler.arrive(0));
    assert_eq!(claimed(&scheduler), Some((1, 1)), "it may have been the key it waits for");
    assert_eq!(commit_next(&scheduler), None);
    assert!(scheduler.arrive(0));
    assert_eq!(commit_next(&scheduler), Some(0));
}
