//! Arbitrary bytes where a chunk, a manifest, a proof, the record of a restore or a node of a tree is expected. The first
//! byte says which, and whether the rest are the bytes themselves or damage to good ones.
//!
//! What is read back must be what was read, what is refused must have changed nothing, and nothing is taken, held or
//! exported that does not lead to the root.
//! This file is shared by the fuzz target of its name and by the test that runs its corpus.

use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore, MemStore, Op, WriteBatch};
use cachekv::restore::{
    Chunk, ChunkFault, Cut, Error, Exporter, Hash, Manifest, Parts, Proof, RESERVED, Restorer, StateTree, Target,
};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What can happen in a run; an input's share of it is what [`run`] returns, one bit each.
pub const EVENTS: &[&str] = &[
    "a chunk that was taken",
    "a chunk that is none",
    "a chunk that does not lead to the root",
    "a manifest that was read",
    "a manifest that was refused",
    "a snapshot that was restored under a manifest that was read",
    "a proof that holds",
    "a proof that does not",
    "a restore that went on from a record",
    "a record that was refused",
    "a tree that was exported",
    "a tree that was found damaged",
];
const TAKEN: u32 = 1 << 0;
const NO_CHUNK: u32 = 1 << 1;
const NOT_PROVED: u32 = 1 << 2;
const MANIFEST: u32 = 1 << 3;
const NO_MANIFEST: u32 = 1 << 4;
const RESTORED: u32 = 1 << 5;
const HOLDS: u32 = 1 << 6;
const HOLDS_NOT: u32 = 1 << 7;
const WENT_ON: u32 = 1 << 8;
const NO_RECORD: u32 = 1 << 9;
const EXPORTED: u32 = 1 << 10;
const DAMAGED: u32 = 1 << 11;

type Mem = MemStore<Bytes, Bytes>;
type Entries = BTreeMap<Bytes, Bytes>;

/// What an uncompressed chunk may take.
const LIMIT: u32 = 1 << 20;
/// Keys of the state.
const KEYS: u8 = 40;
/// Where the record of a restore stands, and what the keys of nodes begin with.
const RECORD: &[u8] = b"\xff\xffR";
const NODES: &[u8] = b"\xff\xffN";

/// A small state in every form.
struct Sample {
    root: Hash,
    manifest: Manifest,
    files: Vec<Bytes>,
    proof: Bytes,
    /// A store after the first chunk; one that holds the whole state with its tree.
    begun: Entries,
    whole: Entries,
}

fn value_of(key: u8) -> Bytes {
    Bytes::from(vec![key; usize::from(key % 9)])
}

fn contents(store: &Mem) -> Entries {
    store.snapshot().unwrap().range(..).map(Result::unwrap).collect()
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let store = Mem::new();
    let block: WriteBatch<_, _> = (0..KEYS).map(|key| (Bytes::from(vec![key]), Op::Put(value_of(key)))).collect();
    let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&block, 7, 1).unwrap();
    let root = update.root;
    let tree = StateTree::open(store.commit(update.with(block)).unwrap()).unwrap();
    let proof = tree.prove(&Bytes::from(vec![3]), 7).unwrap().encode();
    let mut exporter = Exporter::new(tree, 7, Cut { chunk_bytes: 150, level: 1 }).unwrap();
    let files: Vec<_> = std::iter::from_fn(|| exporter.next_chunk().unwrap()).map(|chunk| chunk.file).collect();
    let begun = Arc::new(Mem::new());
    let manifest = exporter.manifest();
    let mut restorer = Restorer::open(everything(&begun), root, manifest.clone()).unwrap();
    restorer.add_chunk(0, files[0].clone()).unwrap();
    restorer.flush().unwrap();
    Sample { root, manifest, files, proof, begun: contents(&begun), whole: contents(&store) }
});

fn everything(store: &Arc<Mem>) -> Target<Arc<Mem>> {
    Target::One(Arc::clone(store), Parts::Everything)
}

