//! Claims: each execution is somebody's, and who sleeps is called to it.

use super::scheduler::{Block, beside};
use crate::executor::status::Verdict;
use crate::loom_tests::{explore, explore_within};
use crate::multiversion::TxIndex;
use crate::sync::Ordering;
use loom::thread::JoinHandle;

/// The first transaction, which has been claimed, is executed and committed, with a window of `width` after it.
fn commit_first(block: &Block, width: u32) {
    block.finish(0);
    assert!(block.scheduler.judge(|_, _| Verdict::Commit).is_some());
    block.scheduler.commit(0, width);
}

/// What this worker and the `others` come to execute next, the lowest first; whoever finds nothing sleeps.
fn next_of_each(block: &Block, others: impl IntoIterator<Item = JoinHandle<TxIndex>>) -> Vec<TxIndex> {
    let mut all = vec![block.next().tx];
    all.extend(others.into_iter().map(|worker| worker.join().unwrap()));
    all.sort_unstable();
    all
}

/// Two workers that claim at once get different transactions, and between them all there are: those of the queue and the
/// fresh ones.
#[test]
fn each_execution_is_claimed_once() {
    explore(|| {
        let block = Block::new(3, 9);
        block.claim(0);
        block.scheduler.retry(0, 0);
        let other = beside(&block, |block| block.rest());
        let mut all = block.rest();
        all.extend(other.join().unwrap());
        all.extend(block.rest());
        all.sort_unstable();
        assert_eq!(all, [(0, 1), (1, 0), (2, 0)]);
    });
}

/// Who pushes and who pops at once agree on the queue: what was pushed is claimed, each once, by workers who each leave when
/// they find nothing more, and then the queue is known to be empty.
#[test]
fn what_is_queued_is_claimed_by_who_queued_it_or_before() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let other = beside(&block, |block| {
            block.scheduler.retry(1, 0);
            block.rest()
        });
        block.scheduler.retry(0, 0);
        let mut both = block.rest();
        both.extend(other.join().unwrap());
        both.sort_unstable();
        assert_eq!(both, [(0, 1), (1, 1)]);
        assert!(!block.scheduler.has_work(), "nobody would ever sleep");
    });
}

/// Places executed elsewhere are nobody's to execute: of two workers who each leave when they find nothing, one finds what
/// comes after them, though each meet such a place.
#[test]
fn who_finds_nothing_has_passed_over_the_places_elsewhere() {
    explore(|| {
        let block = Block::with_elsewhere(3, 9, |index| (index < 2).then_some(1));
        let other = beside(&block, |block| block.rest());
        let mut both = block.rest();
        both.extend(other.join().unwrap());
        assert_eq!(both, [(2, 0)]);
    });
}

/// Of two transactions that a commit lets be claimed, the one that its maker leaves is claimed by who sleeps or is about to:
/// the maker calls whom it sees asleep, who else sees what there is. Whoever claims it sees what was committed.
#[test]
fn who_claims_and_sees_more_calls_a_sleeper() {
    explore(|| {
        let block = Block::new(3, 1);
        block.claim(0);
        let worker = beside(&block, |block| {
            let task = block.next(); // would sleep for ever
            assert!(block.written[0].load(Ordering::Relaxed));
            task.tx
        });
        block.written[0].store(true, Ordering::Relaxed);
        commit_first(&block, 2);
        assert_eq!(next_of_each(&block, [worker]), [1, 2]);
    });
}

/// The same of two that are queued.
#[test]
fn who_claims_and_sees_more_in_the_queue_calls_a_sleeper() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let worker = beside(&block, |block| block.next().tx);
        block.scheduler.retry(0, 0);
        block.scheduler.retry(1, 0);
        assert_eq!(next_of_each(&block, [worker]), [0, 1]);
    });
}

/// The same of two that are queued, and that a commit lets be claimed.
#[test]
fn what_a_commit_admits_of_the_queue_is_claimed() {
    explore(|| {
        let block = Block::new(3, 3);
        (0..3).for_each(|tx| block.claim(tx));
        block.scheduler.narrow(1);
        [1, 2].into_iter().for_each(|tx| block.scheduler.retry(tx, 0));
        let worker = beside(&block, |block| block.next().tx); // would sleep for ever
        commit_first(&block, 2);
        assert_eq!(next_of_each(&block, [worker]), [1, 2]);
    });
}

/// One that is queued while a commit moves the window to it is claimed by who queued it, or by whom the committer calls.
#[test]
fn what_is_queued_as_the_window_comes_to_it_is_claimed() {
    explore(|| {
        let block = Block::new(3, 3);
        (0..2).for_each(|tx| block.claim(tx));
        block.scheduler.narrow(1);
        let worker = beside(&block, |block| {
            block.scheduler.retry(1, 0);
            block.next().tx // would sleep for ever
        });
        commit_first(&block, 2);
        assert_eq!(next_of_each(&block, [worker]), [1, 2]);
    });
}

/// A chain: of three that are made claimable at once, one is claimed by the maker, who calls one sleeper, who calls the other.
#[test]
fn who_is_called_calls_the_next() {
    explore_within(2, || {
        let block = Block::new(4, 1);
        block.claim(0);
        let workers = [beside(&block, |block| block.next().tx), beside(&block, |block| block.next().tx)];
        commit_first(&block, 3);
        assert_eq!(next_of_each(&block, workers), [1, 2, 3]);
    });
}
