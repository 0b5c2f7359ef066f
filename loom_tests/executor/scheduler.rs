//! The scheduler's transitions against each other.

use crate::executor::parking::Parking;
use crate::executor::scheduler::Scheduler;
use crate::executor::status::{Judged, Task, Verdict};
use crate::loom_tests::{explore, explore_within};
use crate::multiversion::TxIndex;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};
use loom::thread;

/// A scheduler with its sleepers, and with flags that stand for what transactions write.
pub(super) struct Block {
    pub(super) scheduler: Scheduler<u32>,
    parking: Arc<Parking>,
    /// The window at commits.
    width: u32,
    pub(super) written: [AtomicBool; 3],
}

impl Block {
    pub(super) fn new(len: TxIndex, width: u32) -> Arc<Self> {
        Self::with_elsewhere(len, width, |_| None)
    }

    pub(super) fn with_elsewhere(len: TxIndex, width: u32, owed: impl Fn(TxIndex) -> Option<usize>) -> Arc<Self> {
        let parking = Arc::new(Parking::default());
        let scheduler = Scheduler::new(len, 2, width, Arc::clone(&parking), owed);
        Arc::new(Self { scheduler, parking, width, written: Default::default() })
    }

    /// The next execution, asleep until there is one.
    pub(super) fn next(&self) -> Task<u32> {
        loop {
            if let Some(task) = self.scheduler.claim() {
                return task;
            }
            self.parking.wait(None, || !self.scheduler.has_work());
        }
    }

    /// The execution of `tx` is over.
    pub(super) fn finish(&self, tx: TxIndex) {
        let _ = self.scheduler.finish(tx, 0);
    }

    /// Executes all that can be claimed, as a worker does who has made something claimable.
    fn work(&self) -> Vec<(TxIndex, u32)> {
        let mut ran = Vec::new();
        while let Some(task) = self.scheduler.claim() {
            self.finish(task.tx);
            ran.push((task.tx, task.incarnation));
        }
        ran
    }

    pub(super) fn claim(&self, tx: TxIndex) {
        assert_eq!(self.scheduler.claim().unwrap().tx, tx);
    }

    /// Commits the frontier's transaction if it can be.
    fn commit(&self) -> Option<TxIndex> {
        let Judged { index, .. } = self.scheduler.judge(|_, _| Verdict::Commit)?;
        self.scheduler.commit(index, self.width);
        Some(index)
    }

    /// All that can be claimed now.
    pub(super) fn rest(&self) -> Vec<(TxIndex, u32)> {
        std::iter::from_fn(|| self.scheduler.claim()).map(|task| (task.tx, task.incarnation)).collect()
    }
}

pub(super) fn beside<T: 'static>(block: &Arc<Block>, act: impl FnOnce(&Block) -> T + 'static) -> thread::JoinHandle<T> {
    let block = Arc::clone(block);
    thread::spawn(move || act(&block))
}

/// A commit lets one more transaction be claimed, by who commits or by who looks then; and an execution that is told that
/// everything below it is committed sees everything below it.
#[test]
fn a_commit_admits_the_next_and_shows_what_it_wrote() {
    explore(|| {
        let block = Block::new(2, 1);
        block.claim(0);
        let claim = |block: &Block| {
            let task = block.scheduler.claim()?;
            assert_eq!((task.tx, task.at_frontier), (1, true));
            assert!(block.written[0].load(Ordering::Relaxed));
            Some(task.tx)
        };
        let worker = beside(&block, claim);
        block.written[0].store(true, Ordering::Relaxed);
        block.finish(0);
        assert_eq!(block.commit(), Some(0));
        let mine = claim(&block);
        assert_eq!([mine, worker.join().unwrap()].into_iter().flatten().count(), 1);
    });
}

/// A transaction that is claimed while the one below commits runs at the frontier only if it sees all that one wrote.
#[test]
fn a_run_at_the_frontier_sees_everything_below() {
    explore(|| {
        let block = Block::new(2, 9);
        block.claim(0);
        let worker = beside(&block, |block| {
            let task = block.next();
            if task.at_frontier {
                assert!(block.written[0].load(Ordering::Relaxed));
            }
        });
        block.written[0].store(true, Ordering::Relaxed);
        block.finish(0);
        assert_eq!(block.commit(), Some(0));
        worker.join().unwrap();
    });
}

/// A transaction put aside runs again once what it waits for has executed, however the two meet.
#[test]
fn no_blocked_transaction_is_forgotten_by_a_finish() {
    not_forgotten_by(|block| block.finish(0));
}

