//! A `cachekv` store through which a panic goes, at every call of user code: the operation is done or not done, whole,
//! and stays so; nothing is locked, and nothing is lost.

use super::{Fuse, Touchy, TouchyState, TouchyStore, WORDS};
use crate::faulty::finishes;
use cachekv::cachekv::Store;
use cachekv::kv::{Error, KvRead, KvStore, Op, WriteBatch};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Map = BTreeMap<u32, u32>;
type Shared = Arc<Store<TouchyStore>>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Set(u32, u32),
    Delete(u32),
    /// A batch of puts of these keys, and the delete of one.
    Commit(u32, u32),
    Get(u32),
    Contains(u32),
    Snapshot,
    Walk,
    WalkBack,
    Flush,
    Refresh,
    Discard,
    /// To the parent, behind the store's back.
    Behind(u32, u32),
}

/// A store, what it must show, and what its parent must hold.
struct Case {
    fuse: Arc<Fuse>,
    store: Shared,
    /// The parent's state at the last renewal.
    base: Map,
    written: BTreeMap<u32, Option<u32>>,
    parent: Map,
}

fn apply(state: &Map, written: &BTreeMap<u32, Option<u32>>) -> Map {
    let mut state = state.clone();
    for (key, value) in written {
        match value {
            Some(value) => state.insert(*key, *value),
            None => state.remove(key),
        };
    }
    state
}

fn plain(state: impl Iterator<Item = Result<(Touchy, Touchy), Error>>) -> Map {
    let entries: Vec<_> = state.map(|entry| entry.map(|(key, value)| (key.n, value.n)).unwrap()).collect();
    let map: Map = entries.iter().copied().collect();
    assert_eq!(map.len(), entries.len(), "a key twice");
    map
}

impl Case {
    fn new() -> Self {
        let fuse = Arc::new(Fuse::default());
        let base: Map = (0..20).map(|n| (n * 3, n)).collect();
        let store = Store::new(TouchyStore::new(&fuse, base.clone())).unwrap();
        Self { fuse, store: Arc::new(store), parent: base.clone(), base, written: BTreeMap::new() }
    }

    fn touchy(&self, n: u32) -> Touchy {
        Touchy { n, fuse: Arc::clone(&self.fuse) }
    }

    fn batch(&self, from: u32, to: u32) -> WriteBatch<Touchy, Touchy> {
        let op = |n| if n == to { Op::Delete } else { Op::Put(self.touchy(n + 500)) };
        (from..=to).map(|n| (self.touchy(n), op(n))).collect()
    }

    /// Does `step`, which may panic.
    fn act(&self, step: Step) -> Result<(), Error> {
        let store = &self.store;
        match step {
            Step::Set(key, value) => store.set(self.touchy(key), self.touchy(value)),
            Step::Delete(key) => store.delete(self.touchy(key)),
            Step::Commit(from, to) => drop(store.commit(self.batch(from, to))?),
            Step::Get(key) => drop(store.get(&self.touchy(key))?),
            Step::Contains(key) => drop(store.contains(&self.touchy(key))?),
            Step::Snapshot => drop(store.snapshot()?),
            Step::Walk => drop(store.range(..).collect::<Result<Vec<_>, _>>()?),
            Step::WalkBack => drop(store.range(..).rev().collect::<Result<Vec<_>, _>>()?),
            Step::Flush => store.flush()?,
            Step::Refresh => store.refresh()?,
            Step::Discard => store.discard()?,
            Step::Behind(key, value) => {
                let batch = [(self.touchy(key), Op::Put(self.touchy(value)))].into_iter().collect();
                drop(store.parent().store.commit(batch)?);
            }
        }
        Ok(())
    }

    /// The same, of the model.
    fn note(&mut self, step: Step) {
        match step {
            Step::Set(key, value) => drop(self.written.insert(key, Some(value))),
            Step::Delete(key) => drop(self.written.insert(key, None)),
            Step::Commit(from, to) => {
                self.written.extend((from..=to).map(|n| (n, if n == to { None } else { Some(n + 500) })));
            }
            Step::Get(_) | Step::Contains(_) | Step::Snapshot | Step::Walk | Step::WalkBack => {}
            Step::Flush => {
                self.parent = apply(&self.parent, &std::mem::take(&mut self.written));
                self.base = self.parent.clone();
            }
            Step::Refresh => self.base = self.parent.clone(),
            Step::Discard => {
                self.written.clear();
                self.base = self.parent.clone();
            }
            Step::Behind(key, value) => drop(self.parent.insert(key, value)),
        }
    }

