//! The state before one block, as one shard comes to know it: each key asked for once, answered once.
//!
//! * A view belongs to one [`BlockKey`]. It is created and closed, and never replaced: an answer to another block finds no
//!   view, or another one, and cannot be taken for this one's.
//! * **Each key has one slot**, written once: [in flight, then ready or failed](super::slot). Whoever reads first asks; all
//!   others wait for the same answer. A key that has no slot is asked for: nothing is ever taken to be absent.
//! * What a block is declared to read comes without being asked for, as the answers to its first requests.
//! * Guesses go out in batches, few at a time; a read that somebody waits for goes out at once, and is served first.
//! * An answer must answer exactly its request. One that contradicts an earlier one fails the block.
//! * No lock is held while asking, waiting, or waking.

use super::counters::Counters;
use super::message::{Answer, BlockKey, Fetch, Limit, Page, ReadFailure, Scan, ShardFailure, ToCoordinator};
use super::slot::{Slot, Wrote};
use crate::sync::{Arc, Mutex};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Why a read through a view has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewFailure {
    /// The view was closed.
    #[error("the block is over")]
    Closed,
    /// No answer came in time.
    #[error("no answer came in time")]
    Deadline,
    /// The answer did not answer what was asked, or contradicted another.
    #[error("the answer was wrong")]
    Protocol,
    /// The answer could not be understood.
    #[error("the answer could not be understood")]
    Malformed,
    /// The coordinator has no answer.
    #[error(transparent)]
    Read(#[from] ReadFailure),
}

/// How a view asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Keys a batch of guesses.
    pub(crate) batch: usize,
    /// Batches of guesses under way.
    pub(crate) batches: usize,
}

type KeySlot = Arc<Slot<Option<Bytes>, ViewFailure>>;

/// Entries of a range, and whether it goes on.
pub(crate) type Entries = (Arc<Vec<(Bytes, Bytes)>>, bool);
type PageSlot = Arc<Slot<Entries, ViewFailure>>;

pub(crate) struct BlockView {
    key: BlockKey,
    deadline: Instant,
    manners: Manners,
    /// Hands a request over to be sent; does not wait. Not called under the lock.
    ask: Box<dyn Fn(ToCoordinator) + Send + Sync>,
    /// Told, once, that the block cannot come to anything.
    fail: Box<dyn Fn(ShardFailure) + Send + Sync>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    slots: HashMap<Bytes, KeySlot, foldhash::fast::RandomState>,
    /// By their numbers, which are their places.
    requests: Vec<Request>,
    /// Guesses not yet asked for.
    guesses: VecDeque<Bytes>,
    batches: usize,
}

#[derive(Debug)]
struct Request {
    what: Asked,
    guess: bool,
    answered: bool,
}

#[derive(Debug)]
enum Asked {
    Keys(Vec<Bytes>),
    Page(PageSlot),
}

