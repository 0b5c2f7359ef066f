//! Authenticated state: the tree against `jmt`, exports, restores, and everything that can happen to them.

/// What a chunk or a manifest may have wrong with it.
mod chunks;
/// Exports while blocks commit.
mod concurrent;
/// Every write of a restore failing, torn, lost or late.
mod crash;
/// Snapshots as files.
mod directory;
/// `jmt`'s own tree over memory.
mod reference;
/// Random snapshots, cut and spoilt at random.
mod spoilt;
/// The tree: roots, proofs, history, pruning.
mod tree;
/// Stores that have gone on since they were restored.
mod used;

use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use cachekv::restore::{Cut, Exporter, Hash, Manifest, Parts, Restorer, StateTree, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

pub type Mem = MemStore<Bytes, Bytes>;
/// Entries of a state, or of a store.
pub type State = BTreeMap<Bytes, Bytes>;

/// Numbers that look random and are the same every time.
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A state of `keys` keys with values of various lengths.
pub fn state(seed: u64, keys: u64) -> State {
    let mut draw = Draw(seed);
    let entry = |key: u64| {
        let value = vec![draw.next() as u8; draw.below(40) as usize];
        (Bytes::from(format!("key {key}")), Bytes::from(value))
    };
    (0..keys).map(entry).collect()
}

pub fn batch(state: &State) -> WriteBatch<Bytes, Bytes> {
    state.iter().map(|(key, value)| (key.clone(), Op::Put(value.clone()))).collect()
}

/// A store that holds `state` and its tree, at block 7; and the root.
pub fn planted(state: &State) -> (Mem, Hash) {
    let store = Mem::new();
    let block = batch(state);
    let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&block, 7, 1).unwrap();
    let root = update.root;
    store.commit(update.with(block)).unwrap();
    (store, root)
}

/// A snapshot in memory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub root: Hash,
    pub manifest: Manifest,
    pub files: Vec<Bytes>,
}

pub fn export<R: KvRead<Key = Bytes, Value = Bytes>>(state: R, version: u64, chunk_bytes: usize) -> Snapshot {
    let tree = StateTree::open(state).unwrap();
    let root = tree.root(version).unwrap();
    let mut exporter = Exporter::new(tree, version, Cut { chunk_bytes, level: 1 }).unwrap();
    let mut files = Vec::new();
    while let Some(chunk) = exporter.next_chunk().unwrap() {
        files.push(chunk.file);
    }
    Snapshot { root, manifest: exporter.manifest(), files }
}

/// A snapshot of `state` in chunks of about so many bytes.
pub fn snapshot(state: &State, chunk_bytes: usize) -> Snapshot {
    export(planted(state).0.snapshot().unwrap(), 7, chunk_bytes)
}

/// Everything a store holds.
pub fn contents<S: KvStore<Key = Bytes, Value = Bytes>>(store: &S) -> State {
    store.snapshot().unwrap().range(..).map(Result::unwrap).collect()
}

/// The entries of a store that are the state's.
pub fn values<S: KvStore<Key = Bytes, Value = Bytes>>(store: &S) -> State {
    contents(store).into_iter().filter(|(key, _)| !key.starts_with(cachekv::restore::RESERVED)).collect()
}

/// Restores `snapshot` into `target` from where it stands, in one go.
pub fn restore<S>(snapshot: &Snapshot, target: Target<S>) -> Result<(), cachekv::restore::Error>
where
    S: KvStore<Key = Bytes, Value = Bytes>,
{
    let mut restorer = Restorer::open(target, snapshot.root, snapshot.manifest.clone())?;
    if !restorer.is_complete() {
        for index in restorer.next_chunk()..snapshot.manifest.len() {
            restorer.add_chunk(index, snapshot.files[index as usize].clone())?;
        }
    }
    restorer.finish().map(drop)
}

/// What a store holds after an undisturbed restore.
pub fn restored(snapshot: &Snapshot, parts: Parts) -> State {
    let store = Arc::new(Mem::new());
    restore(snapshot, Target::One(Arc::clone(&store), parts)).unwrap();
    contents(&store)
}

/// The tree in a store.
pub fn tree(store: &Mem) -> StateTree<MemSnapshot<Bytes, Bytes>> {
    StateTree::open(store.snapshot().unwrap()).unwrap()
}
