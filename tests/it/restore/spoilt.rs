//! Random states, cut at random, restored from chunks that are spoilt, doubled, left out and mixed up at random. Whatever is
//! refused leaves the store as it was and the next good chunk succeeds; whatever ends, ends with the right state.

use super::{Mem, Snapshot, State, contents, restored, snapshot};
use bytes::Bytes;
use cachekv::restore::{Chunk, Error, Hash, Manifest, Parts, Restorer, Target};
use proptest::prelude::*;
use std::sync::Arc;

/// What is done instead of offering the next chunk.
#[derive(Clone, Debug)]
enum Trick {
    /// Any chunk at any place.
    Chunk { file: u8, place: u8 },
    /// A bit of the file is turned.
    File { bit: u16 },
    /// A bit of an entry or the proof is turned, and everything sealed again.
    Inside { part: u8, at: u16, bit: u8 },
    /// Entries are left out, doubled or turned round, and everything sealed again.
    Entries { way: u8, at: u16 },
    /// An entry of another chunk is put before or after.
    Overlap { other: u8, before: bool },
    /// The file is cut.
    Cut { at: u16 },
    /// The restorer is dropped, and opened again.
    Reopen,
    /// The list of chunks ends here.
    Truncate,
    /// A bit of the manifest is turned.
    Manifest { bit: u16 },
}

fn trick() -> impl Strategy<Value = Trick> {
    prop_oneof![
        any::<(u8, u8)>().prop_map(|(file, place)| Trick::Chunk { file, place }),
        any::<u16>().prop_map(|bit| Trick::File { bit }),
        any::<(u8, u16, u8)>().prop_map(|(part, at, bit)| Trick::Inside { part, at, bit }),
        any::<(u8, u16)>().prop_map(|(way, at)| Trick::Entries { way, at }),
        any::<(u8, bool)>().prop_map(|(other, before)| Trick::Overlap { other, before }),
        any::<u16>().prop_map(|at| Trick::Cut { at }),
        Just(Trick::Reopen),
        Just(Trick::Truncate),
        any::<u16>().prop_map(|bit| Trick::Manifest { bit }),
    ]
}

fn turned(bytes: &Bytes, at: u16, bit: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    let len = bytes.len();
    if len > 0 {
        bytes[usize::from(at) % len] ^= 1 << (bit % 8);
    }
    bytes.into()
}

/// The chunk that `trick` makes of the chunk at `next`; `None` if it is the same.
fn spoilt(good: &Snapshot, next: usize, trick: &Trick) -> Option<Chunk> {
    let whole = Chunk::decode(good.files[next].clone(), u32::MAX).unwrap();
    let mut chunk = whole.clone();
    let count = chunk.entries.len();
    match *trick {
        Trick::Inside { part, at, bit } => {
            let entry = &mut chunk.entries[usize::from(at) % count];
            match part % 3 {
                0 => entry.0 = turned(&entry.0, at, bit),
                1 => entry.1 = turned(&entry.1, at, bit),
                _ => chunk.proof = turned(&chunk.proof, at, bit),
            }
        }
        Trick::Entries { way, at } => {
            let at = usize::from(at) % count;
            match way % 4 {
                0 => drop(chunk.entries.remove(at)),
                1 => chunk.entries.insert(at, chunk.entries[at].clone()),
                2 => chunk.entries.reverse(),
                _ => chunk.entries.truncate(at),
            }
        }
        Trick::Overlap { other, before } => {
            let other = usize::from(other) % good.files.len();
            let entries = Chunk::decode(good.files[other].clone(), u32::MAX).unwrap().entries;
            let at = if before { 0 } else { count };
            chunk.entries.splice(at..at, entries);
        }
        _ => return None,
    }
    (chunk != whole).then_some(chunk)
}

/// A manifest that lists `file`, of `chunk`, at `next`; and passes for one.
fn sealed(good: &Snapshot, next: usize, file: &Bytes, chunk: Option<&Chunk>) -> Manifest {
    let mut manifest = good.manifest.clone();
    let listed = &mut manifest.chunks[next];
    listed.digest = Hash::of(file);
    if let Some(chunk) = chunk.filter(|chunk| !chunk.entries.is_empty()) {
        listed.entries = chunk.entries.len() as u32;
    }
    manifest.entries = manifest.chunks.iter().map(|chunk| u64::from(chunk.entries)).sum();
    manifest
}

struct Run<'s> {
    good: &'s Snapshot,
    store: Arc<Mem>,
    parts: Parts,
}

