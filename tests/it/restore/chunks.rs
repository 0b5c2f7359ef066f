//! What a chunk or a manifest may have wrong with it: each is refused with an error that names it, nothing is written, and
//! the right chunk may follow.

use super::{Mem, Snapshot, State, contents, restore, restored, snapshot, state};
use bytes::Bytes;
use cachekv::restore::{Chunk, ChunkFault, Error, Hash, ListedChunk, Manifest, ManifestFault, Parts, Restorer, Target};
use std::sync::Arc;

type Refusal = Result<(), Error>;

impl Snapshot {
    fn chunk(&self, index: u32) -> Chunk {
        Chunk::decode(self.files[index as usize].clone(), u32::MAX).unwrap()
    }

    /// Puts `chunk` in place of chunk `index`, and has the manifest say what is there: as a liar would.
    fn replace(&mut self, index: u32, chunk: &Chunk) {
        let (file, bytes) = chunk.encode(1).unwrap();
        self.files[index as usize] = file;
        self.seal(index, chunk, bytes);
    }

    fn seal(&mut self, index: u32, chunk: &Chunk, bytes: u32) {
        let ends = chunk.entries.first().zip(chunk.entries.last());
        let listed = &mut self.manifest.chunks[index as usize];
        if let Some((first, last)) = ends {
            (listed.first, listed.last) = (Hash::of(&first.0), Hash::of(&last.0));
        }
        let file = &self.files[index as usize];
        *listed = ListedChunk { entries: chunk.entries.len() as u32, bytes, digest: Hash::of(file), ..*listed };
        self.total();
    }

    fn total(&mut self) {
        self.manifest.entries = self.manifest.chunks.iter().map(|chunk| u64::from(chunk.entries)).sum();
        self.manifest.bytes = self.manifest.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    }
}

fn sample() -> Snapshot {
    snapshot(&state(21, 60), 200)
}

/// Restores the first three chunks of the good snapshot, then offers `bad` as chunk `index` and returns what is said; checks
/// that the store is as it was, and that the good chunks lead to the end.
fn offered(index: u32, bad: &Snapshot) -> ChunkFault {
    let good = sample();
    let store = Arc::new(Mem::new());
    let target = || Target::One(Arc::clone(&store), Parts::Everything);
    let mut restorer = Restorer::open(target(), good.root, good.manifest.clone()).unwrap();
    for index in 0..3 {
        restorer.add_chunk(index, good.files[index as usize].clone()).unwrap();
    }
    restorer.finish().unwrap_err();
    let before = contents(&store);
    let mut restorer = Restorer::open(target(), bad.root, bad.manifest.clone()).unwrap();
    let file = bad.files.get(index as usize).cloned().unwrap_or_default();
    let said = restorer.add_chunk(index, file).unwrap_err();
    restorer.flush().unwrap();
    assert_eq!(contents(&store), before, "{said}: something was written");
    drop(restorer);
    let mut restorer = Restorer::open(target(), good.root, good.manifest.clone()).unwrap();
    for index in 3..good.manifest.len() {
        // In between, the bad one again: it spoils nothing in the restorer that refuses it.
        assert!(index != 3 || restorer.add_chunk(3, Bytes::from("odd")).is_err());
        restorer.add_chunk(index, good.files[index as usize].clone()).unwrap();
    }
    restorer.finish().unwrap();
    assert_eq!(contents(&store), restored(&good, Parts::Everything));
    match said {
        Error::Chunk { chunk, cause } => {
            assert_eq!(chunk, index);
            cause
        }
        other => panic!("{other}"),
    }
}

/// Offers chunk 3 as `change` makes it, with a manifest that says so.
fn changed(change: impl FnOnce(&mut Chunk)) -> ChunkFault {
    let mut bad = sample();
    let mut chunk = bad.chunk(3);
    change(&mut chunk);
    let ListedChunk { first, last, .. } = bad.manifest.chunks[3];
    bad.replace(3, &chunk);
    let listed = &mut bad.manifest.chunks[3];
    (listed.first, listed.last) = (first, last); // or the manifest might contradict itself
    offered(3, &bad)
}

