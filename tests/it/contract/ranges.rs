//! What a range yields, from either end.

use super::{ByteStore, Fixture, bytes, keys};
use bytes::Bytes;
use cachekv::kv::{KeyRange, KvRead, Op};
use std::ops::Bound;

pub(super) fn every_kind_of_bound_is_kept<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write(["b", "bb", "d", "f"].map(|key| (key, Some(key))));
    // Some of the state in one commit, some hidden by another: a layered store has it in two layers.
    fixture.write([("bb", None), ("c", Some("c"))]);
    let state = fixture.snapshot();
    let bounds = |key: &str| [Bound::Unbounded, Bound::Included(bytes(key)), Bound::Excluded(bytes(key))];
    for start in ["", "a", "b", "bb", "c", "e", "f", "g"].into_iter().flat_map(bounds) {
        for end in ["", "a", "b", "bb", "d", "e", "f", "g"].into_iter().flat_map(bounds) {
            let range = KeyRange { start: start.clone(), end };
            let expected: Vec<_> =
                ["b", "c", "d", "f"].into_iter().filter(|&key| range.contains(&bytes(key))).collect();
            assert_eq!(keys(state.scan(range.clone())), expected.join(" "), "{range:?}");
            let backwards: Vec<_> = expected.into_iter().rev().collect();
            assert_eq!(keys(state.scan(range.clone()).rev()), backwards.join(" "), "{range:?} reversed");
        }
    }
    assert_eq!(keys(state.range(bytes("b")..bytes("d"))), "b c");
    assert_eq!(keys(state.range(bytes("b")..=bytes("d"))), "b c d");
}

pub(super) fn ranges_without_keys_yield_nothing<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    let state = fixture.snapshot();
    let (a, b, c) = (bytes("a"), bytes("b"), bytes("c"));
    let empty = [
        (Bound::Included(c.clone()), Bound::Included(a.clone())),
        (Bound::Included(c.clone()), Bound::Excluded(a.clone())),
        (Bound::Excluded(c.clone()), Bound::Included(a.clone())),
        (Bound::Excluded(c.clone()), Bound::Excluded(a.clone())),
        (Bound::Included(b.clone()), Bound::Excluded(b.clone())),
        (Bound::Excluded(b.clone()), Bound::Included(b.clone())),
        (Bound::Excluded(b.clone()), Bound::Excluded(b.clone())),
        (Bound::Excluded(a), Bound::Excluded(b)),
        (Bound::Excluded(c), Bound::Unbounded),
        (Bound::Unbounded, Bound::Excluded(Bytes::new())),
    ];
    for range in empty {
        assert_eq!(state.range(range.clone()).count(), 0, "{range:?}");
        assert_eq!(state.range(range.clone()).rev().count(), 0, "{range:?} reversed");
    }
}

pub(super) fn both_ends_meet_without_loss_or_repetition<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write(["a", "b", "c", "d", "e", "f"].map(|key| (key, Some(key))));
    fixture.write([("c", None), ("d", Some("again")), ("g", Some("g"))]);
    let state = fixture.snapshot();
    let all = ["a", "b", "d", "e", "f", "g"];
    // Every sequence of ends, as the bits of a number.
    for ends in 0..1 << all.len() {
        let mut walk = state.range(..);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for step in 0..all.len() {
            if ends >> step & 1 == 0 {
                front.extend(walk.next().map(|entry| entry.unwrap().0));
            } else {
                back.extend(walk.next_back().map(|entry| entry.unwrap().0));
            }
        }
        assert!(walk.next().is_none() && walk.next_back().is_none(), "{ends:b}: something is left");
        front.extend(back.into_iter().rev());
        assert_eq!(front, all.map(bytes), "{ends:b}");
    }
}

pub(super) fn a_finished_iterator_stays_finished<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    let state = fixture.write([("a", Some("1")), ("b", Some("2"))]);
    let mut walk = state.range(bytes("b")..);
    assert!(walk.next_back().is_some());
    for _ in 0..3 {
        assert!(walk.next().is_none() && walk.next_back().is_none());
    }
}

pub(super) fn an_iterator_does_not_see_later_commits<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    fixture.write([("a", Some("1")), ("c", Some("1")), ("e", Some("1")), ("g", Some("1"))]);
    let mut walk = fixture.snapshot().range(..);
    assert_eq!(walk.next().unwrap().unwrap(), (bytes("a"), bytes("1")));
    fixture.write([("b", Some("2")), ("c", None), ("e", Some("2")), ("h", Some("2"))]);
    assert_eq!(walk.next_back().unwrap().unwrap(), (bytes("g"), bytes("1")));
    fixture.write([("d", Some("3")), ("e", None)]);
    let rest: Vec<_> = walk.map(Result::unwrap).collect();
    assert_eq!(rest, [(bytes("c"), bytes("1")), (bytes("e"), bytes("1"))]);
}

pub(super) fn keys_are_ordered_as_bytes<S: ByteStore>(make: impl Fn() -> Fixture<S>) {
    let fixture = make();
    let sorted: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"\xff", b"\xff\xff"];
    let put = |key: &&[u8]| (Bytes::copy_from_slice(key), Op::Put(Bytes::new()));
    let state = fixture.commit(sorted.iter().rev().map(put).collect());
    assert!(state.range(..).map(|entry| entry.unwrap().0).eq(sorted));
    assert!(state.range(..).rev().map(|entry| entry.unwrap().0).eq(sorted.into_iter().rev()));
}
