//! Random histories against a map, with snapshots that are looked at again at the end.

use super::{ByteStore, Fixture, op};
use bytes::Bytes;
use cachekv::kv::{KeyRange, KvRead};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::ops::Bound;

type Map = BTreeMap<Bytes, Bytes>;
/// A commit, and whether the snapshot it returned is kept to the end.
type Commit = (Vec<(Bytes, Option<Bytes>)>, bool);
/// A range, and the ends from which it is walked.
type Look = (KeyRange<Bytes>, Vec<bool>);

/// Few and short keys, so that they meet; the empty one among them.
fn some_key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(0xff)], 0..3).prop_map(Bytes::from)
}

fn some_commit() -> impl Strategy<Value = Commit> {
    let value = proptest::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    (proptest::collection::vec((some_key(), proptest::option::weighted(0.6, value)), 0..8), any::<bool>())
}

fn some_look() -> impl Strategy<Value = Look> {
    let bound = || {
        prop_oneof![Just(Bound::Unbounded), some_key().prop_map(Bound::Included), some_key().prop_map(Bound::Excluded)]
    };
    let range = (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end });
    (range, proptest::collection::vec(any::<bool>(), 0..14))
}

fn agree(state: &impl KvRead<Key = Bytes, Value = Bytes>, model: &Map, looks: &[Look]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&state.range(..).map(Result::unwrap).collect::<Map>(), model);
    for (range, ends) in looks {
        let mut expected = model.iter().filter(|(key, _)| range.contains(key)).map(|(k, v)| (k.clone(), v.clone()));
        let mut walk = state.scan(range.clone()).map(Result::unwrap);
        for &front in ends {
            let (seen, due) =
                if front { (walk.next(), expected.next()) } else { (walk.next_back(), expected.next_back()) };
            prop_assert_eq!(seen, due, "{:?}", range);
        }
        for key in [&range.start, &range.end] {
            if let Bound::Included(key) | Bound::Excluded(key) = key {
                let value = state.get(key).unwrap();
                prop_assert_eq!(value.as_ref(), model.get(key));
                prop_assert_eq!(state.contains(key).unwrap(), model.contains_key(key));
            }
        }
    }
    Ok(())
}

pub(super) fn random_histories_agree_with_a_map<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let history = (proptest::collection::vec(some_commit(), 1..10), proptest::collection::vec(some_look(), 1..8));
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&history, |(commits, looks)| {
        let fixture = make();
        let mut model = Map::new();
        let mut held = vec![(fixture.snapshot(), model.clone())];
        for (ops, hold) in commits {
            for (key, value) in &ops {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            let after = fixture.commit(ops.into_iter().map(|(key, value)| (key, op(value))).collect());
            agree(&after, &model, &looks)?;
            agree(&fixture.snapshot(), &model, &[])?;
            if hold {
                held.push((after, model.clone()));
            }
        }
        held.iter().try_for_each(|(state, model)| agree(state, model, &looks))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
