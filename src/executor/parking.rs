//! Where idle workers sleep until there may be work.

use crate::sync::{AtomicU32, Condvar, Mutex, Ordering, fence};
use std::time::Instant;

/// Sleeps and calls without a lost one.
///
/// A sleeper registers, then looks once more whether there is something to do. Whoever makes something to do looks for
/// sleepers after it. Between the two steps of each stands a sequentially consistent fence, and of any two such fences one
/// comes first:
///
/// * the sleeper's: the caller sees that it is registered, and takes the lock. The sleeper holds the lock from its look to
///   its wait, so the call cannot fall between the two;
/// * the caller's: the sleeper sees what there is to do, and does not sleep.
///
/// A call is answered by whoever looks for one first, perhaps by somebody who came after it. That is right as long as all
/// look for the same: whoever answers has just seen that what the call was for is taken.
///
/// A sleeper that is called is no longer registered, though it has not woken yet: nobody calls it twice, and while it is on
/// its way to wake up others pay one load each.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    /// Sleepers that nobody has called. Changed under the lock. Relaxed: the fences and the lock order.
    asleep: AtomicU32,
    /// Calls that no sleeper has answered.
    calls: Mutex<u32>,
    wake: Condvar,
}

impl Parking {
    /// Calls a sleeper, or `all`, to what the caller has made before.
    pub(crate) fn call(&self, all: bool) {
        fence(Ordering::SeqCst); // what there is to do, then the look for sleepers; see the other in `wait`
        if self.asleep.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut calls = self.calls.lock();
        let asleep = self.asleep.load(Ordering::Relaxed);
        let called = if all { asleep } else { asleep.min(1) };
        self.asleep.store(asleep - called, Ordering::Relaxed);
        *calls += called;
        drop(calls);
        if all {
            self.wake.notify_all();
        } else {
            self.wake.notify_one();
        }
    }

    /// The same of one sleeper, if `has_work`, which sees what those have made who are about to sleep.
    pub(crate) fn call_if(&self, has_work: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst); // what the caller has made, then the look for what others have; see the other in `wait`
        if self.seems_asleep() && has_work() {
            self.call(false);
        }
    }

    /// Whether somebody seems to sleep. A hint, which saves looking for work to call it to.
    pub(crate) fn seems_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) > 0
    }

    /// Sleeps until called, or until `deadline`; not at all unless `idle`, which must not call anybody.
    pub(crate) fn wait(&self, deadline: Option<Instant>, idle: impl FnOnce() -> bool) {
        let mut calls = self.calls.lock();
        self.asleep.store(self.asleep.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // registered, then the look for work; see those in `call` and `call_if`
        // Who finds something to do answers no call: one who sleeps may be meant by it, to whom it is all there will be.
        if !idle() {
            return self.asleep.store(self.asleep.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        while *calls == 0 {
            match deadline {
                None => self.wake.wait(&mut calls),
                Some(deadline) => {
                    if self.wake.wait_until(&mut calls, deadline).timed_out() && *calls == 0 {
                        return self.asleep.store(self.asleep.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
                    }
                }
            }
        }
        *calls -= 1; // who called has deregistered one sleeper
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Arc, AtomicU64};
    use std::time::Duration;

    #[test]
    fn who_finds_something_to_do_does_not_sleep() {
        Parking::default().wait(None, || false); // would never return
    }

    #[test]
    fn a_deadline_ends_a_wait_and_the_sleeper_is_no_longer_counted() {
        let parking = Parking::default();
        parking.wait(Some(Instant::now() + Duration::from_millis(5)), || true);
        assert!(!parking.seems_asleep());
        parking.call(false);
        assert_eq!(*parking.calls.lock(), 0, "nobody is there to be called");
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads_that_hand_a_turn_to_each_other() {
        // A place to sleep for each: a call is for whoever is there, and a turn is not.
        let turns = Arc::new(([Parking::default(), Parking::default()], AtomicU64::new(0)));
        let play = |mine: usize| {
            let turns = Arc::clone(&turns);
            move || {
                let (parking, turn) = (&turns.0, &turns.1);
                for round in (mine as u64..20_000).step_by(2) {
                    while turn.load(Ordering::Acquire) != round {
                        parking[mine].wait(None, || turn.load(Ordering::Acquire) != round);
                    }
                    turn.store(round + 1, Ordering::Release);
                    parking[1 - mine].call(false);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(play(0));
            scope.spawn(play(1));
        });
        assert_eq!(turns.1.load(Ordering::Acquire), 20_000);
        assert!(turns.0.iter().all(|parking| !parking.seems_asleep()));
    }
}
