//! The threads that workers live on: the one that executes the block, and those of a pool, if there are to be more.
//!
//! Where a checker has to know of its threads they are made for each call. The thread sanitizer sees the begin and end of a
//! thread, and nothing of the waiting inside a pool, which is the standard library's and not instrumented.

#[cfg(all(target_os = "linux", not(any(kv_loom, kv_shuttle, kv_tsan))))]
use super::cores::Cores;
#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
use crate::sync::{Arc, AtomicBool, Ordering};
#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
use std::num::NonZero;
#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The calling thread, and a pool of the others.
#[derive(Debug)]
#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
pub(super) struct Pool {
    others: Option<rayon::ThreadPool>,
    /// Whether what one block has left waits to be dropped.
    remains: Arc<AtomicBool>,
    /// Where the others are kept apart.
    #[cfg(target_os = "linux")]
    cores: Option<Cores>,
}

#[cfg(not(any(kv_loom, kv_shuttle, kv_tsan)))]
impl Pool {
    /// `threads` of them with the caller, 0 for as many as the machine has; on cores `apart` while they are called.
    pub(super) fn new(threads: usize, apart: bool) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        #[cfg(target_os = "linux")]
        let cores = apart.then(Cores::default);
        let others = if threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads - 1);
            let pool = pool.thread_name(|index| format!("cachekv-{index}"));
            #[cfg(target_os = "linux")]
            let pool = {
                let cores = cores.clone();
                pool.start_handler(move |_| cores.iter().for_each(Cores::enter))
            };
            Some(pool.build()?)
        } else {
            None
        };
        #[cfg(not(target_os = "linux"))]
        let _ = apart;
        Ok(Self {
            others,
            remains: Arc::new(AtomicBool::new(false)),
            #[cfg(target_os = "linux")]
            cores,
        })
    }

    pub(super) fn threads(&self) -> usize {
        1 + self.others.as_ref().map_or(0, rayon::ThreadPool::current_num_threads)
    }

    /// Runs `lead` on the calling thread, and `work` on each of the others once `lead` calls them. Returns when all have.
    pub(super) fn run(&self, lead: impl FnOnce(&dyn Fn()), work: impl Fn() + Sync) {
        let Some(pool) = &self.others else { return lead(&|| ()) };
        let called = &|| {
            work();
            #[cfg(target_os = "linux")]
            self.leave_later();
        };
        pool.in_place_scope(|scope| {
            lead(&|| {
                #[cfg(target_os = "linux")]
                self.cores.iter().for_each(Cores::keep_off_mine);
                scope.spawn_broadcast(move |_, _| called());
            });
        });
    }

    /// Lets the calling thread of the pool run where it might, once nobody waits for it any more: that takes as long as a short
    /// transaction, and the block is over.
    #[cfg(target_os = "linux")]
    fn leave_later(&self) {
        let Some(cores) = self.cores.clone() else { return };
        let thread = rustix::thread::gettid();
        rayon::spawn(move || cores.leave(thread));
    }

    /// Drops `what` on one of the others when it comes to it, and a panic in that is nothing; on this thread if there are none, or if
    /// what was left before still waits: a pool may be taken for long. Relaxed: it counts, and hands on no data.
    pub(super) fn drop_elsewhere(&self, what: impl Send + 'static) {
        match &self.others {
            Some(pool) if !self.remains.swap(true, Ordering::Relaxed) => {
                let remains = Arc::clone(&self.remains);
                pool.spawn(move || {
                    drop(catch_unwind(AssertUnwindSafe(|| drop(what))));
                    remains.store(false, Ordering::Relaxed);
                });
            }
            _ => drop(what),
        }
    }
}

/// The calling thread, and others made for each call.
#[derive(Debug)]
#[cfg(any(kv_loom, kv_shuttle, kv_tsan))]
pub(super) struct Pool(usize);

#[cfg(any(kv_loom, kv_shuttle, kv_tsan))]
impl Pool {
    #[expect(clippy::unnecessary_wraps, reason = "the real one can fail")]
    pub(super) fn new(threads: usize, _apart: bool) -> Result<Self, rayon::ThreadPoolBuildError> {
        Ok(Self(threads.max(1)))
    }

    pub(super) fn threads(&self) -> usize {
        self.0
    }

    /// Where a checker watches, nothing goes on behind a block's end.
    pub(super) fn drop_elsewhere(&self, what: impl Send + 'static) {
        drop(what);
    }

    #[cfg(not(kv_loom))]
    pub(super) fn run(&self, lead: impl FnOnce(&dyn Fn()), work: impl Fn() + Sync) {
        #[cfg(kv_shuttle)]
        use shuttle::thread;
        #[cfg(not(kv_shuttle))]
        use std::thread;
        thread::scope(|scope| {
            // When no other thread is left, shuttle's scope wakes this one wherever it waits: one stays.
            #[cfg(kv_shuttle)]
            let (leading, led) = shuttle::sync::mpsc::channel::<()>();
            #[cfg(kv_shuttle)]
            let stays = scope.spawn(move || led.recv().is_err());
            let threads = std::cell::RefCell::new(Vec::new());
            lead(&|| threads.borrow_mut().extend((1..self.0).map(|_| scope.spawn(&work))));
            // One by one: the end of a scope waits in a way that the sanitizer does not see.
            threads.into_inner().into_iter().for_each(|thread| drop(thread.join()));
            #[cfg(kv_shuttle)]
            drop(leading);
            #[cfg(kv_shuttle)]
            drop(stays.join());
        });
    }

    /// loom has no scoped threads: its models run the workers themselves.
    #[cfg(kv_loom)]
    pub(super) fn run(&self, lead: impl FnOnce(&dyn Fn()), work: impl Fn() + Sync) {
        lead(&|| ());
        (1..self.0).for_each(|_| work());
    }
}
