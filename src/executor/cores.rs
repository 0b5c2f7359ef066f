//! Where called threads wake up: not on the core of who calls them.
//!
//! Linux wakes a thread on an idle core if it finds one. A core of a virtual machine that has nothing to do goes back to its host,
//! and then counts as taken, not as idle: the thread is woken on the core of its caller, who goes on working, and the two share it
//! for milliseconds, while the other core stays asleep. So while a block is on it, a pool's threads are kept off the core that the
//! block was given on; and a worker that sleeps wakes where it fell asleep. Who may not be moved, or knows no other core, stays
//! where the system puts him.

use crate::sync::{Arc, Mutex};
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The threads of a pool, each with the cores that it may run on in truth while it is kept off one.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores(Arc<Mutex<Vec<(Pid, Option<CpuSet>)>>>);

impl Cores {
    /// By each thread of the pool, once.
    pub(super) fn enter(&self) {
        self.0.lock().push((gettid(), None));
    }

    /// Keeps the pool's threads off the core of the caller, who is about to call them.
    pub(super) fn keep_off_mine(&self) {
        let mine = sched_getcpu();
        for (thread, own) in self.0.lock().iter_mut() {
            let Ok(cores) = sched_getaffinity(Some(*thread)) else { continue };
            let mut others = cores;
            others.unset(mine);
            if cores.is_set(mine) && others.count() > 0 && sched_setaffinity(Some(*thread), &others).is_ok() {
                own.get_or_insert(cores);
            }
        }
    }

    /// By a thread of the pool that has done what it was called for: it may run where it might.
    pub(super) fn leave(&self) {
        let me = gettid();
        let own = self.0.lock().iter_mut().find(|(thread, _)| *thread == me).and_then(|(_, own)| own.take());
        own.inspect(may_run_on);
    }
}

/// Until it is dropped, the calling thread wakes on the core that it is on now.
#[derive(Debug)]
pub(super) struct Here(Option<CpuSet>);

impl Here {
    pub(super) fn stay() -> Self {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        let own = sched_getaffinity(None).ok();
        Self(own.filter(|_| sched_setaffinity(None, &here).is_ok()))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.as_ref().inspect(|own| may_run_on(own));
    }
}

/// What the system refuses here nobody could do anything about.
fn may_run_on(cores: &CpuSet) {
    let _ = sched_setaffinity(None, cores);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    /// The cores of the calling thread, if there are two: else there is nothing to choose.
    fn two_cores() -> Option<CpuSet> {
        let cores = sched_getaffinity(None).unwrap();
        if cores.count() < 2 {
            println!("SKIPPED: there is one core");
            return None;
        }
        Some(cores)
    }

    #[test]
    fn a_called_thread_is_kept_off_its_callers_core_until_it_leaves() {
        let Some(all) = two_cores() else { return };
        let cores = Cores::default();
        let ((entered, thread), (call, called), (asleep, wakes)) = (channel(), channel(), channel());
        thread::scope(|scope| {
            let theirs = cores.clone();
            let other = scope.spawn(move || {
                theirs.enter();
                entered.send(gettid()).unwrap();
                called.recv().unwrap();
                let during = sched_getaffinity(None).unwrap();
                theirs.leave();
                asleep.send(()).unwrap();
                (during, sched_getaffinity(None).unwrap())
            });
            let thread = thread.recv().unwrap();
            // Called twice, as of a block whose threads had not yet left when the next one called them.
            let mine = Here::stay(); // so that it is one core that both are kept off
            cores.keep_off_mine();
            cores.keep_off_mine();
            let core = (0..CpuSet::MAX_CPU).find(|core| sched_getaffinity(None).unwrap().is_set(*core)).unwrap();
            drop(mine);
            assert_eq!(sched_getaffinity(Some(thread)).unwrap().count(), all.count() - 1);
            call.send(()).unwrap();
            wakes.recv().unwrap();
            let (during, after) = other.join().unwrap();
            assert!(!during.is_set(core));
            assert_eq!(after, all);
        });
    }

    #[test]
    fn who_has_one_core_stays_on_it() {
        let Some(all) = two_cores() else { return };
        let cores = Cores::default();
        let one = Here::stay();
        cores.enter();
        cores.keep_off_mine();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        cores.leave();
        drop(one);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }

    #[test]
    fn who_slept_may_run_where_he_might() {
        let Some(all) = two_cores() else { return };
        let here = Here::stay();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(here);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }
}
