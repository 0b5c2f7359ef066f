//! A stack of stores against ordered maps: random operations on every layer, one thread, shrunk on failure.
//!
//! The model of a layer is two maps: the state of its parent at the last renewal, and what is written over it. A failed flush
//! changes neither. Stacks of one to three layers are driven, built of types and at run time, over a parent that fails when
//! told. Snapshots and half-walked iterators are kept and compared again at the end.

use crate::faulty::{Call, Faulty};
use cachekv::cachekv::{DynStore, Store};
use cachekv::kv::{DynIter, DynRead, Error, KeyRange, KvRead, KvStore, MemStore, Op, WriteBatch};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Map = BTreeMap<u8, u16>;
type Walk = (DynIter<u8, u16>, Vec<(u8, u16)>);
type Bottom = Arc<Faulty<MemStore<u8, u16>>>;

/// A store of any type, as the test drives it.
trait Layer {
    fn set(&self, key: u8, value: u16);
    fn delete(&self, key: u8);
    fn commit(&self, batch: WriteBatch<u8, u16>) -> DynRead<u8, u16>;
    fn flush(&self) -> Result<(), Error>;
    fn discard(&self);
    fn refresh(&self);
    fn get(&self, key: u8) -> Option<u16>;
    fn contains(&self, key: u8) -> bool;
    fn is_dirty(&self) -> bool;
    fn snapshot(&self) -> DynRead<u8, u16>;
    fn range(&self, range: KeyRange<u8>) -> DynIter<u8, u16>;
}

impl<P: KvStore<Key = u8, Value = u16>> Layer for Arc<Store<P>> {
    fn set(&self, key: u8, value: u16) {
        Store::set(self, key, value);
    }
    fn delete(&self, key: u8) {
        Store::delete(self, key);
    }
    fn commit(&self, batch: WriteBatch<u8, u16>) -> DynRead<u8, u16> {
        KvStore::commit(self, batch).unwrap().into_dyn()
    }
    fn flush(&self) -> Result<(), Error> {
        Store::flush(self)
    }
    fn discard(&self) {
        Store::discard(self).unwrap();
    }
    fn refresh(&self) {
        Store::refresh(self).unwrap();
    }
    fn get(&self, key: u8) -> Option<u16> {
        Store::get(self, &key).unwrap()
    }
    fn contains(&self, key: u8) -> bool {
        Store::contains(self, &key).unwrap()
    }
    fn is_dirty(&self) -> bool {
        Store::is_dirty(self)
    }
    fn snapshot(&self) -> DynRead<u8, u16> {
        KvStore::snapshot(self).unwrap().into_dyn()
    }
    fn range(&self, range: KeyRange<u8>) -> DynIter<u8, u16> {
        Box::new(Store::range(self, range))
    }
}

/// Layers over `bottom`, lowest first.
fn stack(bottom: Bottom, depth: usize, at_run_time: bool) -> Vec<Box<dyn Layer>> {
    if at_run_time {
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        let mut below = DynStore::new(bottom);
        for _ in 0..depth {
            let layer = Arc::new(Store::new(below).unwrap());
            below = DynStore::new(Arc::clone(&layer));
            layers.push(Box::new(layer));
        }
        return layers;
    }
    let one = Arc::new(Store::new(bottom).unwrap());
    let two = Arc::new(Store::new(Arc::clone(&one)).unwrap());
    let three = Arc::new(Store::new(Arc::clone(&two)).unwrap());
    let layers: Vec<Box<dyn Layer>> = vec![Box::new(one), Box::new(two), Box::new(three)];
    layers.into_iter().take(depth).collect()
}

#[derive(Clone, Debug, Default)]
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

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16),
    Delete(u8),
    Commit(Vec<(u8, Option<u16>)>),
    Flush {
        fails: bool,
    },
    Discard,
    Refresh,
    /// To the store at the bottom, behind the layers' back.
    Behind(u8, Option<u16>),
    Get(u8),
    Range(Bound<u8>, Bound<u8>, Vec<bool>),
    /// Keep a snapshot, and an iterator of which this many entries are taken now.
    Hold(usize),
}

fn key() -> impl Strategy<Value = u8> {
    0..24u8
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
}

fn step() -> impl Strategy<Value = Step> {
    let op = || (key(), prop::option::weighted(0.6, any::<u16>()));
    prop_oneof![
        6 => (key(), any::<u16>()).prop_map(|(key, value)| Step::Set(key, value)),
        4 => key().prop_map(Step::Delete),
        2 => prop::collection::vec(op(), 0..6).prop_map(Step::Commit),
        3 => any::<bool>().prop_map(|fails| Step::Flush { fails }),
        1 => Just(Step::Discard),
        1 => Just(Step::Refresh),
        1 => op().prop_map(|(key, value)| Step::Behind(key, value)),
        3 => key().prop_map(Step::Get),
        3 => (bound(), bound(), prop::collection::vec(any::<bool>(), 0..30))
            .prop_map(|(start, end, ends)| Step::Range(start, end, ends)),
        2 => (0..12usize).prop_map(Step::Hold),
    ]
}

fn op(value: Option<u16>) -> Op<u16> {
    value.map_or(Op::Delete, Op::Put)
}

