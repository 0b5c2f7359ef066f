//! Ordered commit: who asks, who commits, and who says how the block ends.

use super::blocks::{Calls, add, conclude, job};
use crate::executor::block::Options;
use crate::executor::commit::Committer;
use crate::executor::error::Cause;
use crate::loom_tests::explore;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};
use loom::thread;

/// A committer, what has been executed, and how far it has been committed: the part of a scheduler.
struct Front {
    committer: Committer<'static, Calls>,
    executed: [AtomicBool; 3],
    committed: AtomicUsize,
}

impl Front {
    fn new() -> Arc<Self> {
        let (executed, committed) = Default::default();
        Arc::new(Self { committer: Committer::new(None, 3), executed, committed })
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
