//! The shard: executes its share of blocks for whichever coordinator asks.
//!
//! ```text
//! endpoint thread   Begin ─▶ registry, job    Answer ─▶ view   Resolved ─▶ elsewhere   Abort ─▶ end
//!                                      │
//! runner thread                        └─▶ executes on its own pool ─▶ Done or Failed
//! ```
//!
//! The endpoint waits for nothing. The runner waits for a job, and inside of one for reads and other shards' outcomes, each
//! until the block's deadline, its end, or the shard's.

use super::block_view::{BlockView, Manners};
use super::coded::Coded;
use super::counters::{Counters, Counts};
use super::crew::{Crew, Ended, StillRunning};
use super::endpoint::{Change, Endpoint, Incoming, Outbox, PACKETS, Station};
use super::error::StartError;
use super::link::LinkConfig;
use super::live::{LiveBlock, NotTaken, Registry, Switch};
use super::machine::RemoteVm;
use super::mailbox::Mailbox;
use super::message::{self, Begin, BlockKey, Failed, Own, Resolved, ShardFailure, ToCoordinator, ToShard};
use super::share::{self, Job};
use super::transport::{Peer, Transport};
use crate::executor::{BlockExecutor, Config, Elsewhere, Operand, ResolveError, RunAhead};
use crate::multiversion::TxIndex;
use crate::sync::Arc;
use bytes::Bytes;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How a shard works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardConfig {
    /// What it is called in logs.
    pub name: String,
    /// Worker threads; 0 takes as many as the machine has.
    pub threads: usize,
    /// How it talks.
    pub link: LinkConfig,
    /// Coordinators whose blocks it takes at once. They are executed one after the other.
    pub coordinators: usize,
    /// Keys that are fetched ahead in one request.
    pub prefetch_keys: usize,
    /// Such requests under way.
    pub prefetch_requests: usize,
}

impl Default for ShardConfig {
    fn default() -> Self {
        let (link, name) = (LinkConfig::default(), String::new());
        Self { name, threads: 0, link, coordinators: 8, prefetch_keys: 512, prefetch_requests: 4 }
    }
}

/// How far a shard executes beyond its commit frontier: as far as there is. What it waits for there is another shard's.
const RUN_AHEAD: usize = 1 << 24;

/// How many blocks wait at most for the runner to come to them, those included that have been called off meanwhile.
const JOBS: usize = 64;

/// A running shard. Dropping it stops it, within a second or so.
#[derive(Debug)]
pub struct Shard {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    crew: Crew,
    counters: Arc<Counters>,
    live: Box<dyn Fn() -> usize + Send + Sync>,
    /// Takes no more blocks, and says so; waits for those under way, and for their outcomes to be acknowledged.
    drain: Box<dyn Fn(Instant) -> bool + Send + Sync>,
    /// Ends every block, and lets both threads go.
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Shard {
    /// Starts a shard that executes with `vm` and talks by `transport`: once this returns, it does.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start<V: RemoteVm>(vm: V, transport: Arc<dyn Transport>, config: ShardConfig) -> Result<Self, StartError> {
        let mut executor = Config::default();
        (executor.threads, executor.run_ahead, executor.window) = (config.threads, RUN_AHEAD, RunAhead::Fixed);
        let executor = BlockExecutor::with_config(executor).map_err(|error| StartError::Threads(error.to_string()))?;
        let counters = Arc::new(Counters::default());
        let mailbox = Arc::new(Mailbox::new(PACKETS));
        let jobs = Arc::new(Mailbox::new(JOBS));
        let registry = Arc::new(Registry::new());
        let desk = Desk {
            registry: Arc::clone(&registry),
            jobs: Arc::clone(&jobs),
            mailbox: Arc::clone(&mailbox),
            counters: Arc::clone(&counters),
            config: config.clone(),
            coordinators: HashSet::new(),
        };
        let endpoint = {
            let (mailbox, transport) = (Arc::clone(&mailbox), Arc::clone(&transport));
            Endpoint::new(desk, [], config.link, mailbox, transport, Arc::clone(&counters))
        };
        let inner = Arc::new(Inner {
            transport: Arc::clone(&transport),
            crew: Crew::default(),
            counters: Arc::clone(&counters),
            live: {
                let registry = Arc::clone(&registry);
                Box::new(move || registry.len())
            },
            drain: {
                let (registry, mailbox) = (Arc::clone(&registry), Arc::clone(&mailbox));
                Box::new(move |deadline| {
                    registry.leave();
                    mailbox.push(Incoming::Order(Order::Leave));
                    let empty = registry.wait_empty(deadline);
                    let settled = Arc::new(Ended::new());
                    let asked = mailbox.push(Incoming::Settle(Arc::clone(&settled)));
                    empty && asked && settled.wait(deadline).is_some()
                })
            },
            stop: {
                let (registry, jobs, mailbox) = (Arc::clone(&registry), Arc::clone(&jobs), Arc::clone(&mailbox));
                Box::new(move || {
                    registry.close();
                    jobs.close();
                    mailbox.close();
                })
            },
        });
        let shard = Self { inner };
        let name = config.name;
        let runner = {
            let (mailbox, counters) = (Arc::clone(&mailbox), Arc::clone(&counters));
            Runner { name, vm, executor, registry, jobs, mailbox, counters }
        };
        let threads = |error: std::io::Error| StartError::Threads(error.to_string());
        shard.inner.crew.start("cachekv-shard-link".into(), move || endpoint.run()).map_err(threads)?;
        shard.inner.crew.start("cachekv-shard-run".into(), move || runner.run()).map_err(threads)?;
        transport.open(Arc::new(move |peer, packet| {
            if !mailbox.offer(Incoming::Packet(peer, packet)) {
                counters.crowded.one();
            }
        }))?;
        Ok(shard)
    }