#[test]
fn a_chunk_with_a_wrong_entry_is_refused() {
    assert_eq!(changed(|chunk| chunk.entries[1].1 = Bytes::from("another value")), ChunkFault::BadProof);
    assert_eq!(changed(|chunk| drop(chunk.entries.pop())), ChunkFault::BadProof);
    assert_eq!(changed(|chunk| drop(chunk.entries.remove(0))), ChunkFault::BadProof);
    assert_eq!(changed(|chunk| drop(chunk.entries.remove(1))), ChunkFault::BadProof);
    let key = |chunk: &mut Chunk| {
        let between = Hash::of(&chunk.entries[0].0)..Hash::of(&chunk.entries[1].0);
        let key = (0..).map(|n| Bytes::from(format!("more {n}"))).find(|key| between.contains(&Hash::of(key)));
        chunk.entries.insert(1, (key.unwrap(), Bytes::new()));
    };
    assert_eq!(changed(key), ChunkFault::BadProof, "an entry too many");
    assert_eq!(
        changed(|chunk| chunk.entries[0].0 = Bytes::from_static(b"\xff\xffM")),
        ChunkFault::Reserved(Bytes::from_static(b"\xff\xffM"))
    );
}

#[test]
fn a_chunk_with_a_wrong_proof_is_refused() {
    let other = |index| sample().chunk(index).proof;
    assert_eq!(changed(|chunk| chunk.proof = other(2)), ChunkFault::BadProof, "that of another chunk");
    assert_eq!(changed(|chunk| chunk.proof = vec![0; 4].into()), ChunkFault::BadProof, "none");
    let null = |count: u32| -> Bytes { [&count.to_le_bytes()[..], &vec![0; count as usize]].concat().into() };
    assert_eq!(changed(|chunk| chunk.proof = null(3)), ChunkFault::BadProof);
    assert_eq!(changed(|chunk| chunk.proof = null(256)), ChunkFault::TooManySiblings(256));
    assert_eq!(changed(|chunk| chunk.proof = null(257)), ChunkFault::TooManySiblings(257));
    let mut sibling = other(3).to_vec();
    sibling[4] = 7;
    assert_eq!(changed(|chunk| chunk.proof = sibling.into()), ChunkFault::Malformed("its proof"));
    let last = other(3).len() - 1;
    let mut spoilt = other(3).to_vec();
    spoilt[last] ^= 1;
    assert_eq!(changed(|chunk| chunk.proof = spoilt.into()), ChunkFault::BadProof);
}

#[test]
fn a_chunk_whose_entries_are_out_of_order_is_refused() {
    assert_eq!(changed(|chunk| chunk.entries.swap(1, 2)), ChunkFault::Unordered(2));
    assert_eq!(changed(|chunk| chunk.entries.insert(1, chunk.entries[1].clone())), ChunkFault::Unordered(2));
    assert_eq!(changed(|chunk| chunk.entries.reverse()), ChunkFault::Unordered(1));
}

#[test]
fn an_empty_chunk_is_refused() {
    let mut bad = sample();
    let mut chunk = bad.chunk(3);
    chunk.entries.clear();
    let (file, bytes) = chunk.encode(1).unwrap();
    bad.files[3] = file;
    let listed = bad.manifest.chunks[3].entries;
    bad.seal(3, &chunk, bytes);
    bad.manifest.chunks[3].entries = listed; // a manifest that says so is refused itself
    bad.total();
    assert_eq!(offered(3, &bad), ChunkFault::Empty);
}

