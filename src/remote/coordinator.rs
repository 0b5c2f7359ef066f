//! The coordinator's state machine: one attempt at one block at a time.
//!
//! ```text
//!          begin                    every share done
//!   Idle ─────────▶ Under way ───────────────────────────▶ Idle   told: what they came to
//!    ▲                  │ a share failed, a shard was lost, the time is over, stopping
//!    └──────────────────┘   told: why; the shards: that it is called off
//! ```
//!
//! It ends in exactly one of these, told once. What comes for an attempt that is not under way is counted, and answered
//! (reads) or dropped (all else): so the next block begins clean, whatever of this one is still on its way.

use super::base::Base;
use super::counters::Counters;
use super::endpoint::{Change, Outbox, Station};
use super::error::AttemptError;
use super::mailbox::Mailbox;
use super::message::{self, BlockKey, Done, Fetch, Outcome, Resolved, ShardFailure, ToCoordinator, ToShard};
use super::peers::Peers;
use super::slot::Slot;
use super::state_service::{Read, What, closed};
use super::transport::Peer;
use crate::multiversion::TxIndex;
use crate::sync::{Arc, AtomicBool, Ordering};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// What the coordinator's own threads tell it.
pub(crate) enum Order {
    Begin(Box<Attempt>),
    Tell(Peer, Bytes),
}

/// What an attempt came to.
pub(crate) type Reply = Slot<Arc<Vec<Done>>, AttemptError>;

/// An attempt at a block, all of it that the shards have to know.
pub(crate) struct Attempt {
    pub(crate) key: BlockKey,
    pub(crate) deadline: Instant,
    pub(crate) shares: Vec<Share>,
    pub(crate) routes: Routes,
    pub(crate) base: Arc<dyn Base>,
    pub(crate) reply: Arc<Reply>,
    /// Whether it has ended: what was pushed and has not been read is not read any more. Relaxed: it spares work.
    pub(crate) over: Arc<AtomicBool>,
}

/// Has read, for each share, what it is declared to read, as the answers to requests that it need not send: the first of every
/// share, then the second. They go out after the share itself, since the answers come by orders.
fn push(attempt: &mut Attempt, reads: &Mailbox<Read>) {
    let most = attempt.shares.iter().map(|share| share.pushed.len()).max().unwrap_or(0);
    for (request, at) in (0..).zip(0..most) {
        for share in &mut attempt.shares {
            let Some(keys) = share.pushed.get_mut(at).map(std::mem::take) else { continue };
            let what = What::Keys(Fetch { key: attempt.key, request, demand: false, keys });
            let (base, over) = (Arc::clone(&attempt.base), Arc::clone(&attempt.over));
            reads.push(Read { peer: share.peer, part: share.part, base, over, what });
        }
    }
}

/// One shard's part in it.
pub(crate) struct Share {
    pub(crate) peer: Peer,
    /// Which shard it is, as the user counts them, and which part of the partition this is.
    pub(crate) shard: usize,
    pub(crate) part: usize,
    /// The places it executes.
    pub(crate) places: Vec<TxIndex>,
    /// What it is told.
    pub(crate) begin: Bytes,
    /// The keys that it is told of without asking, by requests.
    pub(crate) pushed: Vec<Vec<Bytes>>,
}

/// To which shares the outcome of each key of each place goes.
pub(crate) type Routes = HashMap<TxIndex, Vec<(Bytes, Vec<usize>)>>;

pub(crate) struct Coordinator {
    under_way: Option<UnderWay>,
    reads: Arc<Mailbox<Read>>,
    peers: Arc<Peers>,
    counters: Arc<Counters>,
}

struct UnderWay {
    attempt: Attempt,
    done: Vec<Option<Done>>,
}

impl Coordinator {
    pub(crate) fn new(reads: Arc<Mailbox<Read>>, peers: Arc<Peers>, counters: Arc<Counters>) -> Self {
        Self { under_way: None, reads, peers, counters }
    }

