//! A queue between threads: any number put in, one takes out.
//!
//! Nobody who puts in ever waits. What a network brings has a bound, and is refused beyond it: it is sent again, or is of no
//! use any more. What our own threads tell has none of its own: a block tells a bounded number of things. A queue that is
//! closed is a value (`false`), neither a panic nor a wait.

use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    /// How many may be waiting for one more to be let in by `offer`.
    bound: usize,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    open: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { state: Mutex::new(State { queue: VecDeque::new(), open: true }), arrived: Condvar::default(), bound }
    }

    /// Puts `item` in; false, and it is dropped, if the queue is closed.
    pub(crate) fn push(&self, item: T) -> bool {
        self.put(item, usize::MAX)
    }

    /// Puts `item` in; false, and it is dropped, if the queue is closed or full.
    pub(crate) fn offer(&self, item: T) -> bool {
        self.put(item, self.bound)
    }

    fn put(&self, item: T, bound: usize) -> bool {
        let mut state = self.state.lock();
        if !state.open || state.queue.len() >= bound {
            return false;
        }
        state.queue.push_back(item);
        let first = state.queue.len() == 1; // whoever takes out takes all, or looks again
        drop(state);
        if first {
            self.arrived.notify_one();
        }
        true
    }

    /// Takes all there is, once there is something, or nothing at the deadline. False if the queue is closed and empty.
    pub(crate) fn take_all(&self, into: &mut VecDeque<T>, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while state.queue.is_empty() && state.open {
            match deadline {
                None => self.arrived.wait(&mut state),
                Some(deadline) => {
                    if self.arrived.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        into.append(&mut state.queue);
        state.open || !into.is_empty()
    }

    /// The next item, once there is one; `None` if the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(item) = state.queue.pop_front() {
                return Some(item);
            }
            if !state.open {
                return None;
            }
            self.arrived.wait(&mut state);
        }
    }

    /// What is there now, without waiting.
    pub(crate) fn take_now(&self, into: &mut VecDeque<T>) {
        into.append(&mut self.state.lock().queue);
    }

    /// Lets nothing more in. What is in can be taken out.
    pub(crate) fn close(&self) {
        self.state.lock().open = false;
        self.arrived.notify_all();
    }
}
