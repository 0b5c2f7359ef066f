//! A coordinator and its shards in one process, over a network that does what it is told.

use super::machine::{Key, Machine, State, Value};
use cachekv::executor::{Commit, Vm};
use cachekv::kv::{KvRead, KvStore, MemStore};
use cachekv::remote::{
    BlockOptions, Cluster, ClusterConfig, Faults, LinkConfig, Network, Peer, RemoteResult, RemoteVm, Shard, ShardConfig,
};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The coordinator's address; shards are at 1 and so on.
pub const COORDINATOR: u64 = 0;

pub struct Rig<V: RemoteVm = Machine> {
    pub network: Network,
    pub shards: Vec<Shard>,
    pub cluster: Cluster<V>,
    pub link: LinkConfig,
    vm: V,
}

pub fn within(time: Duration) -> Instant {
    Instant::now() + time
}

pub const LONG: Duration = Duration::from_secs(60);

/// A link that mends losses quickly, and takes a peer to be down after `patience`.
pub fn link(patience: Duration) -> LinkConfig {
    let mut link = LinkConfig::default();
    link.resend = Duration::from_millis(4);
    link.heartbeat = Duration::from_millis(50);
    link.patience = patience;
    link.packet_bytes = 512;
    link
}

pub fn shard_config(link: LinkConfig, threads: usize) -> ShardConfig {
    let mut config = ShardConfig::default();
    (config.link, config.threads) = (link, threads);
    (config.prefetch_keys, config.prefetch_requests) = (3, 2);
    config
}

impl<V: RemoteVm + Clone> Rig<V> {
    pub fn new(vm: V, shards: usize, seed: u64, faults: Faults, patience: Duration) -> Self {
        let (network, link) = (Network::new(seed, faults), link(patience));
        let mut config = ClusterConfig::default();
        (config.threads, config.link) = (1, link.clone());
        (config.pushed_keys, config.pushed_answers) = (2, 2); // so that much is left to be asked for
        let peers: Vec<_> = (1..=shards as u64).map(Peer).collect();
        let cluster = Cluster::start(vm.clone(), network.transport(COORDINATOR), &peers, config).unwrap();
        let mut rig = Self { network, shards: vec![], cluster, link, vm };
        for shard in 0..shards {
            let started = rig.start(shard);
            rig.shards.push(started);
        }
        rig
    }

    /// A shard, started at its address.
    pub fn start(&self, shard: usize) -> Shard {
        let config = shard_config(self.link.clone(), 1 + shard % 2);
        Shard::start(self.vm.clone(), self.network.transport(shard as u64 + 1), config).unwrap()
    }

    /// Waits until every shard can be reached.
    pub fn ready(&self) {
        let all = self.shards.len();
        assert_eq!(self.cluster.handle().shards_up(all, within(LONG)).len(), all, "the shards do not come up");
    }
}

impl Rig<Machine> {
    /// Executes a block; the hook's calls must be those of the result.
    pub fn execute(
        &mut self,
        state: &State,
        block: &[super::machine::Script],
        accesses: &[cachekv::remote::Access<Key>],
        options: BlockOptions<'_, Machine>,
    ) -> (RemoteResult<Machine>, Vec<u64>) {
        let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
        let mut hooked = Vec::new();
        let mut hook = |commit: Commit<'_, Key, Value, u64>| {
            assert_eq!(commit.index as usize, hooked.len(), "the hook is called in order, once");
            hooked.push(*commit.output);
            ControlFlow::Continue(())
        };
        let BlockOptions { within, attempts, or_unsharded, .. } = options;
        let options = BlockOptions { on_commit: Some(&mut hook), within, attempts, or_unsharded };
        let result = self.cluster.execute(&snapshot, block, accesses, options);
        (result, hooked)
    }
}

/// The state after a result over `state`.
pub fn applied(state: &State, result: &RemoteResult<Machine>) -> State {
    let store = MemStore::from_iter(state.clone());
    let batch = match result {
        Ok(executed) => executed.output.batch.clone(),
        Err(cachekv::remote::RemoteError::Block(error)) => error.committed.batch.clone(),
        Err(_) => return state.clone(),
    };
    store.commit(batch).unwrap().range(..).map(Result::unwrap).collect()
}

pub fn options(time: Duration) -> BlockOptions<'static, Machine> {
    BlockOptions { within: time, ..BlockOptions::default() }
}

/// The machine is one, or the bounds above would say nothing.
const _: fn() = || {
    fn is<V: Vm + RemoteVm>() {}
    is::<Machine>();
};
