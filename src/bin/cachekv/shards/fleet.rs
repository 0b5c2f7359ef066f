//! The coordinator's side of a command: the shards it was told of or starts itself, and blocks over them.

use super::local::Local;
use super::logs::LogArgs;
use super::metrics::{Metrics, Subject};
use super::tls::{TlsArgs, transport};
use crate::failure::Failure;
use cachekv::executor::{BlockError, BlockOutput};
use cachekv::kv::KvRead;
use cachekv::remote::{
    Access, BlockOptions, Cluster, ClusterConfig, ClusterHandle, DialConfig, GrpcDialer, How, LinkConfig, RemoteError,
    RemoteVm, StartError,
};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Over which shards blocks are executed, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Shards")]
pub(crate) struct ShardsArgs {
    /// Execute over these shards; local:N starts N of them on this machine, for as long as the command runs
    #[arg(long, value_name = "ADDR,ADDR…|local:N", value_delimiter = ',')]
    pub(crate) shards: Vec<String>,
    /// How long a block may take; what shards have not done by then fails
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    within: u64,
    /// How long a shard may be silent before it is taken to be down
    #[arg(long, value_name = "MILLISECONDS", default_value_t = PATIENCE, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    patience: u64,
    /// Let a block fail that its shards do not bring to an end, instead of executing it here
    #[arg(long)]
    only_sharded: bool,
    /// The name that the shards' certificates bear [default: that of their address]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Serve figures for Prometheus at this address, under /metrics, and health under /health
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Serve the metrics at an address that other machines reach
    #[arg(long)]
    plain_beyond_loopback: bool,
    #[command(flatten)]
    logs: LogArgs,
}

/// How long shards may take to be there at first.
const FIRST: Duration = Duration::from_secs(10);

/// How long a peer may be silent, in milliseconds.
pub(super) const PATIENCE: u64 = 3_000;

/// A link to a peer that may be silent so long: it is heard of some times in between.
pub(super) fn link(patience: u64) -> LinkConfig {
    let mut link = LinkConfig::default();
    link.patience = Duration::from_millis(patience);
    link.heartbeat = link.heartbeat.min(Duration::from_millis(patience.div_ceil(6)));
    link.resend = link.resend.min(link.heartbeat);
    link
}

/// The most shards that a command starts itself.
const MOST_LOCAL: usize = 64;

/// Running shards, and their coordinator.
pub(crate) struct Fleet<V: RemoteVm> {
    cluster: Mutex<Cluster<V>>,
    handle: ClusterHandle,
    within: Duration,
    or_unsharded: bool,
    tally: Mutex<Tally>,
    /// They end with it.
    _metrics: Option<Metrics>,
    _local: Vec<Local>,
}

/// How blocks came to their results.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Tally {
    pub(crate) shards: usize,
    pub(crate) sharded_blocks: u64,
    pub(crate) unsharded_blocks: u64,
    /// Writes told from shard to shard.
    pub(crate) edges: u64,
    /// Why the last block that was executed here was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_reason: Option<String>,
}

type Done<V> = BlockOutput<
    <V as cachekv::executor::Vm>::Key,
    <V as cachekv::executor::Vm>::Value,
    <V as cachekv::executor::Vm>::Output,
>;
type Ended<V> = BlockError<
    <V as cachekv::executor::Vm>::Key,
    <V as cachekv::executor::Vm>::Value,
    <V as cachekv::executor::Vm>::Output,
    <V as cachekv::executor::Vm>::Error,
>;

/// Why a block over shards has no result.
pub(crate) enum NotDone<V: RemoteVm> {
    /// As it would have none here.
    Block(Box<Ended<V>>),
    /// The shards failed.
    Shards(Failure),
}

impl ShardsArgs {
    /// The shards and their coordinator, if there are to be some. `machine` is what shards must execute with, `more` what
    /// shards of our own are started with.
    ///
    /// # Errors
    /// If it does not start, or no shard is there.
    pub(crate) fn start<V: RemoteVm>(
        &self,
        vm: V,
        machine: &str,
        threads: u64,
        more: &[OsString],
    ) -> Result<Option<Fleet<V>>, Failure> {
        self.logs.begin("off")?;
        if self.shards.is_empty() {
            return Ok(None);
        }
        let local = self.local(threads, more)?;
        let mut dial = DialConfig::default();
        let addresses = match &local[..] {
            [] => {
                (dial.tls, dial.server_name) = (self.tls.read()?, self.tls_name.clone());
                self.shards.clone()
            }
            local => local.iter().map(|shard| shard.address.clone()).collect(),
        };
        dial.machine = machine.into();
        let dialer = GrpcDialer::new(&addresses, &dial).map_err(transport)?;
        let peers = dialer.peers();
        let mut config = ClusterConfig::default();
        (config.threads, config.link) = (threads.try_into().unwrap_or(usize::MAX), link(self.patience));
        let cluster = Cluster::start(vm, Arc::new(dialer), &peers, config).map_err(not_started)?;
        let handle = cluster.handle();
        let metrics =
            self.metrics.as_deref().map(|at| Metrics::serve(at, self.plain_beyond_loopback, subject(&handle)));
        let metrics = metrics.transpose()?;
        let until = Instant::now().checked_add(FIRST).unwrap_or_else(Instant::now);
        if handle.shards_up(peers.len(), until).is_empty() {
            let words = format!("no shard answers at {} for {machine}: see --log info", addresses.join(", "));
            return Err(Failure::System(words));
        }
        Ok(Some(Fleet {
            cluster: Mutex::new(cluster),
            handle,
            within: Duration::from_millis(self.within),
            or_unsharded: !self.only_sharded,
            tally: Mutex::new(Tally { shards: peers.len(), ..Tally::default() }),
            _metrics: metrics,
            _local: local,
        }))
    }

