//! Where called threads wake up: not on the core of who calls them.
//!
//! Linux wakes a thread on an idle core if it finds one. A core of a virtual machine that has nothing to do goes back to its host,
//! and then counts as taken, not as idle: the thread is woken on the core of its caller, who goes on working, and the two share it
//! for milliseconds, while the other core stays asleep. So while a block is on it, a pool's threads are kept off the core that they
//! were called from; and a worker that sleeps wakes where it fell asleep, unless another does so there. Who may not be moved, or has
//! fewer cores than threads, stays where the system puts him; so do threads of a pool that are called before they have started.

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
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
        let mut threads = self.0.lock();
        let enough = u32::try_from(threads.len()).unwrap_or(u32::MAX);
        for (thread, own) in threads.iter_mut() {
            let Ok(cores) = sched_getaffinity(Some(*thread)) else { continue }; // also where there are more than a set holds
            let mut others = cores;
            others.unset(mine);
            if cores.is_set(mine) && others.count() >= enough && sched_setaffinity(Some(*thread), &others).is_ok() {
                own.get_or_insert(cores);
            }
        }
    }

    /// Lets `thread`, which has done what it was called for, run where it might.
    pub(super) fn leave(&self, thread: Pid) {
        let own = self.0.lock().iter_mut().find(|(one, _)| *one == thread).and_then(|(_, own)| own.take());
        own.inspect(|own| may_run_on(Some(thread), own));
    }
}

/// On which cores threads of this process sleep that will wake there. Relaxed: a hint, and no data.
static SLEPT_ON: [AtomicU64; CpuSet::MAX_CPU / 64] = [const { AtomicU64::new(0) }; CpuSet::MAX_CPU / 64];

/// Until it is dropped, the calling thread wakes on the core that it is on now.
#[derive(Debug)]
pub(super) struct Here {
    core: usize,
    own: CpuSet,
}

impl Here {
    /// `None` if it may wake anywhere: another sleeps here, or the system does not let it.
    pub(super) fn stay() -> Option<Self> {
        let (core, own) = (sched_getcpu(), sched_getaffinity(None).ok()?);
        let (slept_on, bit) = (SLEPT_ON.get(core / 64)?, 1 << (core % 64));
        if slept_on.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return None;
        }
        let here = Self { core, own };
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).ok().map(|()| here)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        may_run_on(None, &self.own);
        if let Some(slept_on) = SLEPT_ON.get(self.core / 64) {
            slept_on.fetch_and(!(1 << (self.core % 64)), Ordering::Relaxed);
        }
    }
}

/// What the system refuses here nobody could do anything about.
fn may_run_on(thread: Option<Pid>, cores: &CpuSet) {
    let _ = sched_setaffinity(thread, cores);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    /// That nobody else sleeps on the core that is asked for.
    static ONE: Mutex<()> = Mutex::new(());

    fn here() -> Here {
        loop {
            if let Some(here) = Here::stay() {
                return here;
            }
            thread::yield_now(); // another test's block
        }
    }

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
        let _one = ONE.lock();
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
                theirs.leave(gettid());
                asleep.send(()).unwrap();
                (during, sched_getaffinity(None).unwrap())
            });
            let thread = thread.recv().unwrap();
            // Called twice, as of a block whose threads had not yet left when the next one called them.
            let mine = here(); // so that it is one core that both are kept off
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
        let _one = ONE.lock();
        let Some(all) = two_cores() else { return };
        let cores = Cores::default();
        let one = here();
        cores.enter();
        cores.keep_off_mine();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        cores.leave(gettid());
        drop(one);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }

    #[test]
    fn who_slept_may_run_where_he_might() {
        let _one = ONE.lock();
        let Some(all) = two_cores() else { return };
        let here = here();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(here);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }

    #[test]
    fn of_two_who_sleep_on_a_core_one_wakes_there() {
        let _one = ONE.lock();
        let Some(all) = two_cores() else { return };
        let first = here();
        assert!(Here::stay().is_none(), "it is on that core, and may not leave it");
        let core = first.core;
        drop(first);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
        assert_eq!(SLEPT_ON[core / 64].load(Ordering::Relaxed) & (1 << (core % 64)), 0);
    }
}