    fn begin(&mut self, mut attempt: Attempt, out: &mut Outbox) {
        self.fail(AttemptError::Stopped, out); // there is none: its caller waits for one at a time
        self.counters.begun.one();
        let BlockKey { session, block, attempt: number } = attempt.key;
        tracing::debug!(session, block, attempt = number, shards = attempt.shares.len(), "a block begins");
        for share in &mut attempt.shares {
            out.send(share.peer, std::mem::take(&mut share.begin));
        }
        let done = attempt.shares.iter().map(|_| None).collect();
        let gone = attempt.shares.iter().find(|share| !self.peers.is_up(share.peer)).map(|share| share.shard);
        let attempt = &mut self.under_way.insert(UnderWay { attempt, done }).attempt;
        match gone {
            Some(shard) => self.fail(AttemptError::Lost { shard }, out), // its going was told before
            None => push(attempt, &self.reads),
        }
    }

    /// Ends the attempt without a result: the caller is told why, the shards that it is over.
    fn fail(&mut self, why: AttemptError, out: &mut Outbox) {
        let Some(UnderWay { attempt, .. }) = self.under_way.take() else { return };
        self.counters.failed.one();
        let BlockKey { session, block, attempt: number } = attempt.key;
        tracing::warn!(session, block, attempt = number, %why, "an attempt has come to nothing");
        for share in &attempt.shares {
            out.send(share.peer, message::encode(&ToShard::Abort(attempt.key)));
        }
        attempt.over.store(true, Ordering::Relaxed);
        attempt.reply.write(Err(why));
    }

    /// The place of `peer` among the shares of the attempt `key`, if that is under way and has it.
    fn share_of(&self, key: BlockKey, peer: Peer) -> Option<usize> {
        let attempt = &self.under_way.as_ref()?.attempt;
        attempt.shares.iter().position(|share| share.peer == peer).filter(|_| attempt.key == key)
    }

    fn read(&mut self, peer: Peer, key: BlockKey, what: What, out: &mut Outbox) {
        let attempt = self.under_way.as_ref().map(|under_way| &under_way.attempt);
        let share = self.share_of(key, peer).and_then(|at| attempt?.shares.get(at));
        if let (Some(share), Some(attempt)) = (share, attempt) {
            let (base, over) = (Arc::clone(&attempt.base), Arc::clone(&attempt.over));
            self.reads.push(Read { peer, part: share.part, base, over, what });
        } else {
            self.counters.stale.one();
            out.send(peer, message::encode(&closed(what)));
        }
    }

    /// Passes outcomes on to the shares that wait for them.
    fn resolved(&mut self, at: usize, resolved: Resolved, out: &mut Outbox) {
        let Some(UnderWay { attempt, .. }) = &self.under_way else { return };
        let mut parcels: BTreeMap<usize, Vec<(TxIndex, Vec<(Bytes, Outcome)>)>> = BTreeMap::new();
        for (place, outcomes) in resolved.outcomes {
            let own = attempt.shares.get(at).is_some_and(|share| share.places.binary_search(&place).is_ok());
            let Some(routes) = attempt.routes.get(&place).filter(|_| own) else {
                self.counters.unexpected.one();
                continue;
            };
            for (key, outcome) in outcomes {
                let Some((_, to)) = routes.iter().find(|(routed, _)| *routed == key) else {
                    self.counters.unexpected.one();
                    continue;
                };
                for to in to {
                    let parcel = parcels.entry(*to).or_default();
                    match parcel.last_mut().filter(|(last, _)| *last == place) {
                        Some((_, outcomes)) => outcomes.push((key.clone(), outcome.clone())),
                        None => parcel.push((place, vec![(key.clone(), outcome.clone())])),
                    }
                }
            }
        }
        for (to, outcomes) in parcels {
            if let Some(share) = attempt.shares.get(to) {
                let resolved = Resolved { key: attempt.key, outcomes };
                out.send(share.peer, message::encode(&ToShard::Resolved(resolved)));
            }
        }
    }

