//! Ordered commit: who asks, who commits, and who says how the block ends.

use super::blocks::{Calls, add, conclude, job};
use crate::executor::block::Options;
use crate::executor::commit::Committer;
use crate::executor::error::Cause;
use crate::executor::parking::Parking;
use crate::executor::scheduler::Scheduler;
use crate::executor::status::{Task, Verdict};
use crate::executor::window::{RunAhead, Window};
use crate::loom_tests::explore;
use crate::multiversion::Settlement;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};
use loom::thread;

fn window() -> Window {
    Window::new(RunAhead::Fixed, 9)
}

/// A committer, what has been executed, and how far it has been committed: the part of a scheduler.
struct Front {
    committer: Committer<'static, Calls>,
    executed: [AtomicBool; 3],
    committed: AtomicUsize,
}

impl Front {
    fn new() -> Arc<Self> {
        let (executed, committed) = Default::default();
        Arc::new(Self { committer: Committer::new(None, Settlement::at_once(), window(), 3), executed, committed })
    }

    /// Executes `index` and asks for commits. Relaxed: what was done before asking is seen by whoever answers.
    fn execute(&self, index: usize) {
        self.executed[index].store(true, Ordering::Relaxed);
        self.committer.drive(|_| {
            let next = self.committed.load(Ordering::Relaxed);
            let there = self.executed.get(next).is_some_and(|executed| executed.load(Ordering::Relaxed));
            if there {
                assert_eq!(self.committed.fetch_add(1, Ordering::Relaxed), next, "two commit at once");
            }
            there
        });
    }
}

/// Of two who ask at once one commits for both: when both have left, everything executed is committed.
#[test]
fn no_request_is_forgotten() {
    explore(|| {
        let front = Front::new();
        let other = {
            let front = Arc::clone(&front);
            thread::spawn(move || front.execute(0))
        };
        front.execute(1);
        other.join().unwrap();
        assert_eq!(front.committed.load(Ordering::Relaxed), 2);
    });
}

/// The same of three, the requests of two of them coming while the third looks.
#[test]
fn no_request_of_several_is_forgotten() {
    explore(|| {
        let front = Front::new();
        let execute = |index| {
            let front = Arc::clone(&front);
            thread::spawn(move || front.execute(index))
        };
        let others = [execute(2), execute(0)];
        front.execute(1);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(front.committed.load(Ordering::Relaxed), 3);
    });
}

/// Nobody who asks waits for who commits: a request made while another thread commits returns at once.
#[test]
fn who_asks_does_not_wait_for_who_commits() {
    explore(|| {
        let front = Front::new();
        let mut other = None;
        let mut looks = 0;
        front.committer.drive(|_| {
            looks += 1;
            if looks == 1 {
                let asks = Arc::clone(&front);
                let asks = other.insert(thread::spawn(move || asks.execute(0)));
                let _ = asks;
                other.take().unwrap().join().unwrap(); // it would wait for ever
            }
            false
        });
        assert_eq!(looks, 2, "the request is answered");
    });
}

/// A scheduler, and who commits what it schedules.
struct Scheduled {
    scheduler: Scheduler<u32>,
    committer: Committer<'static, Calls>,
    /// Executions of what was left.
    left: AtomicUsize,
}

impl Scheduled {
    /// Two transactions that are being executed.
    fn new() -> Arc<Self> {
        let scheduler = Scheduler::new(2, 2, 9, Arc::new(Parking::default()), |_| None);
        assert_eq!([scheduler.claim().unwrap().tx, scheduler.claim().unwrap().tx], [0, 1]);
        Self::of(scheduler)
    }

    /// One that is being executed, and one that is left.
    fn leaving() -> Arc<Self> {
        let scheduler = Scheduler::new(2, 2, 9, Arc::new(Parking::default()), |_| None).leaving(9, &[1]);
        assert_eq!(scheduler.claim().unwrap().tx, 0);
        assert!(scheduler.claim().is_none() && !scheduler.has_work());
        Self::of(scheduler)
    }

    fn of(scheduler: Scheduler<u32>) -> Arc<Self> {
        let committer = Committer::new(None, Settlement::at_once(), window(), 2);
        Arc::new(Self { scheduler, committer, left: AtomicUsize::new(0) })
    }

