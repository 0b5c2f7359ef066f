//! Snapshots as files: whole or not there, resumed, and left alone where something else is.

use super::{Mem, State, contents, planted, restored, snapshot, state, tree};
use cachekv::kv::KvStore;
use cachekv::restore::{
    ChunkFault, Cut, Error, ManifestFault, Parts, StateTree, Step, Target, export_to, read_manifest, restore_from,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const CUT: Cut = Cut { chunk_bytes: 300, level: 1 };

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |file: fs::DirEntry| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
    fs::read_dir(dir).unwrap().map(|entry| file(entry.unwrap())).collect()
}

fn write(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
}

/// Exports `state`; returns what it said at every step.
fn export(dir: &Path, state: &State, cut: Cut) -> Result<Vec<Step>, Error> {
    let (store, _) = planted(state);
    let mut steps = Vec::new();
    export_to(dir, tree(&store), 7, cut, &mut |step| steps.push(step)).map(|_| steps)
}

#[test]
fn a_snapshot_goes_through_files() {
    let state = state(51, 100);
    let (store, root) = planted(&state);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let manifest = export_to(&out, tree(&store), 7, CUT, &mut |_| ()).unwrap();
    assert_eq!((read_manifest(&out).unwrap(), manifest.root), (manifest.clone(), root));
    let snapshot = snapshot(&state, 300);
    assert_eq!(manifest, snapshot.manifest);
    assert_eq!(files(&out).len(), snapshot.files.len() + 1, "chunks and the manifest, and nothing else");
    let copy = Arc::new(Mem::new());
    let mut steps = Vec::new();
    let target = Target::One(Arc::clone(&copy), Parts::Everything);
    restore_from(&out, target, root, &mut |step| steps.push(step)).unwrap();
    assert_eq!(contents(&copy), restored(&snapshot, Parts::Everything));
    assert_eq!((steps.len(), steps.last().unwrap().entries, steps[0].of), (snapshot.files.len() + 1, 100, 100));
}

/// Wherever an export is stopped, whatever the last file looks like then: there is no snapshot, and going on makes the one
/// that an undisturbed export makes.
#[test]
fn an_interrupted_export_is_no_snapshot_and_goes_on() {
    let state = state(52, 80);
    let whole = tempfile::tempdir().unwrap();
    export(whole.path(), &state, CUT).unwrap();
    let due = files(whole.path());
    let chunks: Vec<_> = due.keys().filter(|name| name.starts_with("chunk")).cloned().collect();
    // The mark of an unfinished export, found by interrupting one: its first chunk cannot get its name.
    let stopped = tempfile::tempdir().unwrap();
    fs::create_dir(stopped.path().join("x")).unwrap();
    assert!(export(stopped.path(), &state, CUT).is_err(), "something else is there");
    fs::remove_dir(stopped.path().join("x")).unwrap();
    let (store, _) = planted(&state);
    let at = stopped.path().to_owned();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(export_to(&at, tree(&store), 7, CUT, &mut |_| std::panic::resume_unwind(Box::new("stopped"))));
    }));
    assert!(panicked.is_err());
    let mark = files(stopped.path());
    assert_eq!(mark.keys().collect::<Vec<_>>(), ["unfinished"]);
    for have in 0..=chunks.len() {
        for spoil in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), &mark);
            let mut present: BTreeMap<_, _> =
                chunks[..have].iter().map(|name| (name.clone(), due[name].clone())).collect();
            if spoil {
                present.insert("chunk-00000009.part".into(), b"half a".to_vec());
                present.insert("manifest.part".into(), due["manifest"][..20].to_vec());
                if let Some(name) = have.checked_sub(1).map(|last| &chunks[last]) {
                    present.get_mut(name).unwrap()[40] ^= 1;
                }
            }
            write(dir.path(), &present);
            assert!(matches!(read_manifest(dir.path()), Err(Error::Directory { .. })));
            let steps = export(dir.path(), &state, CUT).unwrap();
            assert_eq!(steps[0].chunks as usize, if spoil { have.saturating_sub(1) } else { have });
            let mut found = files(dir.path());
            found.retain(|name, _| !name.ends_with(".part") || due.contains_key(name));
            assert_eq!(found, due, "{have} chunks, spoilt: {spoil}");
        }
    }
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let (one, other) = (state(53, 30), state(54, 30));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), "Dear reader").unwrap();
    assert!(matches!(export(dir.path(), &one, CUT), Err(Error::Directory { .. })));
    assert_eq!(files(dir.path()).len(), 1);
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), &one, CUT).unwrap();
    let before = files(dir.path());
    for (state, cut) in [(&one, CUT), (&other, CUT), (&one, Cut { chunk_bytes: 10, ..CUT })] {
        assert!(matches!(export(dir.path(), state, cut), Err(Error::Directory { .. })), "a whole snapshot is there");
        assert_eq!(files(dir.path()), before);
    }
    fs::remove_file(dir.path().join("manifest")).unwrap();
    assert!(matches!(export(dir.path(), &one, CUT), Err(Error::Directory { .. })), "chunks of who knows what");
}

