//! The runtime that connections live on: one thread, owned, and ended within a time.

use crate::remote::transport::TransportError;
use crate::sync::Mutex;
use std::future::Future;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Runtime {
    /// `None` once it is closed.
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Runtime {
    pub(super) fn new(name: &str) -> Result<Self, TransportError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).max_blocking_threads(4).thread_name(name).enable_all().build();
        let runtime = runtime.map_err(|error| TransportError::Threads(error.to_string()))?;
        Ok(Self { runtime: Mutex::new(Some(runtime)) })
    }

    /// Starts a task; nothing is done if the runtime is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &*self.runtime.lock() {
            drop(runtime.spawn(task)); // it ends with the runtime
        }
    }

    /// Runs what has to be known before going on; `None` if the runtime is closed.
    pub(super) fn enter<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let runtime = self.runtime.lock();
        let _inside = runtime.as_ref()?.enter();
        Some(work())
    }

    /// Ends every task at its next wait, and waits for that until `deadline`. May be called again.
    pub(super) fn close(&self, deadline: Instant) {
        let Some(runtime) = self.runtime.lock().take() else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            return runtime.shutdown_background(); // called from a task: nothing may be waited for there
        }
        runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}
