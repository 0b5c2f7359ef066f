//! `cachekv shard`: executes shares of blocks for coordinators, until it is asked to end.

use super::fleet::{PATIENCE, link};
use super::local::LISTENING;
use super::logs::LogArgs;
use super::metrics::{Metrics, Subject};
use super::signals::asked_to_end;
use super::tls::{TlsArgs, transport};
use super::workloads::{self, Workloads};
use crate::failure::{EXIT_STATUS, Failure};
use cachekv::remote::{GrpcListener, ListenConfig, RemoteVm, Shard, ShardConfig, StartError};
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cachekv shard --listen 127.0.0.1:7401 --coordinator 127.0.0.1 --metrics 127.0.0.1:9401
  cachekv run --shards 127.0.0.1:7401,127.0.0.1:7402     ... and what gives it work
  cachekv shard --listen 10.0.0.2:7401 --coordinator 10.0.0.1 \\
      --tls-certificate shard.pem --tls-key shard.key --tls-authority authority.pem

It says where it listens on its first line. Asked to end by SIGTERM or SIGINT, it ends the blocks that it has, and takes no
more; asked once more, it ends at once.";

/// Execute shares of blocks for coordinators (`cachekv run --shards`, `cachekv evm --shards`)
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS}"))]
pub(crate) struct ShardArgs {
    /// Where to listen: host and port, port 0 for a free one
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// Take work from these addresses only [default: from whoever may connect]
    #[arg(long, value_name = "IP", num_args = 1.., value_delimiter = ',')]
    coordinator: Vec<IpAddr>,
    /// Listen, without TLS, where other machines reach it: whoever does can give it work
    #[arg(long)]
    plain_beyond_loopback: bool,
    #[command(flatten)]
    tls: TlsArgs,
    /// Worker threads; 0 takes as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1024))]
    threads: u64,
    /// How long a coordinator may be silent before its blocks are let go of
    #[arg(long, value_name = "MILLISECONDS", default_value_t = PATIENCE, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    patience: u64,
    /// How long blocks may take to end once it is asked to
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    drain: u64,
    /// Serve figures for Prometheus at this address, under /metrics, and health under /health
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    #[cfg(feature = "evm")]
    #[command(flatten)]
    ethereum: super::ethereum::BlockArgs,
    #[command(flatten)]
    logs: LogArgs,
    /// End when standard input does
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

/// Serves until it is asked to end, and says what it has done.
///
/// # Errors
/// If it does not start.
pub(crate) fn run(args: &ShardArgs) -> Result<String, Failure> {
    args.logs.begin("info")?;
    #[cfg(feature = "evm")]
    if let Some(blocks) = args.ethereum.read()? {
        return serve(args, blocks, super::ethereum::MACHINE);
    }
    serve(args, Workloads, workloads::MACHINE)
}

fn serve<V: RemoteVm>(args: &ShardArgs, vm: V, machine: &str) -> Result<String, Failure> {
    let end = asked_to_end()?;
    let mut listen = ListenConfig::default();
    (listen.tls, listen.machine) = (args.tls.read()?, machine.into());
    (listen.callers, listen.plain_beyond_loopback) = (args.coordinator.clone(), args.plain_beyond_loopback);
    let listener = Arc::new(GrpcListener::new(&args.listen, listen).map_err(transport)?);
    let address = listener.address().to_string();
    let mut config = ShardConfig::default();
    (config.threads, config.name) = (args.threads.try_into().unwrap_or(usize::MAX), address.clone());
    config.link = link(args.patience);
    let shard = Shard::start(vm, Arc::<GrpcListener>::clone(&listener), config).map_err(|error| match error {
        StartError::Transport(error) => transport(error),
        error => Failure::System(format!("{error}: ask for less with --threads")),
    })?;
    let shard = Arc::new(shard);
    let metrics =
        args.metrics.as_deref().map(|at| Metrics::serve(at, args.plain_beyond_loopback, subject(&shard, &end)));
    let metrics = metrics.transpose()?;
    let figures = metrics.as_ref().map(|metrics| format!(", metrics on {}", metrics.address)).unwrap_or_default();
    crate::print(&format!("{LISTENING}{address} with {machine}{figures}\n"))?;
    if args.end_with_stdin {
        end_with_stdin(&end)?;
    }
    while !end.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20)); // signals only set a flag: that is all that is safe in a handler
    }
    listener.not_serving();
    let later = |seconds| Instant::now().checked_add(Duration::from_secs(seconds)).unwrap_or_else(Instant::now);
    let drained = shard.drain(later(args.drain));
    let stopped = shard.shutdown(later(2));
    let counts = shard.counts();
    let said = format!("{} shares done, {} came to nothing\n", counts.done, counts.failed);
    match stopped {
        Ok(()) if drained => Ok(said),
        Ok(()) => Err(Failure::System("a block had not ended in time".into())),
        Err(error) => Err(Failure::System(error.to_string())),
    }
}

fn subject(shard: &Arc<Shard>, end: &Arc<AtomicBool>) -> Subject {
    let (counts, gauges, end) = (Arc::clone(shard), Arc::clone(shard), Arc::clone(end));
    Subject {
        name: "shard",
        counts: Box::new(move || counts.counts()),
        gauges: Box::new(move || vec![("blocks", "Blocks at hand.", gauges.blocks() as u64)]),
        serving: Box::new(move || !end.load(Ordering::Relaxed)),
    }
}

/// Asks to end when whoever started the process has closed its standard input, or is gone.
fn end_with_stdin(end: &Arc<AtomicBool>) -> Result<(), Failure> {
    let end = Arc::clone(end);
    let watch = move || {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        end.store(true, Ordering::Relaxed);
    };
    let thread = thread::Builder::new().name("cachekv-stdin".into()).spawn(watch);
    thread.map(drop).map_err(|error| Failure::System(format!("no threads: {error}")))
}