    fn shown(&self) -> Map {
        apply(&self.base, &self.written)
    }

    /// What a thread sees of the store, in every way there is to look; another thread, so that nothing may be locked.
    fn seen(&self) -> Map {
        let (store, fuse) = (Arc::clone(&self.store), Arc::clone(&self.fuse));
        finishes("another thread", move || {
            let touchy = |n| Touchy { n, fuse: Arc::clone(&fuse) };
            let points: Map = (0..80).filter_map(|n| Some((n, store.get(&touchy(n)).unwrap()?.n))).collect();
            for look in 0..2 {
                assert_eq!(plain(store.range(..)), points, "look {look}");
                assert_eq!(plain(store.range(..).rev()), points, "look {look}");
                assert_eq!(plain(store.snapshot().unwrap().range(..)), points, "look {look}");
                assert!((0..80).all(|n| store.contains(&touchy(n)).unwrap() == points.contains_key(&n)));
            }
            points
        })
    }

    /// Takes the state that the store is in after `step` panicked: the one before it, or the one after.
    fn settle(&mut self, step: Step) {
        let seen = self.seen();
        let parent = plain(self.store.parent().store.snapshot().unwrap().range(..));
        let (before, parent_before) = (self.shown(), self.parent.clone());
        if let Step::Flush = step {
            // Shows the same throughout; the parent has the batch or not, and what was written stays to be flushed.
            let after = apply(&self.parent, &self.written);
            assert!(parent == parent_before || parent == after, "a torn flush");
            assert!(seen == before || (parent == after && seen == after), "a flush that panicked shows something else");
            if seen != before || !self.store.is_dirty() {
                self.note(step);
            }
            self.parent = parent;
        } else {
            if seen != before {
                self.note(step);
            }
            assert_eq!((seen, parent), (self.shown(), parent_before), "{step:?} is neither done nor undone");
        }
    }
}

/// Runs `steps` with a panic at the `nth` call of user code, and checks the store after it and at the end; false if
/// nothing panicked.
fn panic_at(nth: i64, steps: &[Step]) -> bool {
    let mut case = Case::new();
    let held = case.store.snapshot().unwrap();
    let start = case.shown();
    let mut panicked = false;
    case.fuse.light(nth);
    for step in steps {
        let done = catch_unwind(AssertUnwindSafe(|| case.act(*step)));
        match done {
            Ok(done) => {
                done.unwrap();
                case.note(*step);
            }
            Err(panic) => {
                assert_eq!(panic.downcast_ref::<&str>(), Some(&WORDS), "a panic of its own");
                assert!(!std::mem::replace(&mut panicked, true));
                case.fuse.put_out();
                case.settle(*step);
                // What it has settled on stays: a write publishes what may have been left unpublished.
                case.act(Step::Set(70, 7)).unwrap();
                case.note(Step::Set(70, 7));
                assert_eq!(case.seen(), case.shown(), "after {step:?} panicked");
            }
        }
    }
    case.fuse.put_out();
    assert_eq!(case.seen(), case.shown());
    case.act(Step::Flush).unwrap();
    case.note(Step::Flush);
    assert_eq!(case.seen(), case.parent);
    assert!(!case.store.is_dirty());
    assert_eq!(plain(case.store.parent().store.snapshot().unwrap().range(..)), case.parent);
    assert_eq!(plain(held.range(..)), start, "a held snapshot changed");
    panicked
}

/// Panics at every call of user code within `steps`, one after the other.
fn panic_everywhere(steps: &[Step]) {
    let calls = (1..).take_while(|nth| panic_at(*nth, steps)).count();
    println!("{calls} calls of user code");
    assert!(calls > 50, "{calls}");
}

#[test]
fn writes_are_done_or_not_done() {
    panic_everywhere(&[
        Step::Set(1, 1),
        Step::Snapshot, // so that the next writes copy the nodes it shares
        Step::Set(2, 2),
        Step::Delete(3),
        Step::Walk,
        Step::Set(2, 22),
        Step::Commit(4, 9),
        Step::Get(5),
        Step::Contains(6),
        Step::WalkBack,
    ]);
}

