//! The coordinator's front: blocks in, results out, whatever becomes of the shards.

use super::attempt::{Terms, conclude, gather, plan};
use super::coordinator::{Coordinator, Order};
use super::counters::{Counters, Counts};
use super::crew::{Crew, StillRunning};
use super::endpoint::{Endpoint, Incoming, PACKETS};
use super::error::{AttemptError, RemoteError, StartError};
use super::link::LinkConfig;
use super::machine::RemoteVm;
use super::mailbox::Mailbox;
use super::message::{BlockKey, ShardFailure};
use super::partition::{Access, Partition};
use super::peers::Peers;
use super::shard::MOST_PLACES;
use super::state_service::{Read, StateService};
use super::transport::{Peer, Transport};
use crate::executor::{BlockExecutor, BlockOutput, CancelToken, OnCommit, Options, Vm};
use crate::kv::KvRead;
use crate::sync::Arc;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// How a coordinator works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Worker threads for blocks that are executed unsharded; 0 takes as many as the machine has.
    pub threads: usize,
    /// How it talks.
    pub link: LinkConfig,
    /// How long a block waits for a shard to be there, if none is.
    pub wait_for_shards: Duration,
    /// Keys in one answer of those that a shard gets before it asks: what it is declared to read.
    pub pushed_keys: usize,
    /// Such answers a share; beyond them the shard asks, as it comes to it.
    pub pushed_answers: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let (link, wait_for_shards) = (LinkConfig::default(), Duration::from_secs(1));
        Self { threads: 0, link, wait_for_shards, pushed_keys: 256, pushed_answers: 16 }
    }
}

/// What may be asked of one block.
pub struct BlockOptions<'o, V: Vm + ?Sized> {
    /// Called for each transaction, in block order, once, when all of them have been executed. What it does outside happens
    /// once, however many attempts there were. [`Break`](std::ops::ControlFlow::Break) ends the block after it.
    pub on_commit: Option<OnCommit<'o, V>>,
    /// How long the block may take, all attempts together.
    pub within: Duration,
    /// How many attempts over shards there may be: another one follows where a shard was lost, without it if it is gone, with
    /// it if it has restarted.
    pub attempts: u32,
    /// Whether a block that the shards did not bring to its end is executed unsharded, within the same time. A block whose
    /// declarations were wrong, or that ends with an error of its own, always is.
    pub or_unsharded: bool,
}

impl<V: Vm + ?Sized> Default for BlockOptions<'_, V> {
    fn default() -> Self {
        Self { on_commit: None, within: Duration::from_secs(30), attempts: 2, or_unsharded: false }
    }
}

/// How a block came to its result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// By its shards.
    Sharded {
        /// How many had a share.
        shards: usize,
        /// How many writes were told from one to another.
        edges: usize,
    },
    /// On the coordinator alone.
    Unsharded {
        /// Why the shards did not; `None` if there was nothing for them to do.
        why: Option<AttemptError>,
    },
}

/// A block that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed<K, V, O> {
    /// What it came to: equal to what executing it unsharded comes to.
    pub output: BlockOutput<K, V, O>,
    /// How.
    pub how: How,
}

/// What executing a block over shards returns.
pub type RemoteResult<V> = Result<
    Executed<<V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output>,
    RemoteError<<V as Vm>::Key, <V as Vm>::Value, <V as Vm>::Output, <V as Vm>::Error>,
>;

/// A coordinator and its shards: executes blocks over them, with the result of executing them here.
///
/// One block at a time: it is exclusive. [`handle`](Self::handle) gives what other threads may use. Dropping it stops it,
/// within a second or so.
pub struct Cluster<V: RemoteVm> {
    vm: V,
    executor: BlockExecutor,
    config: ClusterConfig,
    inner: Arc<Inner>,
    session: u64,
    blocks: u64,
}

/// What other threads may do with a running [`Cluster`]. Clones are the same.
#[derive(Clone)]
pub struct ClusterHandle {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    crew: Crew,
    counters: Arc<Counters>,
    peers: Arc<Peers>,
    mailbox: Arc<Mailbox<Incoming<Order>>>,
    /// Ends what is executed unsharded.
    cancel: CancelToken,
}

