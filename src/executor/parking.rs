//! Where idle workers sleep until there may be work.

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};
use std::time::Instant;

/// Sleeps and wake-ups without a lost one.
///
/// One word holds the number of announcements (upper 48 bits) and of sleepers (lower 16). A worker takes a ticket, looks
/// for work, and sleeps only while no announcement has come since its ticket. Because both counts live in one atomic
/// word, their changes have one order:
///
/// * the sleeper registers before the announcement: the announcer sees a sleeper, takes the lock and wakes it. The sleeper
///   holds the lock from its look at the word to its wait, so the wake-up cannot fall between the two;
/// * the announcement comes first: the sleeper, which has changed the word after it, looks at the word and does not sleep.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    word: AtomicU64,
    lock: Mutex<()>,
    wake: Condvar,
}

const ANNOUNCEMENT: u64 = 1 << 16;
const SLEEPERS: u64 = ANNOUNCEMENT - 1;

/// The announcements a worker has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Parking {
    /// To be taken before looking for work. Acquire, with the release of an announcement: what was announced before the
    /// ticket is there to be found.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.word.load(Ordering::Acquire) >> 16)
    }

    /// Says that there may be work: `all` sleepers look, or one.
    pub(crate) fn announce(&self, all: bool) {
        let before = self.word.fetch_add(ANNOUNCEMENT, Ordering::Release); // for `ticket`
        if before & SLEEPERS == 0 {
            return;
        }
        drop(self.lock.lock()); // every registered sleeper that will wait is waiting now
        if all {
            self.wake.notify_all();
        } else {
            self.wake.notify_one();
        }
    }

    /// Sleeps until something is announced after `ticket` was taken, or until `deadline`.
    pub(crate) fn wait(&self, ticket: Ticket, deadline: Option<Instant>) {
        let mut guard = self.lock.lock();
        // Relaxed, here and below: the count carries no data. What matters is its place among the changes of the word.
        self.word.fetch_add(1, Ordering::Relaxed);
        while self.ticket() == ticket {
            match deadline {
                None => self.wake.wait(&mut guard),
                Some(deadline) => {
                    if self.wake.wait_until(&mut guard, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        self.word.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn an_announcement_between_ticket_and_wait_is_not_slept_through() {
        let parking = Parking::default();
        let ticket = parking.ticket();
        parking.announce(false);
        parking.wait(ticket, None); // would never return
    }

    #[test]
    fn a_sleeper_that_leaves_is_no_longer_counted() {
        let parking = Parking::default();
        let before = parking.ticket();
        parking.announce(false);
        let now = parking.ticket();
        (0..=SLEEPERS).for_each(|_| parking.wait(before, None));
        assert_eq!(parking.ticket(), now, "sleepers run over into announcements");
    }

    #[test]
    fn a_deadline_ends_a_wait() {
        let parking = Parking::default();
        parking.wait(parking.ticket(), Some(Instant::now() + Duration::from_millis(5)));
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads_that_hand_a_turn_to_each_other() {
        let turns = Arc::new((Parking::default(), AtomicU64::new(0)));
        let play = |parity: u64| {
            let turns = Arc::clone(&turns);
            move || {
                for round in (parity..20_000).step_by(2) {
                    loop {
                        let ticket = turns.0.ticket();
                        if turns.1.load(Ordering::Acquire) == round {
                            break;
                        }
                        turns.0.wait(ticket, None);
                    }
                    turns.1.store(round + 1, Ordering::Release);
                    turns.0.announce(true);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(play(0));
            scope.spawn(play(1));
        });
        assert_eq!(turns.1.load(Ordering::Acquire), 20_000);
    }
}
