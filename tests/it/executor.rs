//! The executor: sizes, hooks, stops, panics, failures, and what surfaces of them.

use crate::acts::*;
use crate::unreadable::Unreadable;
use cachekv::executor::{BaseError, BlockExecutor, Cause, Commit, Config, Options, RunAhead, execute_sequentially};
use cachekv::kv::{MemSnapshot, Op};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An executor that looks ahead as far as it may.
fn threads(threads: usize) -> BlockExecutor {
    crate::acts::sharing(threads)
}

#[test]
fn zero_transactions_are_a_block() {
    for executor in [threads(1), threads(3)] {
        let done = executor.execute(&base(&BASE), &[], &Acts).unwrap();
        assert_eq!((done.outputs.len(), done.batch.len(), done.committed), (0, 0, 0));
    }
}

#[test]
fn every_number_of_threads_does_for_every_number_of_transactions() {
    for executor in [1, 2, 3, 8].map(threads) {
        for len in [1, 2, 5, 100] {
            let block: Vec<Act> = (0..len).map(|_| increment(1)).collect();
            let done = executor.execute(&base(&BASE), &block, &Acts).unwrap();
            assert_eq!(done.outputs.concat(), (10..10 + len).collect::<Vec<_>>());
            assert_eq!(done.batch.get(&1), Some(&Op::Put(10 + len)));
            let stats = done.stats;
            assert_eq!(stats.executions, stats.transactions + stats.aborts.total(), "{stats:?}");
            assert_eq!((stats.transactions, u64::from(done.committed)), (len as u64, len as u64));
        }
    }
}

#[test]
fn one_thread_runs_everything_once_and_validates_nothing() {
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let stats = threads(1).execute(&base(&BASE), &block, &Acts).unwrap().stats;
    assert_eq!((stats.executions, stats.frontier_executions, stats.validations), (50, 50, 0));
}

#[test]
fn a_run_ahead_of_nothing_is_one_of_one() {
    let mut config = Config::default();
    config.shared_from = Duration::ZERO;
    (config.threads, config.run_ahead) = (4, 0);
    let executor = BlockExecutor::with_config(config).unwrap();
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let stats = executor.execute(&base(&BASE), &block, &Acts).unwrap().stats;
    assert_eq!((stats.executions, stats.frontier_executions), (50, 50));
}

/// The window is told: it never is empty, and fixed it is as wide as it was given.
#[test]
fn the_width_of_the_window_is_told() {
    let block: Vec<Act> = (0..50).map(|_| increment(1)).collect();
    let windows = |window| {
        let mut config = Config::default();
        config.shared_from = Duration::ZERO;
        (config.threads, config.run_ahead, config.window) = (3, 5, window);
        BlockExecutor::with_config(config).unwrap().execute(&base(&BASE), &block, &Acts).unwrap().stats.windows
    };
    assert_eq!(windows(RunAhead::Fixed), 50 * 15);
    assert!((50..=50 * 15).contains(&windows(RunAhead::Adaptive))); // narrower where runs in advance were in vain
}

