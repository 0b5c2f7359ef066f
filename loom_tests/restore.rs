//! The restore's pipelined writer: order, and what follows a failure.

use super::pipe::Pipe;
use crate::loom_tests::explore;
use crate::sync::{Arc, AtomicUsize, Ordering};
use loom::thread;

/// Which job fails; jobs are numbered from 0.
const NEVER: usize = usize::MAX;

/// A pipe, and how many jobs have been begun by its writer, which fails at job `fails`.
fn start(fails: usize) -> (Arc<Pipe<usize, usize>>, Arc<AtomicUsize>, thread::JoinHandle<()>) {
    let (pipe, begun) = (Arc::new(Pipe::new()), Arc::new(AtomicUsize::new(0)));
    let writer = {
        let (pipe, begun) = (Arc::clone(&pipe), Arc::clone(&begun));
        thread::spawn(move || {
            pipe.serve(|job| {
                let before = begun.fetch_add(1, Ordering::Relaxed);
                assert_eq!(before, job, "written out of order, or after a failure");
                if job == fails { Err(job) } else { Ok(()) }
            });
        })
    };
    (pipe, begun, writer)
}

/// Every job is written once, in order; a job is handed over only when the one before is done; and what has been handed over
/// when the pipe is closed is still written.
#[test]
fn jobs_are_written_in_order_one_at_a_time() {
    explore(|| {
        let (pipe, begun, writer) = start(NEVER);
        pipe.submit(0).unwrap();
        pipe.submit(1).unwrap();
        assert!(begun.load(Ordering::Relaxed) >= 1, "job 1 was taken before job 0 was done");
        pipe.drain().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        pipe.submit(2).unwrap();
        pipe.close();
        writer.join().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    });
}

/// A failure is told by the next call that waits, whichever it is and whenever it comes, and nothing is written after it.
#[test]
fn a_failure_is_told_by_the_next_call_and_nothing_is_written_after_it() {
    explore(|| {
        let (pipe, begun, writer) = start(0);
        pipe.submit(0).unwrap();
        if pipe.poll().is_ok() {
            assert_eq!(pipe.submit(1), Err(0), "the failure is not told");
        }
        assert_eq!((pipe.drain(), pipe.poll(), pipe.submit(2)), (Err(0), Err(0), Err(0)));
        pipe.close();
        writer.join().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 1, "something was written after the failure");
    });
}

/// The same when the failure comes later, and the restorer looks only at the end.
#[test]
fn a_late_failure_is_told_at_the_end() {
    explore(|| {
        let (pipe, begun, writer) = start(1);
        pipe.submit(0).unwrap();
        pipe.submit(1).unwrap();
        assert_eq!(pipe.drain(), Err(1));
        pipe.close();
        writer.join().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    });
}

/// A pipe that is closed at any moment ends its writer: nobody waits for ever.
#[test]
fn closing_ends_the_writer() {
    explore(|| {
        let (pipe, begun, writer) = start(NEVER);
        pipe.close();
        writer.join().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    });
}
