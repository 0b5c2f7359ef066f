//! Arbitrary bytes where a chunk, a manifest or a proof is expected. The first byte says which.
//!
//! What is read back must be what was read, what is refused must have changed nothing, and nothing is taken or held that
//! does not lead to the root.

#![allow(clippy::unwrap_used, reason = "a panic is a find")]

use bytes::Bytes;
use cachekv::kv::{KvRead, KvStore, MemStore, Op, WriteBatch};
use cachekv::restore::{Chunk, Cut, Exporter, Hash, Manifest, Parts, Proof, Restorer, StateTree, Target};
use std::sync::{Arc, OnceLock};

type Mem = MemStore<Bytes, Bytes>;

/// What an uncompressed chunk may take.
const LIMIT: u32 = 1 << 20;

/// A small snapshot, and a proof.
pub struct Sample {
    root: Hash,
    pub manifest: Manifest,
    pub files: Vec<Bytes>,
    pub proof: Bytes,
}

pub fn value_of(key: u8) -> Bytes {
    Bytes::from(vec![key; usize::from(key % 9)])
}

/// The same sample for every input.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let store = Mem::new();
        let block: WriteBatch<_, _> = (0..40u8).map(|key| (Bytes::from(vec![key]), Op::Put(value_of(key)))).collect();
        let update = StateTree::open(store.snapshot().unwrap()).unwrap().update(&block, 7, 1).unwrap();
        let root = update.root;
        let tree = StateTree::open(store.commit(update.with(block)).unwrap()).unwrap();
        let proof = tree.prove(&Bytes::from(vec![3]), 7).unwrap().encode();
        let mut exporter = Exporter::new(tree, 7, Cut { chunk_bytes: 150, level: 1 }).unwrap();
        let mut files = Vec::new();
        while let Some(chunk) = exporter.next_chunk().unwrap() {
            files.push(chunk.file);
        }
        Sample { root, manifest: exporter.manifest(), files, proof }
    })
}

pub fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 3 {
        0 => chunk(Bytes::copy_from_slice(bytes)),
        1 => manifest(bytes),
        _ => proof(bytes),
    }
}

/// Decoded, and offered to a restorer that stands before its first chunk, under a manifest that lists it.
fn chunk(file: Bytes) {
    if let Ok(chunk) = Chunk::decode(file.clone(), LIMIT) {
        let (again, _) = chunk.encode(1).unwrap();
        assert_eq!(Chunk::decode(again, u32::MAX).as_ref(), Ok(&chunk));
    }
    let Sample { root, manifest, files, .. } = sample();
    let mut manifest = manifest.clone();
    manifest.chunks[0].digest = Hash::of(&file);
    let store = Arc::new(Mem::new());
    let target = Target::One(Arc::clone(&store), Parts::Everything);
    let mut restorer = Restorer::open(target, *root, manifest).unwrap().with_limit(LIMIT);
    let taken = restorer.add_chunk(0, file.clone()).is_ok();
    restorer.flush().unwrap();
    drop(restorer);
    if taken {
        let entries = |file: &Bytes| Chunk::decode(file.clone(), LIMIT).unwrap().entries;
        assert_eq!(entries(&file), entries(&files[0]), "a wrong chunk is taken");
    } else {
        assert!(files[0] != file, "the right chunk is refused");
        assert_eq!(store.snapshot().unwrap().range(..).count(), 0, "something was written");
    }
}

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(manifest.encode(), bytes);
    }
}

fn proof(bytes: &[u8]) {
    if let Ok(proof) = Proof::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(proof.encode(), bytes);
        let right = match **proof.key() {
            [key] if key < 40 => proof.value() == Some(&value_of(key)),
            _ => proof.value().is_none(),
        };
        assert!(right || proof.verify(&sample().root).is_err(), "a wrong proof holds");
    }
}
