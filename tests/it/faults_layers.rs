//! A stack of layers over stores that fail, at each call there is: the error is of the right kind, every layer shows what it
//! showed, and whatever is done then is right.
//!
//! One history of writes, flushes, discards, refreshes and reads is driven over three layers, with a store that can fail
//! below the lowest of them or below each. It is driven again for each call that it makes of these stores: there the call
//! fails, panics, or (a commit) takes effect in part or as a whole and fails all the same. After every act, everything that
//! every layer and the bottom hold, and everything that was held before, is compared with maps.

use crate::faulty::{Call, Faulty};
use cachekv::cachekv::{DynStore, Store};
use cachekv::kv::{DynIter, DynRead, Error, KvRead, KvStore, MemStore, Op};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Map = BTreeMap<u8, u16>;
type Seam = Arc<Faulty<DynStore<u8, u16>>>;

const LAYERS: usize = 3;
const KEYS: u8 = 10;

#[derive(Clone, Copy, Debug)]
enum Act {
    Set(usize, u8, u16),
    Delete(usize, u8),
    Flush(usize),
    Discard(usize),
    Refresh(usize),
    Get(usize, u8),
    Walk(usize),
    WalkBack(usize),
    /// Keeps a snapshot and a half-walked iterator.
    Hold(usize),
}

impl Act {
    fn layer(self) -> usize {
        use Act::*;
        match self {
            Set(at, ..) | Delete(at, _) | Flush(at) | Discard(at) | Refresh(at) => at,
            Get(at, _) | Walk(at) | WalkBack(at) | Hold(at) => at,
        }
    }
}

/// Every act at every layer, over dirty and clean ones, with a flush that has nothing to commit, and one of tombstones.
#[rustfmt::skip]
const HISTORY: &[Act] = {
    use Act::*;
    &[
        Set(0, 1, 11), Delete(0, 2), Set(0, 7, 70), Set(1, 3, 31), Delete(1, 7), Set(2, 4, 42), Delete(2, 1),
        Walk(2), Get(2, 9), Get(2, 5), Hold(2), Hold(0), WalkBack(1),
        Flush(0), Refresh(1), Walk(1), Set(0, 8, 80), Flush(0), Flush(0),
        Flush(1), Get(2, 2), Set(1, 3, 32), Delete(1, 8), Hold(1), Flush(2), Walk(2), Flush(1), Walk(0), Flush(0),
        Set(2, 5, 52), Delete(2, 6), Set(2, 9, 92), Refresh(2), Discard(1), Flush(2), Set(1, 9, 91), Flush(1),
        Get(0, 4), Discard(2), Set(0, 2, 21), Flush(0), Discard(0), Refresh(1), Refresh(2), WalkBack(2), Walk(0),
    ]
};

/// What befalls a call.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Fail,
    Panic,
    /// A commit takes effect as far as so many operations.
    Tear(usize),
    /// It takes effect as a whole.
    Lose,
}

/// What is done after the failure, besides trying again.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// Writes over what failed, in the same layer.
    Write,
    Refresh,
    Discard,
}

/// Where in the history what befalls whom.
#[derive(Clone, Copy, Debug)]
struct Plan {
    act: usize,
    seam: usize,
    call: Call,
    nth: usize,
    fault: Fault,
    then: Then,
}

/// What a read gives; nothing for other acts.
type Seen = Vec<(u8, u16)>;

#[derive(Default)]
struct Model {
    base: Map,
    written: BTreeMap<u8, Op<u16>>,
}

fn apply<'a>(state: &mut Map, written: impl IntoIterator<Item = (&'a u8, &'a Op<u16>)>) {
    for (key, op) in written {
        match op {
            Op::Put(value) => state.insert(*key, *value),
            Op::Delete => state.remove(key),
        };
    }
}

struct Driver {
    layers: Vec<Arc<Store<DynStore<u8, u16>>>>,
    /// What can fail, with the layer that lies over it: the lowest first.
    seams: Vec<(usize, Seam)>,
    /// The store at the bottom, past what can fail.
    bottom: DynStore<u8, u16>,
    bottom_model: Map,
    models: Vec<Model>,
    held: Vec<(DynRead<u8, u16>, Map)>,
    walks: Vec<(DynIter<u8, u16>, Seen)>,
}

