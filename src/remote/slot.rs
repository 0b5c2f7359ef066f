//! A place for one value: written once, waited for by many.

use crate::sync::{Condvar, Mutex};
use std::time::Instant;

/// ```text
/// InFlight ──▶ Ready(value)
///     └──────▶ Failed(why)
/// ```
///
/// What is written first stays. Whoever waits leaves with it, or at his deadline; nobody leaves with anything else.
#[derive(Debug)]
pub(crate) struct Slot<T, E> {
    state: Mutex<Option<Result<T, E>>>,
    written: Condvar,
}

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// It was the first.
    First,
    /// The same had been written.
    Same,
    /// Something else had been written, and stays.
    Different,
}

impl<T, E> Default for Slot<T, E> {
    fn default() -> Self {
        Self { state: Mutex::new(None), written: Condvar::default() }
    }
}

impl<T: Clone + PartialEq, E: Clone + PartialEq> Slot<T, E> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes, and wakes whoever waits, unless something has been written.
    pub(crate) fn write(&self, result: Result<T, E>) -> Wrote {
        let mut state = self.state.lock();
        match &*state {
            None => {
                *state = Some(result);
                drop(state);
                self.written.notify_all();
                Wrote::First
            }
            Some(present) if *present == result => Wrote::Same,
            Some(_) => Wrote::Different,
        }
    }

    /// What has been written, if something has.
    pub(crate) fn peek(&self) -> Option<Result<T, E>> {
        self.state.lock().clone()
    }

    /// What is written, once something is; `None` at the deadline.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<Result<T, E>> {
        let mut state = self.state.lock();
        while state.is_none() {
            if self.written.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.clone()
    }
}
