//! Ranges: what walks depend on. Nothing that was not observed, and no phantom.

use crate::acts::*;
use cachekv::multiversion::ViewError;

const BASE: [(Key, Value); 5] = [(1, 10), (2, 20), (3, 30), (5, 50), (6, 60)];

fn entries(walk: impl Iterator<Item = Result<(Key, Value), ViewError>>) -> Answer {
    let mut answer = Vec::new();
    for entry in walk {
        let (key, value) = entry?;
        answer.extend([key.into(), value]);
    }
    Ok(answer)
}

fn keys(walk: impl Iterator<Item = Result<Key, ViewError>>) -> Answer {
    walk.map(|key| Ok(key?.into())).collect()
}

fn all(view: &View<'_>) -> Answer {
    entries(view.range(..))
}

fn all_keys(view: &View<'_>) -> Answer {
    keys(view.keys(..))
}

fn two(view: &View<'_>) -> Answer {
    entries(view.range(..).take(2))
}

fn last_two(view: &View<'_>) -> Answer {
    entries(view.range(..).rev().take(2))
}

/// One from the front, one from the back.
fn ends(view: &View<'_>) -> Answer {
    let mut walk = view.range(..);
    let (front, back) = (walk.next(), walk.next_back());
    entries(front.into_iter().chain(back))
}

#[test]
fn an_iterator_never_polled_depends_on_nothing() {
    let aborts = race(
        &BASE,
        nothing,
        |view| (0..9).for_each(|key| view.set(key, 0)),
        |view| {
            drop((view.range(..), view.keys(..), view.range(..).rev()));
            Ok(vec![])
        },
    );
    stands(aborts);
}

#[test]
fn an_iterator_never_dropped_is_tracked() {
    let aborts = race(
        &BASE,
        nothing,
        |view| view.set(0, 0),
        |view| {
            let mut walk = view.keys(..);
            let first = keys(walk.next().into_iter());
            std::mem::forget(walk);
            first
        },
    );
    range_falls(aborts);
}

