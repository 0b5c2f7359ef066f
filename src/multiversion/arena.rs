//! The arena of a block's slots: they never move, and a number is good for as long as the block.
//!
//! ```text
//! runs   0: [ 0 1 2 3 … ]   1: [ · · · … ]   2: …      who adds has a run of his own
//! ```
//!
//! **Who adds disturbs nobody who looks.** Numbers are given out by the run: a thread fills one by itself, under a lock that
//! nobody else takes, so what all have to read to find a slot changes once a run. A counter of slots beside the list's
//! own pointers would pass between the cores with every key that is new, and every look at any slot would wait for it.

use crate::sync::{Apart, AppendVec, Mutex, OnceLock, thread_number};

/// Whether a checker is at work: short runs, so that it meets full ones.
const CHECKED: bool = cfg!(any(kv_loom, kv_shuttle));

/// How many numbers a thread takes at a time; a power of two.
const RUN: usize = if CHECKED { 2 } else { 64 };

/// Enough that two threads seldom meet in one; a power of two.
const LANES: usize = if CHECKED { 4 } else { 64 };

pub(super) struct Arena<T> {
    runs: AppendVec<Box<[OnceLock<T>]>>,
    lanes: Box<[Apart<Mutex<Lane>>]>,
}

/// What is left of a thread's run: the numbers from `next` up to `end`.
#[derive(Default)]
struct Lane {
    next: usize,
    end: usize,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Self {
        Self { runs: AppendVec::new(), lanes: (0..LANES).map(|_| Apart(Mutex::new(Lane::default()))).collect() }
    }

    /// Adds `value`, and returns its number.
    pub(super) fn push(&self, value: T) -> usize {
        #[expect(clippy::indexing_slicing, reason = "masked by the number of lanes")]
        let mut lane = self.lanes[thread_number() & (LANES - 1)].lock();
        if lane.next == lane.end {
            let run = self.runs.push((0..RUN).map(|_| OnceLock::new()).collect());
            (lane.next, lane.end) = (run * RUN, (run + 1) * RUN);
        }
        let at = lane.next;
        lane.next += 1;
        if let Some(place) = self.place(at) {
            drop(place.set(value)); // the first: a number is given out once
        }
        at
    }

    /// What was pushed under the number `at`, if that happened before.
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.place(at)?.get()
    }

    fn place(&self, at: usize) -> Option<&OnceLock<T>> {
        self.runs.get(at / RUN)?.get(at % RUN)
    }
}

#[cfg(all(test, not(any(kv_loom, kv_shuttle))))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn a_number_is_given_out_once_and_stays_good() {
        let arena = Arena::new();
        let given: Vec<Vec<(usize, usize)>> = thread::scope(|scope| {
            let add =
                |thread: usize| (0..3 * RUN).map(|n| (arena.push(1_000 * thread + n), 1_000 * thread + n)).collect();
            let adders: Vec<_> = (0..5).map(|thread| scope.spawn(move || add(thread))).collect();
            adders.into_iter().map(|adder| adder.join().unwrap()).collect()
        });
        let given: BTreeSet<_> = given.into_iter().flatten().collect();
        assert_eq!(given.iter().map(|(at, _)| at).collect::<BTreeSet<_>>().len(), 5 * 3 * RUN);
        assert!(given.iter().all(|(at, value)| arena.get(*at) == Some(value)));
        assert_eq!(arena.get(1 << 40), None);
    }
}
