//! What a commit does: puts, deletes, batches as a whole.

use super::{ByteStore, Fixture, bytes, get, keys};
use bytes::Bytes;
use cachekv::kv::{KvRead, Op, WriteBatch};
use std::ops::Bound;

pub(super) fn a_new_store_is_empty<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let state = make().snapshot();
    assert_eq!(get(&state, "a"), None);
    assert_eq!(get(&state, ""), None);
    assert_eq!(keys(state.range(..)), "");
    assert_eq!(keys(state.range(..).rev()), "");
}

pub(super) fn what_is_put_can_be_got<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("1")), ("c", Some("3"))]);
    let state = fixture.snapshot();
    assert_eq!(get(&state, "a"), Some(bytes("1")));
    assert_eq!(get(&state, "b"), None);
    assert_eq!(get(&state, "c"), Some(bytes("3")));
}

pub(super) fn a_missing_key_is_not_an_empty_value<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("empty", Some("")), ("gone", Some("")), ("z", Some("z"))]);
    fixture.write([("gone", None)]);
    let state = fixture.snapshot();
    assert_eq!(get(&state, "empty"), Some(Bytes::new()));
    assert_eq!(get(&state, "gone"), None);
    assert_eq!(get(&state, "missing"), None);
    assert_eq!(keys(state.range(..)), "empty z");
}

pub(super) fn the_empty_key_is_a_key<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    let held = fixture.write([("", Some("first")), ("a", Some("1"))]);
    let entries: Vec<_> = held.range(..).map(Result::unwrap).collect();
    assert_eq!(entries, [(Bytes::new(), bytes("first")), (bytes("a"), bytes("1"))]);
    assert_eq!(held.range(..=Bytes::new()).count(), 1);
    assert_eq!(held.range(..Bytes::new()).count(), 0);
    assert_eq!(keys(held.range((Bound::Excluded(Bytes::new()), Bound::Unbounded))), "a");
    let after = fixture.write([("", None)]);
    assert_eq!(get(&after, ""), None);
    assert_eq!(get(&held, ""), Some(bytes("first")));
}

pub(super) fn the_last_write_wins<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    for value in ["1", "2", "3"] {
        assert_eq!(get(&fixture.write([("a", Some(value))]), "a"), Some(bytes(value)));
    }
    assert_eq!(fixture.snapshot().range(..).count(), 1);
}

pub(super) fn deleting_an_absent_key_is_legal<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    assert_eq!(keys(fixture.write([("never", None)]).range(..)), "");
    fixture.write([("a", Some("1")), ("b", Some("2"))]);
    fixture.write([("a", None), ("never", None)]);
    assert_eq!(keys(fixture.write([("a", None)]).range(..)), "b");
}

pub(super) fn within_a_batch_the_last_operation_counts<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("there", Some("old")), ("here", Some("old"))]);
    let after = fixture.write([
        ("there", None),
        ("there", Some("new")),
        ("here", Some("new")),
        ("here", None),
        ("absent", None),
        ("absent", Some("new")),
        ("fleeting", Some("new")),
        ("fleeting", None),
        ("often", Some("1")),
        ("often", Some("2")),
    ]);
    for state in [after, fixture.snapshot()] {
        assert_eq!(get(&state, "there"), Some(bytes("new")));
        assert_eq!(get(&state, "here"), None);
        assert_eq!(get(&state, "often"), Some(bytes("2")));
        assert_eq!(keys(state.range(..)), "absent often there");
    }
}

pub(super) fn a_batch_is_seen_whole_or_not_at_all<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    const ROUNDS: u32 = 40;
    let fixture = make();
    let round = |n: u32| ["a", "m", "z"].map(|key| (bytes(key), Op::Put(bytes(&n.to_string()))));
    fixture.commit(round(0).into_iter().collect());
    let store = &fixture.store;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for n in 1..=ROUNDS {
                store.commit(round(n).into_iter().collect()).unwrap();
            }
        });
        let (mut last, mut done) = (0, false);
        while !done {
            done = writer.is_finished(); // before the snapshot: the last one taken must show the last batch
            let state = store.snapshot().unwrap();
            let values: Vec<_> = state.range(..).map(|entry| entry.unwrap().1).collect();
            assert!(values.len() == 3 && values.iter().all(|value| *value == values[0]), "a torn batch: {values:?}");
            assert_eq!(state.get(&bytes("z")).unwrap().as_ref(), values.first());
            let seen = std::str::from_utf8(&values[0]).unwrap().parse().unwrap();
            assert!(last <= seen, "time went back from {last} to {seen}");
            last = seen;
        }
        assert_eq!(last, ROUNDS);
    });
}

pub(super) fn no_concurrent_commit_is_lost<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 12;
    const SHARED: usize = 300; // enough of them that commits overlap
    let fixture = make();
    let store = &fixture.store;
    let start = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..ROUNDS {
                    let own = bytes(&format!("own {thread}/{n}"));
                    let shared = (0..SHARED).map(|key| bytes(&format!("shared {key}")));
                    let batch = shared.chain([own.clone()]).map(|key| (key, Op::Put(own.clone()))).collect();
                    let after = store.commit(batch).unwrap();
                    assert_eq!(after.get(&own).unwrap(), Some(own));
                }
            });
        }
    });
    let state = fixture.snapshot();
    assert_eq!(state.range(..bytes("shared")).count(), THREADS * ROUNDS);
    assert_eq!(state.range(bytes("shared")..).count(), SHARED);
    let last = get(&state, "shared 0");
    assert!(state.range(bytes("shared")..).all(|entry| Some(entry.unwrap().1) == last), "a mixture of batches");
}

pub(super) fn an_empty_batch_changes_nothing<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    assert_eq!(keys(fixture.commit(WriteBatch::new()).range(..)), "");
    fixture.write([("a", Some("1"))]);
    let after = fixture.commit(WriteBatch::new());
    assert_eq!(get(&after, "a"), Some(bytes("1")));
    assert_eq!(keys(fixture.snapshot().range(..)), "a");
}

pub(super) fn a_large_batch_is_kept<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    const KEYS: u32 = 10_000;
    let fixture = make();
    let key = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
    let value = |n: u32| Bytes::from(vec![n as u8; n as usize % 200]);
    let before = fixture.snapshot();
    fixture.commit((0..KEYS).map(|n| (key(n), Op::Put(value(n)))).collect());
    let all = fixture.snapshot();
    fixture.commit((0..KEYS).filter(|n| n % 3 != 0).map(|n| (key(n), Op::Delete)).collect());
    let third = fixture.snapshot();
    assert_eq!(before.range(..).count(), 0);
    assert!(all.range(..).map(Result::unwrap).eq((0..KEYS).map(|n| (key(n), value(n)))));
    assert!(
        third
            .range(..)
            .rev()
            .map(Result::unwrap)
            .eq((0..KEYS).rev().filter(|n| n % 3 == 0).map(|n| (key(n), value(n))))
    );
    assert_eq!(all.get(&key(7_777)).unwrap(), Some(value(7_777)));
    assert_eq!(third.get(&key(7_777)).unwrap(), None);
}
