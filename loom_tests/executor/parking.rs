//! Sleeping and waking.

use crate::executor::parking::Parking;
use crate::loom_tests::{explore, explore_within};
use crate::sync::{Arc, AtomicUsize, Ordering};
use loom::thread;

/// Things to take, and where those sleep who found none.
#[derive(Default)]
struct Shelf {
    parking: Parking,
    things: AtomicUsize,
}

impl Shelf {
    fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Puts one thing there. Relaxed: that the thing is found is the call's claim.
    fn put(&self, all: bool) {
        self.things.fetch_add(1, Ordering::Relaxed);
        self.parking.call(all);
    }

    fn is_empty(&self) -> bool {
        self.things.load(Ordering::Relaxed) == 0
    }

    /// Looks and sleeps in turn until there is something to take.
    fn take(&self) {
        loop {
            let there = self.things.load(Ordering::Relaxed);
            if there > 0 {
                if self.things.compare_exchange(there, there - 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    return;
                }
                continue;
            }
            self.parking.wait(None, || self.is_empty());
        }
    }

    /// Looks and sleeps in turn until there is something, and leaves it there.
    fn find(&self) {
        while self.is_empty() {
            self.parking.wait(None, || self.is_empty());
        }
    }
}

/// A worker that sleeps after it found nothing is woken by what is called to later, and finds it.
#[test]
fn no_call_is_slept_through() {
    explore(|| {
        let shelf = Shelf::new();
        let sleeper = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || shelf.take())
        };
        shelf.put(false);
        sleeper.join().unwrap();
    });
}

/// A sleeper that is called does not stay registered, nor does one that found something to do.
#[test]
fn who_has_woken_is_not_registered() {
    explore(|| {
        let shelf = Shelf::new();
        let sleeper = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || shelf.take())
        };
        shelf.put(false);
        sleeper.join().unwrap();
        assert!(!shelf.parking.seems_asleep());
    });
}

/// Two calls to one thing each serve two sleepers, also when one of them comes late and takes what another was
/// woken for.
#[test]
fn two_calls_serve_two_sleepers() {
    explore_within(2, || {
        let shelf = Shelf::new();
        let sleeper = || {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || shelf.take())
        };
        let sleepers = [sleeper(), sleeper()];
        shelf.put(false);
        shelf.put(false);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

/// The same when somebody who has taken one thing comes back for another: it registers while who called is on its way to the
/// one asleep, and finds that what was called to is gone.
#[test]
fn who_comes_while_another_is_called_is_called_next() {
    explore_within(2, || {
        let shelf = Shelf::new();
        let sleeper = |times| {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || (0..times).for_each(|_| shelf.take()))
        };
        let sleepers = [sleeper(1), sleeper(2)];
        (0..3).for_each(|_| shelf.put(false));
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

/// One call to all lets both sleepers look.
#[test]
fn a_call_to_all_reaches_both_sleepers() {
    explore(|| {
        let shelf = Shelf::new();
        let sleeper = || {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || shelf.find())
        };
        let sleepers = [sleeper(), sleeper()];
        shelf.put(true);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

/// A sleeper that leaves takes along no call for one who comes.
#[test]
fn a_leaving_sleeper_takes_no_call_along() {
    explore_within(2, || {
        let shelf = Shelf::new();
        let first = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || {
                shelf.take();
                shelf.put(false); // and goes
            })
        };
        let second = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || {
                shelf.take();
                shelf.put(false);
            })
        };
        shelf.put(false);
        first.join().unwrap();
        second.join().unwrap();
        shelf.take();
    });
}