impl<V: RemoteVm> Cluster<V> {
    /// Starts a coordinator of the shards that `transport` reaches as `shards`: once this returns, it calls them.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then. A shard that is not there is no error: it is called until it is.
    pub fn start(
        vm: V,
        transport: Arc<dyn Transport>,
        shards: &[Peer],
        config: ClusterConfig,
    ) -> Result<Self, StartError> {
        let threads = |error: String| StartError::Threads(error);
        let executor = BlockExecutor::new(config.threads).map_err(|error| threads(error.to_string()))?;
        let counters = Arc::new(Counters::default());
        let mailbox = Arc::new(Mailbox::new(PACKETS));
        let reads: Arc<Mailbox<Read>> = Arc::new(Mailbox::new(usize::MAX));
        let peers = Arc::new(Peers::new(shards));
        let coordinator = Coordinator::new(Arc::clone(&reads), Arc::clone(&peers), Arc::clone(&counters));
        let endpoint = {
            let (mailbox, transport) = (Arc::clone(&mailbox), Arc::clone(&transport));
            let shards = shards.iter().copied();
            Endpoint::new(coordinator, shards, config.link.clone(), mailbox, transport, Arc::clone(&counters))
        };
        let service = StateService::new(reads, Arc::clone(&mailbox));
        let inner = Arc::new(Inner {
            transport: Arc::clone(&transport),
            crew: Crew::default(),
            counters: Arc::clone(&counters),
            peers,
            mailbox: Arc::clone(&mailbox),
            cancel: CancelToken::new(),
        });
        let session = RandomState::new().hash_one(Instant::now());
        let cluster = Self { vm, executor, config, inner, session, blocks: 0 };
        let crew = &cluster.inner.crew;
        crew.start("cachekv-coord-link".into(), move || endpoint.run()).map_err(|error| threads(error.to_string()))?;
        crew.start("cachekv-coord-read".into(), move || service.run()).map_err(|error| threads(error.to_string()))?;
        transport.open(Arc::new(move |peer, packet| {
            if !mailbox.offer(Incoming::Packet(peer, packet)) {
                counters.crowded.one();
            }
        }))?;
        Ok(cluster)
    }

    /// What other threads may use.
    pub fn handle(&self) -> ClusterHandle {
        ClusterHandle { inner: Arc::clone(&self.inner) }
    }

