//! Where called threads wake up: not on the core of who calls them.
//!
//! Linux wakes a thread on an idle core if it finds one. A core of a virtual machine that has nothing to do goes back to its host,
//! and then counts as taken, not as idle: the thread is woken on the core of its caller, who goes on working, and the two share it
//! for milliseconds, while the other core stays asleep. So a pool's threads are kept off the core that they were last called
//! from; and a worker that sleeps wakes where it fell asleep, unless another does so there. Who may not be moved, or has
//! fewer cores than threads, stays where the system puts him; so do threads of a pool that are called before they have started.
//!
//! Between blocks they stay kept off: to be let go and kept off again takes longer than a short block, and has no use but for what
//! is dropped there. On which cores a thread may run in truth is remembered, and learnt anew when somebody else has said so.

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The threads of a pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores(Arc<Mutex<Vec<Thread>>>);

#[derive(Debug)]
struct Thread {
    id: Pid,
    kept: Option<Kept>,
}

/// A thread that is kept off a core.
#[derive(Debug)]
struct Kept {
    off: usize,
    /// Where it may run in truth, and where it does.
    own: CpuSet,
    others: CpuSet,
}

impl Cores {
    /// By each thread of the pool, once.
    pub(super) fn enter(&self) {
        self.0.lock().push(Thread { id: gettid(), kept: None });
    }

    /// Keeps the pool's threads off the core of the caller, who is about to call them. Costs two calls of the system a thread, or
    /// one where the caller is on the core where it was the last time.
    pub(super) fn keep_off_mine(&self) {
        let mine = sched_getcpu();
        let mut threads = self.0.lock();
        let enough = u32::try_from(threads.len()).unwrap_or(u32::MAX);
        for Thread { id, kept } in threads.iter_mut() {
            let Ok(cores) = sched_getaffinity(Some(*id)) else { continue }; // also where there are more than a set holds
            let own = match kept {
                Some(kept) if kept.others == cores && kept.off == mine => continue,
                Some(kept) if kept.others == cores => kept.own,
                _ => cores,
            };
            let mut others = own;
            others.unset(mine);
            let may_be = own.is_set(mine) && others.count() >= enough;
            let wanted = if may_be { others } else { own };
            if wanted == cores || sched_setaffinity(Some(*id), &wanted).is_ok() {
                *kept = may_be.then_some(Kept { off: mine, own, others });
            }
        }
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
        may_run_on(&self.own);
        if let Some(slept_on) = SLEPT_ON.get(self.core / 64) {
            slept_on.fetch_and(!(1 << (self.core % 64)), Ordering::Relaxed);
        }
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

    fn only(core: usize) -> CpuSet {
        let mut one = CpuSet::new();
        one.set(core);
        one
    }

    #[test]
    fn a_called_thread_is_kept_off_the_core_that_it_was_last_called_from() {
        let _one = ONE.lock();
        let Some(all) = two_cores() else { return };
        let cores = Cores::default();
        let ((entered, thread), (end, ended)) = (channel(), channel::<()>());
        thread::scope(|scope| {
            let theirs = cores.clone();
            scope.spawn(move || {
                theirs.enter();
                entered.send(gettid()).unwrap();
                let _ = ended.recv();
            });
            let thread = thread.recv().unwrap();
            let of_thread = || sched_getaffinity(Some(thread)).unwrap();
            let some: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).take(2).collect();
            for core in [some[0], some[0], some[1], some[0]] {
                sched_setaffinity(None, &only(core)).unwrap();
                cores.keep_off_mine();
                assert_eq!((of_thread().count(), of_thread().is_set(core)), (all.count() - 1, false));
            }
            // What somebody else has said since is what it may do in truth.
            sched_setaffinity(Some(thread), &only(some[0])).unwrap();
            cores.keep_off_mine();
            assert_eq!(of_thread(), only(some[0]), "it has no other");
            sched_setaffinity(None, &only(some[1])).unwrap();
            cores.keep_off_mine();
            assert_eq!(of_thread(), only(some[0]));
            sched_setaffinity(Some(thread), &all).unwrap();
            cores.keep_off_mine();
            assert_eq!((of_thread().count(), of_thread().is_set(some[1])), (all.count() - 1, false));
            may_run_on(&all);
            drop(end);
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