    /// Takes no more blocks, which its coordinators are told, and waits until those under way are done and what they came to
    /// has been acknowledged. False if that has not come about by `deadline`; either way it still runs, to be
    /// [shut down](Self::shutdown). May be called from any thread, at any time, and again.
    pub fn drain(&self, deadline: Instant) -> bool {
        tracing::info!(blocks = self.blocks(), "the shard takes no more blocks");
        (self.inner.drain)(deadline)
    }

    /// Takes no more blocks, ends those under way, and waits for its threads. May be called from any thread, at any time, by
    /// several at once, and again.
    ///
    /// # Errors
    /// [`StillRunning`] if some thread has not ended by `deadline`: a transaction that neither reads nor returns. It is still
    /// owned; ask again.
    pub fn shutdown(&self, deadline: Instant) -> Result<(), StillRunning> {
        self.inner.shutdown(deadline)
    }

    /// What it has counted.
    pub fn counts(&self) -> Counts {
        self.inner.counters.read()
    }

    /// How many blocks it has at hand.
    pub fn blocks(&self) -> usize {
        (self.inner.live)()
    }
}

impl Inner {
    fn shutdown(&self, deadline: Instant) -> Result<(), StillRunning> {
        (self.stop)();
        let crew = self.crew.join(deadline); // its last words go out by the transport, which is closed after it
        let transport = self.transport.close(deadline);
        crew.and(transport)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let soon = Instant::now().checked_add(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        drop(self.inner.shutdown(soon)); // who wants to know asks for it
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("crew", &self.crew).finish_non_exhaustive()
    }
}

/// What the shard's own threads tell the endpoint.
pub(super) enum Order {
    Tell(Peer, Bytes),
    /// To tell everybody that no more blocks are taken.
    Leave,
}

/// The endpoint's side: what comes in is given to whom it is for.
struct Desk<V: RemoteVm> {
    registry: Arc<Registry<V::Key, V::Value, Operand<V>>>,
    jobs: Arc<Mailbox<Job<V>>>,
    mailbox: Arc<Mailbox<Incoming<Order>>>,
    counters: Arc<Counters>,
    config: ShardConfig,
    /// Those that are there.
    coordinators: HashSet<Peer>,
}

impl<V: RemoteVm> Station for Desk<V> {
    type Order = Order;

    fn changed(&mut self, peer: Peer, change: Change, _: &mut Outbox) {
        tracing::info!(shard = self.config.name, peer = peer.0, ?change, "a coordinator");
        match change {
            Change::Up | Change::Restarted => drop(self.coordinators.insert(peer)),
            Change::Down => drop(self.coordinators.remove(&peer)),
        }
        if change != Change::Up {
            self.registry.end_all_of(peer);
        }
    }