impl Driver {
    fn new(everywhere: bool) -> Self {
        let start: Map = [(1, 1), (2, 2), (5, 5), (6, 6)].into();
        let bottom = DynStore::new(MemStore::from_iter(start.clone()));
        let (mut layers, mut seams, mut below) = (Vec::new(), Vec::new(), bottom.clone());
        for at in 0..LAYERS {
            if at == 0 || everywhere {
                let seam = Arc::new(Faulty::new(below));
                seams.push((at, Arc::clone(&seam)));
                below = DynStore::new(seam);
            }
            let layer = Arc::new(Store::new(below).unwrap());
            below = DynStore::new(Arc::clone(&layer));
            layers.push(layer);
        }
        let models = (0..LAYERS).map(|_| Model { base: start.clone(), ..Model::default() }).collect();
        Self { layers, seams, bottom, bottom_model: start, models, held: Vec::new(), walks: Vec::new() }
    }

    fn state(&self, at: usize) -> Map {
        let mut state = self.models[at].base.clone();
        apply(&mut state, &self.models[at].written);
        state
    }

    /// The present state of what `at` lies over.
    fn parent(&self, at: usize) -> Map {
        at.checked_sub(1).map_or_else(|| self.bottom_model.clone(), |below| self.state(below))
    }

    fn perform(&mut self, act: Act) -> Result<Seen, Error> {
        let layer = &self.layers[act.layer()];
        match act {
            Act::Set(_, key, value) => layer.set(key, value),
            Act::Delete(_, key) => layer.delete(key),
            Act::Flush(_) => layer.flush()?,
            Act::Discard(_) => layer.discard()?,
            Act::Refresh(_) => layer.refresh()?,
            Act::Get(_, key) => {
                let value = layer.get(&key)?;
                assert_eq!(layer.contains(&key)?, value.is_some());
                return Ok(value.map(|value| (key, value)).into_iter().collect());
            }
            Act::Walk(_) => return layer.range(..).collect(),
            Act::WalkBack(_) => return layer.range(..).rev().collect(),
            Act::Hold(at) => {
                let mut left: Seen = self.state(at).into_iter().collect();
                let (state, mut walk) = (layer.snapshot()?.into_dyn(), layer.range(..));
                if let Some(first) = walk.next().transpose()? {
                    assert_eq!(first, left.remove(0));
                }
                self.held.push((state, self.state(at)));
                self.walks.push((Box::new(walk), left));
            }
        }
        Ok(Seen::new())
    }

    /// The first `ops` operations that `at` would commit are in its parent.
    fn sink(&mut self, at: usize, ops: usize) {
        let sunk: Vec<_> = self.models[at].written.clone().into_iter().take(ops).collect();
        match at.checked_sub(1) {
            None => apply(&mut self.bottom_model, sunk.iter().map(|(key, op)| (key, op))),
            Some(below) => self.models[below].written.extend(sunk),
        }
    }

    /// What a successful `act` does to the maps; returns what it shows.
    fn expect(&mut self, act: Act) -> Seen {
        let at = act.layer();
        match act {
            Act::Set(_, key, value) => drop(self.models[at].written.insert(key, Op::Put(value))),
            Act::Delete(_, key) => drop(self.models[at].written.insert(key, Op::Delete)),
            Act::Flush(_) => {
                self.sink(at, usize::MAX);
                self.models[at] = Model { base: self.parent(at), ..Model::default() };
            }
            Act::Discard(_) => self.models[at] = Model { base: self.parent(at), ..Model::default() },
            Act::Refresh(_) => self.models[at].base = self.parent(at),
            Act::Get(_, wanted) => return self.state(at).into_iter().filter(|(key, _)| *key == wanted).collect(),
            Act::Walk(_) => return self.state(at).into_iter().collect(),
            Act::WalkBack(_) => return self.state(at).into_iter().rev().collect(),
            Act::Hold(_) => {}
        }
        Seen::new()
    }

    fn go_well(&mut self, act: Act) {
        let seen = self.perform(act).unwrap();
        assert_eq!(seen, self.expect(act));
        self.compare();
    }

    /// Everything is as the maps say.
    fn compare(&self) {
        for (at, layer) in self.layers.iter().enumerate() {
            let state = self.state(at);
            compare(&layer.snapshot().unwrap().into_dyn(), &state);
            assert!((0..KEYS).all(|key| layer.get(&key).unwrap() == state.get(&key).copied()), "{state:?}");
            assert_eq!(layer.is_dirty(), !self.models[at].written.is_empty());
        }
        compare(&self.bottom.snapshot().unwrap().into_dyn(), &self.bottom_model);
        self.held.iter().for_each(|(held, state)| compare(held, state));
    }

