//! The executor's own policy, as it is: scheduler, queue, frontier and window are the library's files. What stands beside them
//! there, threads that sleep and wake, is played here.

#![allow(dead_code, reason = "of the library's files only the policy is used")]

#[path = "../../src/executor/fresh.rs"]
mod fresh;
#[path = "../../src/executor/front.rs"]
mod front;
#[path = "../../src/executor/queue.rs"]
mod queue;
#[path = "../../src/executor/scheduler.rs"]
pub mod scheduler;
#[path = "../../src/executor/status.rs"]
pub mod status;
#[path = "../../src/executor/window.rs"]
pub mod window;

pub mod parking {
    //! In the place of the library's: calls are counted, for the simulation to answer.

    use crate::sync::{AtomicU32, Ordering};

    #[derive(Debug, Default)]
    pub struct Parking {
        asleep: AtomicU32,
        called: AtomicU32,
    }

    impl Parking {
        pub fn call(&self, all: bool) {
            let asleep = self.asleep.load(Ordering::Relaxed);
            let called = if all { asleep } else { asleep.min(1) };
            self.asleep.store(asleep - called, Ordering::Relaxed);
            self.called.fetch_add(called, Ordering::Relaxed);
        }

        pub fn call_if(&self, has_work: impl FnOnce() -> bool) {
            if self.seems_asleep() && has_work() {
                self.call(false);
            }
        }

        pub fn seems_asleep(&self) -> bool {
            self.asleep.load(Ordering::Relaxed) > 0
        }

        /// One more sleeps.
        pub fn sleep(&self) {
            self.asleep.fetch_add(1, Ordering::Relaxed);
        }

        /// How many have been called since the last question.
        pub fn take_called(&self) -> u32 {
            self.called.swap(0, Ordering::Relaxed)
        }
    }
}
