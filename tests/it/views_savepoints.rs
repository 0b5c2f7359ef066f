//! Savepoints: taking back one's own writes, to any depth.

use crate::acts::*;
use cachekv::multiversion::ViewError;

const BASE: [(Key, Value); 2] = [(1, 10), (2, 20)];

#[test]
fn rolling_back_takes_back_writes_deletes_and_merges() {
    stands(race(&BASE, nothing, nothing, |view| {
        view.set(3, 3);
        let savepoint = view.savepoint();
        view.set(1, 0);
        view.delete(2);
        view.merge(3, 4)?;
        view.set(4, 4);
        view.roll_back(savepoint)?;
        Ok(vec![of(view.get(&1)?), of(view.get(&2)?), of(view.get(&3)?), of(view.get(&4)?)])
    }));
}

#[test]
fn releasing_keeps_them() {
    stands(race(&BASE, nothing, nothing, |view| {
        let savepoint = view.savepoint();
        view.set(1, 0);
        view.delete(2);
        view.release(savepoint)?;
        Ok(vec![of(view.get(&1)?), of(view.get(&2)?)])
    }));
}

#[test]
fn an_outer_rollback_takes_back_what_an_inner_release_kept() {
    stands(race(&BASE, nothing, nothing, |view| {
        let outer = view.savepoint();
        view.set(1, 1);
        let inner = view.savepoint();
        view.set(1, 2);
        view.release(inner)?;
        view.roll_back(outer)?;
        Ok(vec![of(view.get(&1)?)])
    }));
}

#[test]
fn an_inner_rollback_leaves_the_outer_open() {
    stands(race(&BASE, nothing, nothing, |view| {
        let outer = view.savepoint();
        view.set(1, 1);
        let inner = view.savepoint();
        view.set(1, 2);
        view.roll_back(inner)?;
        let between = of(view.get(&1)?);
        view.roll_back(outer)?;
        Ok(vec![between, of(view.get(&1)?)])
    }));
}

#[test]
fn a_savepoint_closed_by_one_around_it_is_an_error_that_changes_nothing() {
    stands(race(&BASE, nothing, nothing, |view| {
        let outer = view.savepoint();
        let inner = view.savepoint();
        let deepest = view.savepoint();
        view.set(1, 1);
        view.release(outer)?;
        assert!(matches!(view.roll_back(inner), Err(ViewError::SavepointClosed)));
        let another = view.savepoint(); // at the depth of `outer`, and another's
        assert!(matches!(view.release(deepest), Err(ViewError::SavepointClosed)));
        view.release(another)?;
        Ok(vec![of(view.get(&1)?)])
    }));
}

#[test]
fn a_savepoint_at_the_depth_of_a_closed_one_is_not_it() {
    stands(race(&BASE, nothing, nothing, |view| {
        let outer = view.savepoint();
        let inner = view.savepoint();
        view.roll_back(outer)?;
        let _first = view.savepoint();
        view.set(1, 1);
        let _second = view.savepoint();
        assert!(matches!(view.roll_back(inner), Err(ViewError::SavepointClosed)));
        Ok(vec![of(view.get(&1)?)])
    }));
}

#[test]
fn they_nest_to_any_depth() {
    stands(race(&BASE, nothing, nothing, |view| {
        let savepoints: Vec<_> = (0..2000)
            .map(|depth| {
                let savepoint = view.savepoint();
                view.set(100 + depth, 1);
                savepoint
            })
            .collect();
        for savepoint in savepoints.into_iter().skip(1000).rev() {
            view.roll_back(savepoint)?;
        }
        Ok(vec![view.keys(..).count() as Value])
    }));
}

#[test]
fn what_was_read_in_a_part_that_was_rolled_back_stays_read() {
    read_falls(race(
        &BASE,
        nothing,
        |view| view.set(1, 11),
        |view| {
            let savepoint = view.savepoint();
            let value = of(view.get(&1)?);
            view.set(2, value);
            view.roll_back(savepoint)?;
            Ok(vec![value])
        },
    ));
    range_falls(race(
        &BASE,
        nothing,
        |view| view.set(3, 11),
        |view| {
            let savepoint = view.savepoint();
            let count = view.delete_range(..)?;
            view.roll_back(savepoint)?;
            Ok(vec![count as Value])
        },
    ));
}

#[test]
fn what_was_resolved_in_a_part_that_was_rolled_back_is_resolved_again() {
    stands(race(&BASE, nothing, nothing, |view| {
        view.merge(1, 1)?;
        let savepoint = view.savepoint();
        view.merge(1, 1)?;
        let within = of(view.get(&1)?);
        view.roll_back(savepoint)?;
        Ok(vec![within, of(view.get(&1)?)])
    }));
}

#[test]
fn open_at_the_end_they_keep_the_writes() {
    stands(race(&BASE, nothing, nothing, |view| {
        let _never_closed = view.savepoint();
        view.set(1, 1);
        Ok(vec![])
    }));
}
