//! What a snapshot is: one state, unchanged, that needs nobody.

use super::{ByteStore, Fixture, bytes, get, keys};
use cachekv::kv::{KvRead, Op};

pub(super) fn commit_returns_a_snapshot_of_its_batch<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("0")), ("b", Some("0")), ("k", Some("kept"))]);
    let after = fixture.write([("a", Some("1")), ("b", None), ("c", Some("1"))]);
    fixture.write([("a", Some("2")), ("b", Some("2")), ("c", Some("2")), ("d", Some("2"))]);
    assert_eq!(keys(after.range(..)), "a c k");
    assert_eq!(get(&after, "a"), Some(bytes("1")));
    assert_eq!(get(&after, "b"), None);
    assert_eq!(get(&after, "c"), Some(bytes("1")));
    assert_eq!(get(&after, "k"), Some(bytes("kept")));
}

pub(super) fn a_snapshot_never_changes<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    let mut held = vec![fixture.snapshot()];
    for n in 1..=8 {
        let old = format!("k{}", n - 1);
        fixture.write([(format!("k{n}").as_str(), Some("new")), ("n", Some(n.to_string().as_str())), (&old, None)]);
        held.push(fixture.snapshot());
    }
    for (n, state) in held.iter().enumerate().skip(1) {
        assert_eq!(get(state, "n"), Some(bytes(&n.to_string())));
        assert_eq!(keys(state.range(..)), format!("k{n} n"));
        assert_eq!(get(state, &format!("k{}", n + 1)), None);
    }
    assert_eq!(keys(held[0].range(..)), "");
}

pub(super) fn a_clone_of_a_snapshot_is_the_same_state<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    let first = fixture.write([("a", Some("1"))]);
    let second = first.clone();
    drop(first);
    fixture.write([("a", None)]);
    assert_eq!(get(&second, "a"), Some(bytes("1")));
    assert_eq!(keys(second.clone().range(..)), "a");
}

pub(super) fn snapshots_and_iterators_outlive_the_store<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let Fixture { store, keep, .. } = make();
    store
        .commit([("a", "1"), ("b", "2"), ("c", "3")].map(|(k, v)| (bytes(k), Op::Put(bytes(v)))).into_iter().collect())
        .unwrap();
    let state = store.snapshot().unwrap();
    let mut walk = state.range(..);
    walk.next().unwrap().unwrap();
    drop(store);
    let elsewhere = std::thread::spawn(move || {
        assert_eq!(keys(walk), "b c");
        assert_eq!(get(&state, "a"), Some(bytes("1")));
        let again = state.range(..);
        drop(state);
        keys(again)
    });
    assert_eq!(elsewhere.join().unwrap(), "a b c");
    drop(keep);
}

pub(super) fn overlays_over_the_root_are_the_state<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    fixture.write([("b", None), ("c", Some("2")), ("d", Some("2"))]);
    let state = fixture.snapshot();
    for key in ["a", "b", "c", "d", "e"].map(bytes) {
        let written = state.overlays().iter().find_map(|overlay| overlay.get(&key));
        let value = written.map_or_else(|| state.root().get(&key).unwrap(), |op| op.value().cloned());
        assert_eq!(state.get(&key).unwrap(), value, "{key:?}");
    }
    assert!(state.overlays().iter().all(|overlay| !overlay.is_empty()));
    assert!(state.root().overlays().is_empty());
}

pub(super) fn the_erased_snapshot_is_the_same_state<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    fixture.write([("b", None)]);
    let erased = fixture.snapshot().into_dyn();
    fixture.write([("a", None)]);
    assert_eq!(get(&erased, "a"), Some(bytes("1")));
    assert_eq!(get(&erased, "b"), None);
    assert_eq!(keys(erased.range(..).rev()), "c a");
    assert_eq!(keys(erased.clone().into_dyn().range(bytes("b")..)), "c");
}
