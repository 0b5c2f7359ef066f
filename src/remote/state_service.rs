//! The coordinator's reader: answers what shards ask of a block's snapshot, on a thread of its own.
//!
//! Reads that somebody waits for come before guesses and what is read without being asked for. A request carries the snapshot that it is answered from: that of its
//! block, whatever block is under way when its turn comes.

use super::base::Base;
use super::coordinator::Order;
use super::endpoint::Incoming;
use super::mailbox::Mailbox;
use super::message::{self, Answer, Fetch, Page, ReadFailure, Scan, ToShard};
use super::transport::Peer;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A read that a shard asks for.
pub(crate) struct Read {
    pub(crate) peer: Peer,
    /// Which part of the block's partition asks.
    pub(crate) part: usize,
    pub(crate) base: Arc<dyn Base>,
    /// Whether the attempt has ended, which nobody waits for a guess of.
    pub(crate) over: Arc<AtomicBool>,
    pub(crate) what: What,
}

/// What is to be read.
pub(crate) enum What {
    Keys(Fetch),
    Range(Scan),
}

pub(crate) struct StateService {
    reads: Arc<Mailbox<Read>>,
    answers: Arc<Mailbox<Incoming<Order>>>,
}

impl StateService {
    pub(crate) fn new(reads: Arc<Mailbox<Read>>, answers: Arc<Mailbox<Incoming<Order>>>) -> Self {
        Self { reads, answers }
    }

    /// Answers until there is nothing more to come.
    pub(crate) fn run(self) {
        let (mut arrived, mut waited_for, mut guesses) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        loop {
            if waited_for.is_empty() && guesses.is_empty() {
                if !self.reads.take_all(&mut arrived, None) {
                    return;
                }
            } else {
                self.reads.take_now(&mut arrived);
            }
            for read in arrived.drain(..) {
                let guess = matches!(&read.what, What::Keys(fetch) if !fetch.demand);
                if guess { guesses.push_back(read) } else { waited_for.push_back(read) }
            }
            let guess = || std::iter::from_fn(|| guesses.pop_front()).find(|read| !read.over.load(Ordering::Relaxed));
            if let Some(read) = waited_for.pop_front().or_else(guess) {
                let peer = read.peer;
                self.answers.push(Incoming::Order(Order::Tell(peer, message::encode(&answer(read)))));
            }
        }
    }
}

/// What is read. A snapshot that panics is one that cannot be read.
fn answer(read: Read) -> ToShard {
    let Read { part, base, what, .. } = read;
    match what {
        What::Keys(Fetch { key, request, keys, .. }) => {
            let asked = keys.clone();
            let values = catch_unwind(AssertUnwindSafe(|| base.fetch(part, keys)));
            let values = values.unwrap_or_else(|_| asked.into_iter().map(|key| (key, Err(panicked()))).collect());
            ToShard::Answer(Answer { key, request, values })
        }
        What::Range(scan) => {
            let read = catch_unwind(AssertUnwindSafe(|| base.scan(part, &scan)));
            let (entries, more) = read.unwrap_or_else(|_| (Err(panicked()), false));
            ToShard::Page(Page { key: scan.key, request: scan.request, entries, more })
        }
    }
}

fn panicked() -> ReadFailure {
    ReadFailure::Store("reading it panicked".into())
}

/// The answer to a read of a block that is not, or no longer, under way.
pub(crate) fn closed(what: What) -> ToShard {
    match what {
        What::Keys(Fetch { key, request, keys, .. }) => {
            let values = keys.into_iter().map(|key| (key, Err(ReadFailure::Closed))).collect();
            ToShard::Answer(Answer { key, request, values })
        }
        What::Range(Scan { key, request, .. }) => {
            ToShard::Page(Page { key, request, entries: Err(ReadFailure::Closed), more: false })
        }
    }
}
