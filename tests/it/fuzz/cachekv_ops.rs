//! Bytes as operations on a stack of `cachekv` stores, against ordered maps.
//!
//! The model of a layer is two maps: the state of its parent at the last renewal, and what is written over it. Held snapshots
//! and half-walked iterators each have a copy of what they must show. The store at the bottom fails or panics when told.
//! This file is shared by the fuzz target of its name and by the test that runs its corpus.

use arbitrary::{Result, Unstructured};
use cachekv::cachekv::{DynStore, Store};
use cachekv::kv::{DynIter, DynRead, Error, KeyRange, KvRead, KvStore, MemSnapshot, MemStore, Op, WriteBatch};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

type Map = BTreeMap<u8, u16>;
type Layer = Arc<Store<DynStore<u8, u16>>>;

/// What can happen in a run; an input's share of it is what [`run`] returns, one bit each.
pub const EVENTS: &[&str] = &[
    "a flush of something",
    "a failed flush",
    "a flush whose parent panicked",
    "a failed refresh or discard",
    "a range delete of something",
    "a batch of several keys",
    "an iterator over a change",
    "an iterator from both ends",
    "a layer pushed",
    "a layer popped with writes",
    "a snapshot held over a flush",
    "more keys than a node of the tree holds",
];
const FLUSHED: u32 = 0;
const FLUSH_FAILED: u32 = 1;
const FLUSH_PANICKED: u32 = 2;
const RENEWAL_FAILED: u32 = 3;
const RANGE_DELETED: u32 = 4;
const BATCHED: u32 = 5;
const WALKED_OVER_CHANGE: u32 = 6;
const WALKED_BOTH_WAYS: u32 = 7;
const PUSHED: u32 = 8;
const POPPED: u32 = 9;
const HELD_OVER_FLUSH: u32 = 10;
const MANY: u32 = 11;

/// The most operations of one input.
const STEPS: usize = 600;
const DEEPEST: usize = 4;

/// What the bottom does at its next call.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
const PANICS: u8 = 2;

/// A store that fails or panics when told, once.
struct Moody {
    store: MemStore<u8, u16>,
    mood: AtomicU8,
}

impl Moody {
    fn tell(&self, mood: u8) {
        self.mood.store(mood, Ordering::Relaxed);
    }

    fn asked(&self, error: impl Fn(Arc<str>, Arc<std::io::Error>) -> Error) -> std::result::Result<(), Error> {
        match self.mood.swap(WORKS, Ordering::Relaxed) {
            FAILS => Err(error("moody".into(), Arc::new(std::io::Error::other("as told")))),
            PANICS => resume_unwind(Box::new("as told")), // without the hook: a fuzzer takes a printed panic for a find
            _ => Ok(()),
        }
    }
}

impl KvStore for Moody {
    type Key = u8;
    type Value = u16;
    type Snapshot = MemSnapshot<u8, u16>;

    fn snapshot(&self) -> std::result::Result<Self::Snapshot, Error> {
        self.asked(|store, source| Error::Read { store, source })?;
        self.store.snapshot()
    }

    fn commit(&self, batch: WriteBatch<u8, u16>) -> std::result::Result<Self::Snapshot, Error> {
        self.asked(|store, source| Error::Commit { store, source })?;
        self.store.commit(batch)
    }
}

#[derive(Clone, Default)]
struct Model {
    base: Map,
    written: BTreeMap<u8, Option<u16>>,
}

impl Model {
    fn state(&self) -> Map {
        let mut state = self.base.clone();
        apply(&mut state, &self.written);
        state
    }
}

fn apply(state: &mut Map, written: &BTreeMap<u8, Option<u16>>) {
    for (key, value) in written {
        match value {
            Some(value) => state.insert(*key, *value),
            None => state.remove(key),
        };
    }
}

/// A snapshot, what it shows, and how many flushes there had been.
struct Held {
    snapshot: DynRead<u8, u16>,
    state: Map,
    flushes: usize,
}

/// An open iterator, what it has still to yield, and what was true of it.
struct Walk {
    iter: DynIter<u8, u16>,
    left: VecDeque<(u8, u16)>,
    ends: u8,
    changes: usize,
}