/// Takes entries from the ends given, then the rest from the front, from a walk and from what it must be.
fn compare_walk(mut walk: DynIter<u8, u16>, state: &Map, range: KeyRange<u8>, ends: &[bool]) {
    let mut expected = state.iter().filter(|(key, _)| range.contains(key)).map(|(key, value)| (*key, *value));
    for front in ends {
        let (got, want) =
            if *front { (walk.next(), expected.next()) } else { (walk.next_back(), expected.next_back()) };
        assert_eq!(got.map(Result::unwrap), want);
    }
    assert!(walk.map(Result::unwrap).eq(expected));
}

/// Everything that a snapshot must say.
fn compare(snapshot: &DynRead<u8, u16>, state: &Map) {
    compare_walk(snapshot.range(..), state, KeyRange::all(), &[]);
    compare_walk(snapshot.range(..), state, KeyRange::all(), &[false; 25]);
    for key in 0..25 {
        assert_eq!(snapshot.get(&key).unwrap(), state.get(&key).copied());
        assert_eq!(snapshot.contains(&key).unwrap(), state.contains_key(&key));
    }
}

struct Driver {
    bottom: Bottom,
    layers: Vec<Box<dyn Layer>>,
    bottom_model: Map,
    models: Vec<Model>,
    held: Vec<(DynRead<u8, u16>, Map)>,
    /// Open iterators, and what they have still to yield.
    walks: Vec<Walk>,
}

impl Driver {
    fn new(depth: usize, at_run_time: bool, start: Map) -> Self {
        let bottom = Arc::new(Faulty::new(MemStore::from_iter(start.clone())));
        Self {
            layers: stack(Arc::clone(&bottom), depth, at_run_time),
            bottom,
            models: vec![Model { base: start.clone(), ..Model::default() }; depth],
            bottom_model: start,
            held: Vec::new(),
            walks: Vec::new(),
        }
    }

    /// The present state of what `at` lies over.
    fn parent(&self, at: usize) -> Map {
        at.checked_sub(1).map_or_else(|| self.bottom_model.clone(), |below| self.models[below].state())
    }

    fn flush(&mut self, at: usize, fails: bool) {
        // Only the bottom can fail, and it is asked to commit only if there is something to.
        let fails = fails && at == 0 && !self.models[at].written.is_empty();
        if fails {
            self.bottom.fail(Call::Commit, 1);
        }
        assert_eq!(self.layers[at].flush().is_err(), fails);
        if fails {
            return;
        }
        let written = std::mem::take(&mut self.models[at].written);
        match at.checked_sub(1) {
            None => apply(&mut self.bottom_model, &written),
            Some(below) => self.models[below].written.extend(written),
        }
        self.models[at].base = self.parent(at);
    }

    fn hold(&mut self, at: usize, taken: usize) {
        let state = self.models[at].state();
        self.held.push((self.layers[at].snapshot(), state.clone()));
        let mut walk = self.layers[at].range(KeyRange::all());
        let mut left: Vec<_> = state.into_iter().collect();
        for _ in 0..taken.min(left.len()) {
            assert_eq!(walk.next().unwrap().unwrap(), left.remove(0));
        }
        self.walks.push((walk, left));
    }

    fn step(&mut self, at: usize, step: Step) {
        let at = at % self.layers.len();
        let layer = &self.layers[at];
        let model = &mut self.models[at];
        match step {
            Step::Set(key, value) => {
                layer.set(key, value);
                model.written.insert(key, Some(value));
            }
            Step::Delete(key) => {
                layer.delete(key);
                model.written.insert(key, None);
            }
            Step::Commit(ops) => {
                model.written.extend(ops.iter().copied());
                let shown = layer.commit(ops.into_iter().map(|(key, value)| (key, op(value))).collect());
                compare(&shown, &model.state());
            }
            Step::Flush { fails } => self.flush(at, fails),
            Step::Discard => {
                layer.discard();
                self.models[at] = Model { base: self.parent(at), ..Model::default() };
            }
            Step::Refresh => {
                layer.refresh();
                self.models[at].base = self.parent(at);
            }
            Step::Behind(key, value) => {
                self.bottom.store().commit(WriteBatch::from_iter([(key, op(value))])).unwrap();
                apply(&mut self.bottom_model, &BTreeMap::from([(key, value)]));
            }
            Step::Get(key) => {
                let expected = model.state().get(&key).copied();
                assert_eq!((layer.get(key), layer.contains(key)), (expected, expected.is_some()));
            }
            Step::Range(start, end, ends) => {
                let range = KeyRange { start, end };
                compare_walk(layer.range(range.clone()), &model.state(), range, &ends);
            }
            Step::Hold(taken) => self.hold(at, taken),
        }
        assert_eq!(self.layers[at].is_dirty(), !self.models[at].written.is_empty());
    }

    fn finish(self) {
        for (layer, model) in self.layers.iter().zip(&self.models) {
            compare(&layer.snapshot(), &model.state());
        }
        compare(&self.bottom.store().snapshot().unwrap().into_dyn(), &self.bottom_model);
        for (snapshot, state) in &self.held {
            compare(snapshot, state);
        }
        for (walk, left) in self.walks {
            assert!(walk.map(Result::unwrap).eq(left));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stack_of_stores_is_a_stack_of_maps(
        depth in 1..=3usize,
        at_run_time in any::<bool>(),
        start in prop::collection::btree_map(key(), any::<u16>(), 0..16),
        steps in prop::collection::vec((0..3usize, step()), 1..80),
    ) {
        let mut driver = Driver::new(depth, at_run_time, start);
        for (at, step) in steps {
            driver.step(at, step);
        }
        driver.finish();
    }
}