impl BlockView {
    pub(crate) fn new(
        key: BlockKey,
        deadline: Instant,
        manners: Manners,
        counters: Arc<Counters>,
        ask: impl Fn(ToCoordinator) + Send + Sync + 'static,
        fail: impl Fn(ShardFailure) + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State::default());
        Self { key, deadline, manners, ask: Box::new(ask), fail: Box::new(fail), counters, state }
    }

    /// The value of `key` before the block. Waits for the answer, until the deadline at most.
    pub(crate) fn get(&self, key: &Bytes) -> Result<Option<Bytes>, ViewFailure> {
        let (slot, asked) = {
            let mut state = self.state.lock();
            match state.slots.get(key) {
                Some(slot) => (Arc::clone(slot), None),
                None if state.closed => return Err(ViewFailure::Closed),
                None => {
                    let slot = Arc::new(Slot::new());
                    state.slots.insert(key.clone(), Arc::clone(&slot));
                    (slot, Some(state.open(Asked::Keys(vec![key.clone()]), false)))
                }
            }
        };
        if let Some(request) = asked {
            self.fetch(request, true, vec![key.clone()]);
        }
        slot.wait(self.deadline).unwrap_or(Err(ViewFailure::Deadline))
    }

    /// Expects the values of `batches` as answers to its first requests, which nobody has to send.
    pub(crate) fn expect(&self, batches: Vec<Vec<Bytes>>) {
        let mut state = self.state.lock();
        if state.closed {
            return; // nobody would write into their slots
        }
        for keys in batches {
            for key in &keys {
                state.slots.entry(key.clone()).or_default();
            }
            state.batches = state.batches.saturating_add(1);
            state.open(Asked::Keys(keys), true);
        }
    }

    /// Asks for `keys`, which will probably be read. Does not wait.
    pub(crate) fn prefetch(&self, keys: impl IntoIterator<Item = Bytes>) {
        self.state.lock().guesses.extend(keys);
        self.guess();
    }

    /// The first entries from `start` to `end`, or the last ones. Waits as [`get`](Self::get).
    pub(crate) fn page(&self, start: Limit, end: Limit, backward: bool, most: u32) -> Result<Entries, ViewFailure> {
        let slot = Arc::new(Slot::new());
        let request = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(ViewFailure::Closed);
            }
            state.open(Asked::Page(Arc::clone(&slot)), false)
        };
        self.counters.scanned.one();
        (self.ask)(ToCoordinator::Scan(Scan { key: self.key, request, start, end, backward, most }));
        slot.wait(self.deadline).unwrap_or(Err(ViewFailure::Deadline))
    }

    /// Takes an answer in.
    pub(crate) fn answer(&self, answer: Answer) {
        let (exact, slots) = {
            let mut state = self.state.lock();
            if state.closed {
                return self.counters.late.one();
            }
            let Some((keys, guess, again)) = state.answered(answer.request, Asked::keys) else {
                return self.counters.unasked.one();
            };
            let exact = keys.len() == answer.values.len() && keys.iter().zip(&answer.values).all(|(a, (b, _))| a == b);
            if guess && !again {
                state.batches = state.batches.saturating_sub(1);
            }
            let slots: Vec<_> = keys.iter().filter_map(|key| state.slots.get(key).cloned()).collect();
            (exact, slots)
        };
        if !exact {
            self.counters.incomplete.one();
            for slot in slots {
                slot.write(Err(ViewFailure::Protocol));
            }
            return (self.fail)(ShardFailure::Protocol("an answer does not answer its request".into()));
        }
        for (slot, (key, value)) in slots.iter().zip(answer.values) {
            self.note(slot.write(value.map_err(ViewFailure::Read)), || format!("two values of key {key:?}"));
        }
        self.guess();
    }

    /// Takes a page in.
    pub(crate) fn turn(&self, page: Page) {
        let slot = {
            let mut state = self.state.lock();
            if state.closed {
                return self.counters.late.one();
            }
            let Some((slot, ..)) = state.answered(page.request, Asked::page) else {
                return self.counters.unasked.one();
            };
            slot
        };
        let entries = page.entries.map(|entries| (Arc::new(entries), page.more)).map_err(ViewFailure::Read);
        self.note(slot.write(entries), || "two answers to one range".into());
    }

    /// Ends it: every read under way and every later one answers [`Closed`](ViewFailure::Closed), unless its answer is there.
    pub(crate) fn close(&self) {
        let (slots, requests) = {
            let mut state = self.state.lock();
            state.closed = true;
            state.guesses.clear();
            let slots: Vec<_> = state.slots.values().cloned().collect();
            (slots, std::mem::take(&mut state.requests))
        };
        for slot in slots {
            slot.write(Err(ViewFailure::Closed));
        }
        for request in requests {
            if let Asked::Page(slot) = request.what {
                slot.write(Err(ViewFailure::Closed));
            }
        }
    }

    /// Sends batches of guesses, as many as may be under way.
    fn guess(&self) {
        loop {
            let (request, keys) = {
                let mut state = self.state.lock();
                if state.closed || state.batches >= self.manners.batches {
                    return;
                }
                let mut keys = Vec::new();
                while keys.len() < self.manners.batch.max(1) {
                    let Some(key) = state.guesses.pop_front() else { break };
                    if !state.slots.contains_key(&key) {
                        state.slots.insert(key.clone(), Arc::new(Slot::new()));
                        keys.push(key);
                    }
                }
                if keys.is_empty() {
                    return;
                }
                state.batches = state.batches.saturating_add(1);
                (state.open(Asked::Keys(keys.clone()), true), keys)
            };
            self.fetch(request, false, keys);
        }
    }

    fn fetch(&self, request: u64, demand: bool, keys: Vec<Bytes>) {
        self.counters.fetched.add(keys.len() as u64);
        (self.ask)(ToCoordinator::Fetch(Fetch { key: self.key, request, demand, keys }));
    }

    /// What writing into a slot came to.
    fn note(&self, wrote: Wrote, words: impl Fn() -> String) {
        match wrote {
            Wrote::First => {}
            Wrote::Same => self.counters.repeated.one(),
            Wrote::Different if self.state.lock().closed => self.counters.late.one(),
            Wrote::Different => {
                self.counters.conflicting.one();
                (self.fail)(ShardFailure::Protocol(words()));
            }
        }
    }
}

impl State {
    /// Notes a request, and gives its number.
    fn open(&mut self, what: Asked, guess: bool) -> u64 {
        let number = self.requests.len() as u64;
        self.requests.push(Request { what, guess, answered: false });
        number
    }

    /// The request `number`, if it is of the kind, whether it was a guess, and whether it has been answered before; it has
    /// been now.
    fn answered<T>(&mut self, number: u64, kind: impl Fn(&Asked) -> Option<T>) -> Option<(T, bool, bool)> {
        let request = self.requests.get_mut(usize::try_from(number).ok()?)?;
        let what = kind(&request.what)?;
        Some((what, request.guess, std::mem::replace(&mut request.answered, true)))
    }
}

impl Asked {
    fn keys(&self) -> Option<Vec<Bytes>> {
        if let Asked::Keys(keys) = self { Some(keys.clone()) } else { None }
    }
    fn page(&self) -> Option<PageSlot> {
        if let Asked::Page(slot) = self { Some(Arc::clone(slot)) } else { None }
    }
}

impl std::fmt::Debug for BlockView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockView").field("key", &self.key).finish_non_exhaustive()
    }
}