/// The same when what it waits for is executed and committed at once.
#[test]
fn no_blocked_transaction_is_forgotten_by_one_that_commits() {
    not_forgotten_by(|block| {
        assert_eq!(block.scheduler.finish_committed(0), 1);
        block.scheduler.commit(0, 9);
    });
}

fn not_forgotten_by(finish: impl Fn(&Block) + Copy + Send + Sync + 'static) {
    explore(move || {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let claim = |block: &Block| {
            let task = block.scheduler.claim()?;
            assert!(block.written[0].load(Ordering::Relaxed), "woken too early");
            Some((task.tx, task.incarnation, task.previous))
        };
        let below = beside(&block, move |block| {
            block.written[0].store(true, Ordering::Relaxed);
            finish(block);
            claim(block)
        });
        block.scheduler.block(1, 0, 7);
        let mine = claim(&block);
        let both = [mine, below.join().unwrap()];
        assert_eq!(both.into_iter().flatten().collect::<Vec<_>>(), [(1, 1, Some(7))]);
        assert!(block.rest().is_empty());
    });
}

/// The same when what it waits for is aborted right after it has executed: it waits for the next execution, or runs.
#[test]
fn no_blocked_transaction_is_forgotten_by_one_that_is_aborted() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let below = beside(&block, |block| {
            block.finish(0);
            block.scheduler.abort_doomed(0, 1, |_, _| true);
            block.work()
        });
        block.scheduler.block(1, 0, 0);
        let mut ran = block.work();
        ran.extend(below.join().unwrap());
        ran.sort_unstable();
        assert_eq!(ran, [(0, 1), (1, 1)]);
    });
}

/// The same when what it waits for came to nothing, is put aside until it is at the frontier, and runs there.
#[test]
fn no_blocked_transaction_is_forgotten_by_one_that_runs_again() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let below = beside(&block, |block| {
            block.scheduler.retry(0, 0);
            assert_eq!(block.next().tx, 0);
            assert!(block.scheduler.defer(0, 0));
            assert_eq!(block.commit(), None);
            let task = block.next();
            assert_eq!((task.tx, task.incarnation, task.at_frontier), (0, 2, true));
            block.finish(0);
        });
        block.scheduler.block(1, 0, 0);
        below.join().unwrap();
        assert_eq!(block.rest(), [(1, 1)]);
    });
}

/// Two transactions that wait for one are both woken, once each.
#[test]
fn all_who_wait_are_woken_once() {
    explore(|| {
        let block = Block::new(3, 9);
        (0..3).for_each(|tx| block.claim(tx));
        let one = beside(&block, |block| block.scheduler.block(1, 0, 0));
        let two = beside(&block, |block| block.scheduler.block(2, 0, 0));
        block.finish(0);
        one.join().unwrap();
        two.join().unwrap();
        assert_eq!(block.rest(), [(1, 1), (2, 1)]);
    });
}

/// A chain of those who wait for each other unwinds: each is woken by the one below.
#[test]
fn a_chain_of_waiting_transactions_unwinds() {
    explore_within(2, || {
        let block = Block::new(3, 9);
        (0..3).for_each(|tx| block.claim(tx));
        let worker = |block: &Block, own: TxIndex| {
            block.scheduler.block(own, own - 1, 0);
            block.work()
        };
        let two = beside(&block, move |block| worker(block, 2));
        block.finish(0);
        let mut ran = worker(&block, 1);
        ran.extend(two.join().unwrap());
        ran.sort_unstable();
        assert_eq!(ran, [(1, 1), (2, 1)]);
    });
}

/// A transaction is committed or aborted, not both: it is judged as executed, or queued to be executed again.
#[test]
fn an_abort_and_a_commit_exclude_each_other() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        block.finish(0);
        let _ = block.scheduler.finish(1, 1);
        assert_eq!(block.commit(), Some(0));
        let writer = beside(&block, |block| {
            let mut doomed = 0;
            block.scheduler.abort_doomed(1, 2, |_, _| {
                doomed += 1;
                true
            });
            doomed
        });
        let committed = block.commit();
        let doomed = writer.join().unwrap();
        match committed {
            Some(1) => assert!(doomed == 0 && block.rest().is_empty()),
            None => assert_eq!(block.rest(), [(1, 1)]),
            other => panic!("committed {other:?}"),
        }
    });
}

/// Two writers that doom the same transaction, or a writer and the judge, queue it once.
#[test]
fn who_is_doomed_twice_runs_again_once() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        block.finish(0);
        block.finish(1);
        assert_eq!(block.commit(), Some(0));
        let doom = |block: &Block| block.scheduler.abort_doomed(1, 2, |_, _| true);
        let writers = [beside(&block, doom), beside(&block, doom)];
        assert!(block.scheduler.judge(|_, _| Verdict::Abort).is_none());
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(block.rest(), [(1, 1)]);
    });
}