#[test]
fn a_repeated_missing_or_reordered_chunk_is_refused() {
    let good = sample();
    assert_eq!(offered(2, &good), ChunkFault::Repeated);
    assert_eq!(offered(4, &good), ChunkFault::OutOfOrder(3));
    assert_eq!(offered(good.manifest.len(), &good), ChunkFault::Unknown);
    // One in the place of another, under a manifest that has the same digests in another order.
    let mut swapped = good.clone();
    swapped.files.swap(3, 4);
    assert!(matches!(offered(3, &swapped), ChunkFault::Digest { .. }));
    swapped.manifest.chunks[3].digest = good.manifest.chunks[4].digest;
    assert_eq!(offered(3, &swapped), ChunkFault::Misplaced(4));
    let mut chunk = good.chunk(4);
    chunk.index = 3;
    swapped.replace(3, &chunk);
    swapped.manifest.chunks.truncate(4);
    swapped.total();
    assert_eq!(offered(3, &swapped), ChunkFault::BadProof, "chunk 3 is left out");
}

#[test]
fn an_overlapping_chunk_is_refused() {
    let good = sample();
    let before = good.chunk(2).entries;
    let with = |entries: &[(Bytes, Bytes)]| {
        let mut bad = good.clone();
        let mut chunk = bad.chunk(3);
        chunk.entries.splice(0..0, entries.iter().cloned());
        let first = bad.manifest.chunks[3].first;
        bad.replace(3, &chunk);
        bad.manifest.chunks[3].first = first; // or the manifest would contradict itself
        offered(3, &bad)
    };
    assert_eq!(with(&before[before.len() - 1..]), ChunkFault::Overlapping);
    assert_eq!(with(&before), ChunkFault::Overlapping);
}

#[test]
fn a_truncated_or_foreign_file_is_refused() {
    let good = sample();
    for len in 0..good.files[3].len() {
        let mut bad = good.clone();
        bad.files[3] = good.files[3].slice(..len);
        assert!(matches!(offered_cheaply(&bad), Err(Error::Chunk { chunk: 0.., cause: ChunkFault::Digest { .. } })));
        bad.manifest.chunks[3].digest = Hash::of(&bad.files[3]);
        assert!(
            matches!(offered_cheaply(&bad), Err(Error::Chunk { chunk: 3, cause: ChunkFault::Malformed(_) })),
            "{len}"
        );
    }
    let mut format = good.clone();
    let mut file = good.files[3].to_vec();
    file[8] = 9;
    format.files[3] = file.into();
    format.manifest.chunks[3].digest = Hash::of(&format.files[3]);
    assert_eq!(offered(3, &format), ChunkFault::Format(9));
}

/// Restores up to and with chunk 3.
fn offered_cheaply(snapshot: &Snapshot) -> Refusal {
    restore(snapshot, Target::One(Mem::new(), Parts::Everything))
}

/// A small file must not take much memory by saying that it does.
#[test]
fn a_chunk_larger_than_the_limit_is_refused() {
    let good = sample();
    let target = Target::One(Mem::new(), Parts::Everything);
    let mut restorer = Restorer::open(target, good.root, good.manifest.clone()).unwrap().with_limit(100);
    let refused = restorer.add_chunk(0, good.files[0].clone());
    assert!(matches!(refused, Err(Error::Chunk { chunk: 0, cause: ChunkFault::TooLarge { limit: 100, .. } })));
}

/// A sibling takes a byte in a file and more in memory: so many that no path has places for them are not even read.
#[test]
fn a_chunk_with_more_siblings_than_a_path_has_places_is_refused_before_they_are_read() {
    let read = |count: u32, there: usize| {
        let proof = [&count.to_le_bytes()[..], &vec![0; there]].concat().into();
        Chunk::decode(Chunk { index: 0, proof, entries: Vec::new() }.encode(1).unwrap().0, u32::MAX)
            .map(|chunk| chunk.index)
    };
    assert_eq!(read(256, 256), Ok(0));
    assert_eq!(read(257, 257), Err(ChunkFault::TooManySiblings(257)));
    assert_eq!(read(u32::MAX, 1 << 20), Err(ChunkFault::TooManySiblings(u32::MAX as usize)));
}

