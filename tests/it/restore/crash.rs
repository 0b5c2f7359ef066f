//! Every write of a restore, in one store and in two: it fails, it panics, it is made and not answered, it is answered and
//! lost with all that follows. Then the stores are opened again, the restore goes on from where they say, and their bytes
//! are those of an undisturbed restore.

use super::{Mem, Snapshot, State, contents, restore, restored, snapshot, state, values};
use crate::faulty::{Call, Faulty};
use bytes::Bytes;
use cachekv::kv::{Error as StoreError, KvStore, MemSnapshot, Op, WriteBatch};
use cachekv::restore::{Error, Parts, Restorer, StateTree, Target, check_finished};
use parking_lot::Mutex;
use std::sync::Arc;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is not made, and an error says so.
    Fails,
    /// It is made, and an error says that it was not.
    Unanswered,
    /// It is not made and a panic ends the thread.
    Panics,
    /// It is answered, and lost, with everything that is written to the same store after it.
    Lost,
}

const FATES: [Fate; 4] = [Fate::Fails, Fate::Unanswered, Fate::Panics, Fate::Lost];

/// Counts the commits of all stores that share it, and says what becomes of one of them.
#[derive(Debug)]
struct Plan {
    /// The commit that it befalls, counted from 0.
    at: usize,
    fate: Fate,
    commits: Mutex<usize>,
}

/// A store whose commits the plan decides on.
#[derive(Debug)]
struct Crashing {
    store: Arc<Mem>,
    plan: Arc<Plan>,
    lost: Mutex<bool>,
}

impl Crashing {
    fn new(store: &Arc<Mem>, plan: &Arc<Plan>) -> Self {
        Self { store: Arc::clone(store), plan: Arc::clone(plan), lost: Mutex::new(false) }
    }
}

impl KvStore for Crashing {
    type Key = Bytes;
    type Value = Bytes;
    type Snapshot = MemSnapshot<Bytes, Bytes>;

    fn snapshot(&self) -> Result<Self::Snapshot, StoreError> {
        self.store.snapshot()
    }

    fn commit(&self, batch: WriteBatch<Bytes, Bytes>) -> Result<Self::Snapshot, StoreError> {
        let befalls = {
            let mut commits = self.plan.commits.lock();
            *commits += 1;
            *commits - 1 == self.plan.at
        };
        let failure =
            || StoreError::Commit { store: "crashing".into(), source: Arc::new(std::io::Error::other("as planned")) };
        match self.plan.fate {
            Fate::Fails if befalls => Err(failure()),
            Fate::Unanswered if befalls => self.store.commit(batch).and_then(|_| Err(failure())),
            Fate::Panics if befalls => std::panic::resume_unwind(Box::new("as planned")),
            Fate::Lost if befalls || *self.lost.lock() => {
                *self.lost.lock() = true;
                self.store.snapshot()
            }
            _ => self.store.commit(batch),
        }
    }
}

fn fifty_chunks() -> Snapshot {
    let snapshot = snapshot(&state(11, 280), 150);
    assert!(snapshot.manifest.len() >= 50, "{} chunks", snapshot.manifest.len());
    snapshot
}

/// The chunks a store says it has; all of them when it says that it is complete, none when it says nothing.
fn chunks(store: &Mem, snapshot: &Snapshot) -> u32 {
    match check_finished(&store.snapshot().unwrap()) {
        Err(Error::Unfinished { chunks, root }) => {
            assert_eq!(root, snapshot.root);
            assert!(StateTree::open(store.snapshot().unwrap()).is_err(), "it is used although it is unfinished");
            chunks
        }
        Ok(()) if contents(store).is_empty() => 0,
        Ok(()) => u32::MAX,
        Err(error) => panic!("{error}"),
    }
}

/// Whatever a store holds beside its own records is part of the state.
fn holds_nothing_wrong(store: &Mem, whole: &State) {
    let wrong = values(store).into_iter().find(|(key, value)| whole.get(key) != Some(value));
    assert_eq!(wrong, None);
}

#[test]
fn a_restore_into_one_store_survives_every_write() {
    let snapshot = fifty_chunks();
    for parts in [Parts::Everything, Parts::Values, Parts::Tree] {
        let due = restored(&snapshot, parts);
        for (at, fate) in (0..=snapshot.files.len()).flat_map(|at| FATES.map(|fate| (at, fate))) {
            let store = Arc::new(Mem::new());
            let plan = Arc::new(Plan { at, fate, commits: Mutex::new(0) });
            let first = restore(&snapshot, Target::One(Crashing::new(&store, &plan), parts));
            assert_eq!(first.is_err(), fate != Fate::Lost, "{at} {fate:?}");
            holds_nothing_wrong(&store, &due);
            let has = chunks(&store, &snapshot);
            let written = if fate == Fate::Unanswered { at + 1 } else { at };
            let all = snapshot.files.len();
            assert_eq!(has, if written > all { u32::MAX } else { written as u32 }, "{at} {fate:?} {parts:?}");
            restore(&snapshot, Target::One(Arc::clone(&store), parts)).unwrap();
            assert_eq!(contents(&store), due, "{at} {fate:?} {parts:?}");
        }
    }
}

