//! Point reads: what they depend on, and that they repeat.

use crate::acts::*;
use cachekv::executor::{Cause, Options};
use cachekv::kv::Op;
use cachekv::multiversion::ViewError;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_read_falls_when_the_value_changes() {
    read_falls(race(&BASE, nothing, |view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)])));
}

#[test]
fn a_read_of_an_earlier_transaction_falls_when_one_between_writes() {
    let aborts = race(&BASE, |view| view.set(1, 5), |view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)]));
    read_falls(aborts);
}

#[test]
fn a_read_falls_when_the_key_is_deleted() {
    read_falls(race(&BASE, nothing, |view| view.delete(1), |view| Ok(vec![of(view.get(&1)?)])));
}

#[test]
fn a_read_of_absence_falls_when_the_key_is_made() {
    read_falls(race(&BASE, nothing, |view| view.set(9, 1), |view| Ok(vec![of(view.get(&9)?)])));
}

#[test]
fn a_read_through_a_tombstone_falls_when_the_key_is_made_again() {
    let aborts = race(&BASE, |view| view.delete(1), |view| view.set(1, 1), |view| Ok(vec![of(view.get(&1)?)]));
    read_falls(aborts);
}

#[test]
fn a_read_stands_when_another_key_changes() {
    stands(race(&BASE, nothing, |view| view.set(2, 11), |view| Ok(vec![of(view.get(&1)?)])));
}

#[test]
fn a_read_stands_when_the_same_value_is_written() {
    stands(race(&BASE, nothing, |view| view.set(1, 10), |view| Ok(vec![of(view.get(&1)?)])));
}

#[test]
fn a_read_of_absence_stands_when_the_key_is_deleted() {
    stands(race(&BASE, nothing, |view| view.delete(9), |view| Ok(vec![of(view.get(&9)?)])));
}

#[test]
fn existence_stands_when_the_value_changes() {
    stands(race(&BASE, nothing, |view| view.set(1, 11), |view| Ok(vec![view.contains(&1)?.into()])));
    stands(race(&BASE, |view| view.set(9, 1), |view| view.set(9, 2), |view| Ok(vec![view.contains(&9)?.into()])));
}

#[test]
fn existence_falls_when_the_key_is_made_or_deleted() {
    read_falls(race(&BASE, nothing, |view| view.delete(1), |view| Ok(vec![view.contains(&1)?.into()])));
    read_falls(race(&BASE, nothing, |view| view.set(9, 1), |view| Ok(vec![view.contains(&9)?.into()])));
}

#[test]
fn existence_and_then_the_value_depend_on_the_value() {
    let aborts =
        race(&BASE, nothing, |view| view.set(1, 11), |view| Ok(vec![view.contains(&1)?.into(), of(view.get(&1)?)]));
    read_falls(aborts);
}

#[test]
fn own_writes_are_read_and_depend_on_nothing() {
    let aborts = race(
        &BASE,
        nothing,
        |view| (1..4).for_each(|key| view.set(key, 0)),
        |view| {
            view.set(1, 5);
            view.delete(2);
            Ok(vec![of(view.get(&1)?), of(view.get(&2)?), view.contains(&1)?.into(), view.contains(&2)?.into()])
        },
    );
    stands(aborts);
}

#[test]
fn writing_reads_nothing() {
    let aborts = race(
        &BASE,
        nothing,
        |view| (1..4).for_each(|key| view.set(key, 0)),
        |view| {
            view.set(1, 5);
            view.delete(2);
            view.delete(9);
            Ok(vec![])
        },
    );
    stands(aborts);
}

#[test]
fn a_second_read_answers_as_the_first_although_the_value_has_changed() {
    let answers = |view: &View<'_>, shake: &Shake| {
        let first = view.get(&1)?;
        shake.observed.raise();
        shake.written.wait();
        let second = view.get(&1)?;
        let third = view.contains(&1)?;
        assert_eq!((first, first.is_some()), (second, third), "reads repeat");
        Ok(vec![of(first)])
    };
    read_falls(race_shaken(&BASE, nothing, |view| view.delete(1), answers).aborts);
}