    fn done(&mut self, at: usize, done: Done, out: &mut Outbox) {
        let Some(under_way) = &mut self.under_way else { return };
        let Some(share) = under_way.attempt.shares.get(at) else { return };
        if !done.executed.iter().map(|executed| executed.place).eq(share.places.iter().copied()) {
            self.counters.incomplete.one();
            let why = ShardFailure::Protocol("what is done is not what was asked for".into());
            let shard = share.shard;
            return self.fail(AttemptError::Failed { shard, why }, out);
        }
        match under_way.done.get_mut(at) {
            Some(place @ None) => *place = Some(done),
            Some(Some(_)) => return self.counters.repeated.one(),
            None => return,
        }
        if under_way.done.iter().any(Option::is_none) {
            return;
        }
        if let Some(UnderWay { attempt, done }) = self.under_way.take() {
            self.counters.done.one();
            attempt.over.store(true, Ordering::Relaxed);
            let BlockKey { session, block, attempt: number } = attempt.key;
            tracing::debug!(session, block, attempt = number, "a block is done");
            attempt.reply.write(Ok(Arc::new(done.into_iter().flatten().collect())));
        }
    }
}

impl Station for Coordinator {
    type Order = Order;

    fn changed(&mut self, peer: Peer, change: Change, out: &mut Outbox) {
        tracing::info!(shard = peer.0, ?change, "a shard");
        self.peers.set(peer, change != Change::Down);
        if change == Change::Up {
            return;
        }
        let Some(UnderWay { attempt, done }) = &self.under_way else { return };
        let lost = attempt.shares.iter().zip(done).find(|(share, done)| share.peer == peer && done.is_none());
        if let Some((share, _)) = lost {
            let shard = share.shard;
            self.fail(AttemptError::Lost { shard }, out);
        }
    }

    fn heard(&mut self, peer: Peer, message: Bytes, out: &mut Outbox) {
        let Some(message) = message::decode(&message) else { return self.counters.malformed.one() };
        let key = match &message {
            ToCoordinator::Fetch(fetch) => fetch.key,
            ToCoordinator::Scan(scan) => scan.key,
            ToCoordinator::Resolved(resolved) => resolved.key,
            ToCoordinator::Done(done) => done.key,
            ToCoordinator::Failed(failed) => failed.key,
            ToCoordinator::Leaving => {
                tracing::info!(shard = peer.0, "a shard takes no more blocks");
                return self.peers.set(peer, false); // it comes up again with its next life
            }
        };
        match (message, self.share_of(key, peer)) {
            (ToCoordinator::Fetch(fetch), _) => self.read(peer, key, What::Keys(fetch), out),
            (ToCoordinator::Scan(scan), _) => self.read(peer, key, What::Range(scan), out),
            (_, None) => self.counters.stale.one(),
            (ToCoordinator::Resolved(resolved), Some(at)) => self.resolved(at, resolved, out),
            (ToCoordinator::Done(done), Some(at)) => self.done(at, done, out),
            (ToCoordinator::Failed(failed), Some(at)) => {
                let shares = self.under_way.as_ref().map(|under_way| &under_way.attempt.shares);
                let Some(share) = shares.and_then(|shares| shares.get(at)) else { return };
                let (shard, why) = (share.shard, failed.why);
                if why == ShardFailure::Leaving {
                    self.peers.set(peer, false);
                    return self.fail(AttemptError::Lost { shard }, out);
                }
                self.fail(AttemptError::Failed { shard, why }, out);
            }
            (ToCoordinator::Leaving, _) => {}
        }
    }

    fn ordered(&mut self, order: Order, out: &mut Outbox) {
        match order {
            Order::Begin(attempt) => self.begin(*attempt, out),
            Order::Tell(peer, message) => out.send(peer, message),
        }
    }

    fn elapsed(&mut self, now: Instant, out: &mut Outbox) -> Option<Instant> {
        let UnderWay { attempt, done } = self.under_way.as_ref()?;
        if now < attempt.deadline {
            return Some(attempt.deadline);
        }
        let waiting = attempt.shares.iter().zip(done).filter(|(_, done)| done.is_none());
        let waiting_for = waiting.map(|(share, _)| share.shard).collect();
        self.fail(AttemptError::Deadline { waiting_for }, out);
        None
    }

    fn closing(&mut self, out: &mut Outbox) {
        self.fail(AttemptError::Stopped, out);
        self.reads.close();
        self.peers.close();
    }
}