impl Run<'_> {
    fn open(&self, manifest: &Manifest) -> Result<Restorer<Arc<Mem>>, Error> {
        Restorer::open(Target::One(Arc::clone(&self.store), self.parts), self.good.root, manifest.clone())
    }

    /// Does `trick` to a restore that stands at `next`; whatever it is, it must be refused without a trace.
    fn play(&self, restorer: &mut Restorer<Arc<Mem>>, trick: &Trick) {
        restorer.flush().unwrap();
        let before = contents(&self.store);
        let next = restorer.next_chunk() as usize;
        let files = &self.good.files;
        match trick {
            Trick::Chunk { file, place } => {
                let (file, place) = (usize::from(*file) % files.len(), usize::from(*place) % files.len());
                if (file, place) != (next, next) {
                    assert!(restorer.add_chunk(place as u32, files[file].clone()).is_err());
                }
            }
            Trick::File { bit } => {
                let file = turned(&files[next], bit / 8, (bit % 8) as u8);
                assert!(restorer.add_chunk(next as u32, file.clone()).is_err());
                self.sealed_is_refused(next, &file, None);
            }
            Trick::Cut { at } => {
                let file = files[next].slice(..usize::from(*at) % files[next].len());
                assert!(restorer.add_chunk(next as u32, file.clone()).is_err());
                self.sealed_is_refused(next, &file, None);
            }
            Trick::Inside { .. } | Trick::Entries { .. } | Trick::Overlap { .. } => {
                if let Some(chunk) = spoilt(self.good, next, trick) {
                    let file = chunk.encode(1).unwrap().0;
                    self.sealed_is_refused(next, &file, Some(&chunk));
                }
            }
            Trick::Reopen => {}
            Trick::Truncate => {
                let mut manifest = self.good.manifest.clone();
                manifest.chunks.truncate(next);
                manifest.entries = manifest.chunks.iter().map(|chunk| u64::from(chunk.entries)).sum();
                manifest.bytes = manifest.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
                assert!(self.open(&manifest).unwrap().finish().is_err());
            }
            Trick::Manifest { bit } => {
                let bytes = turned(&self.good.manifest.encode(), bit / 8, (bit % 8) as u8);
                assert!(Manifest::decode(bytes).is_err());
            }
        }
        restorer.flush().unwrap();
        assert_eq!(contents(&self.store), before, "{trick:?} left a trace");
    }

    /// Offers `file` under a manifest that lists it; a file that still holds the same is no trick.
    fn sealed_is_refused(&self, next: usize, file: &Bytes, chunk: Option<&Chunk>) {
        let same = Chunk::decode(self.good.files[next].clone(), u32::MAX).unwrap();
        if Chunk::decode(file.clone(), 1 << 20).is_ok_and(|chunk| chunk == same) {
            return;
        }
        let Ok(mut restorer) = self.open(&sealed(self.good, next, file, chunk)) else { return };
        assert!(restorer.add_chunk(next as u32, file.clone()).is_err(), "a wrong chunk is taken");
        restorer.flush().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_wrong_is_ever_taken_and_nothing_refused_leaves_a_trace(
        entries in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..6), proptest::collection::vec(any::<u8>(), 0..30), 1..60),
        chunk_bytes in 1..400usize,
        tricks in proptest::collection::vec((0..30usize, trick()), 0..24),
        parts in prop_oneof![Just(Parts::Everything), Just(Parts::Values), Just(Parts::Tree)],
    ) {
        let state: State = entries.into_iter()
            .filter(|(key, _)| !key.starts_with(&[0xff, 0xff]))
            .map(|(key, value)| (key.into(), value.into())).collect();
        prop_assume!(!state.is_empty());
        let good = snapshot(&state, chunk_bytes);
        let run = Run { good: &good, store: Arc::new(Mem::new()), parts };
        let mut restorer = run.open(&good.manifest).unwrap();
        for next in 0..good.files.len() {
            for (_, trick) in tricks.iter().filter(|(at, _)| at % good.files.len() == next) {
                run.play(&mut restorer, trick);
                if matches!(trick, Trick::Reopen) {
                    drop(restorer);
                    restorer = run.open(&good.manifest).unwrap();
                    prop_assert_eq!(restorer.next_chunk() as usize, next);
                }
            }
            restorer.add_chunk(next as u32, good.files[next].clone()).unwrap();
        }
        restorer.finish().unwrap();
        prop_assert_eq!(contents(&run.store), restored(&good, parts));
        prop_assert!(parts == Parts::Tree || super::values(&*run.store) == state);
    }

    /// The proofs of an export are `jmt`'s, and `jmt`'s own verifier of ranges takes them.
    #[test]
    fn jmts_own_restore_takes_the_same_chunks(
        keys in 2..80u64, seed in any::<u64>(), chunk_bytes in 1..500usize,
    ) {
        use super::reference::{Memory, key_hash};
        use borsh::BorshDeserialize;
        use jmt::proof::SparseMerkleRangeProof;
        use jmt::restore::{JellyfishMerkleRestore, StateSnapshotReceiver};
        let good = snapshot(&super::state(seed, keys), chunk_bytes);
        let memory = Arc::new(Memory::default());
        let root = jmt::RootHash(*good.root.bytes());
        let mut receiver =
            JellyfishMerkleRestore::<sha2::Sha256>::new(Arc::clone(&memory), 7, root).unwrap();
        for file in &good.files {
            let chunk = Chunk::decode(file.clone(), u32::MAX).unwrap();
            let entries = chunk.entries.iter().map(|(key, value)| (key_hash(key), value.to_vec())).collect();
            receiver.add_chunk(entries, SparseMerkleRangeProof::try_from_slice(&chunk.proof).unwrap()).unwrap();
        }
        receiver.finish().unwrap();
        prop_assert_eq!(memory.tree().get_root_hash(7).unwrap(), root);
        let nodes = restored(&good, Parts::Tree).keys().filter(|key| key.starts_with(b"\xff\xffN")).count();
        prop_assert_eq!(memory.nodes(), nodes);
    }
}