    /// The name of this coordinator's life, which every message of its blocks carries.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Executes `block` over `snapshot` on the shards that are there, `accesses` being what each transaction is declared to
    /// touch. Blocks until it is done, within its time.
    ///
    /// The declarations decide who executes what and nothing else: where they are wrong, the block is executed again, here.
    ///
    /// # Errors
    /// [`RemoteError`]. Nothing was written to any store; the next block begins anew.
    pub fn execute<S>(
        &mut self,
        snapshot: &S,
        block: &[V::Transaction],
        accesses: &[Access<V::Key>],
        options: BlockOptions<'_, V>,
    ) -> RemoteResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let began = Instant::now();
        let deadline = began.checked_add(options.within).unwrap_or(began);
        if accesses.len() != block.len() {
            return Err(RemoteError::Malformed("it has not as many declarations as transactions"));
        }
        if block.len() >= MOST_PLACES as usize {
            return Err(RemoteError::Malformed("it has more transactions than a block may have"));
        }
        self.blocks = self.blocks.saturating_add(1);
        let mut why = None;
        for attempt in 0..options.attempts {
            if block.is_empty() {
                break;
            }
            let key = BlockKey { session: self.session, block: self.blocks, attempt };
            let failure = match self.attempt(key, snapshot, block, accesses, deadline) {
                Ok((done, how)) => match gather(&self.vm, &done, block.len()) {
                    Some(gathered) => {
                        let output = conclude(gathered, began, options.on_commit);
                        return output.map(|output| Executed { output, how }).map_err(RemoteError::Block);
                    }
                    None => AttemptError::Incomprehensible,
                },
                Err(failure) => failure,
            };
            let again = matches!(failure, AttemptError::Lost { .. } | AttemptError::NoShards);
            why = Some(failure);
            if !again {
                break;
            }
        }
        match why {
            Some(failure) if !options.or_unsharded && !is_the_blocks_own(&failure) => Err(failure.into()),
            why => self.unsharded(snapshot, block, options.on_commit, deadline, why),
        }
    }

    fn attempt<S>(
        &self,
        key: BlockKey,
        snapshot: &S,
        block: &[V::Transaction],
        accesses: &[Access<V::Key>],
        deadline: Instant,
    ) -> Result<(Arc<Vec<super::message::Done>>, How), AttemptError>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let now = Instant::now();
        let patience = now.checked_add(self.config.wait_for_shards).unwrap_or(now).min(deadline);
        let mut shards = self.inner.peers.wait(1, patience);
        if shards.is_empty() {
            return Err(AttemptError::NoShards);
        }
        shards.truncate(block.len());
        let partition = Partition::new(accesses, shards.len());
        let terms = Terms { deadline, keys: self.config.pushed_keys, answers: self.config.pushed_answers };
        let attempt = plan::<S, V>(key, snapshot, block, accesses, &partition, &shards, terms);
        let (reply, shards) = (Arc::clone(&attempt.reply), attempt.shares.len());
        if !self.inner.mailbox.push(Incoming::Order(Order::Begin(Box::new(attempt)))) {
            return Err(AttemptError::Stopped);
        }
        // The endpoint ends every attempt by its deadline; should it be gone, this one ends all the same.
        let grace = deadline.checked_add(Duration::from_millis(100)).unwrap_or(deadline);
        let done = reply.wait(grace).unwrap_or(Err(AttemptError::Deadline { waiting_for: Vec::new() }))?;
        Ok((done, How::Sharded { shards, edges: partition.edges.len() }))
    }

    fn unsharded<S>(
        &self,
        snapshot: &S,
        block: &[V::Transaction],
        on_commit: Option<OnCommit<'_, V>>,
        deadline: Instant,
        why: Option<AttemptError>,
    ) -> RemoteResult<V>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        self.inner.counters.unsharded.one();
        let cancel = Some(self.inner.cancel.clone());
        let options = Options { on_commit, cancel, deadline: Some(deadline), ..Options::default() };
        let output = self.executor.execute_with(snapshot, block, &self.vm, options).map_err(RemoteError::Block)?;
        Ok(Executed { output, how: How::Unsharded { why } })
    }
}

/// Whether it was the block itself that made the attempt fail: executed unsharded, it comes to what it has to come to.
fn is_the_blocks_own(failure: &AttemptError) -> bool {
    matches!(failure, AttemptError::Failed { why: ShardFailure::Undeclared { .. } | ShardFailure::Block(_), .. })
}

impl ClusterHandle {
    /// Ends the block under way, if there is one, and waits for the coordinator's threads. May be called from any thread, at
    /// any time, by several at once, and again.
    ///
    /// # Errors
    /// [`StillRunning`] if some thread has not ended by `deadline`: a read of a snapshot that does not return.
    pub fn shutdown(&self, deadline: Instant) -> Result<(), StillRunning> {
        self.inner.shutdown(deadline)
    }

    /// What the coordinator has counted.
    pub fn counts(&self) -> Counts {
        self.inner.counters.read()
    }

    /// The shards that can be reached, by their places in the list, once there are `least` of them or at `deadline`.
    pub fn shards_up(&self, least: usize, deadline: Instant) -> Vec<usize> {
        self.inner.peers.wait(least, deadline).into_iter().map(|(shard, _)| shard).collect()
    }
}

impl Inner {
    fn shutdown(&self, deadline: Instant) -> Result<(), StillRunning> {
        self.cancel.cancel();
        self.mailbox.close();
        let crew = self.crew.join(deadline); // its last words go out by the transport, which is closed after it
        let transport = self.transport.close(deadline);
        crew.and(transport)
    }
}

impl<V: RemoteVm> Drop for Cluster<V> {
    fn drop(&mut self) {
        let soon = Instant::now().checked_add(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        drop(self.inner.shutdown(soon)); // who wants to know asks for it
    }
}

impl<V: RemoteVm> std::fmt::Debug for Cluster<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("session", &self.session).field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterHandle").finish_non_exhaustive()
    }
}

impl<V: Vm + ?Sized> std::fmt::Debug for BlockOptions<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockOptions").field("within", &self.within).finish_non_exhaustive()
    }
}