/// An entry takes eight bytes in a file and some hundreds in memory: so many that no chunk holds them are not even read.
#[test]
fn a_chunk_with_more_entries_than_a_chunk_may_have_is_refused_before_they_are_read() {
    let read = |count: usize| {
        let entries = vec![(Bytes::new(), Bytes::new()); count];
        let chunk = Chunk { index: 0, proof: Bytes::from_static(&[0; 4]), entries };
        Chunk::decode(chunk.encode(1).unwrap().0, u32::MAX).map(|chunk| chunk.entries.len())
    };
    assert_eq!(read(1 << 20), Ok(1 << 20));
    assert_eq!(read((1 << 20) + 1), Err(ChunkFault::TooManyEntries((1 << 20) + 1)));
}

#[test]
fn a_chunk_that_is_not_what_the_manifest_lists_is_refused() {
    let good = sample();
    for (change, cause) in [
        (1, ChunkFault::NotAsListed("entries")),
        (2, ChunkFault::NotAsListed("its ends")),
        (3, ChunkFault::NotAsListed("its ends")),
        (4, ChunkFault::NotAsListed("bytes")),
    ] {
        let mut bad = good.clone();
        let listed = &mut bad.manifest.chunks[3];
        match change {
            1 => listed.entries += 1,
            2 => listed.first = listed.last,
            4 => listed.bytes += 1,
            _ => listed.last = listed.first,
        }
        bad.total();
        assert_eq!(offered(3, &bad), cause);
    }
}

/// The manifest is held against the root that the caller gives, which it cannot change.
#[test]
fn a_root_that_is_not_the_callers_is_refused() {
    let (good, other) = (sample(), snapshot(&state(22, 60), 200));
    let open = |root, manifest: &Manifest| {
        Restorer::open(Target::One(Arc::new(Mem::new()), Parts::Everything), root, manifest.clone())
    };
    assert!(matches!(open(other.root, &good.manifest), Err(Error::WrongRoot { .. })));
    // A manifest that names the caller's root does not help: the first chunk does not lead there.
    let lie = Manifest { root: good.root, ..other.manifest.clone() };
    let said = open(good.root, &lie).unwrap().add_chunk(0, other.files[0].clone());
    assert!(matches!(said, Err(Error::Chunk { chunk: 0, cause: ChunkFault::BadProof })));
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let good = sample().manifest;
    assert_eq!(Manifest::decode(good.encode()), Ok(good.clone()));
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut bad = good.clone();
        change(&mut bad);
        let opened = Restorer::open(Target::One(Mem::new(), Parts::Everything), good.root, bad.clone());
        let Err(Error::Manifest(fault)) = opened else { panic!("it is taken") };
        assert_eq!(Manifest::decode(bad.encode()), Err(fault.clone()));
        fault
    };
    let sum = good.entries;
    assert_eq!(refused(&|bad| bad.entries += 1), ManifestFault::Counts { what: "entries", said: sum + 1, sum });
    assert!(matches!(refused(&|bad| bad.bytes -= 1), ManifestFault::Counts { what: "bytes", .. }));
    assert_eq!(refused(&|bad| bad.chunks[2].entries = 0), ManifestFault::Chunk(2));
    assert_eq!(refused(&|bad| bad.chunks.swap(3, 4)), ManifestFault::Chunk(4));
    assert_eq!(refused(&|bad| bad.chunks.insert(5, bad.chunks[5].clone())), ManifestFault::Chunk(6));
    let bytes = good.encode();
    for at in 0..bytes.len() {
        assert!(Manifest::decode(bytes.slice(..at)).is_err());
        let mut spoilt = bytes.to_vec();
        spoilt[at] ^= 4;
        assert!(Manifest::decode(spoilt.into()).is_err(), "byte {at}");
    }
    let mut format = bytes.to_vec();
    format[8] = 2;
    assert_eq!(Manifest::decode(format.into()), Err(ManifestFault::Format(2)));
}