#[test]
fn existence_and_a_value_that_contradicts_it_end_the_run() {
    let answers = |view: &View<'_>, shake: &Shake| {
        let exists = view.contains(&1)?;
        shake.observed.raise();
        shake.written.wait();
        let value = view.get(&1);
        if let Ok(value) = &value {
            assert_eq!(exists, value.is_some(), "reads repeat");
        }
        Ok(vec![of(value?)])
    };
    sees_it_is_lost(race_shaken(&BASE, nothing, |view| view.delete(1), answers).aborts);
}

#[test]
fn a_run_that_contradicts_itself_is_discarded_even_if_it_swallows_that() {
    let answers = |view: &View<'_>, shake: &Shake| {
        let exists = view.contains(&1)?;
        shake.observed.raise();
        shake.written.wait();
        view.set(7, 7);
        match view.get(&1) {
            Ok(value) => Ok(vec![exists.into(), of(value)]),
            Err(_) => Ok(vec![77]), // never seen: it would differ from sequential execution
        }
    };
    sees_it_is_lost(race_shaken(&BASE, nothing, |view| view.delete(1), answers).aborts);
}

#[test]
fn a_run_that_goes_on_after_what_it_read_has_changed_is_told() {
    let answers = |view: &View<'_>, shake: &Shake| {
        let first = view.get(&1)?;
        shake.observed.raise();
        shake.written.wait();
        for _ in 0..1000 {
            if view.check().is_err() {
                return Ok(vec![77]);
            }
        }
        Ok(vec![of(first)])
    };
    sees_it_is_lost(race_shaken(&BASE, nothing, |view| view.set(1, 11), answers).aborts);
}

/// Runs `[writer, reader]`, the writer held until the reader has met the estimate that a hint has placed.
fn behind_an_estimate(reader: impl Fn(&View<'_>, &Signal) -> Answer + Send + Sync + 'static) -> Output {
    let met = Signal::default();
    let waits = met.clone();
    let block = [
        act(move |view| {
            waits.wait();
            view.set(1, 11);
            view.delete(2);
            Ok(vec![])
        }),
        act(move |view| reader(view, &met)),
    ];
    let hints = [vec![1, 2, 4], vec![]];
    let options = Options { hints: Some(&hints), ..Options::default() };
    TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap()
}

#[test]
fn an_estimate_is_an_error_that_names_who_will_write() {
    let done = behind_an_estimate(|view, met| match view.get(&1) {
        Err(error) => {
            assert!(matches!(error, ViewError::Blocked(0)), "{error:?}");
            met.raise();
            Err(error.into())
        }
        Ok(value) => Ok(vec![of(value)]),
    });
    assert_eq!((done.outputs, done.stats.aborts.blocked, done.stats.aborts.total()), (vec![vec![], vec![11]], 1, 1));
    assert_eq!(done.stats.waits.iter().map(|wait| (wait.waiter, wait.on, wait.times)).collect::<Vec<_>>(), [(1, 0, 1)]);
}

#[test]
fn a_swallowed_estimate_never_commits() {
    let done = behind_an_estimate(|view, met| match view.get(&1) {
        Err(_) => {
            met.raise();
            view.set(6, 6);
            Ok(vec![77])
        }
        Ok(value) => Ok(vec![of(value)]),
    });
    assert_eq!((done.outputs, done.batch.get(&6)), (vec![vec![], vec![11]], None));
}

#[test]
fn a_run_that_met_an_estimate_gets_no_answers_any_more() {
    let done = behind_an_estimate(|view, met| {
        if view.get(&1).is_err() {
            assert!(matches!(view.get(&3), Err(ViewError::Blocked(0))));
            assert!(matches!(view.contains(&3), Err(ViewError::Blocked(0))));
            assert!(matches!(view.range(3..).next(), Some(Err(ViewError::Blocked(0)))));
            assert!(matches!(view.check(), Err(ViewError::Blocked(0))));
            met.raise();
            panic!("a panic of a run that counts for nothing");
        }
        Ok(vec![])
    });
    assert_eq!(done.stats.aborts.blocked, 1);
}

#[test]
fn estimates_block_every_kind_of_read() {
    type Reads = fn(&View<'_>) -> Result<Vec<Value>, ViewError>;
    let reads: [Reads; 6] = [
        |view| Ok(vec![of(view.get(&2)?)]),
        |view| Ok(vec![view.contains(&2)?.into()]),
        |view| view.range(..).map(|entry| Ok(entry?.1)).collect(),
        |view| view.range(..).rev().map(|entry| Ok(entry?.1)).collect(),
        |view| view.keys(..).map(|key| Ok(key?.into())).collect(),
        |view| Ok(vec![view.delete_range(..)? as Value]),
    ];
    let after = [vec![-1], vec![0], vec![11, 30], vec![30, 11], vec![1, 3], vec![2]];
    for (read, after) in reads.into_iter().zip(after) {
        let done = behind_an_estimate(move |view, met| {
            let answer = read(view);
            met.raise();
            Ok(answer?)
        });
        assert_eq!((&done.outputs[1], done.stats.aborts.blocked), (&after, 1));
    }
}

#[test]
fn an_estimate_where_nothing_is_written_goes_away() {
    let done = behind_an_estimate(|view, met| {
        let answer = view.get(&4);
        met.raise();
        Ok(vec![of(answer?)])
    });
    assert_eq!((done.outputs[1].clone(), done.batch.get(&4)), (vec![-1], None));
}

#[test]
fn an_estimate_beyond_a_reader_does_not_block_it() {
    let hints = [vec![], vec![1]];
    let block = [act(|view| Ok(vec![of(view.get(&1)?)])), act(|_| Ok(vec![]))];
    let options = Options { hints: Some(&hints), ..Options::default() };
    let done = TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap();
    assert_eq!((done.outputs[0].clone(), done.stats.aborts.total()), (vec![10], 0));
}

#[test]
fn what_an_earlier_run_wrote_and_the_last_did_not_is_gone() {
    // 1 writes key 5 only while it reads the stale value; 2 reads key 5 after 1 has run for the last time.
    let (observed, runs) = (Signal::default(), AtomicU32::new(0));
    let waits = observed.clone();
    let block = [
        act(move |view| {
            waits.wait();
            view.set(1, 11);
            Ok(vec![])
        }),
        act(move |view| {
            runs.fetch_add(1, Ordering::Relaxed);
            match view.get(&1)? {
                Some(10) => view.set(5, 5),
                _ => view.set(6, 6),
            }
            Ok(vec![])
        }),
        act(move |view| {
            let answer = vec![of(view.get(&5)?), view.keys(5..).count() as Value];
            observed.raise();
            Ok(answer)
        }),
    ];
    let done = TWO.execute(&base(&BASE), &block, &Acts).unwrap();
    assert_eq!(done.outputs[2], [-1, 1]);
    assert_eq!(done.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(11)), (6, Op::Put(6))]);
}

