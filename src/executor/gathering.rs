//! Gathering: what a block comes to, key by key, put together by all who executed it.
//!
//! At the end of a block somebody has to look at every key that was written. Most of them are in the cache of who wrote them, so
//! each worker begins with the keys that it was the first to write, and takes others' if their worker has not come for them.

use super::error::panic_message;
use crate::kv::{Op, WriteBatch};
use crate::multiversion::LANES;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, thread_number};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) struct Gathering<K, V> {
    /// Whether every transaction is committed: then nothing changes any more.
    whole: AtomicBool,
    /// A bit for each lane that somebody has begun with. Relaxed: it gives out lanes and no data.
    begun: AtomicUsize,
    parts: Mutex<Parts<K, V>>,
}

/// Each in key order, and why one is missing.
struct Parts<K, V> {
    there: Vec<Vec<(K, Op<V>)>>,
    panicked: Option<String>,
}

impl<K: Ord, V> Gathering<K, V> {
    pub(super) fn new() -> Self {
        let parts = Parts { there: Vec::new(), panicked: None };
        Self { whole: AtomicBool::new(false), begun: AtomicUsize::new(0), parts: Mutex::new(parts) }
    }

    /// Every transaction is committed, and all that they wrote is in place. Release, for the acquire of who gathers.
    pub(super) fn begin(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Nothing will come of it.
    pub(super) fn fail(&self, message: String) {
        self.parts.lock().panicked = Some(message);
    }

    /// Whether it may be gathered while others do the same.
    pub(super) fn has_begun(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Gathers, until nothing is left, what nobody has begun with. `outcome` gives what is in a lane, in key order.
    pub(super) fn gather(&self, outcome: impl Fn(usize) -> Vec<(K, Op<V>)>) {
        let own = thread_number();
        for lane in (0..LANES).map(|step| own.wrapping_add(step) & (LANES - 1)) {
            if self.begun.fetch_or(1 << lane, Ordering::Relaxed) & (1 << lane) != 0 {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| outcome(lane))) {
                Ok(part) if part.is_empty() => {}
                Ok(part) => self.parts.lock().there.push(part),
                Err(payload) => self.fail(panic_message(payload)),
            }
        }
    }

    /// All of it, or why some of it could not be gathered.
    pub(super) fn into_batch(self) -> Result<WriteBatch<K, V>, String> {
        let Parts { there, panicked } = self.parts.into_inner();
        match panicked {
            None => Ok(WriteBatch::from_ascending(all_merged(there.into()))),
            Some(message) => Err(message),
        }
    }
}

/// All parts as one, two and two of them at a time: each operation is moved once a round.
fn all_merged<K: Ord, V>(mut parts: VecDeque<Vec<(K, Op<V>)>>) -> Vec<(K, Op<V>)> {
    while let Some(left) = parts.pop_front() {
        match parts.pop_front() {
            Some(right) => parts.push_back(merged(left, right)),
            None => return left,
        }
    }
    Vec::new()
}

/// Two parts as one.
fn merged<K: Ord, V>(left: Vec<(K, Op<V>)>, right: Vec<(K, Op<V>)>) -> Vec<(K, Op<V>)> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    while let ([(a, _), ..], [(b, _), ..]) = (left.as_slice(), right.as_slice()) {
        all.extend(if a < b { left.next() } else { right.next() });
    }
    all.extend(left.chain(right));
    all
}