/// Reads `data` as what its first byte says; panics where the library does, or does not keep its promises. Returns the
/// [`EVENTS`] it met.
pub fn run(data: &[u8]) -> u32 {
    let Some((&which, bytes)) = data.split_first() else { return 0 };
    let sample = &*SAMPLE;
    let given = |good: &[u8]| if which < 128 { bytes.to_vec() } else { damaged(good, bytes) };
    match which % 7 {
        0 => chunk(sample, given(&sample.files[0]).into()),
        1 => chunk(sample, packed(&given(&unpacked(&sample.files[0])))),
        2 => manifest(sample, &given(&sample.manifest.encode())),
        3 => {
            let good = sample.manifest.encode();
            manifest(sample, &sealed(given(&good[..good.len() - 32])))
        }
        4 => proof(sample, &given(&sample.proof)),
        5 => {
            let good = &sample.begun[RECORD];
            record(sample, sealed(given(&good[..good.len() - 32])).into())
        }
        _ => {
            let Some((&place, bytes)) = bytes.split_first() else { return 0 };
            let nodes: Vec<_> = sample.whole.iter().filter(|(key, _)| key.starts_with(NODES)).collect();
            let (key, good) = nodes[usize::from(place) % nodes.len()];
            let node = if which < 128 { bytes.to_vec() } else { damaged(good, bytes) };
            tree(sample, key, node.into())
        }
    }
}

/// `good` after some damage: four bytes each say how, where and with what.
fn damaged(good: &[u8], damage: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for &[how, low, high, with] in damage.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([low, high])) % (bytes.len() + 1);
        match (how % 4, bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= with,
            (1, Some(byte)) => *byte = with,
            (2, Some(_)) => drop(bytes.remove(at)),
            (3, _) => bytes.insert(at, with),
            _ => bytes.truncate(usize::from(with)),
        }
    }
    bytes
}

