//! Blocks over two shards beside one thread, and a fetch of keys beside a bare gRPC call:
//! `cargo bench --bench remote --features grpc -- [--turns N]`. Coordinator and shards are in this process, and talk over sockets.
//!
//! * `block`: 2,000 transactions of 100 µs that do not meet, over two shards with a worker each, against sequential execution.
//! * `fetch`: what it costs that a block's one transaction reads 1,000 keys (the block, less a block that reads none), against
//!   a unary call that sends as many bytes as the request has and is answered with as many as the answer has.
//!
//! Each figure is the median of the turns, in which the ways take turns, with the 10th and 90th percentile.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that cannot run ends"
)]

use bytes::Bytes;
use cachekv::executor::{Vm, execute_sequentially};
use cachekv::kv::{KvStore, MemSnapshot, MemStore};
use cachekv::multiversion::{NoMerge, TxView, ViewError};
use cachekv::remote::{
    Access, BlockOptions, Cluster, ClusterConfig, Coded, DialConfig, GrpcDialer, GrpcListener, How, ListenConfig,
    Shard, ShardConfig,
};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic_prost::ProstCodec;

/// A transaction: rounds of arithmetic, keys to read, and a key to write.
#[derive(Clone, Debug)]
struct Job {
    rounds: u64,
    reads: u32,
    writes: u32,
}

impl Coded for Job {
    fn encode(&self) -> Bytes {
        [&self.rounds.to_le_bytes()[..], &self.reads.to_le_bytes(), &self.writes.to_le_bytes()].concat().into()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        let (rounds, rest) = bytes.split_first_chunk()?;
        let (reads, writes) = rest.split_first_chunk()?;
        let (reads, writes) = (u32::from_le_bytes(*reads), u32::from_le_bytes(writes.try_into().ok()?));
        Some(Self { rounds: u64::from_le_bytes(*rounds), reads, writes })
    }
}

#[derive(Clone, Copy, Debug)]
struct Machine;

impl Vm for Machine {
    type Key = Bytes;
    type Value = Bytes;
    type Merge = NoMerge;
    type Transaction = Job;
    type Output = u64;
    type Error = ViewError;
    fn execute(&self, job: &Job, view: &TxView<'_, Bytes, Bytes>) -> Result<u64, ViewError> {
        grind(job.rounds);
        let mut seen = 0;
        for key in 0..job.reads {
            seen += view.get(&self::key(key))?.map_or(0, |value| value.len() as u64);
        }
        view.set(key(job.writes), Bytes::from_static(&[7; 64]));
        Ok(seen)
    }
}

/// 24 bytes.
fn key(number: u32) -> Bytes {
    format!("the key with number {number:04}").into()
}

fn grind(rounds: u64) {
    let mut word = black_box(0x2545_f491_4f6c_dd1d_u64);
    for _ in 0..rounds {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
    }
    black_box(word);
}

/// How many rounds take 100 µs here.
fn rounds() -> u64 {
    const SOME: u64 = 200_000;
    let time = |()| {
        let began = Instant::now();
        grind(SOME);
        began.elapsed()
    };
    let quickest = std::iter::repeat_n((), 20).map(time).min().unwrap();
    (100_000 * u128::from(SOME) / quickest.as_nanos()) as u64
}

struct Rig {
    cluster: Cluster<Machine>,
    _shards: Vec<Shard>,
    snapshot: MemSnapshot<Bytes, Bytes>,
}

impl Rig {
    fn new(shards: usize) -> Self {
        let start = |_| {
            let listener = GrpcListener::new("127.0.0.1:0", ListenConfig::default()).unwrap();
            let address = listener.address().to_string();
            let mut config = ShardConfig::default();
            config.threads = 1;
            (Shard::start(Machine, Arc::new(listener), config).unwrap(), address)
        };
        let (running, addresses): (Vec<_>, Vec<_>) = (0..shards).map(start).unzip();
        let dialer = GrpcDialer::new(&addresses, &DialConfig::default()).unwrap();
        let peers = dialer.peers();
        let mut config = ClusterConfig::default();
        config.threads = 1;
        let cluster = Cluster::start(Machine, Arc::new(dialer), &peers, config).unwrap();
        let up = cluster.handle().shards_up(shards, Instant::now() + Duration::from_secs(10));
        assert_eq!(up.len(), shards, "the shards do not come up");
        let store: MemStore<Bytes, Bytes> =
            (0..1000).map(|number| (key(number), Bytes::from_static(&[9; 64]))).collect();
        Self { cluster, _shards: running, snapshot: store.snapshot().unwrap() }
    }

    fn time(&mut self, block: &[Job], accesses: &[Access<Bytes>]) -> Duration {
        let began = Instant::now();
        let done = self.cluster.execute(&self.snapshot, block, accesses, BlockOptions::default()).unwrap();
        let took = began.elapsed();
        assert!(matches!(done.how, How::Sharded { .. }), "{:?}", done.how);
        took
    }
}