#[test]
fn a_batch_that_splits_nodes_is_done_or_not_done() {
    panic_everywhere(&[Step::Commit(0, 69), Step::Snapshot, Step::Commit(30, 40), Step::Delete(31)]);
}

#[test]
fn renewals_lose_nothing() {
    panic_everywhere(&[
        Step::Set(1, 1),
        Step::Delete(3),
        Step::Flush,
        Step::Set(2, 2),
        Step::Behind(10, 10),
        Step::Refresh,
        Step::Snapshot,
        Step::Set(4, 4),
        Step::Flush,
        Step::Flush,
        Step::Set(5, 5),
        Step::Behind(11, 11),
        Step::Discard,
        Step::Get(11),
    ]);
}

/// A frozen layer that a failed flush left is merged with what came since.
#[test]
fn a_flush_after_a_failed_one_loses_nothing() {
    for nth in 1.. {
        let mut case = Case::new();
        let write = |case: &mut Case, step| {
            case.act(step).unwrap();
            case.note(step);
        };
        [Step::Set(1, 1), Step::Set(3, 30), Step::Delete(6)].into_iter().for_each(|step| write(&mut case, step));
        let flush = |case: &mut Case, nth| {
            case.fuse.light(nth);
            let flushed = catch_unwind(AssertUnwindSafe(|| case.act(Step::Flush)));
            case.fuse.put_out();
            match flushed {
                Ok(done) => {
                    done.unwrap();
                    case.note(Step::Flush);
                    false
                }
                Err(_) => {
                    case.settle(Step::Flush);
                    true
                }
            }
        };
        let first = flush(&mut case, nth);
        [Step::Set(1, 11), Step::Set(6, 60), Step::Delete(9)].into_iter().for_each(|step| write(&mut case, step));
        let second = flush(&mut case, nth);
        assert_eq!(case.seen(), case.shown());
        write(&mut case, Step::Discard);
        assert_eq!(
            (case.seen(), case.store.is_dirty()),
            (case.parent.clone(), false),
            "nothing is taken for in flight"
        );
        if !first && !second {
            break;
        }
    }
}

/// An iterator through which a panic went yields nothing more: what it would yield might be wrong.
#[test]
fn an_iterator_ends_with_a_panic() {
    for back in [false, true] {
        for nth in 1.. {
            let mut case = Case::new();
            for step in [Step::Commit(0, 10), Step::Delete(12), Step::Set(15, 1)] {
                case.act(step).unwrap();
                case.note(step);
            }
            let due: Vec<_> =
                if back { case.shown().into_iter().rev().collect() } else { case.shown().into_iter().collect() };
            let mut walk = case.store.range(..);
            let mut take = || if back { walk.next_back() } else { walk.next() };
            case.fuse.light(nth);
            let mut taken = Vec::new();
            let ended = loop {
                match catch_unwind(AssertUnwindSafe(&mut take)) {
                    Ok(Some(entry)) => taken.push(entry.map(|(key, value)| (key.n, value.n)).unwrap()),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            case.fuse.put_out();
            assert!(due.starts_with(&taken), "{taken:?}");
            if !ended {
                assert_eq!(taken, due);
                break;
            }
            assert!(take().is_none() && walk.next().is_none() && walk.next_back().is_none(), "it goes on");
        }
    }
}

/// Making a store calls the parent; whatever panics there, there is none.
#[test]
fn a_store_that_is_not_made_is_not_there() {
    let made = |nth| {
        let fuse = Arc::new(Fuse::default());
        let parent = Arc::new(TouchyStore::new(&fuse, [(1, 1)]));
        fuse.light(nth);
        let made = catch_unwind(AssertUnwindSafe(|| Store::new(Arc::clone(&parent)).map(drop)));
        fuse.put_out();
        let state: TouchyState = parent.snapshot().unwrap();
        assert_eq!(plain(state.range(..)), Map::from([(1, 1)]));
        made.is_err()
    };
    assert!((1..).take_while(|nth| made(*nth)).count() >= 2);
}