#[test]
fn a_writer_dooms_those_who_have_read_before_anything_commits() {
    // 0 is held until 2 has run twice; 1 writes once 2 has executed, which 3, on the worker that ran 2, tells.
    let (again, executed, runs) = (Signal::default(), Signal::default(), AtomicU32::new(0));
    let (held, waits) = (again.clone(), executed.clone());
    let block = [
        act(move |_| {
            held.wait();
            Ok(vec![])
        }),
        act(move |view| {
            waits.wait();
            view.set(1, 11);
            Ok(vec![])
        }),
        act(move |view| {
            let value = of(view.get(&1)?);
            if runs.fetch_add(1, Ordering::Relaxed) == 1 {
                again.raise();
            }
            Ok(vec![value])
        }),
        act(move |_| {
            executed.raise();
            Ok(vec![])
        }),
    ];
    let done = crate::acts::sharing(3).execute(&base(&BASE), &block, &Acts).unwrap();
    assert_eq!((done.outputs[2].clone(), done.stats.executions), (vec![11], 5));
    read_falls(done.stats.aborts);
}

#[test]
fn the_transaction_knows_its_place() {
    let block: Vec<Act> = (0..5).map(|_| act(|view| Ok(vec![view.index().into()]))).collect();
    let done = TWO.execute(&base(&BASE), &block, &Acts).unwrap();
    assert_eq!(done.outputs.concat(), [0, 1, 2, 3, 4]);
}

#[test]
fn an_error_of_the_view_made_by_user_code_is_an_error_of_its_own() {
    let block = [act(|_| Err(ViewError::Blocked(0).into()))];
    let error = TWO.execute(&base(&BASE), &block, &Acts).unwrap_err();
    assert!(matches!(error.cause, Cause::Transaction { index: 0, .. }), "{:?}", error.cause);
}