/// A chunk's body, and the file of a body.
fn unpacked(file: &[u8]) -> Vec<u8> {
    let chunk = Chunk::decode(Bytes::copy_from_slice(file), LIMIT).unwrap();
    let mut body = [&chunk.index.to_le_bytes(), &chunk.proof[..]].concat();
    body.extend((chunk.entries.len() as u32).to_le_bytes());
    for bytes in chunk.entries.iter().flat_map(|(key, value)| [key, value]) {
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    body
}

fn packed(body: &[u8]) -> Bytes {
    // One raw block after another, as zstd's format has them: what is looked at here is not the compression.
    let mut file = [&b"ckvchunk\x01\x00"[..], &(body.len() as u32).to_le_bytes()].concat();
    file.extend(0xfd2f_b528_u32.to_le_bytes());
    file.push(0xa0); // the length follows in four bytes, and no checksum after the blocks
    file.extend((body.len() as u32).to_le_bytes());
    let mut blocks = body.chunks(1 << 16).peekable();
    while let Some(block) = blocks.next() {
        let head = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        file.extend_from_slice(&head.to_le_bytes()[..3]);
        file.extend_from_slice(block);
    }
    file.into()
}

/// `bytes` and their digest.
fn sealed(bytes: Vec<u8>) -> Vec<u8> {
    let digest = Hash::of(&bytes);
    [&bytes[..], digest.bytes()].concat()
}

/// Decoded, and offered to a restorer that stands before its first chunk, under a manifest that lists it.
fn chunk(sample: &Sample, file: Bytes) -> u32 {
    let Sample { root, manifest, files, .. } = sample;
    let mut manifest = manifest.clone();
    let listed = &mut manifest.chunks[0];
    listed.digest = Hash::of(&file);
    if let Ok(chunk) = Chunk::decode(file.clone(), LIMIT) {
        let (again, bytes) = chunk.encode(1).unwrap();
        assert_eq!(Chunk::decode(again, u32::MAX).as_ref(), Ok(&chunk));
        (listed.entries, listed.bytes) = (chunk.entries.len().max(1) as u32, bytes);
    }
    manifest.entries = manifest.chunks.iter().map(|chunk| u64::from(chunk.entries)).sum();
    manifest.bytes = manifest.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    let store = Arc::new(Mem::new());
    let mut restorer = Restorer::open(everything(&store), *root, manifest).unwrap().with_limit(LIMIT);
    let taken = restorer.add_chunk(0, file.clone());
    restorer.flush().unwrap();
    drop(restorer);
    match taken {
        Ok(()) => {
            let entries = |file: &Bytes| Chunk::decode(file.clone(), LIMIT).unwrap().entries;
            assert_eq!(entries(&file), entries(&files[0]), "a wrong chunk is taken");
            assert_eq!(contents(&store), sample.begun);
            TAKEN
        }
        Err(Error::Chunk { chunk: 0, cause }) => {
            assert!(files[0] != file, "the right chunk is refused: {cause}");
            assert_eq!(contents(&store), Entries::new(), "something was written");
            match cause {
                ChunkFault::BadProof | ChunkFault::TooManySiblings(_) | ChunkFault::Unordered(_) => NOT_PROVED,
                _ => NO_CHUNK,
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// Read, and the good chunks restored under it.
fn manifest(sample: &Sample, bytes: &[u8]) -> u32 {
    let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(bytes)) else { return NO_MANIFEST };
    assert_eq!(manifest.encode(), bytes);
    let store = Arc::new(Mem::new());
    let met = finish(sample, &store, &manifest).map_or(0, |()| RESTORED);
    assert!(met == 0 || manifest.chunks == sample.manifest.chunks, "a wrong list is taken");
    assert!(met == 0 || values(&store) == values_due());
    MANIFEST | met
}

/// Restores what `store` lacks.
fn finish(sample: &Sample, store: &Arc<Mem>, manifest: &Manifest) -> Result<(), Error> {
    let mut restorer = Restorer::open(everything(store), sample.root, manifest.clone())?.with_limit(LIMIT);
    if !restorer.is_complete() {
        for index in restorer.next_chunk()..manifest.len() {
            restorer.add_chunk(index, sample.files.get(index as usize).cloned().unwrap_or_default())?;
        }
    }
    restorer.finish().map(drop)
}

fn values(store: &Mem) -> Entries {
    contents(store).into_iter().filter(|(key, _)| !key.starts_with(RESERVED)).collect()
}

fn values_due() -> Entries {
    (0..KEYS).map(|key| (Bytes::from(vec![key]), value_of(key))).collect()
}

fn proof(sample: &Sample, bytes: &[u8]) -> u32 {
    let Ok(proof) = Proof::decode(Bytes::copy_from_slice(bytes)) else { return HOLDS_NOT };
    assert_eq!(proof.encode(), bytes);
    if proof.verify(&sample.root).is_err() {
        return HOLDS_NOT;
    }
    let right = match **proof.key() {
        [key] if key < KEYS => Some(value_of(key)),
        _ => None,
    };
    assert_eq!(proof.value(), right.as_ref(), "a wrong proof holds");
    HOLDS
}

/// The record of a restore that has one chunk. What it says of the tree is believed if its digest is right, as that of any
/// record: it must not lead to a panic, nor to wrong values.
fn record(sample: &Sample, bytes: Bytes) -> u32 {
    let says_complete = bytes.get(1) == Some(&1);
    let store = Arc::new(Mem::from_iter(sample.begun.clone()));
    store.commit([(Bytes::from_static(RECORD), Op::Put(bytes))].into_iter().collect()).unwrap();
    if finish(sample, &store, &sample.manifest).is_err() {
        return NO_RECORD;
    }
    assert!(says_complete || values(&store) == values_due());
    WENT_ON
}

/// A tree one of whose records is `node`: what it proves and exports is right, or it is an error.
fn tree(sample: &Sample, key: &Bytes, node: Bytes) -> u32 {
    let store = Mem::from_iter(sample.whole.clone());
    store.commit([(key.clone(), Op::Put(node))].into_iter().collect()).unwrap();
    let tree = StateTree::open(store.snapshot().unwrap()).unwrap();
    for key in (0..KEYS + 5).step_by(3) {
        if let Ok(proof) = tree.prove(&Bytes::from(vec![key]), 7)
            && proof.verify(&sample.root).is_ok()
        {
            assert_eq!(proof.value(), (key < KEYS).then(|| value_of(key)).as_ref());
        }
    }
    let change =
        |key: u8| (Bytes::from(vec![key]), if key.is_multiple_of(2) { Op::Delete } else { Op::Put(value_of(key + 1)) });
    drop(tree.update(&(0..KEYS + 5).step_by(2).map(change).collect(), 8, 1));
    drop(tree.update(&(0..KEYS).map(|key| (Bytes::from(vec![key]), Op::Delete)).collect(), 8, 1));
    let Ok(mut exporter) = Exporter::new(tree, 7, Cut { chunk_bytes: 150, level: 1 }) else { return DAMAGED };
    let chunks: Result<Vec<_>, _> = std::iter::from_fn(|| exporter.next_chunk().transpose()).take(100).collect();
    match chunks {
        Ok(chunks) if exporter.manifest().root == sample.root => {
            assert!(chunks.iter().map(|chunk| &chunk.file).eq(&sample.files), "a wrong snapshot is made");
            EXPORTED
        }
        Ok(_) => 0, // of another root: the caller has one to compare it with
        Err(_) => DAMAGED,
    }
}