/// A list that was cut short and sealed again: every chunk is right, and the whole is not.
#[test]
fn a_truncated_list_of_chunks_never_completes() {
    for keep in [0, 1, 5] {
        let mut short = sample();
        short.manifest.chunks.truncate(keep);
        short.total();
        for parts in [Parts::Everything, Parts::Values, Parts::Tree] {
            let store = Arc::new(Mem::new());
            let said = restore(&short, Target::One(Arc::clone(&store), parts));
            assert!(
                matches!(said, Err(Error::WrongRoot { expected, .. }) if expected == short.root),
                "{keep}: {said:?}"
            );
            let state = cachekv::kv::KvStore::snapshot(&store).unwrap();
            assert!(keep == 0 || matches!(cachekv::restore::check_finished(&state), Err(Error::Unfinished { .. })));
            assert!(cachekv::restore::StateTree::open(state).map_or(true, |tree| tree.versions().is_none()));
        }
    }
    let good = sample();
    let restorer =
        Restorer::open(Target::One(Mem::new(), Parts::Everything), good.root, good.manifest.clone()).unwrap();
    assert!(matches!(restorer.finish(), Err(Error::Incomplete { have: 0, .. })));
}

/// What only looks like a place for a restore is left alone.
#[test]
fn a_store_that_holds_something_else_is_refused_and_unchanged() {
    let (good, other) = (sample(), snapshot(&state(22, 60), 200));
    let refused = |store: &Arc<Mem>, snapshot: &Snapshot, parts| {
        let before = contents(store);
        let said = restore(snapshot, Target::One(Arc::clone(store), parts)).unwrap_err();
        assert_eq!(contents(store), before);
        said
    };
    let (lived_in, _) = super::planted(&state(1, 3));
    assert!(matches!(refused(&Arc::new(lived_in), &good, Parts::Everything), Error::NotEmpty));
    for all in [2, good.files.len()] {
        let store = Arc::new(Mem::new());
        let target = Target::One(Arc::clone(&store), Parts::Everything);
        let mut restorer = Restorer::open(target, good.root, good.manifest.clone()).unwrap();
        (0..all).for_each(|index| restorer.add_chunk(index as u32, good.files[index].clone()).unwrap());
        assert_eq!(restorer.finish().is_ok(), all > 2);
        assert!(matches!(refused(&store, &other, Parts::Everything), Error::OtherRestore(_)));
        assert!(matches!(refused(&store, &good, Parts::Values), Error::OtherRestore(_)));
        let renamed = Snapshot { manifest: Manifest { version: 8, ..good.manifest.clone() }, ..good.clone() };
        assert!(matches!(refused(&store, &renamed, Parts::Everything), Error::OtherRestore(_)));
        if all == 2 {
            let cut_otherwise = snapshot(&state(21, 60), 300);
            assert!(matches!(refused(&store, &cut_otherwise, Parts::Everything), Error::OtherRestore(_)));
        }
    }
}

/// A restore that is complete says so, and making it again changes nothing.
#[test]
fn a_complete_restore_is_left_as_it_is() {
    let good = sample();
    let store = Arc::new(Mem::new());
    restore(&good, Target::One(Arc::clone(&store), Parts::Everything)).unwrap();
    let before = contents(&store);
    let target = Target::One(Arc::clone(&store), Parts::Everything);
    let mut restorer = Restorer::open(target, good.root, good.manifest.clone()).unwrap();
    assert!(restorer.is_complete());
    let again = restorer.add_chunk(0, good.files[0].clone());
    assert!(matches!(again, Err(Error::Chunk { chunk: 0, cause: ChunkFault::Repeated })));
    assert_eq!(restorer.finish().unwrap().0.entries, 60);
    assert_eq!(contents(&store), before);
}

