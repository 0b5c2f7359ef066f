//! The executor: scheduler, ordered commit, parking, and whole small blocks.

use super::parking::Parking;
use crate::loom_tests::explore;
use crate::sync::{Arc, AtomicBool, Ordering};
use loom::thread;

/// A worker that sleeps after it found nothing is woken by what is announced later, and finds it.
#[test]
fn no_announcement_is_slept_through() {
    explore(|| {
        let there = Arc::new((Parking::default(), AtomicBool::new(false)));
        let sleeper = {
            let there = Arc::clone(&there);
            thread::spawn(move || {
                loop {
                    let ticket = there.0.ticket();
                    if there.1.load(Ordering::Relaxed) {
                        break;
                    }
                    there.0.wait(ticket, None);
                }
            })
        };
        there.1.store(true, Ordering::Relaxed);
        there.0.announce(false);
        sleeper.join().unwrap();
    });
}