    /// That what is left was executed, once, and is committed.
    fn assert_over(&self) {
        assert_eq!((self.scheduler.frontier(), self.left.load(Ordering::Relaxed)), (2, 1));
    }

    /// Executes what was left.
    fn execute(&self, task: Option<Task<u32>>) {
        let Some(task) = task else { return };
        self.left.fetch_add(1, Ordering::Relaxed);
        self.ask(self.scheduler.finish(task.tx, 0));
    }

    /// Commits what can be committed, as workers do: if what they have executed is at the frontier.
    fn ask(&self, at_frontier: bool) {
        let mut left = None;
        if at_frontier {
            self.committer.drive(|_| {
                if let Some(task) = self.scheduler.take_left() {
                    assert!(task.at_frontier);
                    left = Some(task);
                    return false;
                }
                let judged = self.scheduler.judge(|_, _| Verdict::Commit);
                judged.is_some_and(|judged| {
                    self.scheduler.commit(judged.index, 9);
                    true
                })
            });
        }
        self.execute(left);
    }
}

/// A transaction that finishes while the frontier comes to it is committed, though nobody asks for commits who is not at the
/// frontier: by who moved the frontier, or by who finished it.
#[test]
fn who_finishes_as_the_frontier_arrives_is_committed() {
    explore(|| {
        let block = Scheduled::new();
        let below = {
            let block = Arc::clone(&block);
            thread::spawn(move || block.ask(block.scheduler.finish(0, 0)))
        };
        block.ask(block.scheduler.finish(1, 0));
        below.join().unwrap();
        assert_eq!(block.scheduler.frontier(), 2);
    });
}

/// The same of one that will only do at the frontier: it is queued, once.
#[test]
fn who_is_put_aside_as_the_frontier_arrives_is_queued() {
    explore(|| {
        let block = Scheduled::new();
        let below = {
            let block = Arc::clone(&block);
            thread::spawn(move || block.ask(block.scheduler.finish(0, 0)))
        };
        block.ask(block.scheduler.defer(1, 0));
        below.join().unwrap();
        let task = block.scheduler.claim().unwrap();
        assert!(task.tx == 1 && task.at_frontier);
        assert!(block.scheduler.claim().is_none());
    });
}

/// What is left is executed once and committed: by who commits when the frontier comes to it, or before by who has nothing else to do.
#[test]
fn what_is_left_is_executed_once_and_committed() {
    explore(|| {
        let block = Scheduled::leaving();
        block.ask(block.scheduler.finish(0, 0)); // nobody else is there
        block.assert_over();
        let block = Scheduled::leaving();
        let below = {
            let block = Arc::clone(&block);
            thread::spawn(move || block.ask(block.scheduler.finish(0, 0)))
        };
        block.execute(block.scheduler.claim_left(0));
        below.join().unwrap();
        block.assert_over();
    });
}

/// Of two who end the block at once, or of one and the commit that ends it, the first says how.
#[test]
fn who_ends_the_block_first_says_how() {
    explore(|| {
        let work = job(&[|view| add(view, 1, 1)], Options::default());
        let noted = Arc::new(AtomicBool::new(false));
        let other = {
            let (work, noted) = (Arc::clone(&work), Arc::clone(&noted));
            thread::spawn(move || {
                work.fail(Cause::Malformed("one"));
                noted.store(true, Ordering::Release);
            })
        };
        let later = noted.load(Ordering::Acquire);
        work.fail(Cause::Malformed("other"));
        other.join().unwrap();
        let cause = conclude(work).cause;
        assert!(cause == Some(Cause::Malformed("one")) || !later && cause == Some(Cause::Malformed("other")));
    });
}

/// A run that is told that its block stops finds it stopped when it then looks why, whatever ended it.
#[test]
fn who_is_interrupted_finds_the_block_stopped() {
    explore(|| {
        let work = job(&[|view| add(view, 1, 1)], Options::default());
        let other = {
            let work = Arc::clone(&work);
            thread::spawn(move || work.stop())
        };
        if work.store.is_interrupted() {
            assert!(work.scheduler.is_stopped());
        }
        other.join().unwrap();
    });
}