/// Two keys whose hashes begin with the same `nibbles` nibbles and no more, if so many are tried.
fn neighbours(nibbles: usize) -> [Bytes; 2] {
    let prefix = |key: &Bytes, nibbles: usize| Hash::of(key).to_string()[..nibbles].to_owned();
    let mut seen = std::collections::HashMap::new();
    for key in (0..).map(|n: u32| Bytes::from(n.to_string())) {
        if let Some(other) = seen.insert(prefix(&key, nibbles), key.clone())
            && prefix(&key, nibbles + 1) != prefix(&other, nibbles + 1)
        {
            return [other, key];
        }
    }
    unreachable!()
}

#[test]
fn states_of_every_shape_come_back() {
    let entry = |key: &Bytes| (key.clone(), Bytes::from("v"));
    let nibble = |first: char| {
        let keys = (0..).map(|n: u32| Bytes::from(n.to_string()));
        keys.filter(|key| Hash::of(key).to_string().starts_with(first)).take(20).map(|key| entry(&key)).collect()
    };
    let mut shapes: Vec<State> = vec![State::new(), nibble('0'), nibble('7'), nibble('f'), state(1, 300)];
    shapes.extend((1..4).map(|keys| state(keys, keys)));
    shapes.extend((0..5).map(|nibbles| neighbours(nibbles).iter().map(entry).collect()));
    shapes.push([(Bytes::new(), Bytes::new())].into_iter().collect());
    shapes.push([(Bytes::from("large"), Bytes::from(vec![7; 100_000]))].into_iter().chain(state(2, 5)).collect());
    for shape in shapes {
        for chunk_bytes in [1, 30, 1 << 20] {
            let snapshot = snapshot(&shape, chunk_bytes);
            assert_eq!(snapshot.manifest.entries, shape.len() as u64);
            assert_eq!(snapshot.files.is_empty(), shape.is_empty());
            assert!(chunk_bytes > 1 || snapshot.files.len() == shape.len(), "a chunk for each key");
            let store = Arc::new(Mem::new());
            restore(&snapshot, Target::One(Arc::clone(&store), Parts::Everything)).unwrap();
            assert_eq!(super::values(&store), shape);
            let again = super::export(cachekv::kv::KvStore::snapshot(&store).unwrap(), 7, chunk_bytes);
            assert_eq!((&again.manifest, &again.files), (&snapshot.manifest, &snapshot.files), "exported again");
            let (planted, _) = super::planted(&shape);
            let nodes = |state: State| state.into_iter().filter(|(key, _)| !key.starts_with(b"\xff\xffR"));
            assert!(nodes(contents(&store)).eq(nodes(contents(&planted))), "the records of a tree that grew there");
        }
    }
}

/// One part alone is verified all the same, and is what it is of the whole.
#[test]
fn values_alone_and_the_tree_alone() {
    let good = sample();
    let whole = restored(&good, Parts::Everything);
    let without_mark =
        |state: State| -> State { state.into_iter().filter(|(key, _)| !key.starts_with(b"\xff\xffR")).collect() };
    let (values, tree) = (restored(&good, Parts::Values), restored(&good, Parts::Tree));
    let (values, tree) = (without_mark(values), without_mark(tree));
    assert_eq!(values, state(21, 60));
    assert!(tree.keys().all(|key| key.starts_with(b"\xff\xff")));
    assert_eq!(without_mark(whole), values.into_iter().chain(tree).collect::<State>());
    for parts in [Parts::Values, Parts::Tree] {
        let mut bad = good.clone();
        let mut chunk = bad.chunk(3);
        chunk.entries[0].1 = Bytes::from("wrong");
        bad.replace(3, &chunk);
        let said = restore(&bad, Target::One(Mem::new(), parts));
        assert!(matches!(said, Err(Error::Chunk { chunk: 3, cause: ChunkFault::BadProof })));
    }
}