fn accesses(block: &[Job]) -> Vec<Access<Bytes>> {
    block.iter().map(|job| Access { reads: (0..job.reads).map(key).collect(), writes: vec![key(job.writes)] }).collect()
}

/// Median, 10th and 90th percentile.
fn percentiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [50, 10, 90].map(|percent| times[(times.len() - 1) * percent / 100])
}

fn blocks(turns: usize) {
    let rounds = rounds();
    let block: Vec<_> = (0..2000).map(|writes| Job { rounds, reads: 0, writes }).collect();
    let accesses = accesses(&block);
    let mut rig = Rig::new(2);
    let (mut ratios, mut alone, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..turns {
        let began = Instant::now();
        black_box(execute_sequentially(&rig.snapshot, &block, &Machine, None).unwrap());
        let sequential = began.elapsed().as_secs_f64();
        let sharded = rig.time(&block, &accesses).as_secs_f64();
        ratios.push(sequential / sharded);
        alone.push(sequential * 1e3);
        over.push(sharded * 1e3);
    }
    let [median, low, high] = percentiles(ratios);
    println!(
        "block  sequential {:.1} ms, two shards {:.1} ms: {median:.2} times as fast ({low:.2} to {high:.2})",
        percentiles(alone)[0],
        percentiles(over)[0]
    );
}

/// Some bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Some_ {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

/// A service that answers any call with so many bytes.
#[derive(Clone)]
struct Answering(usize);

impl NamedService for Answering {
    const NAME: &'static str = "bare.Call";
}

impl UnaryService<Some_> for Answering {
    type Response = Some_;
    type Future = Ready<Result<tonic::Response<Some_>, tonic::Status>>;
    fn call(&mut self, request: tonic::Request<Some_>) -> Self::Future {
        black_box(request.into_inner().bytes.len());
        ready(Ok(tonic::Response::new(Some_ { bytes: vec![5; self.0].into() })))
    }
}

impl Service<http::Request<Body>> for Answering {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Some_, Some_>::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// A bare call, over and over.
struct Bare {
    server: tokio::runtime::Runtime,
    client: tokio::runtime::Runtime,
    grpc: tonic::client::Grpc<tonic::transport::Channel>,
    request: Bytes,
}

impl Bare {
    fn new(request: usize, answer: usize) -> Self {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server, client) = (runtime(), runtime());
        let socket = server.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = socket.local_addr().unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(socket).with_nodelay(Some(true));
        server.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(Answering(answer))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
        let channel = client.block_on(endpoint.connect()).unwrap();
        Self { server, client, grpc: tonic::client::Grpc::new(channel), request: vec![3; request].into() }
    }

    fn time(&mut self) -> Duration {
        let Self { client, grpc, request, .. } = self;
        let began = Instant::now();
        client.block_on(async {
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/bare.Call/Call");
            let request = tonic::Request::new(Some_ { bytes: request.clone() });
            black_box(grpc.unary(request, path, ProstCodec::<Some_, Some_>::default()).await.unwrap());
        });
        began.elapsed()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Runtimes of a benchmark that is over; neither is waited for.
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::mem::replace(&mut self.server, runtime()).shutdown_background();
        std::mem::replace(&mut self.client, runtime()).shutdown_background();
    }
}

fn fetches(turns: usize) {
    let (reading, idle) = ([Job { rounds: 0, reads: 1000, writes: 0 }], [Job { rounds: 0, reads: 0, writes: 0 }]);
    let (declared, nothing) = (accesses(&reading), accesses(&idle));
    // A key is 24 bytes and four that say so; an answer has each key again, two marks, and a value of 64 bytes and four.
    let mut bare = Bare::new(1000 * 28, 1000 * (28 + 2 + 68));
    let mut rig = Rig::new(1);
    let (mut ratios, mut bares, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns * 20 {
        let call = bare.time().as_secs_f64();
        let fetch = rig.time(&reading, &declared).as_secs_f64() - rig.time(&idle, &nothing).as_secs_f64();
        if turn >= turns {
            ratios.push(fetch / call);
            bares.push(call * 1e6);
            ours.push(fetch * 1e6);
        }
    }
    let [median, low, high] = percentiles(ratios);
    println!(
        "fetch  bare call {:.0} µs, 1,000 keys {:.0} µs: {median:.2} times ({low:.2} to {high:.2})",
        percentiles(bares)[0],
        percentiles(ours)[0]
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let turns = arguments.iter().position(|argument| argument == "--turns").and_then(|at| arguments.get(at + 1));
    let turns = turns.map_or(15, |turns| turns.parse().expect("a number of turns"));
    blocks(turns);
    fetches(turns);
}
