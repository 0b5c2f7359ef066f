//! Opening: what is refused and why. Every refusal names file and cause, and leaves the file as it was.

use super::{dir, refused, refused_both};
use cachekv::kv::{Error, KvRead, KvStore, OpenCause, RedbStore};
use redb::{Database, TableDefinition};
use std::fs;
use std::path::Path;

const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cachekv");
const META: TableDefinition<&str, u64> = TableDefinition::new("cachekv.meta");

/// A database that another program might have made, closed properly.
fn database(path: &Path, fill: impl FnOnce(&redb::WriteTransaction)) {
    let db = Database::create(path).unwrap();
    let transaction = db.begin_write().unwrap();
    fill(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_missing_file_is_opened_by_create_alone() {
    let (_dir, path) = dir();
    assert!(matches!(refused(&path, |path| RedbStore::open(path)), OpenCause::Missing));
    assert!(!path.exists());
    RedbStore::create(&path).unwrap();
    RedbStore::open(&path).unwrap();
    assert_eq!(RedbStore::create(&path).unwrap().path(), path);
}

#[test]
fn an_empty_file_is_a_store_to_create_alone() {
    let (_dir, path) = dir();
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&path, |path| RedbStore::open(path)), OpenCause::Foreign(_)));
    RedbStore::create(&path).unwrap();
    RedbStore::open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let (_dir, path) = dir();
    for contents in ["x", "some text, longer than a header\n".repeat(500).as_str(), "\0".repeat(8192).as_str()] {
        fs::write(&path, contents).unwrap();
        assert!(matches!(refused_both(&path), OpenCause::Foreign(_)));
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let (_dir, path) = dir();
    database(&path, |transaction| {
        transaction.open_table(TableDefinition::<u64, &str>::new("theirs")).unwrap().insert(1, "value").unwrap();
    });
    assert!(matches!(refused_both(&path), OpenCause::Foreign(_)));
}

#[test]
fn tables_of_our_names_and_other_types_are_refused() {
    let (dir, path) = dir();
    database(&path, |transaction| {
        transaction.open_table(TableDefinition::<u64, u64>::new("cachekv.meta")).unwrap().insert(1, 1).unwrap();
    });
    assert!(matches!(refused_both(&path), OpenCause::Foreign(_)));
    let path = dir.path().join("entries");
    database(&path, |transaction| {
        transaction.open_table(META).unwrap().insert("format", 1).unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("cachekv")).unwrap().insert(1, 1).unwrap();
    });
    assert!(matches!(refused_both(&path), OpenCause::Corrupted(_)));
}

#[test]
fn a_database_left_by_a_crash_of_another_program_is_not_repaired() {
    let (dir, path) = dir();
    let live = dir.path().join("live");
    let db = Database::create(&live).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    fs::copy(&live, &path).unwrap(); // never closed: opening it repairs it
    assert!(matches!(refused_both(&path), OpenCause::Foreign(_)));
}

#[test]
fn an_empty_database_is_a_store_to_create_alone() {
    let (_dir, path) = dir();
    drop(Database::create(&path).unwrap());
    assert!(matches!(refused(&path, |path| RedbStore::open(path)), OpenCause::Foreign(_)));
    drop(RedbStore::create(&path).unwrap());
    RedbStore::open(&path).unwrap();
}

#[test]
fn another_format_is_refused_by_number() {
    let (dir, path) = dir();
    database(&path, |transaction| {
        transaction.open_table(META).unwrap().insert("format", 7).unwrap();
        transaction.open_table(ENTRIES).unwrap();
    });
    assert!(matches!(refused_both(&path), OpenCause::Format { found: 7, expected: 1 }));
    let path = dir.path().join("unnumbered");
    database(&path, |transaction| drop(transaction.open_table(META).unwrap()));
    assert!(matches!(refused_both(&path), OpenCause::Corrupted(_)));
}

#[test]
fn a_store_without_its_entries_is_refused() {
    let (_dir, path) = dir();
    database(&path, |transaction| drop(transaction.open_table(META).unwrap().insert("format", 1).unwrap()));
    assert!(matches!(refused_both(&path), OpenCause::Corrupted(_)));
}

#[test]
fn what_the_system_refuses_is_told_in_words() {
    let (dir, _) = dir();
    let io = |cause| match cause {
        OpenCause::Io(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let nowhere = dir.path().join("nowhere");
    let words = io(refused_both(&nowhere.join("store")));
    assert!(words.contains("no directory") && words.contains(nowhere.to_str().unwrap()), "{words}");
    assert!(!nowhere.exists());
    let words = io(refused_both(dir.path()));
    assert!(words.contains("directory"), "{words}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    io(refused_both(&file.join("store")));
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = dir();
    drop(RedbStore::create(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        return; // nothing is forbidden to who runs this
    }
    assert!(matches!(refused_both(&path), OpenCause::Io(error) if error.to_string().contains("ermission")));
}

#[cfg(unix)]
#[test]
fn a_device_is_no_store() {
    let opened = RedbStore::create("/dev/null");
    assert!(matches!(opened, Err(Error::Open { cause: OpenCause::Foreign(_), .. })), "{opened:?}");
}

#[test]
fn a_store_has_one_owner_in_a_process() {
    let (_dir, path) = dir();
    let store = RedbStore::create(&path).unwrap();
    assert!(matches!(refused_both(&path), OpenCause::Locked));
    // What was taken from it keeps it open.
    let walk = store.snapshot().unwrap().range(..);
    drop(store);
    assert!(matches!(refused_both(&path), OpenCause::Locked));
    drop(walk);
    RedbStore::open(&path).unwrap();
}

/// Two that make the same store at once: one has it, the others find it held, and nobody leaves a second file behind.
#[test]
fn a_store_is_made_once_and_alone() {
    let (dir, path) = dir();
    let start = std::sync::Barrier::new(8);
    let made: Vec<_> = std::thread::scope(|scope| {
        let maker = || {
            start.wait();
            RedbStore::create(&path)
        };
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(maker)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    let held = |result: &Result<RedbStore, Error>| matches!(result, Err(Error::Open { cause: OpenCause::Locked, .. }));
    assert_eq!(
        (made.iter().filter(|made| made.is_ok()).count(), made.iter().filter(|made| held(made)).count()),
        (1, 7)
    );
    drop(made);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    RedbStore::verify(&path).unwrap();
}
