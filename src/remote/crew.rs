//! The threads of a service: each is named, owned and joined.

use super::slot::Slot;
use crate::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Threads that were still running when a shutdown's time was over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("still running: {}", threads.join(", "))]
pub struct StillRunning {
    /// Their names.
    pub threads: Vec<String>,
}

/// A thread's end: written when it has ended, however it did.
pub(crate) type Ended = Slot<(), ()>;

#[derive(Debug, Default)]
pub(crate) struct Crew {
    members: Mutex<Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    name: String,
    handle: Option<JoinHandle<()>>,
    ended: Arc<Ended>,
}

/// Writes the end of its thread, a panic included.
struct AtEnd(Arc<Ended>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.write(Ok(()));
    }
}

impl Crew {
    /// Starts a thread.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub(crate) fn start(&self, name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let ended = Arc::new(Ended::new());
        let at_end = AtEnd(Arc::clone(&ended));
        let handle = thread::Builder::new().name(name.clone()).spawn(move || {
            let _at_end = at_end;
            work();
        })?;
        self.members.lock().push(Member { name, handle: Some(handle), ended });
        Ok(())
    }

    /// Waits for every thread to end, but for the one that calls, and takes it away. May be called by several at once, and
    /// again.
    ///
    /// # Errors
    /// [`StillRunning`] at the deadline; the threads are still owned, and may be waited for again.
    pub(crate) fn join(&self, deadline: Instant) -> Result<(), StillRunning> {
        let me = thread::current().id();
        let others: Vec<_> = {
            let members = self.members.lock();
            let own = |member: &&Member| member.handle.as_ref().is_some_and(|handle| handle.thread().id() == me);
            members.iter().filter(|member| !own(member)).map(|m| (m.name.clone(), Arc::clone(&m.ended))).collect()
        };
        let late: Vec<_> = others.into_iter().filter(|(_, ended)| ended.wait(deadline).is_none()).collect();
        if !late.is_empty() {
            return Err(StillRunning { threads: late.into_iter().map(|(name, _)| name).collect() });
        }
        let ended: Vec<_> = {
            let mut members = self.members.lock();
            let ended = members.iter_mut().filter(|member| member.ended.peek().is_some());
            ended.filter_map(|member| member.handle.take()).collect()
        };
        for handle in ended {
            drop(handle.join()); // what it panicked with, the hook has told; it has ended, so this does not wait
        }
        Ok(())
    }
}