    /// The shards that are started here.
    fn local(&self, threads: u64, more: &[OsString]) -> Result<Vec<Local>, Failure> {
        let [one] = &self.shards[..] else { return Ok(Vec::new()) };
        let Some(number) = one.strip_prefix("local:") else { return Ok(Vec::new()) };
        let number = number.parse().ok().filter(|number| (1..=MOST_LOCAL).contains(number));
        let number: usize = number.ok_or_else(|| {
            Failure::Usage(format!("--shards {one}: it takes a number of shards from 1 to {MOST_LOCAL}"))
        })?;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = match usize::try_from(threads) {
            Ok(0) | Err(_) => cores.div_ceil(number),
            Ok(threads) => threads,
        };
        let mut more = more.to_vec();
        more.extend(["--patience".into(), self.patience.to_string().into()]);
        more.extend(["--log".into(), self.logs.log.as_deref().unwrap_or("off").into()]);
        if self.logs.log_json {
            more.push("--log-json".into());
        }
        (0..number).map(|_| Local::start(threads, &more)).collect()
    }
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Transport(error) => transport(error),
        error => Failure::System(format!("{error}: ask for less with --threads")),
    }
}

fn subject(handle: &ClusterHandle) -> Subject {
    let (counts, gauges, serving) = (handle.clone(), handle.clone(), handle.clone());
    let up = |handle: &ClusterHandle| handle.shards_up(0, Instant::now()).len();
    Subject {
        name: "coordinator",
        counts: Box::new(move || counts.counts()),
        gauges: Box::new(move || vec![("shards_up", "Shards that can be reached.", up(&gauges) as u64)]),
        serving: Box::new(move || up(&serving) > 0),
    }
}

impl<V: RemoteVm> Fleet<V> {
    /// Executes `block` over the shards, or here if they do not bring it to an end and it may be.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(crate) fn execute<S>(
        &self,
        snapshot: &S,
        block: &[V::Transaction],
        accesses: &[Access<V::Key>],
    ) -> Result<Done<V>, NotDone<V>>
    where
        S: KvRead<Key = V::Key, Value = V::Value>,
    {
        let (within, or_unsharded) = (self.within, self.or_unsharded);
        let options = BlockOptions { within, or_unsharded, attempts: 3, ..BlockOptions::default() };
        let mut cluster = self.cluster.lock();
        let done = cluster.execute(snapshot, block, accesses, options).map_err(|error| match error {
            RemoteError::Block(error) => NotDone::Block(error),
            RemoteError::Attempt(error) => NotDone::Shards(Failure::System(format!("the shards failed: {error}"))),
            _ => NotDone::Shards(Failure::Wrong("the block cannot be divided between shards".into())),
        })?;
        let mut tally = self.tally.lock();
        match done.how {
            How::Sharded { edges, .. } => {
                tally.sharded_blocks = tally.sharded_blocks.saturating_add(1);
                tally.edges = tally.edges.saturating_add(edges as u64);
            }
            How::Unsharded { why } => {
                tally.unsharded_blocks = tally.unsharded_blocks.saturating_add(1);
                tally.last_reason = why.map(|why| why.to_string());
            }
            _ => {}
        }
        Ok(done.output)
    }

    /// How the blocks so far came to their results.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }
}

impl<V: RemoteVm> Drop for Fleet<V> {
    fn drop(&mut self) {
        let soon = Instant::now().checked_add(Duration::from_secs(2)).unwrap_or_else(Instant::now);
        drop(self.handle.shutdown(soon)); // what does not end then, the process takes with it
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shards, sharded_blocks, unsharded_blocks, edges, last_reason } = self;
        write!(f, "{sharded_blocks} blocks over {shards} shards, {edges} writes told from one to another")?;
        if *unsharded_blocks > 0 {
            let why = last_reason.as_deref().unwrap_or("nothing to do");
            write!(f, "; {unsharded_blocks} executed here, the last because: {why}")?;
        }
        Ok(())
    }
}