#[test]
fn a_restore_into_two_stores_survives_every_write() {
    let snapshot = fifty_chunks();
    let undisturbed = [Arc::new(Mem::new()), Arc::new(Mem::new())];
    restore(&snapshot, two(&undisturbed)).unwrap();
    let due = undisturbed.each_ref().map(contents);
    assert_eq!(values(&*undisturbed[0]), values(&Arc::new(Mem::from_iter(restored(&snapshot, Parts::Everything)))));
    for (at, fate) in (0..2 * snapshot.files.len() + 2).flat_map(|at| FATES.map(|fate| (at, fate))) {
        let stores = [Arc::new(Mem::new()), Arc::new(Mem::new())];
        let plan = Arc::new(Plan { at, fate, commits: Mutex::new(0) });
        let [values, tree] = stores.each_ref().map(|store| Crashing::new(store, &plan));
        drop(restore(&snapshot, Target::Two { values, tree }));
        let has = stores.each_ref().map(|store| chunks(store, &snapshot));
        holds_nothing_wrong(&stores[0], &due[0]);
        if fate != Fate::Lost {
            assert!(has[0] >= has[1], "{at} {fate:?}: the tree is ahead of its values: {has:?}");
            assert!(has[0].saturating_sub(has[1]) <= 1 || has[0] == u32::MAX, "{at} {fate:?}: {has:?}");
        }
        let opened = Restorer::open(two(&stores), snapshot.root, snapshot.manifest.clone());
        if has.contains(&u32::MAX) && has.iter().any(|&has| has < snapshot.manifest.len()) {
            // Only a disk that loses what it said it holds comes to this: and who knows what was done with the whole store since.
            assert!(fate == Fate::Lost && matches!(opened, Err(Error::OtherRestore(_))), "{at} {fate:?}");
            continue;
        }
        let restorer = opened.unwrap();
        let smaller = has[0].min(has[1]).min(snapshot.manifest.len());
        assert_eq!(restorer.next_chunk(), smaller, "{at} {fate:?}: it must go on from the smaller of {has:?}");
        drop(restorer);
        restore(&snapshot, two(&stores)).unwrap();
        assert_eq!(stores.each_ref().map(contents), due, "{at} {fate:?}");
    }
}

fn two(stores: &[Arc<Mem>; 2]) -> Target<Arc<Mem>> {
    Target::Two { values: Arc::clone(&stores[0]), tree: Arc::clone(&stores[1]) }
}

/// A store that has been restored twice as often as it was stopped: stops on top of stops.
#[test]
fn a_restore_that_is_stopped_at_every_chunk_ends() {
    let snapshot = fifty_chunks();
    let stores = [Arc::new(Mem::new()), Arc::new(Mem::new())];
    let mut stops = 0;
    loop {
        // Each attempt makes three commits: a chunk and a half.
        let plan = Arc::new(Plan { at: 3, fate: FATES[stops % 2], commits: Mutex::new(0) });
        let [values, tree] = stores.each_ref().map(|store| Crashing::new(store, &plan));
        if restore(&snapshot, Target::Two { values, tree }).is_ok() {
            break;
        }
        stops += 1;
        assert!(stops < 200, "it does not get on");
    }
    assert!(stops >= 30, "{stops}");
    let whole = [Arc::new(Mem::new()), Arc::new(Mem::new())];
    restore(&snapshot, two(&whole)).unwrap();
    assert_eq!(stores.map(|store| contents(&store)), whole.map(|store| contents(&store)));
}

/// The failure this room was built against: values and tree are written side by side, the tree's write fails after it was
/// reported as accepted, and values go on alone.
#[test]
fn a_tree_write_that_fails_later_while_values_commit_leaves_nothing_half_moved() {
    let snapshot = fifty_chunks();
    let stores = [Arc::new(Faulty::new(Arc::new(Mem::new()))), Arc::new(Faulty::new(Arc::new(Mem::new())))];
    let [values, tree] = stores.each_ref().map(Arc::clone);
    let mut restorer = Restorer::open(Target::Two { values, tree }, snapshot.root, snapshot.manifest.clone()).unwrap();
    let parked = stores[1].park(Call::Commit, 4);
    for index in 0..4 {
        restorer.add_chunk(index, snapshot.files[index as usize].clone()).unwrap();
    }
    parked.arrived(); // chunk 3 is accepted, its values are committed, and its tree is being written
    parked.fail();
    let told = restorer.add_chunk(4, snapshot.files[4].clone()).unwrap_err();
    assert!(matches!(told, Error::Write { chunk: Some(3), .. }), "the next call names the chunk: {told}");
    for index in 3..6 {
        let refused = restorer.add_chunk(index, snapshot.files[index as usize].clone());
        assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    }
    assert!(matches!(restorer.flush(), Err(Error::Failed(_))));
    assert!(matches!(restorer.finish(), Err(Error::Failed(_))));
    assert_eq!(stores.each_ref().map(|store| store.calls(Call::Commit)), [4, 4], "nothing is written after it");
    assert_eq!(stores.each_ref().map(|store| chunks(store.store(), &snapshot)), [4, 3]);

    let stores = stores.map(|store| Arc::clone(store.store()));
    let restorer = Restorer::open(two(&stores), snapshot.root, snapshot.manifest.clone()).unwrap();
    assert_eq!(restorer.next_chunk(), 3, "the tree lacks chunk 3");
    drop(restorer);
    restore(&snapshot, two(&stores)).unwrap();
    let whole = [Arc::new(Mem::new()), Arc::new(Mem::new())];
    restore(&snapshot, two(&whole)).unwrap();
    assert_eq!(stores.map(|store| contents(&store)), whole.map(|store| contents(&store)));
}

