//! Merges: writes that are no reads. They do not conflict, they resolve where they are read, and a refusal is the
//! transaction's own.

use crate::acts::*;
use cachekv::executor::Options;
use cachekv::kv::Op;
use cachekv::multiversion::ViewError;

const BASE: [(Key, Value); 2] = [(1, 10), (2, 20)];

fn merge(view: &View<'_>, key: Key, operand: i64) -> Result<Value, ViewError> {
    match view.merge(key, operand) {
        Ok(()) => Ok(1),
        Err(ViewError::Refused { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

fn add(view: &View<'_>, key: Key, operand: i64) {
    assert_eq!(merge(view, key, operand).unwrap(), 1);
}

/// The refusal shows where the transaction runs again with real reads.
#[track_caller]
fn refused(aborts: cachekv::executor::Aborts) {
    assert_eq!((aborts.refused, aborts.total()), (1, 1), "{aborts:?}");
}

#[test]
fn merges_into_one_key_do_not_conflict() {
    stands(race(&BASE, nothing, |view| add(view, 1, 5), |view| Ok(vec![merge(view, 1, -12)?])));
    stands(race(&BASE, |view| add(view, 1, -5), |view| add(view, 1, 5), |view| Ok(vec![merge(view, 1, -10)?])));
}

#[test]
fn a_merge_does_not_conflict_with_a_write_or_a_delete_below() {
    stands(race(&BASE, nothing, |view| view.set(1, 7), |view| Ok(vec![merge(view, 1, -7)?])));
    stands(race(&BASE, nothing, |view| view.delete(1), |view| Ok(vec![merge(view, 1, 7)?])));
}

#[test]
fn a_read_of_merged_operands_falls_when_one_below_is_added() {
    let aborts = race(&BASE, |view| add(view, 1, 1), |view| add(view, 1, 1), |view| Ok(vec![of(view.get(&1)?)]));
    read_falls(aborts);
    let walk = |view: &View<'_>| view.range(..).map(|entry| Ok(entry?.1)).collect();
    range_falls(race(&BASE, |view| add(view, 1, 1), |view| add(view, 1, 1), walk));
}

#[test]
fn a_read_of_merged_operands_stands_when_they_come_to_the_same() {
    stands(race(&BASE, |view| add(view, 1, 1), |view| add(view, 1, 0), |view| Ok(vec![of(view.get(&1)?)])));
    stands(race(&BASE, |view| add(view, 1, 1), |view| view.set(1, 11), |view| Ok(vec![of(view.get(&1)?)])));
}

#[test]
fn existence_stands_whatever_is_merged() {
    fn existence(view: &View<'_>) -> Answer {
        Ok(vec![view.contains(&1)?.into(), view.keys(..).count() as Value])
    }
    stands(race(&BASE, nothing, |view| add(view, 1, 1), existence));
    stands(race(&BASE, |view| add(view, 1, 1), |view| add(view, 1, 1), existence));
}

#[test]
fn operands_alone_make_a_key_exist() {
    let aborts = race(
        &BASE,
        |view| add(view, 9, 1),
        nothing,
        |view| {
            let last = view.keys(..).next_back().transpose()?;
            Ok(vec![view.contains(&9)?.into(), of(last.map(Value::from)), of(view.get(&9)?)])
        },
    );
    stands(aborts);
    read_falls(race(&BASE, nothing, |view| add(view, 9, 1), |view| Ok(vec![view.contains(&9)?.into()])));
    range_falls(race(&BASE, nothing, |view| add(view, 9, 1), |view| Ok(vec![view.keys(..).count() as Value])));
}

#[test]
fn operands_over_a_tombstone_begin_anew() {
    let aborts = race(&BASE, |view| view.delete(1), |view| add(view, 1, 1), |view| Ok(vec![merge(view, 1, -1)?]));
    stands(aborts);
}

#[test]
fn reading_what_one_has_merged_into_depends_on_what_is_below() {
    fn merge_and_read(view: &View<'_>) -> Answer {
        view.merge(1, 1)?;
        Ok(vec![of(view.get(&1)?)])
    }
    read_falls(race(&BASE, nothing, |view| add(view, 1, 1), merge_and_read));
    stands(race(&BASE, nothing, |view| view.set(1, 10), merge_and_read));
    let walk = |view: &View<'_>| {
        view.merge(1, 1)?;
        view.range(..).map(|entry| Ok(entry?.1)).collect()
    };
    read_falls(race(&BASE, nothing, |view| view.set(1, 3), walk));
    let exists = |view: &View<'_>| {
        view.merge(1, 1)?;
        Ok(vec![view.contains(&1)?.into(), view.keys(..).count() as Value])
    };
    stands(race(&BASE, nothing, |view| view.set(1, 3), exists));
}

#[test]
fn merging_into_what_one_has_written_or_read_gives_its_value() {
    let aborts = race(&BASE, nothing, nothing, |view| {
        view.set(1, 3);
        let written = [merge(view, 1, -4)?, merge(view, 1, -3)?, of(view.get(&1)?)];
        view.delete(1);
        let deleted = [merge(view, 1, -1)?, merge(view, 1, 6)?, of(view.get(&1)?)];
        let before = view.get(&2)?;
        let read = [of(before), merge(view, 2, -21)?, merge(view, 2, -20)?, of(view.get(&2)?)];
        Ok([&written[..], &deleted, &read].concat())
    });
    stands(aborts);
}

#[test]
fn a_refusal_is_the_error_of_the_transaction_that_merges() {
    refused(race(&BASE, nothing, |view| add(view, 1, -6), |view| Ok(vec![merge(view, 1, -6)?])));
}

#[test]
fn a_refusal_by_a_stale_value_is_none() {
    // Refused over the state before the block, admitted over what the writer adds.
    let aborts =
        race(&BASE, nothing, |view| add(view, 1, 6), |view| Ok(vec![merge(view, 1, -16)?, merge(view, 2, 0)?]));
    stands(aborts);
    let read = race(
        &BASE,
        nothing,
        |view| add(view, 1, 6),
        |view| {
            view.merge(1, -16)?;
            Ok(vec![of(view.get(&1)?)])
        },
    );
    refused(read);
}

#[test]
fn of_two_operands_each_is_admitted_over_what_the_ones_before_it_made() {
    refused(race(&BASE, nothing, nothing, |view| Ok(vec![merge(view, 1, -11)?, merge(view, 1, 5)?])));
    stands(race(&BASE, nothing, nothing, |view| Ok(vec![merge(view, 1, 5)?, merge(view, 1, -11)?])));
}

#[test]
fn an_operand_that_was_overwritten_may_still_be_refused() {
    refused(race(&BASE, nothing, nothing, |view| {
        let answer = merge(view, 1, -11)?;
        view.set(1, 0);
        Ok(vec![answer])
    }));
    refused(race(
        &BASE,
        nothing,
        |view| view.set(1, 3),
        |view| {
            let answer = merge(view, 1, -4)?;
            view.delete(1);
            Ok(vec![answer])
        },
    ));
}

#[test]
fn an_operand_that_was_rolled_back_may_still_be_refused() {
    refused(race(&BASE, nothing, nothing, |view| {
        let savepoint = view.savepoint();
        let answer = merge(view, 1, -11)?;
        view.roll_back(savepoint)?;
        Ok(vec![answer])
    }));
    stands(race(&BASE, nothing, nothing, |view| {
        add(view, 1, -3);
        let savepoint = view.savepoint();
        let answer = merge(view, 1, -7)?;
        view.roll_back(savepoint)?;
        Ok(vec![answer, merge(view, 2, 1)?])
    }));
}

#[test]
fn a_refusal_that_user_code_does_not_handle_is_its_error() {
    let block = [
        act(|view| Ok(vec![merge(view, 1, -10)?])),
        act(|view| {
            view.merge(1, -1)?;
            Ok(vec![])
        }),
    ];
    let error = TWO.execute(&base(&BASE), &block, &Acts).unwrap_err();
    assert_eq!(error.cause.to_string_of(), "transaction 1: the merge into key 1 is refused");
    assert_eq!((error.committed.committed, error.committed.batch.get(&1)), (1, Some(&Op::Put(0))));
}

/// What the cause says.
trait Said {
    fn to_string_of(&self) -> String;
}

impl Said for cachekv::executor::Cause<Failure> {
    fn to_string_of(&self) -> String {
        match self {
            Self::Transaction { index, error: Failure::View(said) } => format!("transaction {index}: {said}"),
            other => format!("{other:?}"),
        }
    }
}

#[test]
fn what_a_run_does_because_an_operand_seemed_admitted_counts_for_nothing() {
    // Speculatively the merge seems to be done, and the transaction fails over it; sequentially it is refused.
    fn fails_if_done(view: &View<'_>) -> Answer {
        if merge(view, 1, -11)? == 1 {
            return Err(Failure::Own("it was done"));
        }
        Ok(vec![5])
    }
    fn panics_if_done(view: &View<'_>) -> Answer {
        assert_eq!(merge(view, 1, -11)?, 0);
        Ok(vec![5])
    }
    for observer in [fails_if_done as fn(&View<'_>) -> Answer, panics_if_done] {
        let aborts = race(&BASE, nothing, nothing, observer);
        assert_eq!((aborts.failed, aborts.total()), (1, 1), "{aborts:?}");
    }
}

#[test]
fn an_operator_that_panics_over_a_stale_value_ends_nothing() {
    // `i64::MAX - 10` over 10 is at the limit; one more, which the writer takes away below, is beyond it.
    let aborts = race(
        &BASE,
        |view| add(view, 1, i64::MAX - 10),
        |view| view.set(1, 0),
        |view| {
            view.merge(1, 1)?;
            Ok(vec![of(view.get(&1)?)])
        },
    );
    assert!(aborts.total() == 1, "{aborts:?}");
}

#[test]
fn operands_wait_for_estimates_below_them() {
    // 0 is predicted to write key 1; 1 merges without waiting; 2 reads, and waits for 0.
    let met = Signal::default();
    let waits = met.clone();
    let block = [
        act(move |view| {
            waits.wait();
            view.set(1, 100);
            Ok(vec![])
        }),
        act(|view| Ok(vec![merge(view, 1, -90)?])),
        act(move |view| {
            let answer = view.get(&1);
            met.raise();
            Ok(vec![of(answer?)])
        }),
    ];
    let hints = [vec![1]];
    let options = Options { hints: Some(&hints), ..Options::default() };
    let done = TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap();
    assert_eq!(done.outputs, [vec![], vec![1], vec![10]]);
    assert_eq!((done.stats.aborts.blocked, done.stats.aborts.total()), (1, 1));
}

#[test]
fn operands_not_yet_committed_resolve_where_they_are_read() {
    // 0 is held until 2 has read what 1 has merged into: no later answer differs.
    let read = Signal::default();
    let waits = read.clone();
    let block = [
        act(move |_| {
            waits.wait();
            Ok(vec![])
        }),
        act(|view| Ok(vec![merge(view, 1, 5)?, merge(view, 1, 6)?, merge(view, 9, 1)?])),
        act(move |view| {
            let _read = read.raised_at_the_end();
            let walked: Value = view.range(..).map(|entry| entry.map(|entry| entry.1)).sum::<Result<_, _>>()?;
            Ok(vec![of(view.get(&1)?), walked])
        }),
    ];
    let done = crate::acts::sharing(2).execute(&base(&BASE), &block, &Acts).unwrap();
    assert_eq!((&done.outputs[2], done.stats.aborts.total()), (&vec![21, 42], 0));
}

#[test]
fn a_hot_counter_is_no_conflict() {
    let block: Vec<Act> = (0..200).map(|_| act(|view| Ok(vec![merge(view, 1, 1)?]))).collect();
    let done = TWO.execute(&base(&BASE), &block, &Acts).unwrap();
    assert_eq!((done.batch.get(&1), done.stats.aborts.total()), (Some(&Op::Put(210)), 0));
}

#[test]
fn the_hook_sees_operands_resolved() {
    let block: Vec<Act> = (0..50).map(|_| act(|view| Ok(vec![merge(view, 1, 1)?]))).collect();
    let mut seen = Vec::new();
    let mut hook = |commit: cachekv::executor::Commit<'_, Key, Value, Vec<Value>>| {
        seen.extend_from_slice(commit.writes);
        std::ops::ControlFlow::Continue(())
    };
    let options = Options { on_commit: Some(&mut hook), ..Options::default() };
    drop(TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap());
    assert_eq!(seen, (11..61).map(|value| (1, Op::Put(value))).collect::<Vec<_>>());
}