/// An abort that meets a claim and a finish on its way dooms the execution that has finished, or none: never one under
/// way, whose end would otherwise find itself aborted.
#[test]
fn an_abort_leaves_executions_under_way_alone() {
    explore(|| {
        let block = Block::new(2, 9);
        block.claim(0);
        let doomed = Arc::new(AtomicUsize::new(0));
        let writer = {
            let doomed = Arc::clone(&doomed);
            beside(&block, move |block| {
                block.scheduler.abort_doomed(1, 2, |_, run| {
                    assert_eq!(*run, 7, "what an execution left behind is whole");
                    doomed.fetch_add(1, Ordering::Relaxed);
                    true
                });
            })
        };
        block.claim(1);
        let _ = block.scheduler.finish(1, 7);
        writer.join().unwrap();
        assert_eq!(block.rest().len(), doomed.load(Ordering::Relaxed));
    });
}

/// A transaction that will only do at the frontier runs there: whether it is put aside before or after the one below has
/// committed, whoever asks for the commit last finds it.
#[test]
fn a_deferred_transaction_runs_when_the_frontier_is_there() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        let below = beside(&block, |block| {
            block.finish(0);
            assert_eq!(block.commit(), Some(0));
            assert_eq!(block.commit(), None);
        });
        let _ = block.scheduler.defer(1, 0);
        below.join().unwrap();
        assert_eq!(block.commit(), None, "it has not executed");
        let task = block.next();
        assert!(task.tx == 1 && task.at_frontier && task.incarnation == 1);
        assert!(block.rest().is_empty());
    });
}

/// Keys that arrive from elsewhere at once are each counted: the place is executed with the last, and who waits there has
/// looked again by then.
#[test]
fn keys_from_elsewhere_are_each_counted() {
    explore(|| {
        let block = Block::with_elsewhere(2, 9, |index| (index == 0).then_some(2));
        block.claim(1);
        let other = beside(&block, |block| {
            block.written[0].store(true, Ordering::Relaxed);
            assert!(block.scheduler.arrive(0));
            block.rest()
        });
        block.scheduler.block(1, 0, 0);
        assert!(block.scheduler.arrive(0));
        let mut all = block.rest();
        all.extend(other.join().unwrap());
        assert_eq!(all, [(1, 1)]);
        block.scheduler.block(1, 0, 0);
        assert_eq!(block.rest(), [(1, 2)]);
        assert!(block.written[0].load(Ordering::Relaxed));
        assert_eq!(block.commit(), Some(0), "both keys are there");
    });
}

/// Whoever waits for a place executed elsewhere is woken by the next key that arrives, at the latest by the last, and once.
#[test]
fn a_key_from_elsewhere_wakes_who_waits_for_it() {
    explore(|| {
        let block = Block::with_elsewhere(2, 9, |index| (index == 0).then_some(2));
        block.claim(1);
        let other = beside(&block, |block| assert!(block.scheduler.arrive(0)));
        block.scheduler.block(1, 0, 0);
        other.join().unwrap();
        let mut all = block.rest(); // empty if the key came first: it may not have been the one that is waited for
        assert!(block.scheduler.arrive(0));
        all.extend(block.rest());
        assert_eq!(all, [(1, 1)]);
    });
}

/// A stop is seen by everybody who sleeps or is about to.
#[test]
fn a_stop_wakes_all_who_sleep() {
    explore(|| {
        let block = Block::new(1, 9);
        block.claim(0);
        let worker = |block: &Block| {
            while !block.scheduler.is_stopped() {
                block.parking.wait(None, || !block.scheduler.is_stopped());
            }
        };
        let workers = [beside(&block, worker), beside(&block, worker)];
        block.scheduler.stop();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// After a stop nothing is committed; before it, what was committed stays counted.
#[test]
fn a_stop_and_a_commit_agree_on_the_frontier() {
    explore(|| {
        let block = Block::new(2, 9);
        (0..2).for_each(|tx| block.claim(tx));
        block.finish(0);
        block.finish(1);
        let stopper = beside(&block, |block| {
            block.scheduler.stop();
            assert!(block.scheduler.is_stopped());
        });
        let committed = std::iter::from_fn(|| block.commit()).count();
        stopper.join().unwrap();
        assert_eq!(block.scheduler.frontier() as usize, committed);
        assert_eq!(block.commit(), None);
    });
}