    /// Lets `plan` befall its act, and does what is to be done then.
    fn go_wrong(&mut self, act: Act, plan: Plan) {
        let (over, seam) = self.seams[plan.seam].clone();
        match plan.fault {
            Fault::Fail => seam.fail(plan.call, plan.nth),
            Fault::Panic => seam.panic(plan.call, plan.nth),
            Fault::Tear(ops) => seam.tear(plan.nth, ops),
            Fault::Lose => seam.lose(plan.nth),
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(act)));
        match (plan.fault, plan.call, outcome) {
            (Fault::Panic, _, Err(_)) => {}
            (Fault::Fail | Fault::Tear(_) | Fault::Lose, Call::Commit, Ok(Err(Error::Commit { .. }))) => {}
            (Fault::Fail, Call::Snapshot | Call::Read | Call::Scan | Call::Step, Ok(Err(Error::Read { .. }))) => {}
            (_, _, outcome) => panic!("{plan:?} came to {outcome:?}"),
        }
        match plan.fault {
            Fault::Tear(ops) => self.sink(over, ops),
            Fault::Lose => self.sink(over, usize::MAX),
            Fault::Fail | Fault::Panic => {}
        }
        self.compare();
        let at = act.layer();
        match plan.then {
            Then::Nothing => {}
            Then::Write => {
                let over = [Act::Set(at, 1, 111), Act::Set(at, 2, 222), Act::Delete(at, 7)];
                over.into_iter().for_each(|act| self.go_well(act));
            }
            Then::Refresh => self.go_well(Act::Refresh(at)),
            Then::Discard => self.go_well(Act::Discard(at)),
        }
        self.go_well(act);
    }
}

fn compare(shown: &DynRead<u8, u16>, state: &Map) {
    assert!(shown.range(..).map(Result::unwrap).eq(state.iter().map(|(key, value)| (*key, *value))), "{state:?}");
    assert!(shown.range(..).rev().map(Result::unwrap).eq(state.iter().rev().map(|(key, value)| (*key, *value))));
    assert!((0..KEYS).all(|key| shown.get(&key).unwrap() == state.get(&key).copied()), "{state:?}");
}

/// Drives the history, and `plan` if there is one. Returns how often each act made each call, by seam.
fn drive(everywhere: bool, plan: Option<Plan>) -> Vec<(usize, usize, Call, usize)> {
    const CALLS: [Call; 5] = [Call::Snapshot, Call::Commit, Call::Read, Call::Scan, Call::Step];
    let mut driver = Driver::new(everywhere);
    let mut made = Vec::new();
    for (at, act) in HISTORY.iter().enumerate() {
        match plan.filter(|plan| plan.act == at) {
            Some(plan) => driver.go_wrong(*act, plan),
            None => {
                let count = |driver: &Driver| -> Vec<usize> {
                    let seams = driver.seams.iter();
                    seams.flat_map(|(_, seam)| CALLS.map(|call| seam.calls(call))).collect()
                };
                let before = count(&driver);
                let seen = driver.perform(*act).unwrap();
                let after = count(&driver);
                assert_eq!(seen, driver.expect(*act));
                for (place, (before, after)) in before.into_iter().zip(after).enumerate() {
                    made.push((at, place / CALLS.len(), CALLS[place % CALLS.len()], after - before));
                }
                driver.compare();
            }
        }
    }
    for (walk, left) in std::mem::take(&mut driver.walks) {
        assert!(walk.map(Result::unwrap).eq(left), "an iterator changed");
    }
    made
}

/// Every call of the history fails once, in each way, and after it each of the things is done.
fn sweep(everywhere: bool) -> usize {
    let mut failures = 0;
    for (act, seam, call, calls) in drive(everywhere, None) {
        for nth in 1..=calls {
            let (faults, thens): (&[Fault], &[Then]) = match call {
                Call::Commit => (
                    &[Fault::Fail, Fault::Panic, Fault::Tear(0), Fault::Tear(1), Fault::Tear(2), Fault::Lose],
                    &[Then::Nothing, Then::Write, Then::Refresh, Then::Discard],
                ),
                Call::Snapshot => {
                    (&[Fault::Fail, Fault::Panic], &[Then::Nothing, Then::Write, Then::Refresh, Then::Discard])
                }
                _ => (&[Fault::Fail, Fault::Panic], &[Then::Nothing]),
            };
            for fault in faults.iter().copied() {
                for then in thens.iter().copied() {
                    drive(everywhere, Some(Plan { act, seam, call, nth, fault, then }));
                    failures += 1;
                }
            }
        }
    }
    failures
}

#[test]
fn a_store_at_the_bottom_may_fail_at_every_call() {
    let failures = sweep(false);
    assert!(failures > 100, "{failures}: the history does not do what it should");
}

#[test]
fn the_store_below_every_layer_may_fail_at_every_call() {
    let failures = sweep(true);
    assert!(failures > 500, "{failures}: the history does not do what it should");
}