struct Driver {
    bottom: Arc<Moody>,
    bottom_model: Map,
    layers: Vec<Layer>,
    models: Vec<Model>,
    held: Vec<Held>,
    walks: Vec<Walk>,
    /// Keys are below this.
    keys: u8,
    flushes: usize,
    changes: usize,
    events: u32,
}

/// Runs the operations that `data` decodes to; panics where a store does not do what its model does. Returns the
/// [`EVENTS`] it met.
pub fn run(data: &[u8]) -> u32 {
    let mut input = Unstructured::new(data);
    let Ok(mut driver) = Driver::new(&mut input) else { return 0 };
    for _ in 0..STEPS {
        // Input that ends in the middle of an operation ends the run before it.
        if input.is_empty() || driver.step(&mut input).is_err() {
            break;
        }
    }
    driver.finish()
}

impl Driver {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let keys = *input.choose(&[6, 24, 150, u8::MAX])?;
        let some: u16 = input.arbitrary()?;
        let start: Map =
            (0..16u8).filter(|at| some & 1 << at != 0).map(|at| (at.wrapping_mul(37) % keys, some)).collect();
        let bottom = Arc::new(Moody { store: MemStore::from_iter(start.clone()), mood: AtomicU8::new(WORKS) });
        let mut driver = Self {
            bottom,
            bottom_model: start,
            layers: Vec::new(),
            models: Vec::new(),
            held: Vec::new(),
            walks: Vec::new(),
            keys,
            flushes: 0,
            changes: 0,
            events: 0,
        };
        driver.push();
        for _ in 0..input.int_in_range(0..=2)? {
            driver.push();
        }
        driver.events = 0;
        Ok(driver)
    }

    fn note(&mut self, event: u32) {
        self.events |= 1 << event;
    }

    /// The present state of what layer `at` lies over.
    fn parent(&self, at: usize) -> Map {
        at.checked_sub(1).map_or_else(|| self.bottom_model.clone(), |below| self.models[below].state())
    }

    fn push(&mut self) {
        let below = match self.layers.last() {
            Some(top) => DynStore::new(Arc::clone(top)),
            None => DynStore::new(Arc::clone(&self.bottom)),
        };
        self.layers.push(Arc::new(Store::new(below).unwrap()));
        self.models.push(Model { base: self.parent(self.models.len()), ..Model::default() });
        self.note(PUSHED);
    }

    fn key(&self, input: &mut Unstructured<'_>) -> Result<u8> {
        Ok(input.arbitrary::<u8>()? % self.keys)
    }

    fn bounds(&self, input: &mut Unstructured<'_>) -> Result<KeyRange<u8>> {
        let mut bound = || {
            let key = self.key(input)?;
            Ok(*input.choose(&[Bound::Included(key), Bound::Excluded(key), Bound::Unbounded])?)
        };
        Ok(KeyRange { start: bound()?, end: bound()? })
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let at = input.int_in_range(0..=self.layers.len() - 1)?;
        match input.int_in_range(0..=19u8)? {
            0..=2 => {
                let (key, value) = (self.key(input)?, input.arbitrary()?);
                self.layers[at].set(key, value);
                self.write(at, [(key, Some(value))]);
            }
            3 => {
                let key = self.key(input)?;
                self.layers[at].delete(key);
                self.write(at, [(key, None)]);
            }
            4 => self.delete_range(at, input)?,
            5..=6 => self.commit(at, input)?,
            7 => self.hold(at),
            8 => self.release(input)?,
            9..=10 => self.open(at, input)?,
            11..=13 => self.walk(input)?,
            14 => self.get(at, input)?,
            15..=16 => self.flush(at, input)?,
            17 => self.renew(at, input)?,
            18 => self.push_or_pop(input)?,
            _ => self.behind(input)?,
        }
        assert_eq!(self.layers.last().unwrap().is_dirty(), !self.models.last().unwrap().written.is_empty());
        Ok(())
    }

    fn write(&mut self, at: usize, ops: impl IntoIterator<Item = (u8, Option<u16>)>) {
        self.models[at].written.extend(ops);
        self.changes += 1;
        if self.models[at].written.len() > 64 {
            self.note(MANY);
        }
    }

    /// A walk of the range and a batch of deletes.
    fn delete_range(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let range = self.bounds(input)?;
        let found: Vec<u8> = self.layers[at].range(range.clone()).map(|entry| entry.unwrap().0).collect();
        let state = self.models[at].state();
        assert!(found.iter().eq(state.keys().filter(|key| range.contains(key))));
        if !found.is_empty() {
            self.note(RANGE_DELETED);
        }
        let shown = self.layers[at].commit(found.iter().map(|key| (*key, Op::Delete)).collect()).unwrap();
        self.write(at, found.into_iter().map(|key| (key, None)));
        assert_eq!(shown.range(range).count(), 0);
        Ok(())
    }

    fn commit(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let len = if input.ratio(1, 8)? { 100 } else { input.int_in_range(0..=7)? };
        let mut ops = Vec::new();
        for _ in 0..len {
            ops.push((self.key(input)?, if input.ratio(2, 3)? { Some(input.arbitrary()?) } else { None }));
        }
        if ops.len() > 1 {
            self.note(BATCHED);
        }
        let batch = ops.iter().map(|(key, value)| (*key, value.map_or(Op::Delete, Op::Put))).collect();
        let shown = self.layers[at].commit(batch).unwrap();
        self.write(at, ops);
        let state = self.models[at].state();
        assert!(shown.range(..).map(std::result::Result::unwrap).eq(state));
        Ok(())
    }

    fn hold(&mut self, at: usize) {
        let snapshot = self.layers[at].snapshot().unwrap().into_dyn();
        self.held.push(Held { snapshot, state: self.models[at].state(), flushes: self.flushes });
    }

    /// Drops a held snapshot, or an iterator where it stands; the snapshot is compared before.
    fn release(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let which = input.arbitrary::<u8>()? as usize;
        if input.arbitrary()? && !self.walks.is_empty() {
            drop(self.walks.swap_remove(which % self.walks.len()));
        } else if !self.held.is_empty() {
            let held = self.held.swap_remove(which % self.held.len());
            self.compare(&held);
        }
        Ok(())
    }

    /// Opens an iterator of a layer, or of a held snapshot.
    fn open(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let range = self.bounds(input)?;
        let (iter, state): (DynIter<u8, u16>, _) = match self.held.last() {
            Some(held) if input.ratio(1, 3)? => (held.snapshot.scan(range.clone()), held.state.clone()),
            _ => (Box::new(self.layers[at].range(range.clone())), self.models[at].state()),
        };
        let left = state.into_iter().filter(|(key, _)| range.contains(key)).collect();
        self.walks.push(Walk { iter, left, ends: 0, changes: self.changes });
        Ok(())
    }

    /// Takes some entries from an open iterator.
    fn walk(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let which = input.arbitrary::<u8>()? as usize;
        let (ends, steps) = (input.arbitrary::<u8>()?, input.int_in_range(1..=8)?);
        let (changes, len) = (self.changes, self.walks.len().max(1));
        let Some(walk) = self.walks.get_mut(which % len) else { return Ok(()) };
        for step in 0..steps {
            let front = ends >> step & 1 == 0;
            let (got, due) = match front {
                true => (walk.iter.next(), walk.left.pop_front()),
                false => (walk.iter.next_back(), walk.left.pop_back()),
            };
            assert_eq!(got.transpose().unwrap(), due);
            walk.ends |= if front { 1 } else { 2 };
        }
        let (both, over_change) = (walk.ends == 3, walk.changes != changes);
        if both {
            self.note(WALKED_BOTH_WAYS);
        }
        if over_change {
            self.note(WALKED_OVER_CHANGE);
        }
        Ok(())
    }

    fn get(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let key = self.key(input)?;
        let due = self.models[at].state().get(&key).copied();
        assert_eq!(self.layers[at].get(&key).unwrap(), due);
        assert_eq!(self.layers[at].contains(&key).unwrap(), due.is_some());
        if let Some(held) = self.held.last() {
            assert_eq!(held.snapshot.get(&key).unwrap(), held.state.get(&key).copied());
            assert_eq!(held.snapshot.contains(&key).unwrap(), held.state.contains_key(&key));
        }
        Ok(())
    }

    /// Tells the bottom its mood, if layer `at` is the one that calls it.
    fn mood(&self, at: usize, input: &mut Unstructured<'_>) -> Result<u8> {
        let mood = if at == 0 { *input.choose(&[WORKS, WORKS, FAILS, PANICS])? } else { WORKS };
        self.bottom.tell(mood);
        Ok(mood)
    }

    fn flush(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let mood = self.mood(at, input)?;
        let layer = Arc::clone(&self.layers[at]);
        let flushed = catch_unwind(AssertUnwindSafe(|| layer.flush()));
        assert_eq!(told(&flushed), mood);
        if mood != WORKS {
            self.note(if mood == FAILS { FLUSH_FAILED } else { FLUSH_PANICKED });
            return Ok(());
        }
        let written = std::mem::take(&mut self.models[at].written);
        if !written.is_empty() {
            self.note(FLUSHED);
            self.flushes += 1;
        }
        match at.checked_sub(1) {
            None => apply(&mut self.bottom_model, &written),
            Some(below) => self.models[below].written.extend(written),
        }
        self.models[at].base = self.parent(at);
        self.changes += 1;
        Ok(())
    }

    /// Refreshes or discards.
    fn renew(&mut self, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let mood = self.mood(at, input)?;
        let discards = input.arbitrary()?;
        let layer = Arc::clone(&self.layers[at]);
        let renewed = catch_unwind(AssertUnwindSafe(|| if discards { layer.discard() } else { layer.refresh() }));
        assert_eq!(told(&renewed), mood);
        if mood != WORKS {
            self.note(RENEWAL_FAILED);
            return Ok(());
        }
        self.models[at].base = self.parent(at);
        if discards {
            self.models[at].written.clear();
        }
        self.changes += 1;
        Ok(())
    }

    fn push_or_pop(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if input.arbitrary()? && self.layers.len() > 1 {
            self.layers.pop();
            if self.models.pop().is_some_and(|model| !model.written.is_empty()) {
                self.note(POPPED);
            }
        } else if self.layers.len() < DEEPEST {
            self.push();
        }
        Ok(())
    }

    /// Writes to the bottom behind everybody's back: nothing shows until a renewal.
    fn behind(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (key, value) = (self.key(input)?, input.arbitrary::<Option<u16>>()?);
        self.bottom.store.commit(WriteBatch::from_iter([(key, value.map_or(Op::Delete, Op::Put))])).unwrap();
        apply(&mut self.bottom_model, &BTreeMap::from([(key, value)]));
        Ok(())
    }

    fn compare(&mut self, held: &Held) {
        shows(&held.snapshot, &held.state, self.keys);
        if held.flushes < self.flushes {
            self.note(HELD_OVER_FLUSH);
        }
    }

    fn finish(mut self) -> u32 {
        for (layer, model) in self.layers.iter().zip(&self.models) {
            shows(&layer.snapshot().unwrap().into_dyn(), &model.state(), self.keys);
        }
        shows(&self.bottom.store.snapshot().unwrap().into_dyn(), &self.bottom_model, self.keys);
        for held in std::mem::take(&mut self.held) {
            self.compare(&held);
        }
        drop(std::mem::take(&mut self.layers));
        for walk in std::mem::take(&mut self.walks) {
            assert!(walk.iter.map(std::result::Result::unwrap).eq(walk.left));
        }
        self.events
    }
}

/// The mood of the bottom that a call's end tells of.
fn told(ended: &std::thread::Result<std::result::Result<(), Error>>) -> u8 {
    match ended {
        Ok(Ok(())) => WORKS,
        Ok(Err(_)) => FAILS,
        Err(_) => PANICS,
    }
}

/// Fails unless `snapshot` says `state` and nothing else.
fn shows(snapshot: &DynRead<u8, u16>, state: &Map, keys: u8) {
    assert!(snapshot.range(..).map(std::result::Result::unwrap).eq(state.clone()));
    assert!(snapshot.range(..).rev().map(std::result::Result::unwrap).eq(state.clone().into_iter().rev()));
    for key in 0..keys {
        assert_eq!(snapshot.get(&key).unwrap(), state.get(&key).copied());
        assert_eq!(snapshot.contains(&key).unwrap(), state.contains_key(&key));
    }
}
