//! One job in flight: what one thread hands over, another writes, while the first goes on.
//!
//! ```text
//! restorer   verify 1 │ submit 1 │ verify 2 │ submit 2: waits ·····│ verify 3 ...
//! writer              └ write 1 ───────────────────────▶│ write 2 ─────▶
//! ```
//!
//! A job is handed over only when the one before is done, and a failure is told to whoever asks next. After a failure
//! nothing is written any more: there is nothing waiting that could be.

use crate::sync::{Condvar, Mutex};

/// The meeting place of the two.
#[derive(Debug)]
pub(crate) struct Pipe<J, E> {
    state: Mutex<State<J, E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<J, E> {
    /// Handed over, and not yet begun.
    job: Option<J>,
    /// Being written.
    busy: bool,
    closed: bool,
    failure: Option<E>,
}

impl<J, E: Clone> Pipe<J, E> {
    pub(crate) fn new() -> Self {
        let state = State { job: None, busy: false, closed: false, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::default() }
    }

    /// Hands `job` over once the one before is done. It is not written if the one before failed.
    ///
    /// # Errors
    /// The failure of an earlier job.
    pub(crate) fn submit(&self, job: J) -> Result<(), E> {
        let mut state = self.state.lock();
        while state.failure.is_none() && (state.busy || state.job.is_some()) {
            self.changed.wait(&mut state);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.job = Some(job);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until nothing is in flight.
    ///
    /// # Errors
    /// The failure of an earlier job.
    pub(crate) fn drain(&self) -> Result<(), E> {
        let mut state = self.state.lock();
        while state.failure.is_none() && (state.busy || state.job.is_some()) {
            self.changed.wait(&mut state);
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    /// What is known by now, without waiting.
    ///
    /// # Errors
    /// The failure of an earlier job.
    pub(crate) fn poll(&self) -> Result<(), E> {
        self.state.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Writes what is handed over, until the pipe is closed or a job fails.
    pub(crate) fn serve(&self, mut write: impl FnMut(J) -> Result<(), E>) {
        while let Some(job) = self.take() {
            let failure = write(job).err();
            let mut state = self.state.lock();
            state.busy = false;
            state.failure = failure;
            self.changed.notify_all();
            if state.failure.is_some() {
                return;
            }
        }
    }

    /// Ends the writer once what has been handed over is written.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    fn take(&self) -> Option<J> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.job.take() {
                state.busy = true;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}
