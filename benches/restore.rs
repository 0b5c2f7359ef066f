//! The state tree and a restore, each beside a baseline: `jmt`'s own update for a block's root, a plain load of the same
//! batches into the embedded store for a restore.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that cannot run ends")]

use bytes::Bytes;
use cachekv::kv::{Error, KvStore, MemSnapshot, MemStore, Op, RedbStore, WriteBatch};
use cachekv::restore::{Cut, Exporter, Hash, Manifest, Parts, Restorer, StateTree, Target};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys of the state.
const KEYS: u64 = 100_000;

type Batch = WriteBatch<Bytes, Bytes>;

/// Key `n`, 24 bytes, and its value in `block`, 64 bytes.
fn entry(n: u64, block: u64) -> (Bytes, Op<Bytes>) {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let value: Vec<u8> = (0..8u64).flat_map(|part| (n ^ block << 40 ^ part << 56).to_le_bytes()).collect();
    (Bytes::from([&b"account "[..], &scattered, &n.to_be_bytes()].concat()), Op::Put(value.into()))
}

fn block(writes: u64, block: u64) -> Batch {
    (0..writes).map(|n| entry(n.wrapping_mul(0xbf58_476d_1ce4_e5b9) % KEYS, block)).collect()
}

fn planted() -> MemStore<Bytes, Bytes> {
    let store = MemStore::new();
    let all: Batch = (0..KEYS).map(|n| entry(n, 0)).collect();
    let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&all, 0, 1).unwrap();
    store.commit(update.with(all)).unwrap();
    store
}

/// `jmt`'s nodes in memory.
struct Nodes(HashMap<NodeKey, Node>);

impl TreeReader for Nodes {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.0.get(key).cloned())
    }
    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(None)
    }
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

fn changes(batch: &Batch) -> impl Iterator<Item = (KeyHash, Option<OwnedValue>)> {
    batch.iter().map(|(key, op)| (KeyHash::with::<Sha256>(key), op.value().map(|value| value.to_vec())))
}

/// The root of a block: nodes read from memory, nothing written.
fn root(c: &mut Criterion) {
    let mut group = c.benchmark_group("restore/root_of_a_block");
    group.sample_size(10);
    let tree = StateTree::open(planted().snapshot().unwrap()).unwrap();
    let mut nodes = Nodes(HashMap::new());
    let all: Batch = (0..KEYS).map(|n| entry(n, 0)).collect();
    let (_, update) = JellyfishMerkleTree::<_, Sha256>::new(&nodes).put_value_set(changes(&all), 0).unwrap();
    nodes.0.extend(update.node_batch.nodes().clone());
    for writes in [1_000, 10_000] {
        let batch = block(writes, 1);
        group.throughput(Throughput::Elements(writes));
        group.bench_function(BenchmarkId::new("ours", writes), |b| {
            b.iter(|| black_box(tree.update(&batch, 1, u64::MAX).unwrap().root));
        });
        group.bench_function(BenchmarkId::new("jmt", writes), |b| {
            let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
            b.iter(|| black_box(tree.put_value_set(changes(&batch), 1).unwrap().0));
        });
    }
    group.finish();
}

/// A store that keeps what it is to commit.
struct Recorder(Mutex<Vec<Batch>>, MemStore<Bytes, Bytes>);

impl KvStore for Recorder {
    type Key = Bytes;
    type Value = Bytes;
    type Snapshot = MemSnapshot<Bytes, Bytes>;
    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        self.1.snapshot()
    }
    fn commit(&self, batch: Batch) -> Result<Self::Snapshot, Error> {
        self.0.lock().push(batch);
        self.1.snapshot()
    }
}

fn restore<S: KvStore<Key = Bytes, Value = Bytes>>(store: S, root: Hash, manifest: &Manifest, files: &[Bytes]) {
    let target = Target::One(store, Parts::Everything);
    let mut restorer = Restorer::open(target, root, manifest.clone()).unwrap();
    for (index, file) in (0..).zip(files) {
        restorer.add_chunk(index, file.clone()).unwrap();
    }
    restorer.finish().unwrap();
}

/// The time `work` takes on new files.
fn on_new_files(iterations: u64, mut work: impl FnMut(RedbStore)) -> Duration {
    (0..iterations)
        .map(|_| {
            let dir = tempfile::tempdir().unwrap();
            let store = RedbStore::create(dir.path().join("store")).unwrap();
            let began = Instant::now();
            work(store);
            began.elapsed()
        })
        .sum()
}

/// A restore into the embedded store, and a load of the same batches: entries, nodes and progress, as durable.
fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("restore/into_a_file");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS));
    let tree = StateTree::open(planted().snapshot().unwrap()).unwrap();
    let root = tree.root(0).unwrap();
    let mut exporter = Exporter::new(tree, 0, Cut { chunk_bytes: 1 << 20, ..Cut::default() }).unwrap();
    let mut files = Vec::new();
    while let Some(chunk) = exporter.next_chunk().unwrap() {
        files.push(chunk.file);
    }
    let manifest = exporter.manifest();
    let recorder = Arc::new(Recorder(Mutex::default(), MemStore::new()));
    restore(Arc::clone(&recorder), root, &manifest, &files);
    let batches = std::mem::take(&mut *recorder.0.lock());
    group.bench_function("restore", |b| {
        b.iter_custom(|n| on_new_files(n, |store| restore(store, root, &manifest, &files)));
    });
    group.bench_function("load", |b| {
        let load = |store: RedbStore| batches.iter().for_each(|batch| drop(store.commit(batch.clone()).unwrap()));
        b.iter_custom(|n| on_new_files(n, load));
    });
    group.finish();
}

criterion_group!(benches, root, whole);
criterion_main!(benches);