#[test]
fn an_export_of_another_state_does_not_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = planted(&state(53, 30));
    let stop = || {
        let stop = &mut |_| std::panic::resume_unwind(Box::new("stopped"));
        drop(export_to(dir.path(), tree(&store), 7, CUT, stop));
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(stop)).is_err());
    let before = files(dir.path());
    assert!(matches!(export(dir.path(), &state(54, 30), CUT), Err(Error::Directory { .. })));
    assert!(matches!(export(dir.path(), &state(53, 30), Cut { chunk_bytes: 10, ..CUT }), Err(Error::Directory { .. })));
    assert_eq!(files(dir.path()), before);
    export(dir.path(), &state(53, 30), CUT).unwrap();
}

/// What a stranger's snapshot holds must not fill the memory: a file that is longer than it can be is not read.
#[test]
fn a_file_that_is_too_long_is_not_read() {
    let state = state(56, 100);
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), &state, CUT).unwrap();
    let root = read_manifest(dir.path()).unwrap().root;
    // By a hole, which takes no room on the disk.
    let stretch = |name: &str, len| fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_len(len);
    stretch("chunk-00000002", 1 << 20).unwrap();
    let said = restore_from(dir.path(), Target::One(Mem::new(), Parts::Everything), root, &mut |_| ());
    assert!(matches!(said, Err(Error::Chunk { chunk: 2, cause: ChunkFault::TooLarge { size: 0x10_0000, .. } })));
    stretch("manifest", (1 << 30) + 1).unwrap();
    let said = read_manifest(dir.path());
    assert!(matches!(said, Err(Error::Manifest(ManifestFault::Malformed(why))) if why.contains("longer")), "{said:?}");
}

/// To open a pipe waits until somebody writes into it: what is no file is refused before.
#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), &state(56, 100), CUT).unwrap();
    let root = read_manifest(dir.path()).unwrap().root;
    for name in ["chunk-00000001", "manifest"] {
        let path = dir.path().join(name);
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let said = restore_from(dir.path(), Target::One(Mem::new(), Parts::Everything), root, &mut |_| ());
        assert!(matches!(&said, Err(Error::Io { path: at, .. }) if *at == path), "{:?}", said.map(|_| ()));
    }
}

#[test]
fn a_missing_chunk_is_named_and_the_restore_goes_on_when_it_is_there() {
    let state = state(55, 100);
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), &state, CUT).unwrap();
    let root = read_manifest(dir.path()).unwrap().root;
    let lost = dir.path().join("chunk-00000004");
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let store = Arc::new(Mem::new());
    let target = || Target::One(Arc::clone(&store), Parts::Everything);
    let said = restore_from(dir.path(), target(), root, &mut |_| ());
    assert!(matches!(said, Err(Error::Chunk { chunk: 4, cause: ChunkFault::Missing })));
    assert!(matches!(StateTree::open(store.snapshot().unwrap()), Err(Error::Unfinished { chunks: 4, .. })));
    fs::write(&lost, bytes).unwrap();
    let mut steps = Vec::new();
    restore_from(dir.path(), target(), root, &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps[0].chunks, 4);
    assert_eq!(contents(&store), restored(&snapshot(&state, 300), Parts::Everything));
}
