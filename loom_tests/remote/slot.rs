//! A slot is written once, and whoever waits for it leaves.

use crate::loom_tests::explore;
use crate::remote::slot::{Slot, Wrote};
use crate::sync::Arc;
use loom::thread;
use std::time::Instant;

type Place = Arc<Slot<u8, &'static str>>;

fn waiting(slot: &Place) -> thread::JoinHandle<Option<Result<u8, &'static str>>> {
    let slot = Arc::clone(slot);
    thread::spawn(move || slot.wait(Instant::now()))
}

/// Everybody who waits, before the write or after it, leaves with what was written.
#[test]
fn every_waiter_leaves_with_what_was_written() {
    explore(|| {
        let slot = Arc::new(Slot::new());
        let waiters = [waiting(&slot), waiting(&slot)];
        assert_eq!(slot.write(Ok(1)), Wrote::First);
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Some(Ok(1))));
    });
}

/// An answer and the close race: one of them is first, the other is told so, and the waiter leaves with the first.
#[test]
fn of_an_answer_and_the_close_one_stays() {
    explore(|| {
        let slot = Arc::new(Slot::new());
        let waiter = waiting(&slot);
        let closes = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.write(Err("closed")))
        };
        let answered = slot.write(Ok(1));
        let closed = closes.join().unwrap();
        let due = match (answered, closed) {
            (Wrote::First, Wrote::Different) => Ok(1),
            (Wrote::Different, Wrote::First) => Err("closed"),
            both => panic!("both or neither were first: {both:?}"),
        };
        assert_eq!((waiter.join().unwrap(), slot.peek()), (Some(due), Some(due)));
    });
}