    fn heard(&mut self, peer: Peer, message: Bytes, out: &mut Outbox) {
        let Some(message) = message::decode(&message) else { return self.counters.malformed.one() };
        let key = match &message {
            ToShard::Begin(_) => None,
            ToShard::Answer(answer) => Some(answer.key),
            ToShard::Page(page) => Some(page.key),
            ToShard::Resolved(resolved) => Some(resolved.key),
            ToShard::Abort(key) => Some(*key),
        };
        let live = key.and_then(|key| self.registry.get(&key)).filter(|live| live.peer == peer);
        match (message, live) {
            (ToShard::Begin(begin), _) => self.begin(peer, *begin, out),
            (_, None) => self.counters.stale.one(),
            (ToShard::Answer(answer), Some(live)) => live.view.answer(answer),
            (ToShard::Page(page), Some(live)) => live.view.turn(page),
            (ToShard::Resolved(resolved), Some(live)) => self.resolve(&live, resolved),
            (ToShard::Abort(_), Some(live)) => live.end(ShardFailure::Aborted),
        }
    }

    fn ordered(&mut self, order: Order, out: &mut Outbox) {
        match order {
            Order::Tell(peer, message) => out.send(peer, message),
            Order::Leave => {
                let leaving = message::encode(&ToCoordinator::Leaving);
                self.coordinators.iter().for_each(|peer| out.send(*peer, leaving.clone()));
            }
        }
    }

    fn elapsed(&mut self, _: Instant, _: &mut Outbox) -> Option<Instant> {
        None // a block's own waits end at its deadline
    }

    fn closing(&mut self, _: &mut Outbox) {}
}

impl<V: RemoteVm> Desk<V> {
    fn begin(&self, peer: Peer, begin: Begin, out: &mut Outbox) {
        let Begin { key, places, own, others, pushed, prefetch, within } = begin;
        let refuse = |why, out: &mut Outbox| {
            self.counters.failed.one();
            out.send(peer, message::encode(&ToCoordinator::Failed(Failed { key, why })));
        };
        self.counters.begun.one();
        let mailbox = Arc::clone(&self.mailbox);
        let tell = move |message: ToCoordinator| {
            mailbox.push(Incoming::Order(Order::Tell(peer, message::encode(&message)))); // closed: nobody is told any more
        };
        let (Some(elsewhere), Some(told)) = (elsewhere::<V>(places, &own, others), told::<V>(&own)) else {
            return refuse(ShardFailure::Malformed("its places or keys".into()), out);
        };
        if pushed.len() > MOST_PUSHED || pushed.iter().map(Vec::len).sum::<usize>() > MOST_PUSHED {
            return refuse(ShardFailure::Malformed("more is to come unasked than can be expected".into()), out);
        }
        let resolved = tell.clone();
        let elsewhere = elsewhere.telling(told, move |place, effects| {
            let outcomes = effects.into_iter().map(|(key, effect)| (key.encode(), V::sent(effect))).collect();
            resolved(ToCoordinator::Resolved(Resolved { key, outcomes: vec![(place, outcomes)] }));
        });
        let now = Instant::now();
        let deadline = now.checked_add(Duration::from_micros(within)).unwrap_or(now);
        let switch = Arc::new(Switch::default());
        let fail = {
            let switch = Arc::clone(&switch);
            move |why| switch.throw(why)
        };
        let manners = Manners { batch: self.config.prefetch_keys, batches: self.config.prefetch_requests };
        let view = Arc::new(BlockView::new(key, deadline, manners, Arc::clone(&self.counters), tell, fail));
        let live = Arc::new(LiveBlock { key, peer, deadline, view, elsewhere, switch });
        match self.registry.take(&live, self.config.coordinators) {
            Ok(()) => {}
            Err(NotTaken::Stale) => return self.counters.stale.one(),
            Err(NotTaken::Busy) => return refuse(ShardFailure::Busy, out),
            Err(NotTaken::Leaving) => return refuse(ShardFailure::Leaving, out),
            Err(NotTaken::Closed) => return refuse(ShardFailure::Aborted, out),
        }
        let BlockKey { session, block, attempt } = key;
        tracing::debug!(session, block, attempt, shard = self.config.name, transactions = own.len(), "a share begins");
        live.view.expect(pushed);
        live.view.prefetch(prefetch);
        if !self.jobs.offer(Job { live: Arc::clone(&live), own }) {
            self.registry.remove(&key);
            live.end(ShardFailure::Busy);
            refuse(ShardFailure::Busy, out);
        }
    }

