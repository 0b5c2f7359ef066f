//! Arbitrary bytes where a chunk, a manifest or a proof is expected: the bodies of fuzz targets, and a short run of each.
//!
//! What is read back must be what was read, what is refused must have changed nothing, and nothing is taken that does not
//! lead to the root.

use super::{Draw, Mem, contents, sample_for_fuzzing, state};
use bytes::Bytes;
use cachekv::restore::{Chunk, Hash, Manifest, Parts, Proof, Restorer, Target};
use std::sync::Arc;

/// Any bytes as the file of a chunk: decoded, and offered to a restorer that stands before its first chunk.
pub fn chunk(bytes: &[u8]) {
    let file = Bytes::copy_from_slice(bytes);
    let limit = 1 << 20;
    if let Ok(chunk) = Chunk::decode(file.clone(), limit) {
        let (again, _) = chunk.encode(1).unwrap();
        assert_eq!(Chunk::decode(again, u32::MAX).as_ref(), Ok(&chunk));
    }
    let snapshot = sample_for_fuzzing();
    let mut manifest = snapshot.manifest.clone();
    let honest = snapshot.files[0] == file;
    manifest.chunks[0].digest = Hash::of(&file);
    let store = Arc::new(Mem::new());
    let target = Target::One(Arc::clone(&store), Parts::Everything);
    let mut restorer = Restorer::open(target, snapshot.root, manifest).unwrap().with_limit(limit);
    let taken = restorer.add_chunk(0, file.clone()).is_ok();
    restorer.flush().unwrap();
    drop(restorer);
    if taken {
        let same = Chunk::decode(file, limit).unwrap().entries;
        assert_eq!(same, Chunk::decode(snapshot.files[0].clone(), limit).unwrap().entries, "a wrong chunk is taken");
    } else {
        assert!(!honest, "the right chunk is refused");
        assert!(contents(&store).is_empty(), "something was written");
    }
}

/// Any bytes as a manifest.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(manifest.encode(), bytes);
    }
}

/// Any bytes as a proof.
pub fn proof(bytes: &[u8]) {
    if let Ok(proof) = Proof::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(proof.encode(), bytes);
        let root = super::planted(&state(31, 40)).1;
        let right = state(31, 40).get(proof.key()) == proof.value();
        assert!(proof.verify(&root).is_err() || right, "a wrong proof holds");
    }
}

#[test]
fn smoke() {
    let mut draw = Draw(1);
    let snapshot = sample_for_fuzzing();
    let good_proof = super::tree(&super::planted(&state(31, 40)).0).prove(&Bytes::from("key 3"), 7).unwrap().encode();
    let seeds = [snapshot.files[0].clone(), snapshot.manifest.encode(), good_proof];
    let targets: [fn(&[u8]); 3] = [chunk, manifest, proof];
    for _ in 0..400 {
        for (seed, target) in seeds.iter().zip(targets) {
            let mut bytes = seed.to_vec();
            for _ in 0..draw.below(4) {
                let at = draw.below(bytes.len() as u64) as usize;
                match draw.below(4) {
                    0 => bytes[at] ^= 1 << draw.below(8),
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.insert(at, draw.next() as u8),
                    _ => bytes[at] = draw.next() as u8,
                }
            }
            target(&bytes);
        }
        let noise: Vec<u8> = (0..draw.below(60)).map(|_| draw.next() as u8).collect();
        targets.iter().for_each(|target| target(&noise));
    }
    targets.iter().for_each(|target| target(&[]));
}