#[test]
fn a_key_that_appears_is_a_phantom() {
    for observer in [all as fn(&View<'_>) -> Answer, all_keys] {
        range_falls(race(&BASE, nothing, |view| view.set(4, 0), observer));
        range_falls(race(&BASE, nothing, |view| view.set(0, 0), observer));
        range_falls(race(&BASE, nothing, |view| view.set(7, 0), observer));
    }
    range_falls(race(&BASE, nothing, |view| view.set(4, 0), |view| entries(view.range(..).rev())));
    range_falls(race(&[], nothing, |view| view.set(4, 0), all));
}

#[test]
fn a_key_that_vanishes_is_noticed() {
    for observer in [all as fn(&View<'_>) -> Answer, all_keys] {
        range_falls(race(&BASE, nothing, |view| view.delete(3), observer));
        range_falls(race(&BASE, |view| view.set(4, 1), |view| view.delete(4), observer));
    }
}

#[test]
fn a_value_that_changes_matters_where_values_were_walked() {
    range_falls(race(&BASE, nothing, |view| view.set(3, 0), all));
    range_falls(race(&BASE, |view| view.set(3, 1), |view| view.set(3, 2), all));
    stands(race(&BASE, nothing, |view| view.set(3, 0), all_keys));
    stands(race(&BASE, |view| view.set(4, 1), |view| view.set(4, 2), all_keys));
}

#[test]
fn the_same_value_written_again_matters_nowhere() {
    stands(race(&BASE, nothing, |view| view.set(3, 30), all));
    stands(race(&BASE, |view| view.set(4, 1), |view| view.set(4, 1), all));
}

#[test]
fn one_key_for_another_is_noticed() {
    range_falls(race(
        &BASE,
        nothing,
        |view| {
            view.delete(3);
            view.set(4, 30);
        },
        all_keys,
    ));
}

#[test]
fn what_lies_beyond_the_stop_does_not_matter() {
    stands(race(&BASE, nothing, |view| (3..9).for_each(|key| view.set(key, 0)), two));
    stands(race(&BASE, nothing, |view| (3..9).for_each(|key| view.delete(key)), two));
    stands(race(&BASE, nothing, |view| (0..5).for_each(|key| view.set(key, 0)), last_two));
}

#[test]
fn what_lies_before_the_stop_and_the_stop_itself_matter() {
    range_falls(race(&BASE, nothing, |view| view.set(0, 0), two));
    range_falls(race(&BASE, nothing, |view| view.delete(1), two));
    range_falls(race(&BASE, nothing, |view| view.set(2, 0), two));
    range_falls(race(&BASE, nothing, |view| view.delete(2), two));
    range_falls(race(&BASE, nothing, |view| view.set(7, 0), last_two));
    range_falls(race(&BASE, nothing, |view| view.set(5, 0), last_two));
    range_falls(race(&BASE, nothing, |view| view.delete(6), last_two));
}

#[test]
fn between_two_ends_that_have_not_met_nothing_matters() {
    stands(race(&BASE, nothing, |view| (2..6).for_each(|key| view.set(key, 0)), ends));
    range_falls(race(&BASE, nothing, |view| view.set(0, 0), ends));
    range_falls(race(&BASE, nothing, |view| view.set(1, 0), ends));
    range_falls(race(&BASE, nothing, |view| view.set(6, 0), ends));
    range_falls(race(&BASE, nothing, |view| view.set(7, 0), ends));
}

#[test]
fn two_ends_that_have_met_have_seen_everything() {
    fn until_they_meet(view: &View<'_>) -> Answer {
        let (mut walk, mut answer) = (view.keys(2..), Vec::new());
        while let Some(key) = walk.next() {
            answer.push(key?.into());
            if let Some(key) = walk.next_back() {
                answer.push(key?.into());
            }
        }
        Ok(answer)
    }
    range_falls(race(&BASE, nothing, |view| view.set(4, 0), until_they_meet));
    stands(race(&BASE, nothing, |view| view.set(1, 0), until_they_meet));
}

#[test]
fn outside_the_range_nothing_matters() {
    fn middle(view: &View<'_>) -> Answer {
        entries(view.range(2..5))
    }
    stands(race(&BASE, nothing, |view| [0, 1, 5, 6, 7].into_iter().for_each(|key| view.set(key, 0)), middle));
    range_falls(race(&BASE, nothing, |view| view.set(2, 0), middle));
    range_falls(race(&BASE, nothing, |view| view.set(4, 0), middle));
}

#[test]
fn ranges_without_keys_yield_nothing_and_depend_on_nothing() {
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let aborts = race(
        &BASE,
        nothing,
        |view| (0..9).for_each(|key| view.set(key, 0)),
        |view| {
            assert_eq!(keys(view.keys(5..1))?.len() + keys(view.keys(3..3).rev())?.len(), 0);
            Ok(vec![view.delete_range(4..2)? as Value])
        },
    );
    stands(aborts);
}

#[test]
fn own_writes_mask_what_changes_below_them() {
    fn masked(view: &View<'_>) -> Answer {
        view.set(3, 0);
        view.delete(5);
        view.set(4, 4);
        all(view)
    }
    stands(race(&BASE, nothing, |view| view.set(3, 31), masked));
    stands(race(&BASE, nothing, |view| view.delete(3), masked));
    stands(race(&BASE, nothing, |view| view.set(5, 31), masked));
    stands(race(&BASE, nothing, |view| view.set(4, 31), masked));
    range_falls(race(&BASE, nothing, |view| view.set(2, 31), masked));
}

#[test]
fn own_writes_made_while_walking_mask_nothing() {
    fn overwritten(view: &View<'_>) -> Answer {
        let walk = view.range(..);
        view.set(3, 0);
        entries(walk)
    }
    range_falls(race(&BASE, nothing, |view| view.set(3, 31), overwritten));
}

#[test]
fn a_tombstone_passed_over_matters_when_it_is_lifted() {
    range_falls(race(&BASE, |view| view.delete(3), |view| view.set(3, 1), all_keys));
    range_falls(race(&BASE, |view| view.delete(4), |view| view.set(4, 1), all_keys));
    stands(race(&BASE, |view| view.delete(3), |view| view.delete(3), all_keys));
}

#[test]
fn deleting_what_does_not_exist_is_no_phantom() {
    stands(race(&BASE, nothing, |view| [0, 4, 7].into_iter().for_each(|key| view.delete(key)), all));
}

#[test]
fn a_range_delete_notices_phantoms_and_no_values() {
    fn clear(view: &View<'_>) -> Answer {
        Ok(vec![view.delete_range(2..6)? as Value])
    }
    range_falls(race(&BASE, nothing, |view| view.set(4, 0), clear));
    range_falls(race(&BASE, nothing, |view| view.delete(3), clear));
    stands(race(&BASE, nothing, |view| view.set(3, 0), clear));
    stands(race(&BASE, nothing, |view| view.set(6, 0), clear));
}

#[test]
fn a_point_that_contradicts_a_walk_ends_the_run() {
    fn then_a_point(view: &View<'_>, shake: &Shake) -> Answer {
        let mut answer = all_keys(view)?;
        shake.observed.raise();
        shake.written.wait();
        answer.push(of(view.get(&4)?));
        answer.push(view.contains(&3)?.into());
        Ok(answer)
    }
    sees_it_is_lost(race_shaken(&BASE, nothing, |view| view.set(4, 0), then_a_point).aborts);
    sees_it_is_lost(race_shaken(&BASE, nothing, |view| view.delete(3), then_a_point).aborts);
}

#[test]
fn a_walk_that_contradicts_a_point_ends_the_run() {
    fn then_a_walk(view: &View<'_>, shake: &Shake) -> Answer {
        let mut answer = vec![of(view.get(&3)?), of(view.get(&4)?)];
        shake.observed.raise();
        shake.written.wait();
        answer.extend(all(view)?);
        Ok(answer)
    }
    for writer in [(|view| view.set(4, 0)) as fn(&View<'_>), |view| view.delete(3), |view| view.set(3, 0)] {
        sees_it_is_lost(race_shaken(&BASE, nothing, writer, then_a_walk).aborts);
    }
}

#[test]
fn a_walk_that_contradicts_a_walk_ends_the_run() {
    fn twice(view: &View<'_>, shake: &Shake) -> Answer {
        let mut answer = all(view)?;
        shake.observed.raise();
        shake.written.wait();
        answer.extend(entries(view.range(..).rev())?);
        Ok(answer)
    }
    for writer in
        [(|view| view.set(4, 0)) as fn(&View<'_>), |view| view.delete(3), |view| view.delete(1), |view| view.set(3, 0)]
    {
        sees_it_is_lost(race_shaken(&BASE, nothing, writer, twice).aborts);
    }
}

#[test]
fn a_walk_over_a_change_ahead_of_it_is_one_answer() {
    // It stands at 2 when the writer commits a change of 5: the walk shows it, and holds.
    let aborts = race_shaken(
        &BASE,
        nothing,
        |view| view.set(5, 0),
        |view, shake| {
            let mut walk = view.range(..);
            let mut answer = entries(walk.by_ref().take(2))?;
            shake.observed.raise();
            shake.written.wait();
            answer.extend(entries(walk)?);
            Ok(answer)
        },
    );
    // It shows the new value, and holds; or the old one, read ahead, and falls. Outcomes are equal in any case.
    assert!(aborts.aborts.total() <= 1, "{:?}", aborts.aborts);
}

#[test]
fn many_keys_are_walked_as_few_are() {
    fn large(view: &View<'_>) -> Answer {
        (100..200).for_each(|key| view.set(key, 1)); // more than an array holds
        let own = view.keys(100..).count() as Value;
        Ok(vec![own, of(view.get(&150)?), view.delete_range(150..)? as Value, view.keys(..).count() as Value])
    }
    stands(race(&BASE, nothing, |view| view.set(150, 0), large));
    range_falls(race(&BASE, nothing, |view| view.set(99, 0), large));
}