    fn resolve(&self, live: &LiveBlock<V::Key, V::Value, Operand<V>>, resolved: Resolved) {
        for (place, outcomes) in resolved.outcomes {
            for (key, outcome) in outcomes {
                let (Some(key), Some(effect)) = (V::Key::decode(key), V::received(outcome)) else {
                    self.counters.malformed.one();
                    return live.end(ShardFailure::Protocol("an outcome that is none".into()));
                };
                match live.elsewhere.resolve(place, &key, effect) {
                    Ok(()) => {}
                    Err(ResolveError::Repeated { .. }) => self.counters.repeated.one(),
                    Err(error) => {
                        self.counters.unexpected.one();
                        return live.end(ShardFailure::Protocol(error.to_string()));
                    }
                }
            }
        }
    }
}

/// Every place of the block that is not the shard's own, with the keys that it waits for there. `None` if that makes no
/// block.
fn elsewhere<V: RemoteVm>(
    places: TxIndex,
    own: &[Own],
    others: Vec<(TxIndex, Vec<Bytes>)>,
) -> Option<Elsewhere<V::Key, V::Value, Operand<V>>> {
    let ascending = own.windows(2).all(|pair| matches!(pair, [a, b] if a.place < b.place));
    // What is made of the message is bounded, too, by the bound on places.
    if !ascending || own.last().is_none_or(|last| last.place.checked_add(1) != Some(places)) || places > MOST_PLACES {
        return None;
    }
    let mut declared: Vec<Option<Vec<V::Key>>> = (0..places).map(|_| Some(Vec::new())).collect();
    for own in own {
        *declared.get_mut(own.place as usize)? = None;
    }
    for (place, keys) in others {
        let keys: Option<Vec<_>> = keys.into_iter().map(V::Key::decode).collect();
        declared.get_mut(place as usize)?.as_mut()?.extend(keys?);
    }
    Some(Elsewhere::new((0..places).zip(declared).filter_map(|(place, keys)| Some((place, keys?)))))
}

/// The keys of the shard's own transactions that others wait for. `None` if they cannot be understood.
fn told<V: RemoteVm>(own: &[Own]) -> Option<Vec<(TxIndex, Vec<V::Key>)>> {
    let key = |own: &Own, at: &u32| V::Key::decode(own.writes.get(usize::try_from(*at).ok()?)?.clone());
    let telling = own.iter().filter(|own| !own.told.is_empty());
    telling.map(|own| Some((own.place, own.told.iter().map(|at| key(own, at)).collect::<Option<_>>()?))).collect()
}

/// The most keys that come without being asked for, and the most answers with them.
pub(super) const MOST_PUSHED: usize = 1 << 16;

/// The most transactions of a block.
pub(super) const MOST_PLACES: TxIndex = 1 << 20;

/// The runner's side: one block after the other.
struct Runner<V: RemoteVm> {
    name: String,
    vm: V,
    executor: BlockExecutor,
    registry: Arc<Registry<V::Key, V::Value, Operand<V>>>,
    jobs: Arc<Mailbox<Job<V>>>,
    mailbox: Arc<Mailbox<Incoming<Order>>>,
    counters: Arc<Counters>,
}

impl<V: RemoteVm> Runner<V> {
    fn run(self) {
        while let Some(job) = self.jobs.take() {
            let (key, peer) = (job.live.key, job.live.peer);
            let BlockKey { session, block, attempt } = key;
            let mailbox = Arc::clone(&self.mailbox);
            let tell = move |message: ToCoordinator| {
                mailbox.push(Incoming::Order(Order::Tell(peer, message::encode(&message)))); // closed: nobody is told any more
            };
            let came = match job.live.switch.why() {
                Some(why) => ToCoordinator::Failed(Failed { key, why }),
                None => share::execute(&self.executor, &self.vm, &job),
            };
            let done = matches!(came, ToCoordinator::Done(_));
            if done {
                self.counters.done.one()
            } else {
                self.counters.failed.one()
            }
            match &came {
                ToCoordinator::Failed(Failed { why, .. }) => {
                    tracing::warn!(session, block, attempt, shard = self.name, %why, "a share came to nothing");
                }
                _ => tracing::debug!(session, block, attempt, shard = self.name, "a share is done"),
            }
            tell(came); // before it is let go of: who waits for that takes it as said
            self.registry.remove(&key);
            job.live.view.close();
        }
    }
}