/// While a write is late the next chunk is verified, and one after it waits.
#[test]
fn a_late_write_holds_up_the_chunk_after_the_next_and_loses_nothing() {
    let snapshot = fifty_chunks();
    let due = restored(&snapshot, Parts::Everything);
    for nth in [1, 2, 25, snapshot.files.len()] {
        let store = Arc::new(Faulty::new(Mem::new()));
        let parked = store.park(Call::Commit, nth);
        let target = Target::One(Arc::clone(&store), Parts::Everything);
        let mut restorer = Restorer::open(target, snapshot.root, snapshot.manifest.clone()).unwrap();
        for index in 0..nth as u32 {
            restorer.add_chunk(index, snapshot.files[index as usize].clone()).unwrap();
        }
        parked.arrived();
        assert_eq!(restorer.next_chunk(), nth as u32, "accepted while it is being written");
        let mut spoilt = snapshot.files[0].to_vec();
        spoilt.truncate(20);
        let refused = restorer.add_chunk(nth as u32, spoilt.into());
        assert!(matches!(refused, Err(Error::Chunk { .. })), "the next is verified meanwhile: {refused:?}");
        parked.release();
        for index in nth..snapshot.files.len() {
            restorer.add_chunk(index as u32, snapshot.files[index].clone()).unwrap();
        }
        restorer.finish().unwrap();
        assert_eq!(contents(store.store()), due);
    }
}

/// A store that cannot be read when the restore is opened leaves it unopened.
#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    let snapshot = fifty_chunks();
    for call in [Call::Snapshot, Call::Read, Call::Scan] {
        let store = Arc::new(Faulty::new(Mem::new()));
        store.fail(call, 1);
        let opened = Restorer::open(Target::One(store, Parts::Everything), snapshot.root, snapshot.manifest.clone());
        assert!(matches!(opened, Err(Error::Read(_))), "{call:?}");
    }
}

/// Dropped in the middle, a restorer ends what is in flight, panics nowhere, and leaves a store that goes on.
#[test]
fn a_restorer_that_is_dropped_lets_go_of_its_stores() {
    let snapshot = fifty_chunks();
    let store = Arc::new(Mem::new());
    for index in 0..snapshot.manifest.len() {
        let target = Target::One(Arc::clone(&store), Parts::Everything);
        let mut restorer = Restorer::open(target, snapshot.root, snapshot.manifest.clone()).unwrap();
        assert_eq!(restorer.next_chunk(), index);
        restorer.add_chunk(index, snapshot.files[index as usize].clone()).unwrap();
        drop(restorer);
        assert_eq!(Arc::strong_count(&store), 1);
    }
    restore(&snapshot, Target::One(Arc::clone(&store), Parts::Everything)).unwrap();
    assert_eq!(contents(&store), restored(&snapshot, Parts::Everything));
}

/// The record of how far a restore has come is what the next nodes are made from: a byte of it that is not as it was is an
/// error, whichever it is, and nothing is made.
#[test]
fn a_damaged_record_is_an_error() {
    let snapshot = fifty_chunks();
    let store = Arc::new(Mem::new());
    let mut restorer =
        Restorer::open(Target::One(Arc::clone(&store), Parts::Everything), snapshot.root, snapshot.manifest.clone())
            .unwrap();
    (0..9).for_each(|index| restorer.add_chunk(index, snapshot.files[index as usize].clone()).unwrap());
    restorer.flush().unwrap();
    drop(restorer);
    let key = Bytes::from_static(b"\xff\xffR");
    let record = contents(&*store)[&key].clone();
    for at in 0..record.len() {
        let mut bytes = record.to_vec();
        bytes[at] ^= 0x10;
        store.commit([(key.clone(), Op::Put(bytes.into()))].into_iter().collect()).unwrap();
        let before = contents(&*store);
        let said = restore(&snapshot, Target::One(Arc::clone(&store), Parts::Everything));
        assert!(matches!(said, Err(Error::Damaged(_))), "byte {at}: {said:?}");
        assert!(matches!(check_finished(&store.snapshot().unwrap()), Err(Error::Damaged(_))));
        assert_eq!(contents(&*store), before);
    }
}