/// cosmos-sdk #26583: a block was done while a validation was in flight, and updates were lost.
#[test]
fn no_update_is_lost_in_many_rounds_of_one_counter() {
    let executor = threads(8);
    let block: Vec<Act> = (0..80).map(|_| increment(1)).collect();
    for round in 0..1500 {
        let done = executor.execute(&base(&[]), &block, &Acts).unwrap();
        assert_eq!(done.batch.get(&1), Some(&Op::Put(80)), "round {round}");
        assert_eq!(done.outputs.concat(), (0..80).collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn a_long_chain_is_executed_a_bounded_number_of_times() {
    // Each reads what the one before it writes.
    let link = |key: Key| {
        act(move |view| {
            let value = view.get(&key)?.unwrap_or(0);
            view.set(key + 1, value + 1);
            Ok(vec![value])
        })
    };
    let block: Vec<Act> = (0..1000).map(link).collect();
    for executor in [2, 4].map(threads) {
        let done = executor.execute(&base(&[]), &block, &Acts).unwrap();
        assert_eq!(done.outputs.concat(), (0..1000).collect::<Vec<_>>());
        let ahead = 32 * executor.threads() as u64;
        assert!(done.stats.executions <= 1000 * ahead, "{:?}", done.stats);
        assert_eq!(done.stats.executions, 1000 + done.stats.aborts.total());
    }
}

#[test]
fn the_hook_is_called_in_order_once_with_output_and_writes() {
    let block: Vec<Act> = (0..100).map(|_| increment(1)).collect();
    let mut seen = Vec::new();
    let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| {
        seen.push((commit.index, commit.output[0], commit.writes.to_vec()));
        ControlFlow::Continue(())
    };
    let options = Options { on_commit: Some(&mut hook), ..Options::default() };
    drop(threads(4).execute_with(&base(&[]), &block, &Acts, options).unwrap());
    let expected: Vec<_> = (0..100).map(|at| (at, at.into(), vec![(1, Op::Put(Value::from(at) + 1))])).collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_hook_stops_the_block_after_a_transaction() {
    for executor in [1, 4].map(threads) {
        let block: Vec<Act> = (0..100).map(|_| increment(1)).collect();
        let mut calls = 0;
        let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| {
            calls += 1;
            if commit.output[0] == 41 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = Options { on_commit: Some(&mut hook), ..Options::default() };
        let done = executor.execute_with(&base(&[]), &block, &Acts, options).unwrap();
        assert_eq!((calls, done.committed, done.outputs.len()), (42, 42, 42));
        assert_eq!(done.batch.get(&1), Some(&Op::Put(42)));
    }
}

#[test]
fn a_stop_is_not_decided_by_a_speculative_output() {
    // The observer's first output would stop the block; the one that commits does not.
    let observed = Signal::default();
    let waits = observed.clone();
    let block = [
        act(move |view| {
            waits.wait();
            view.set(1, 11);
            Ok(vec![])
        }),
        act(move |view| {
            let value = of(view.get(&1)?);
            observed.raise();
            Ok(vec![value])
        }),
        act(|_| Ok(vec![])),
    ];
    let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| match commit.output[..] {
        [10] => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let options = Options { on_commit: Some(&mut hook), ..Options::default() };
    let done = TWO.execute_with(&base(&BASE), &block, &Acts, options).unwrap();
    assert_eq!(done.committed, 3);
}

/// Eight increments, with `fails` as the sixth transaction; the error, checked for its prefix. The executor is used again.
fn failing(fails: fn(&View<'_>) -> Answer) -> Vec<Cause<Failure>> {
    let block: Vec<Act> = (0..8).map(|at| if at == 5 { act(fails) } else { increment(1) }).collect();
    let mut causes = Vec::new();
    for executor in [1, 2, 4].map(threads) {
        for _ in 0..20 {
            let error = executor.execute(&base(&BASE), &block, &Acts).unwrap_err();
            assert_eq!(error.committed.outputs.concat(), [10, 11, 12, 13, 14]);
            assert_eq!((error.committed.committed, error.committed.batch.get(&1)), (5, Some(&Op::Put(15))));
            causes.push(error.cause);
        }
        let again: Vec<Act> = (0..8).map(|_| increment(1)).collect();
        assert_eq!(executor.execute(&base(&BASE), &again, &Acts).unwrap().batch.get(&1), Some(&Op::Put(18)));
    }
    causes.push(execute_sequentially(&base(&BASE), &block, &Acts, None).unwrap_err().cause);
    causes
}

#[test]
fn a_panic_is_an_error_that_names_the_transaction() {
    let causes = failing(|view| {
        view.set(1, 99);
        panic!("as {} as this", view.index())
    });
    for cause in causes {
        assert_eq!(cause, Cause::Panicked { index: 5, message: "as 5 as this".to_owned() });
    }
}

#[test]
fn an_error_names_the_transaction() {
    let causes = failing(|view| {
        view.set(1, 99);
        Err(Failure::Own("it does not like it"))
    });
    for cause in causes {
        assert_eq!(cause, Cause::Transaction { index: 5, error: Failure::Own("it does not like it") });
    }
}

#[test]
fn a_panic_of_the_operator_names_the_transaction() {
    let causes = failing(|view| {
        view.merge(2, i64::MAX)?; // over 20: beyond the limit
        Ok(vec![])
    });
    for cause in causes {
        assert!(matches!(cause, Cause::Panicked { index: 5, .. }), "{cause:?}");
    }
}

#[test]
fn a_panic_of_the_hook_names_the_transaction_and_leaves_it_out() {
    for executor in [1, 4].map(threads) {
        let block: Vec<Act> = (0..20).map(|_| increment(1)).collect();
        let mut hook = |commit: Commit<'_, Key, Value, Vec<Value>>| {
            assert_ne!(commit.index, 7, "not seven");
            ControlFlow::Continue(())
        };
        let options = Options { on_commit: Some(&mut hook), ..Options::default() };
        let error = executor.execute_with(&base(&BASE), &block, &Acts, options).unwrap_err();
        assert!(matches!(&error.cause, Cause::Panicked { index: 7, message } if message.contains("not seven")));
        assert_eq!((error.committed.committed, error.committed.batch.get(&1)), (7, Some(&Op::Put(17))));
        assert!(executor.execute(&base(&BASE), &block, &Acts).is_ok());
    }
}

#[test]
fn panics_and_errors_over_stale_reads_do_not_surface() {
    for stale in [
        (|_| panic!("this value never was")) as fn(&View<'_>) -> Answer,
        |_| Err(Failure::Own("this value never was")),
        |view| Ok(vec![of(view.get(&99)?)]),
    ] {
        let (observed, runs) = (Signal::default(), Arc::new(AtomicU32::new(0)));
        let (waits, counted) = (observed.clone(), Arc::clone(&runs));
        let block = [
            act(move |view| {
                waits.wait();
                view.set(1, 11);
                Ok(vec![])
            }),
            act(move |view| {
                counted.fetch_add(1, Ordering::Relaxed);
                let value = view.get(&1)?;
                observed.raise();
                if value == Some(10) { stale(view) } else { Ok(vec![of(value)]) }
            }),
        ];
        let done = TWO.execute(&faulty(&BASE, Some(99)), &block, &Acts).unwrap();
        assert_eq!((done.outputs[1].clone(), runs.load(Ordering::Relaxed)), (vec![11], 2));
    }
}

/// A state that cannot read one key, nor walk past it.
type Faulty = Unreadable<MemSnapshot<Key, Value>>;

fn faulty(entries: &[(Key, Value)], key: Option<Key>) -> Faulty {
    Unreadable::new(base(entries), key)
}

#[test]
fn a_state_that_cannot_be_read_is_an_error_that_names_the_transaction() {
    let reads: [fn(&View<'_>) -> Answer; 6] = [
        |view| Ok(vec![of(view.get(&2)?)]),
        |view| Ok(vec![view.contains(&2).unwrap_or(false).into()]), // swallowed
        |view| view.range(..).map(|entry| Ok(entry?.1)).collect(),
        |view| Ok(view.keys(..).map_while(Result::ok).map(Value::from).collect()), // swallowed too
        |view| Ok(vec![view.delete_range(..)? as Value]),
        |view| {
            view.merge(2, 1)?;
            Ok(vec![])
        },
    ];
    for read in reads {
        let block: Vec<Act> = (0..8).map(|at| if at == 5 { act(read) } else { increment(1) }).collect();
        let state = faulty(&BASE, Some(2));
        let expected = Cause::Base { index: 5, error: BaseError(Faulty::error()) };
        for executor in [1, 2, 4].map(threads) {
            let error = executor.execute(&state, &block, &Acts).unwrap_err();
            assert_eq!((&error.cause, error.committed.committed), (&expected, 5));
            assert_eq!(error.committed.batch.into_iter().collect::<Vec<_>>(), [(1, Op::Put(15))]);
        }
        assert_eq!(execute_sequentially(&state, &block, &Acts, None).unwrap_err().cause, expected);
    }
}

#[test]
fn a_state_that_cannot_be_read_matters_only_where_it_is_read_in_the_end() {
    // Before the writer has written, the reader finds a key of the base that cannot be read.
    for read in [(|view: &View<'_>| Ok(vec![of(view.get(&2)?)])) as fn(&View<'_>) -> Answer, |view| {
        Ok(vec![view.contains(&2)?.into()])
    }] {
        let observed = Signal::default();
        let waits = observed.clone();
        let block = [
            act(move |view| {
                waits.wait();
                view.set(2, 22);
                Ok(vec![])
            }),
            act(move |view| {
                let _raised = observed.raised_at_the_end();
                read(view)
            }),
        ];
        let done = TWO.execute(&faulty(&BASE, Some(2)), &block, &Acts).unwrap();
        assert!(matches!(done.outputs[1][..], [22 | 1]));
        assert_eq!((done.stats.aborts.failed, done.stats.aborts.total()), (1, 1));
    }
}

#[test]
fn a_state_below_operands_that_cannot_be_read_matters_once_they_resolve() {
    let block = [
        act(|_| Ok(vec![])),
        act(|view| {
            view.merge(2, 1)?;
            view.delete(2);
            Ok(vec![])
        }),
    ];
    let error = TWO.execute(&faulty(&BASE, Some(2)), &block, &Acts).unwrap_err();
    assert!(matches!(error.cause, Cause::Base { index: 1, .. }), "{:?}", error.cause);
}

#[test]
fn hints_change_nothing_but_speed() {
    let block = || -> Vec<Act> { (0..60).map(|at| increment(at % 7)).collect() };
    let plain = execute_sequentially(&base(&BASE), &block(), &Acts, None).unwrap();
    let right: Vec<Vec<Key>> = (0..60).map(|at| vec![at % 7]).collect();
    let wrong: Vec<Vec<Key>> = (0..60).map(|at| vec![(at + 1) % 7, 99, at]).collect();
    let everything = vec![(0..20).chain(0..20).collect::<Vec<_>>(); 60];
    let short = right[..10].to_vec();
    let long = [right.clone(), right.clone()].concat();
    for hints in [right, wrong, everything, vec![], vec![vec![]; 60], short, long] {
        for executor in [1, 2, 4].map(threads) {
            let options = Options { hints: Some(&hints), ..Options::default() };
            let done = executor.execute_with(&base(&BASE), &block(), &Acts, options).unwrap();
            assert_eq!((&done.outputs, &done.batch), (&plain.outputs, &plain.batch), "{hints:?}");
            assert_eq!(done.stats.executions, 60 + done.stats.aborts.total());
        }
    }
}

#[test]
fn the_most_contended_key_is_named() {
    let stats = race_shaken(&BASE, nothing, |view| view.set(1, 11), |view, _| Ok(vec![of(view.get(&1)?)]));
    assert_eq!(stats.conflicts, [(1, 1)]);
}
